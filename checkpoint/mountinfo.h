/* The mounts of a process, from /proc/PID/mountinfo. */
#pragma once

#include "runtime/base/arena.h"

#include <sys/types.h>

struct rt_mountinfo_entry {
	int id, parent;
	dev_t device; /* of the file system */
	const char *root; /* which directory or file of it */
	const char *point; /* where, from the process's root */
	const char *type, *source;
	const char *options; /* of the file system, not of the mount: "rw,size=65536k,mode=755" */
};

struct rt_mountinfo {
	struct rt_mountinfo_entry *entries; /* in the order of the kernel: parents before children */
	size_t count;
	struct rt_arena arena; /* owns everything above */
};
#define RT_MOUNTINFO_NULL ((struct rt_mountinfo){ .count = 0 })

/* pid 0: our own. */
struct rt_error *rt_mountinfo_load(pid_t pid, struct rt_mountinfo *ret) _must_check_;
/* Pure: the same of a text in memory. */
struct rt_error *rt_mountinfo_parse(const char *text, struct rt_mountinfo *ret) _must_check_;
void rt_mountinfo_deinit(struct rt_mountinfo *mounts);

/* The last one of this id or on this point; NULL: none. */
const struct rt_mountinfo_entry *rt_mountinfo_by_id(const struct rt_mountinfo *mounts, int id);
const struct rt_mountinfo_entry *rt_mountinfo_by_point(const struct rt_mountinfo *mounts, const char *point);
bool rt_mountinfo_has_device(const struct rt_mountinfo *mounts, dev_t device);
