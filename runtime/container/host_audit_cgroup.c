/* Limits and the controllers they need. */
#include "runtime/container/host_audit_private.h"

#include "runtime/base/str.h"
#include "runtime/cgroup/layout.h"

/* One of several with commas between. */
static bool lists(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
		if (strncmp(at, word, length) == 0 && (!at[length] || at[length] == ','))
			return true;
	return false;
}

/* By its name in v1 or in v2; NULL: that version has none. */
static bool has_controller(const struct rt_layout *layout, const char *v1, const char *v2)
{
	for (size_t i = 0; i < layout->count; i++) {
		const struct rt_cgroup_mount *mount = &layout->mounts[i];
		_cleanup_free_ char *path = NULL;

		if (!mount->v2) {
			if (v1 && lists(mount->controllers, v1))
				return true;
			continue;
		}
		rt_error_free(rt_format(&path, "%s/cgroup.controllers", mount->mount_point));
		if (v2 && path && rt_host_file_has(path, v2))
			return true;
	}
	return false;
}

static bool wants_memory(const struct rt_spec_memory *memory)
{
	return memory->limit || memory->reservation || memory->swap || memory->kernel || memory->kernel_tcp || memory->swappiness ||
	       (memory->disable_oom_killer && *memory->disable_oom_killer);
}

static bool wants_cpu(const struct rt_spec_cpu *cpu)
{
	return cpu->shares || cpu->quota || cpu->period || cpu->burst || cpu->realtime_period || cpu->realtime_runtime || cpu->idle;
}

static bool wants_block_io(const struct rt_spec_block_io *block_io)
{
	return block_io->weight || block_io->leaf_weight || block_io->weight_device_count || block_io->read_bps.count ||
	       block_io->write_bps.count || block_io->read_iops.count || block_io->write_iops.count;
}

struct rt_error *rt_host_audit_cgroup(const struct rt_host *host)
{
	const struct rt_spec_resources *wanted = &host->spec->resources;
	const struct {
		bool wanted;
		const char *path, *v1, *v2;
	} needs[] = {
		{ wants_memory(&wanted->memory), "linux.resources.memory", "memory", "memory" },
		{ wants_cpu(&wanted->cpu), "linux.resources.cpu", "cpu", "cpu" },
		{ wanted->cpu.cpus || wanted->cpu.mems, "linux.resources.cpu", "cpuset", "cpuset" },
		{ wanted->pids_limit && *wanted->pids_limit != 0, "linux.resources.pids", "pids", "pids" },
		{ wants_block_io(&wanted->block_io), "linux.resources.blockIO", "blkio", "io" },
		{ wanted->hugepage_limit_count > 0, "linux.resources.hugepageLimits", "hugetlb", "hugetlb" },
		{ wanted->network_class_id && *wanted->network_class_id, "linux.resources.network.classID", "net_cls", NULL },
		{ wanted->network_priority_count > 0, "linux.resources.network.priorities", "net_prio", NULL },
		{ wanted->rdma_count > 0, "linux.resources.rdma", "rdma", "rdma" },
	};
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_layout layout = { .count = 0 };
	struct rt_error *err = rt_layout_find(0, &arena, &layout);

	for (size_t i = 0; i < RT_ARRAY_SIZE(needs) && !err; i++)
		if (needs[i].wanted && !has_controller(&layout, needs[i].v1, needs[i].v2))
			rt_host_tell(host, needs[i].path, "needs the cgroup controller '%s', which isn't here", needs[i].v1);
	if (!err && wanted->unified_count > 0 && layout.kind != RT_CGROUP_V2 && layout.kind != RT_CGROUP_HYBRID)
		rt_host_tell(host, "linux.resources.unified", "is for cgroup v2, which isn't here");
	rt_arena_deinit(&arena);
	return err;
}
