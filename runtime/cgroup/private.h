/* Shared by the files of this folder only: what a cgroup is made of, and small tools for its files.
 *
 * A cgroup has one *place* in each hierarchy it is in. Which kernel interface serves a controller is asked of its place:
 * on a hybrid machine some controllers are v1 and others v2, so code looks up places, never the layout. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/cgroup/cgroup.h"

/* One directory of the container. Strings belong to the cgroup's arena. */
struct rt_cgroup_place {
	struct rt_cgroup_hierarchy *hierarchy; /* the public half; borrowed from the cgroup's array */
	const char *directory; /* mount point + path */
	const char *own; /* our own cgroup there, seen from the mount point; NULL: not asked for */
	bool v2;
	bool fresh; /* we made the directory in this process: nothing in it was ever changed */
	unsigned made; /* how many components at the end of the path were made by us, over the whole life */
	int entry_fd; /* `tasks` (v1) or cgroup.procs (v2), for enter_self; -1: not opened */
};

struct rt_cgroup {
	enum rt_cgroup_layout layout;
	enum rt_cgroup_manager manager;
	bool rootless;
	bool created; /* false: planned, so what stands at its places need not be ours */
	struct rt_cgroup_hierarchy *hierarchies; /* one array, for rt_cgroup_view() */
	size_t hierarchy_count;
	struct rt_cgroup_place *places; /* one for each hierarchy, in its order, but for those where we may not make one */
	size_t count;
	int v2_fd; /* of the v2 place's directory; -1: none, or not opened */
	struct rt_systemd_plan *systemd; /* systemd.c's, in the arena; NULL: cgroupfs, or from state.json */
	const char *unit; /* systemd's unit; NULL: cgroupfs */
	struct rt_arena arena;
};

/* The place of a v1 controller ("memory"), of the v2 hierarchy (""); NULL: there is none. */
struct rt_cgroup_place *rt_cgroup_place(const struct rt_cgroup *cgroup, const char *controller);
static inline struct rt_cgroup_place *rt_cgroup_v2_place(const struct rt_cgroup *cgroup)
{
	return rt_cgroup_place(cgroup, "");
}
/* The v1 place of a controller, or else the v2 one; NULL: neither. */
struct rt_cgroup_place *rt_cgroup_place_for(const struct rt_cgroup *cgroup, const char *controller);

/* Appends a place; the strings must be the arena's, and the arrays have room. */
struct rt_error *rt_cgroup_add_place(struct rt_cgroup *cgroup, const char *controllers, const char *mount_point, const char *path) _must_check_;
struct rt_error *rt_cgroup_make_room(struct rt_cgroup *cgroup, size_t count) _must_check_;
/* Gives a place another path below its mount point (the arena's). */
struct rt_error *rt_place_move(struct rt_cgroup *cgroup, struct rt_cgroup_place *place, const char *path) _must_check_;
/* "cpu" in "cpu,cpuacct"; "" only in "". */
bool rt_has_controller(const char *controllers, const char *name);

/* place.c: directories */

/* Makes the place's directory and what is missing above it; counts in `made`, sets `fresh`. */
struct rt_error *rt_place_make(struct rt_cgroup_place *place) _must_check_;
/* A fresh v1 cpuset has no CPUs and takes no tasks: fills it, and the ones above that we made. `cpus` and `mems` are what the
 * limits will set anyway, or NULL. */
struct rt_error *rt_place_fill_cpuset(const struct rt_cgroup_place *place, const char *cpus, const char *mems) _must_check_;
/* Removes what was made of a place that nobody entered. */
void rt_place_undo(const struct rt_cgroup_place *place);
/* Fails when an existing cgroup has processes or is frozen. */
struct rt_error *rt_place_check_unused(const struct rt_cgroup_place *place) _must_check_;

/* file.c: files */

/* *ret is NULL where the file isn't there; the caller frees it. The newline at its end is gone. */
struct rt_error *rt_place_read(const struct rt_cgroup_place *place, const char *file, char **ret) _must_check_;
/* A number, with "max" as UINT64_MAX; *ret_found is false where the file isn't there (may be NULL: *ret stays). */
struct rt_error *rt_place_read_u64(const struct rt_cgroup_place *place, const char *file, uint64_t *ret, bool *ret_found) _must_check_;
struct rt_error *rt_place_write(const struct rt_cgroup_place *place, const char *file, const char *text) _must_check_;
bool rt_place_has(const struct rt_cgroup_place *place, const char *file);
/* The value of a line "key value" in a file's text; false: no such line. */
bool rt_flat_value(const char *text, const char *key, uint64_t *ret);

/* Writes whose order the kernel is particular about (memory before memory+swap, but the other way round when growing): what
 * it refuses as invalid is tried again after the rest. A batch that stays empty costs nothing. */
#define RT_BATCH_MOST 32
struct rt_batch {
	const struct rt_cgroup_place *place;
	struct rt_batch_entry {
		const char *file, *field; /* field: "linux.resources.memory.limit" */
		char value[48];
	} entries[RT_BATCH_MOST];
	size_t count;
};
void rt_batch_add_i64(struct rt_batch *batch, const char *file, const char *field, int64_t value);
void rt_batch_add_u64(struct rt_batch *batch, const char *file, const char *field, uint64_t value);
struct rt_error *rt_batch_write(const struct rt_batch *batch) _must_check_;

/* "'<field>': cannot write '<text>' to '<file of the place>'", with a hint for the errno where there is one. */
struct rt_error *rt_place_set(const struct rt_cgroup_place *place, const char *field, const char *file, const char *text) _must_check_;
struct rt_error *rt_place_refused(const struct rt_cgroup_place *place, const char *field, const char *file, const char *text) _must_check_;
/* For fields whose controller is nowhere. */
struct rt_error *rt_cgroup_no_controller(const char *field, const char *controller) _must_check_;

/* v2.c */

/* Sees that the controllers the limits need, and the ordinary ones, are enabled for the v2 place. */
struct rt_error *rt_v2_enable(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources) _must_check_;
/* Gives the cgroup to the container's root. */
struct rt_error *rt_v2_delegate(const struct rt_cgroup_place *place, uid_t owner) _must_check_;
/* True where we may move a process from our own cgroup into the place (matters to ordinary users only). */
bool rt_v2_may_enter(const struct rt_cgroup_place *place, const char *own);

/* limits_*.c: only what is set is written. */
struct rt_error *rt_limits_apply_v1(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources) _must_check_;
struct rt_error *rt_limits_apply_v2(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources) _must_check_;
/* True where anything but device rules is set. */
bool rt_limits_any(const struct rt_spec_resources *resources);

/* devices_v1.c, devices_bpf.c: the rules of the config and the ones every container gets, on top of "deny all". */
struct rt_error *rt_devices_apply(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources) _must_check_;

/* pids.c: a visit to the place's cgroup and every one below it, the deepest first. `path` is the directory. */
typedef struct rt_error *rt_cgroup_visit(int dir_fd, const char *path, void *userdata);
struct rt_error *rt_place_walk(const struct rt_cgroup_place *place, rt_cgroup_visit *visit, void *userdata) _must_check_;
/* Where the container's processes are listed. NULL: nowhere. */
struct rt_cgroup_place *rt_cgroup_process_place(const struct rt_cgroup *cgroup);

/* stats_*.c */
struct rt_error *rt_stats_v1(const struct rt_cgroup *cgroup, json_t *stats) _must_check_;
struct rt_error *rt_stats_v2(const struct rt_cgroup *cgroup, json_t *stats) _must_check_;
