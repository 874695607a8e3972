/* From linux.cgroupsPath to a path below a mount point, as cgroupfs and as systemd read it. Pure. */
#pragma once

#include "runtime/base/arena.h"

/* cgroupfs: an absolute path counts from the mount point, a relative one from `own`. "." and ".." are resolved without ever
 * leaving the start, as runc does. RT_CONFIG when nothing is left of it: the cgroup at the start is not the container's to have. */
struct rt_error *rt_cgroup_path(const char *cgroups_path, const char *own, struct rt_arena *arena, char **ret) _must_check_;

/* systemd: "slice:prefix:name". */
struct rt_unit_name {
	const char *slice; /* "system.slice", "user.slice" or "-.slice" */
	const char *unit; /* "rt-web.scope", or "name.slice" where the name ends so */
	const char *path; /* "/system.slice/rt-web.scope", from the manager's own root */
	bool is_slice;
};
/* `cgroups_path` NULL: "<system or user>.slice:rt:<id>". */
struct rt_error *rt_cgroup_unit_name(const char *cgroups_path, const char *id, bool user, struct rt_arena *arena,
				     struct rt_unit_name *ret) _must_check_;
