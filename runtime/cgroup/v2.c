/* What only the v2 hierarchy needs: enabling controllers from the root downwards, and delegation. */
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/private.h"

#include <fcntl.h>
#include <limits.h>

enum {
	CPU = 1 << 0,
	CPUSET = 1 << 1,
	IO = 1 << 2,
	MEMORY = 1 << 3,
	PIDS = 1 << 4,
	HUGETLB = 1 << 5,
	RDMA = 1 << 6,
	MISC = 1 << 7,
	DMEM = 1 << 8,
};
static const char *const names[] = { "cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc", "dmem" };

static const char *const fields[] = {
	"linux.resources.cpu", "linux.resources.cpu.cpus", "linux.resources.blockIO", "linux.resources.memory",
	"linux.resources.pids", "linux.resources.hugepageLimits", "linux.resources.rdma", "linux.resources.unified",
	"linux.resources.unified",
};

/* For statistics and later updates. */
#define ORDINARY (CPU | IO | MEMORY | PIDS)

static unsigned parse_controllers(const char *text)
{
	unsigned found = 0;

	while (*text) {
		size_t length = strcspn(text, " \n");

		for (unsigned i = 0; i < RT_ARRAY_SIZE(names); i++)
			if (strlen(names[i]) == length && strncmp(text, names[i], length) == 0)
				found |= 1U << i;
		text += length;
		text += strspn(text, " \n");
	}
	return found;
}

/* "memory.high" belongs to memory; files of the core ("cgroup.freeze") to nobody. */
static unsigned controller_of_file(const char *file)
{
	for (unsigned i = 0; i < RT_ARRAY_SIZE(names); i++)
		if (rt_str_starts(file, names[i]) && file[strlen(names[i])] == '.')
			return 1U << i;
	return 0;
}

static unsigned needed_by(const struct rt_spec_resources *r)
{
	unsigned needed = 0;

	if (r->memory.limit || r->memory.reservation || r->memory.swap)
		needed |= MEMORY;
	if (r->cpu.shares || r->cpu.quota || r->cpu.period || r->cpu.burst || r->cpu.idle)
		needed |= CPU;
	if (r->cpu.cpus || r->cpu.mems)
		needed |= CPUSET;
	if (r->pids_limit && *r->pids_limit != 0)
		needed |= PIDS;
	if (r->block_io.weight || r->block_io.weight_device_count || r->block_io.read_bps.count || r->block_io.write_bps.count ||
	    r->block_io.read_iops.count || r->block_io.write_iops.count)
		needed |= IO;
	if (r->hugepage_limit_count)
		needed |= HUGETLB;
	if (r->rdma_count)
		needed |= RDMA;
	for (size_t i = 0; i < r->unified_count; i++)
		needed |= controller_of_file(r->unified[i].key);
	return needed;
}

/* Our limits, as far as no v1 hierarchy has the controller. */
static unsigned without_v1(const struct rt_cgroup *cgroup, unsigned set)
{
	for (unsigned i = 0; i < RT_ARRAY_SIZE(names); i++)
		if (rt_cgroup_place(cgroup, (1U << i) == IO ? "blkio" : names[i]))
			set &= ~(1U << i);
	return set;
}

static struct rt_error *read_set(const char *directory, const char *file, unsigned *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	struct rt_error *err;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	err = rt_read_file_at(AT_FDCWD, path, 4096, &text, NULL);
	if (err)
		return err;
	*ret = parse_controllers(text);
	return NULL;
}

static struct rt_error *write_set(const char *directory, unsigned set)
{
	char path[PATH_MAX + 32], text[128] = "";

	for (unsigned i = 0; i < RT_ARRAY_SIZE(names); i++) {
		if (!(set & (1U << i)))
			continue;
		strcat(text, *text ? " +" : "+");
		strcat(text, names[i]);
	}
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", directory);
	return rt_write_file_at(AT_FDCWD, path, text);
}

/* All at once; where the kernel refuses, one by one, so that one that can't be had doesn't cost the others. What is
 * still missing shows when the limit that needs it is written; only what is needed for sure is reported here. */
static struct rt_error *enable_in(const char *directory, unsigned wanted, unsigned needed)
{
	struct rt_error *err = write_set(directory, wanted), *first = NULL;

	if (!err)
		return NULL;
	rt_error_free(err);
	for (unsigned i = 0; i < RT_ARRAY_SIZE(names); i++) {
		unsigned one = 1U << i;

		if (!(wanted & one))
			continue;
		err = write_set(directory, one);
		if (err && (needed & one) && !first)
			first = rt_while(err, "enabling the '%s' controller below '%s'%s", names[i], directory,
					 err->errnum == EBUSY ? " (processes live in that cgroup itself)" : "");
		else
			rt_error_free(err);
	}
	return first;
}

struct rt_error *rt_v2_enable(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources)
{
	const struct rt_cgroup_place *place = rt_cgroup_v2_place(cgroup);
	unsigned needed = without_v1(cgroup, resources ? needed_by(resources) : 0);
	unsigned wanted = needed | without_v1(cgroup, ORDINARY), there = 0, available = 0;
	size_t at = strlen(place->hierarchy->mount_point);
	char directory[PATH_MAX];
	struct rt_error *err;

	if (!wanted)
		return NULL;
	err = read_set(place->directory, "cgroup.controllers", &there);
	if (err || !(wanted & ~there))
		return err;
	err = read_set(place->hierarchy->mount_point, "cgroup.controllers", &available);
	if (err)
		return err;
	if (needed & ~available) {
		int missing = __builtin_ctz(needed & ~available);

		return rt_cgroup_no_controller(fields[missing], names[missing]);
	}
	wanted &= available;
	while (place->directory[at] && (wanted & ~there)) {
		snprintf(directory, sizeof(directory), "%.*s", (int)at, place->directory);
		err = enable_in(directory, wanted, needed & ~there);
		if (err)
			return err;
		at++;
		at += strcspn(place->directory + at, "/");
	}
	return NULL;
}

/* The kernel lists what may be given away; older ones don't, and these are what they have. */
static void delegated_files(char *text, size_t room)
{
	static const char fallback[] = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
	int fd = open("/sys/kernel/cgroup/delegate", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, room - 1);

	rt_closep(&fd);
	if (got <= 0)
		memcpy(text, fallback, sizeof(fallback));
	else
		text[got] = '\0';
}

struct rt_error *rt_v2_delegate(const struct rt_cgroup_place *place, uid_t owner)
{
	_cleanup_close_ int dir_fd = open(place->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char files[2048], *save = NULL;

	if (dir_fd < 0 || fchownat(dir_fd, "", owner, (gid_t)-1, AT_EMPTY_PATH) < 0)
		return rt_fail_errno("cannot give cgroup '%s' to uid %u", place->directory, owner);
	delegated_files(files, sizeof(files));
	for (char *file = strtok_r(files, "\n", &save); file; file = strtok_r(NULL, "\n", &save))
		if (!strchr(file, '/') && fchownat(dir_fd, file, owner, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return rt_fail_errno("cannot give '%s/%s' to uid %u", place->directory, file, owner);
	return NULL;
}

/* The kernel asks for write access to cgroup.procs of the target, and of the nearest cgroup above both it and us. */
bool rt_v2_may_enter(const struct rt_cgroup_place *place, const char *own)
{
	const char *path = place->hierarchy->path;
	size_t i = 0, common = 0;
	char file[PATH_MAX];

	while (path[i] && path[i] == own[i]) {
		i++;
		if ((path[i] == '/' || !path[i]) && (own[i] == '/' || !own[i]))
			common = i;
	}
	snprintf(file, sizeof(file), "%s%.*s/cgroup.procs", place->hierarchy->mount_point, (int)common, path);
	return faccessat(AT_FDCWD, file, W_OK, AT_EACCESS) == 0;
}
