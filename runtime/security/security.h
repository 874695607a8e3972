/* What a process may do: capabilities, seccomp, LSM labels, rlimits, and its scheduling and memory attributes.
 *
 * Each has a parent part that may read files and allocate (compile, parse), and a child part that only makes system
 * calls through runtime/sys. Nothing here knows about containers, namespaces or mounts. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

#include <linux/filter.h>

/* --- capabilities (caps.c) --- */

/* What the kernel knows, as a bit set. */
struct rt_error *rt_caps_known(uint64_t *ret) _must_check_;

/* The sets to give a process: the spec's, without what the kernel doesn't know (a warning), ambient within permitted
 * and inheritable (the rest is a warning). An absent process.capabilities means none at all, as in runc and crun:
 * ret->present is always true. */
struct rt_error *rt_caps_plan(const struct rt_spec_caps *spec, struct rt_spec_caps *ret) _must_check_;

/* Child: drops from the bounding set. Needs CAP_SETPCAP: before the user is switched. */
struct rt_error *rt_caps_bound(const struct rt_spec_caps *caps) _must_check_;

/* Child, after the user is switched with PR_SET_KEEPCAPS: permitted, effective, inheritable and ambient. `extra` bits
 * are added to permitted and effective: CAP_SYS_ADMIN when a filter is loaded right before execve without no_new_privs;
 * execve drops them. */
struct rt_error *rt_caps_set(const struct rt_spec_caps *caps, uint64_t extra) _must_check_;

/* --- seccomp (seccomp.c, seccomp_cache.c, seccomp_notify.c) --- */

struct rt_filter {
	struct sock_filter *program; /* owned; NULL: no filter */
	uint16_t length;	     /* instructions */
	unsigned flags;		     /* SECCOMP_FILTER_FLAG_* */
	bool has_listener;	     /* SECCOMP_FILTER_FLAG_NEW_LISTENER: load gives a descriptor */
};
void rt_filter_deinit(struct rt_filter *filter);

/* Compiles with libseccomp, or takes the program from the cache: `cache_dir_fd` (-1: none) holds files named by the
 * SHA-256 of the configuration, libseccomp's version, the architecture and the kernel release; written atomically,
 * 0600, verified when read; never grows beyond 64 entries. A rule for a syscall that libseccomp doesn't know is
 * skipped, as in runc. spec->present must be true. */
struct rt_error *rt_filter_compile(const struct rt_spec_seccomp *spec, int cache_dir_fd,
				   struct rt_filter *ret) _must_check_;

/* The state of the container in the form seccomp agents expect (containerProcessState of config-linux.md), sent with
 * the listener. */
struct rt_error *rt_filter_send_listener(const struct rt_spec_seccomp *spec, int listener, pid_t pid,
					 json_t *container_state) _must_check_;

/* --- LSM (lsm.c) --- */

/* Which of AppArmor and SELinux the kernel runs. */
bool rt_lsm_apparmor_enabled(void);
bool rt_lsm_selinux_enabled(void);

/* Parent: a label where the LSM is off is an error, as in runc. NULL and empty labels are fine. */
struct rt_error *rt_lsm_check(const char *apparmor_profile, const char *selinux_label) _must_check_;

/* Child: labels for the next execve. Written through /proc/thread-self/attr, opened on a
 * real procfs before the container could put anything over it: `proc_fd` is of a procfs the parent opened. */
struct rt_error *rt_lsm_apply(const char *apparmor_profile, const char *selinux_label, int proc_fd) _must_check_;

/* --- process attributes (attributes.c) --- */

/* Limits in two halves, since the rights for one are gone when it is time for the other. The parent, before the clone: raises its own
 * hard limits to those wanted, which takes CAP_SYS_RESOURCE and is inherited. */
struct rt_error *rt_rlimits_raise(const struct rt_spec_rlimit *rlimits, size_t count) _must_check_;
/* The child, right before execve: everybody may lower, and what is low must not bind the set-up before. */
struct rt_error *rt_rlimits_apply(const struct rt_spec_rlimit *rlimits, size_t count) _must_check_;
struct rt_error *rt_scheduler_apply(const struct rt_spec_scheduler *scheduler) _must_check_;
struct rt_error *rt_io_priority_apply(int io_class, int priority) _must_check_;
/* "0-3,7" to sched_setaffinity for a process (0: self). */
struct rt_error *rt_cpu_affinity_apply(const char *cpus, pid_t pid) _must_check_;
struct rt_error *rt_memory_policy_apply(const struct rt_spec_memory_policy *policy) _must_check_;
struct rt_error *rt_personality_apply(const struct rt_spec_personality *personality) _must_check_;
/* `proc_fd` is the process's own directory in a procfs. Only the parent can do it for a process in a user namespace
 * that is not dumpable: its files in procfs belong to the host's root. With tolerate_refusal EACCES (a value that takes
 * CAP_SYS_RESOURCE) is a warning. */
struct rt_error *rt_oom_score_adj_apply(int32_t value, int proc_fd, bool tolerate_refusal) _must_check_;

/* --- Intel RDT (intel_rdt.c): resctrl groups; parent --- */

/* Puts the process into the group of linux.intelRdt.closID, or of the container's id, and into a monitoring group where
 * asked. A group that exists must have the wanted schema already, as the spec demands; one that doesn't is made, and
 * *ret_created says so. */
struct rt_error *rt_intel_rdt_apply(const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid,
				    bool *ret_created) _must_check_;
/* `rt update`: the same, but an existing group gets the new schema. */
struct rt_error *rt_intel_rdt_update(const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid,
				     bool *ret_created) _must_check_;
/* To be called whether or not the group was created by us: the monitoring group is ours in any case. Nothing to remove
 * is fine. */
struct rt_error *rt_intel_rdt_destroy(const struct rt_spec_intel_rdt *rdt, const char *id, bool created) _must_check_;
