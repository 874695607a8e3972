/* How the machine has its cgroups mounted, from the text of /proc/self/mountinfo and /proc/self/cgroup. Pure but for
 * rt_layout_find(), which reads the two. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/cgroup/cgroup.h"

struct rt_cgroup_mount {
	const char *controllers; /* as the kernel spells the hierarchy: "cpu,cpuacct", "name=systemd"; "" for v2 */
	const char *mount_point;
	const char *own; /* our own cgroup, seen from the mount point: "/" or "/a/b" */
	const char *spelling; /* the controllers, in the order in which /proc/PID/cgroup has them; NULL: not known, or we are not in it */
	bool v2;
	bool whole; /* from the top, as our cgroup namespace has it; false where it is not known */
};

struct rt_layout {
	enum rt_cgroup_layout kind;
	struct rt_cgroup_mount *mounts; /* v1 in the order of mountinfo, v2 last */
	size_t count;
	bool whole; /* all hierarchies that we are in are there, and whole; false where it is not known */
};

/* Strings and arrays go to the arena. Mounts that others hide, and hierarchies mounted twice, are left out. */
struct rt_error *rt_layout_parse(const char *mountinfo, const char *own_cgroups, struct rt_arena *arena, struct rt_layout *ret) _must_check_;

/* On a pure v2 machine nothing is read unless we need our own cgroup; `own` is "/" then. */
enum { RT_LAYOUT_NEED_OWN = 1 << 0 };
struct rt_error *rt_layout_find(unsigned flags, struct rt_arena *arena, struct rt_layout *ret) _must_check_;

/* The path of a process in a hierarchy, from the text of its /proc/PID/cgroup; controllers as above. NULL: not in it, or
 * no memory. */
char *rt_layout_path_of(const char *cgroups, const char *controllers, struct rt_arena *arena);
