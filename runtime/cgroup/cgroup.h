/* One container's cgroup, whatever the machine's layout and manager: v1 (joint or apart), hybrid, v2; cgroupfs or systemd.
 *
 * The rest of `rt` sees only this header. cgroup.c picks the driver; one file each implements v1, v2 and systemd. It must
 * not know about containers' states, namespaces or mounts.
 *
 * Life: plan and create (before the clone) -> clone into it, or the child's enter_self -> adopt (after the clone) -> store in
 * state.json by to_json -> from_json in later commands -> destroy. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

#include <jansson.h>
#include <sys/types.h>

enum rt_cgroup_manager { RT_CGROUP_CGROUPFS, RT_CGROUP_SYSTEMD, RT_CGROUP_DISABLED };

/* How the machine has its cgroups mounted. */
enum rt_cgroup_layout { RT_CGROUP_V1, RT_CGROUP_HYBRID, RT_CGROUP_V2, RT_CGROUP_NONE };

struct rt_cgroup; /* opaque; freed by rt_cgroup_free() */

struct rt_cgroup_request {
	const char *id; /* of the container */
	const char *path; /* linux.cgroupsPath; NULL: the default, "/<id>" or, under systemd, "<slice>:rt:<id>" */
	enum rt_cgroup_manager manager;
	bool rootless; /* not root of the initial user namespace: what can't be made or limited is skipped, unless asked for */
	const struct rt_spec_resources *resources; /* applied as soon as the cgroup exists */
	const struct rt_spec_key_value *annotations; /* "org.systemd.property.*" */
	size_t annotation_count;
	bool must_be_new; /* create: an existing cgroup with processes, or a frozen one, is an error, as in runc */
	uid_t owner; /* delegate to this host uid: root of the container's user namespace, when cgroup.ns is new and v2; else (uid_t)-1 */
};

/* Decides driver, paths and names; touches nothing. The result can go to state.json before anything exists, so that a cgroup whose
 * maker is killed can still be found. */
struct rt_error *rt_cgroup_plan(const struct rt_cgroup_request *request, struct rt_cgroup **ret) _must_check_;

/* Makes what was planned where the driver can do so without a process (cgroupfs), and applies the limits. */
struct rt_error *rt_cgroup_create(struct rt_cgroup *cgroup, const struct rt_cgroup_request *request) _must_check_;

/* For exec: makes a cgroup from_json gave ready to be entered. `below` (NULL or
 * NULL-terminated) names cgroups below the container's (runc's `exec --cgroup`): one "path" for every hierarchy, or
 * "controller[,controller]:path" for one v1 hierarchy each. Without it, where v2 refuses processes in the container's own cgroup
 * because it has children with controllers, that of `init_pid` serves instead, as in runc. */
struct rt_error *rt_cgroup_enter_below(struct rt_cgroup *cgroup, const char *const *below, pid_t init_pid) _must_check_;

/* For clone3's CLONE_INTO_CGROUP: descriptor of the v2 directory, owned by the cgroup; -1: there is none to clone into. */
int rt_cgroup_clone_fd(const struct rt_cgroup *cgroup);

/* Opens what enter_self needs; the parent calls it before the clone. */
struct rt_error *rt_cgroup_open_entries(struct rt_cgroup *cgroup) _must_check_;

/* In the child, single-threaded, before it makes its cgroup namespace: moves itself by writing "0" to the v1 `tasks` files
 * opened before (a task that moves itself skips the kernel's global thread-group lock, which costs milliseconds); also
 * to the v2 cgroup.procs where `cloned_into` is false. */
struct rt_error *rt_cgroup_enter_self(const struct rt_cgroup *cgroup, bool cloned_into) _must_check_;

/* True: the child must be told to wait, before enter_self, for rt_cgroup_adopt() in the parent (systemd makes the cgroup around it). */
bool rt_cgroup_needs_adopt(const struct rt_cgroup *cgroup);
struct rt_error *rt_cgroup_adopt(struct rt_cgroup *cgroup, pid_t pid) _must_check_;

/* Moves another process in: for restore and for what cannot move itself. Every hierarchy. */
struct rt_error *rt_cgroup_add(struct rt_cgroup *cgroup, pid_t pid) _must_check_;

/* What state.json keeps of it, and back. */
struct rt_error *rt_cgroup_to_json(const struct rt_cgroup *cgroup, json_t **ret) _must_check_;
struct rt_error *rt_cgroup_from_json(const struct rt_json *json, struct rt_cgroup **ret) _must_check_;
void rt_cgroup_free(struct rt_cgroup *cgroup);
static inline void rt_cgroup_freep(struct rt_cgroup **cgroup)
{
	rt_cgroup_free(*cgroup);
}

/* Limits and device rules, as `rt update` changes them: only what is set in `resources` is touched. Device rules only where
 * device_count > 0. */
struct rt_error *rt_cgroup_apply(struct rt_cgroup *cgroup, const struct rt_spec_resources *resources) _must_check_;

/* Freezes or thaws and waits until it is done (ten seconds at most). */
struct rt_error *rt_cgroup_freeze(struct rt_cgroup *cgroup, bool frozen) _must_check_;
struct rt_error *rt_cgroup_is_frozen(const struct rt_cgroup *cgroup, bool *ret) _must_check_;

/* Every process in it and below, as this pid namespace sees them. The caller frees *ret. */
struct rt_error *rt_cgroup_pids(const struct rt_cgroup *cgroup, pid_t **ret, size_t *ret_count) _must_check_;

/* Sends a signal to all processes; SIGKILL repeats until none is left (cgroup.kill where there is one) and thaws first. */
struct rt_error *rt_cgroup_signal(struct rt_cgroup *cgroup, int signal) _must_check_;

/* Removes it and what the container made below. Not there: fine. Waits a little for dying processes to leave. */
struct rt_error *rt_cgroup_destroy(struct rt_cgroup *cgroup) _must_check_;

/* The counters `rt events --stats` prints, as runc's JSON ("cpu", "memory", "pids", "blkio", "hugetlb"). The caller decrefs. */
struct rt_error *rt_cgroup_stats(const struct rt_cgroup *cgroup, json_t **ret) _must_check_;

/* *ret_fd is readable when the OOM killer struck (v1 eventfd, v2 inotify on memory.events); rt_cgroup_oom_read() tells
 * whether it really did and rearms. -1: the memory controller isn't there. */
struct rt_error *rt_cgroup_oom_watch(const struct rt_cgroup *cgroup, int *ret_fd) _must_check_;
struct rt_error *rt_cgroup_oom_read(const struct rt_cgroup *cgroup, int fd, uint64_t *count, bool *ret_oom) _must_check_;

/* What a cgroup mount in the container needs to know. Borrowed from the cgroup. */
struct rt_cgroup_hierarchy {
	const char *controllers; /* "cpu,cpuacct", "name=systemd", "" for v2 */
	const char *mount_point; /* on the host: "/sys/fs/cgroup/cpu" */
	const char *mount_name; /* last component of it: "cpu" */
	const char *path; /* where its processes are, from the hierarchy's root: "/web" */
};
struct rt_cgroup_view {
	enum rt_cgroup_layout layout;
	const struct rt_cgroup_hierarchy *hierarchies;
	size_t count;
};
struct rt_cgroup_view rt_cgroup_view(const struct rt_cgroup *cgroup);

/* Directory of the cgroup on the host in the hierarchy of a controller ("memory", "freezer", "" for v2); NULL: not there. For
 * checkpoint and for `rt state`. Owned by the cgroup. */
const char *rt_cgroup_directory(const struct rt_cgroup *cgroup, const char *controller);

/* The machine's layout, found once a process from /proc/self/mountinfo and /proc/self/cgroup. */
struct rt_error *rt_cgroup_detect_layout(enum rt_cgroup_layout *ret) _must_check_;
