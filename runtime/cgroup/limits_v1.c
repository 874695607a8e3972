/* linux.resources as the v1 controllers take them. A controller that isn't mounted as v1 may be in the v2 hierarchy of a
 * hybrid machine: limits_v2.c then does its part, and this file leaves it alone. */
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/private.h"

#include <inttypes.h>

#define FIELD(name) "linux.resources." name

/* Sets *ret to the v1 place, or to NULL where v2 is to see to it; an error where neither can. */
static struct rt_error *find(const struct rt_cgroup *cgroup, const char *controller, const char *field, struct rt_cgroup_place **ret)
{
	*ret = rt_cgroup_place(cgroup, controller);
	if (*ret || rt_cgroup_v2_place(cgroup))
		return NULL;
	return rt_cgroup_no_controller(field, controller);
}

static struct rt_error *check_usage(const struct rt_cgroup_place *place, int64_t limit)
{
	uint64_t usage = 0;
	struct rt_error *err = rt_place_read_u64(place, "memory.usage_in_bytes", &usage, NULL);

	if (!err && limit >= 0 && usage > (uint64_t)limit)
		return rt_fail(RT_SYSTEM, "'" FIELD("memory.limit") "': %" PRId64 " bytes are less than the %" PRIu64 " in use",
			       limit, usage);
	return err;
}

/* Kernel memory is limited with the rest since 5.4 and the files are going: what can't be had is said, not fatal, as the
 * specification calls both fields not recommended. */
static void try_kernel_memory(const struct rt_cgroup_place *place, const char *field, const char *file, const int64_t *limit)
{
	char text[24];

	if (!limit)
		return;
	snprintf(text, sizeof(text), "%" PRId64, *limit);
	rt_warn_ignored(rt_place_set(place, field, file, text));
}

static struct rt_error *set_hierarchical(const struct rt_cgroup_place *place, bool wanted)
{
	uint64_t now = wanted;
	struct rt_error *err = rt_place_read_u64(place, "memory.use_hierarchy", &now, NULL);

	/* Since 5.11 it is always on. */
	if (!err && now != (uint64_t)wanted)
		rt_warn_ignored(rt_place_set(place, FIELD("memory.useHierarchy"), "memory.use_hierarchy", wanted ? "1" : "0"));
	return err;
}

static struct rt_error *set_memory(const struct rt_cgroup *cgroup, const struct rt_spec_memory *m)
{
	struct rt_batch batch = { .count = 0 };
	struct rt_cgroup_place *place;
	struct rt_error *err;

	if (!m->limit && !m->reservation && !m->swap && !m->kernel && !m->kernel_tcp && !m->swappiness && !m->disable_oom_killer &&
	    !m->use_hierarchy)
		return NULL;
	err = find(cgroup, "memory", FIELD("memory"), &place);
	if (err || !place)
		return err;
	batch.place = place;
	if (m->use_hierarchy)
		err = set_hierarchical(place, *m->use_hierarchy);
	if (!err && m->limit && m->check_before_update)
		err = check_usage(place, *m->limit);
	if (err)
		return err;
	if (m->limit && *m->limit != 0)
		rt_batch_add_i64(&batch, "memory.limit_in_bytes", FIELD("memory.limit"), *m->limit);
	/* Unlimited memory makes no sense under a limited sum, so the sum follows where nothing is said about it. */
	if (m->swap && *m->swap != 0 && (*m->swap > 0 || rt_place_has(place, "memory.memsw.limit_in_bytes")))
		rt_batch_add_i64(&batch, "memory.memsw.limit_in_bytes", FIELD("memory.swap"), *m->swap);
	else if (!m->swap && m->limit && *m->limit < 0 && !place->fresh && rt_place_has(place, "memory.memsw.limit_in_bytes"))
		rt_batch_add_i64(&batch, "memory.memsw.limit_in_bytes", FIELD("memory.limit"), -1);
	if (m->reservation && *m->reservation != 0)
		rt_batch_add_i64(&batch, "memory.soft_limit_in_bytes", FIELD("memory.reservation"), *m->reservation);
	if (m->swappiness)
		rt_batch_add_u64(&batch, "memory.swappiness", FIELD("memory.swappiness"), *m->swappiness);
	if (m->disable_oom_killer && (*m->disable_oom_killer || !place->fresh))
		rt_batch_add_u64(&batch, "memory.oom_control", FIELD("memory.disableOOMKiller"), *m->disable_oom_killer);
	try_kernel_memory(place, FIELD("memory.kernel"), "memory.kmem.limit_in_bytes", m->kernel);
	try_kernel_memory(place, FIELD("memory.kernelTCP"), "memory.kmem.tcp.limit_in_bytes", m->kernel_tcp);
	return rt_batch_write(&batch);
}

static struct rt_error *set_cpu(const struct rt_cgroup *cgroup, const struct rt_spec_cpu *c)
{
	struct rt_batch batch = { .count = 0 };
	struct rt_cgroup_place *place;
	struct rt_error *err;

	if (!c->shares && !c->period && !c->burst && !c->quota && !c->idle && !c->realtime_period && !c->realtime_runtime)
		return NULL;
	err = find(cgroup, "cpu", FIELD("cpu"), &place);
	if (err || !place)
		return err;
	batch.place = place;
	if (c->shares && *c->shares)
		rt_batch_add_u64(&batch, "cpu.shares", FIELD("cpu.shares"), *c->shares);
	if (c->period && *c->period)
		rt_batch_add_u64(&batch, "cpu.cfs_period_us", FIELD("cpu.period"), *c->period);
	if (c->quota && *c->quota)
		rt_batch_add_i64(&batch, "cpu.cfs_quota_us", FIELD("cpu.quota"), *c->quota);
	if (c->burst)
		rt_batch_add_u64(&batch, "cpu.cfs_burst_us", FIELD("cpu.burst"), *c->burst);
	if (c->realtime_period && *c->realtime_period)
		rt_batch_add_u64(&batch, "cpu.rt_period_us", FIELD("cpu.realtimePeriod"), *c->realtime_period);
	if (c->realtime_runtime && *c->realtime_runtime)
		rt_batch_add_i64(&batch, "cpu.rt_runtime_us", FIELD("cpu.realtimeRuntime"), *c->realtime_runtime);
	if (c->idle)
		rt_batch_add_i64(&batch, "cpu.idle", FIELD("cpu.idle"), *c->idle);
	return rt_batch_write(&batch);
}

static struct rt_error *set_cpuset(const struct rt_cgroup *cgroup, const struct rt_spec_cpu *c)
{
	struct rt_cgroup_place *place;
	struct rt_error *err;

	if (!c->cpus && !c->mems)
		return NULL;
	err = find(cgroup, "cpuset", FIELD("cpu.cpus"), &place);
	if (!err && place && c->cpus)
		err = rt_place_set(place, FIELD("cpu.cpus"), "cpuset.cpus", c->cpus);
	if (!err && place && c->mems)
		err = rt_place_set(place, FIELD("cpu.mems"), "cpuset.mems", c->mems);
	return err;
}

static struct rt_error *set_pids(const struct rt_cgroup *cgroup, const int64_t *limit)
{
	struct rt_cgroup_place *place;
	struct rt_error *err;
	char text[24];

	if (!limit || *limit == 0)
		return NULL;
	err = find(cgroup, "pids", FIELD("pids.limit"), &place);
	if (err || !place)
		return err;
	snprintf(text, sizeof(text), "%" PRId64, *limit);
	return rt_place_set(place, FIELD("pids.limit"), "pids.max", *limit < 0 ? "max" : text);
}

/* BFQ has the weights where CFQ, gone since 5.0, had them. */
static struct rt_error *set_weights(const struct rt_cgroup_place *place, const struct rt_spec_block_io *io)
{
	bool cfq = rt_place_has(place, "blkio.weight");
	struct rt_error *err = NULL;
	char text[64];

	if (io->weight && *io->weight) {
		snprintf(text, sizeof(text), "%u", *io->weight);
		err = rt_place_set(place, FIELD("blockIO.weight"), cfq ? "blkio.weight" : "blkio.bfq.weight", text);
	}
	if (!err && io->leaf_weight && *io->leaf_weight) {
		snprintf(text, sizeof(text), "%u", *io->leaf_weight);
		err = rt_place_set(place, FIELD("blockIO.leafWeight"), "blkio.leaf_weight", text);
	}
	for (size_t i = 0; !err && i < io->weight_device_count; i++) {
		const struct rt_spec_weight_device *d = &io->weight_devices[i];

		if (d->weight) {
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %u", d->major, d->minor, *d->weight);
			err = rt_place_set(place, FIELD("blockIO.weightDevice"),
					   cfq ? "blkio.weight_device" : "blkio.bfq.weight_device", text);
		}
		if (!err && d->leaf_weight) {
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %u", d->major, d->minor, *d->leaf_weight);
			err = rt_place_set(place, FIELD("blockIO.weightDevice"), "blkio.leaf_weight_device", text);
		}
	}
	return err;
}

static struct rt_error *set_block_io(const struct rt_cgroup *cgroup, const struct rt_spec_block_io *io)
{
	const struct {
		const struct rt_spec_throttle *throttle;
		const char *field, *file;
	} throttles[] = {
		{ &io->read_bps, FIELD("blockIO.throttleReadBpsDevice"), "blkio.throttle.read_bps_device" },
		{ &io->write_bps, FIELD("blockIO.throttleWriteBpsDevice"), "blkio.throttle.write_bps_device" },
		{ &io->read_iops, FIELD("blockIO.throttleReadIOPSDevice"), "blkio.throttle.read_iops_device" },
		{ &io->write_iops, FIELD("blockIO.throttleWriteIOPSDevice"), "blkio.throttle.write_iops_device" },
	};
	bool weights = io->weight || io->leaf_weight || io->weight_device_count;
	struct rt_cgroup_place *place;
	struct rt_error *err;
	char text[80];

	if (!weights && !io->read_bps.count && !io->write_bps.count && !io->read_iops.count && !io->write_iops.count)
		return NULL;
	err = find(cgroup, "blkio", FIELD("blockIO"), &place);
	if (err || !place)
		return err;
	if (weights)
		err = set_weights(place, io);
	for (size_t i = 0; i < RT_ARRAY_SIZE(throttles); i++) {
		for (size_t j = 0; !err && j < throttles[i].throttle->count; j++) {
			const struct rt_spec_throttle_device *d = &throttles[i].throttle->entries[j];

			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, d->major, d->minor, d->rate);
			err = rt_place_set(place, throttles[i].field, throttles[i].file, text);
		}
	}
	return err;
}

static struct rt_error *set_hugepages(const struct rt_cgroup *cgroup, const struct rt_spec_resources *r)
{
	struct rt_cgroup_place *place;
	struct rt_error *err = NULL;

	if (!r->hugepage_limit_count)
		return NULL;
	err = find(cgroup, "hugetlb", FIELD("hugepageLimits"), &place);
	for (size_t i = 0; !err && place && i < r->hugepage_limit_count; i++) {
		char file[64], reserved[64], text[24];

		snprintf(file, sizeof(file), "hugetlb.%.16s.limit_in_bytes", r->hugepage_limits[i].page_size);
		snprintf(reserved, sizeof(reserved), "hugetlb.%.16s.rsvd.limit_in_bytes", r->hugepage_limits[i].page_size);
		snprintf(text, sizeof(text), "%" PRIu64, r->hugepage_limits[i].limit);
		err = rt_place_set(place, FIELD("hugepageLimits"), file, text);
		if (!err && rt_place_has(place, reserved))
			err = rt_place_set(place, FIELD("hugepageLimits"), reserved, text);
	}
	return err;
}

static struct rt_error *set_network(const struct rt_cgroup *cgroup, const struct rt_spec_resources *r)
{
	const struct rt_cgroup_place *classes = rt_cgroup_place(cgroup, "net_cls"), *priorities = rt_cgroup_place(cgroup, "net_prio");
	struct rt_error *err = NULL;
	char text[64];

	if (r->network_class_id && *r->network_class_id) {
		if (!classes)
			return rt_cgroup_no_controller(FIELD("network.classID"), "net_cls");
		snprintf(text, sizeof(text), "%u", *r->network_class_id);
		err = rt_place_set(classes, FIELD("network.classID"), "net_cls.classid", text);
	}
	if (r->network_priority_count && !priorities)
		err = err ? err : rt_cgroup_no_controller(FIELD("network.priorities"), "net_prio");
	for (size_t i = 0; !err && i < r->network_priority_count; i++) {
		snprintf(text, sizeof(text), "%.40s %u", r->network_priorities[i].name, r->network_priorities[i].priority);
		err = rt_place_set(priorities, FIELD("network.priorities"), "net_prio.ifpriomap", text);
	}
	return err;
}

static struct rt_error *set_rdma(const struct rt_cgroup *cgroup, const struct rt_spec_resources *r)
{
	struct rt_cgroup_place *place;
	struct rt_error *err = NULL;

	if (!r->rdma_count)
		return NULL;
	err = find(cgroup, "rdma", FIELD("rdma"), &place);
	for (size_t i = 0; !err && place && i < r->rdma_count; i++) {
		char text[256];
		size_t used = (size_t)snprintf(text, sizeof(text), "%.128s", r->rdma[i].device);

		if (r->rdma[i].handles)
			used += (size_t)snprintf(text + used, sizeof(text) - used, " hca_handle=%u", *r->rdma[i].handles);
		if (r->rdma[i].objects)
			snprintf(text + used, sizeof(text) - used, " hca_object=%u", *r->rdma[i].objects);
		err = rt_place_set(place, FIELD("rdma"), "rdma.max", text);
	}
	return err;
}

struct rt_error *rt_limits_apply_v1(const struct rt_cgroup *cgroup, const struct rt_spec_resources *r)
{
	struct rt_error *err = set_memory(cgroup, &r->memory);

	if (!err)
		err = set_cpu(cgroup, &r->cpu);
	if (!err)
		err = set_cpuset(cgroup, &r->cpu);
	if (!err)
		err = set_pids(cgroup, r->pids_limit);
	if (!err)
		err = set_block_io(cgroup, &r->block_io);
	if (!err)
		err = set_hugepages(cgroup, r);
	if (!err)
		err = set_network(cgroup, r);
	if (!err)
		err = set_rdma(cgroup, r);
	if (!err && r->unified_count && !rt_cgroup_v2_place(cgroup))
		err = rt_fail(RT_SYSTEM, "'" FIELD("unified") "': this machine has no cgroup v2");
	return err;
}

bool rt_limits_any(const struct rt_spec_resources *r)
{
	const struct rt_spec_memory *m = &r->memory;
	const struct rt_spec_cpu *c = &r->cpu;
	const struct rt_spec_block_io *io = &r->block_io;

	return m->limit || m->reservation || m->swap || m->kernel || m->kernel_tcp || m->swappiness || m->use_hierarchy ||
	       (m->disable_oom_killer && *m->disable_oom_killer) || c->shares || c->quota || c->period || c->burst || c->idle ||
	       c->realtime_period || c->realtime_runtime || c->cpus || c->mems || (r->pids_limit && *r->pids_limit != 0) ||
	       io->weight || io->leaf_weight || io->weight_device_count || io->read_bps.count || io->write_bps.count ||
	       io->read_iops.count || io->write_iops.count || r->hugepage_limit_count || r->network_class_id ||
	       r->network_priority_count || r->rdma_count || r->unified_count;
}
