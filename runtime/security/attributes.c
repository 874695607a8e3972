#include "runtime/security/security.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/security/bitlist.h"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define NODE_MAX 1024 /* the largest CONFIG_NODES_SHIFT, 10 */

static struct rt_error *set_limit(const struct rt_spec_rlimit *wanted, rlim64_t soft, rlim64_t hard)
{
	const struct rlimit64 limit = {.rlim_cur = soft, .rlim_max = hard};

	if (prlimit64(0, (enum __rlimit_resource)wanted->resource, &limit, NULL) < 0)
		return rt_fail_errno("cannot set '%s' to soft %llu, hard %llu", wanted->name, (unsigned long long)soft,
				     (unsigned long long)hard);
	return NULL;
}

struct rt_error *rt_rlimits_raise(const struct rt_spec_rlimit *rlimits, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct rt_error *err;
		struct rlimit64 now;

		if (prlimit64(0, (enum __rlimit_resource)rlimits[i].resource, NULL, &now) < 0)
			return rt_fail_errno("cannot read '%s'", rlimits[i].name);
		if (now.rlim_max >= rlimits[i].hard)
			continue;
		err = set_limit(&rlimits[i], now.rlim_cur, rlimits[i].hard);
		if (err)
			return err;
	}
	return NULL;
}

struct rt_error *rt_rlimits_apply(const struct rt_spec_rlimit *rlimits, size_t count)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; i < count && !err; i++)
		err = set_limit(&rlimits[i], rlimits[i].soft, rlimits[i].hard);
	return err;
}

/* sched_setattr(2); the kernel's header cannot be included next to libc's <sched.h>. */
struct scheduler_attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct scheduler_attributes) == 48, "SCHED_ATTR_SIZE_VER0 of the kernel");

struct rt_error *rt_scheduler_apply(const struct rt_spec_scheduler *scheduler)
{
	struct scheduler_attributes attributes = {
		.size = sizeof(attributes),
		.policy = (uint32_t)scheduler->policy,
		.flags = scheduler->flags,
		.nice = scheduler->nice,
		.priority = (uint32_t)scheduler->priority,
		.runtime = scheduler->runtime,
		.deadline = scheduler->deadline,
		.period = scheduler->period,
	};

	if (!scheduler->present)
		return NULL;
	if (syscall(SYS_sched_setattr, 0, &attributes, 0) < 0)
		return rt_fail_errno("cannot apply 'process.scheduler'");
	return NULL;
}

struct rt_error *rt_io_priority_apply(int io_class, int priority)
{
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(io_class, priority)) < 0)
		return rt_fail_errno("cannot apply 'process.ioPriority'");
	return NULL;
}

struct rt_error *rt_cpu_affinity_apply(const char *cpus, pid_t pid)
{
	struct rt_bitlist set;
	struct rt_error *err = rt_bitlist_parse(cpus, RT_BITLIST_MAX, "process.execCPUAffinity", &set);

	if (err)
		return err;
	if (syscall(SYS_sched_setaffinity, pid, sizeof(set.words), set.words) < 0)
		return rt_fail_errno("cannot apply 'process.execCPUAffinity' '%s'", cpus);
	return NULL;
}

struct rt_error *rt_memory_policy_apply(const struct rt_spec_memory_policy *policy)
{
	struct rt_bitlist nodes = {0};
	bool has_nodes = policy->nodes && *policy->nodes;
	struct rt_error *err;

	if (!policy->present)
		return NULL;
	if (has_nodes) {
		err = rt_bitlist_parse(policy->nodes, NODE_MAX, "linux.memoryPolicy.nodes", &nodes);
		if (err)
			return err;
	}
	/* The kernel takes one bit less than it is told. */
	if (syscall(SYS_set_mempolicy, policy->mode | (int)policy->flags, has_nodes ? nodes.words : NULL,
		    has_nodes ? (unsigned long)NODE_MAX + 1 : 0UL) < 0)
		return rt_fail_errno("cannot apply 'linux.memoryPolicy'");
	return NULL;
}

struct rt_error *rt_personality_apply(const struct rt_spec_personality *execution)
{
	if (execution->present && personality(execution->domain) < 0)
		return rt_fail_errno("cannot apply 'linux.personality'");
	return NULL;
}

static struct rt_error *write_oom_score_adj(int32_t value, int proc_fd)
{
	_cleanup_close_ int fd = openat(proc_fd, "oom_score_adj", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	char text[16];

	if (fd < 0)
		return rt_fail_errno("cannot open 'oom_score_adj'");
	if (!rt_is_procfs(fd))
		return rt_fail(RT_SYSTEM, "'oom_score_adj' is not on procfs");
	return rt_write_all(fd, text, (size_t)snprintf(text, sizeof(text), "%d", value));
}

struct rt_error *rt_oom_score_adj_apply(int32_t value, int proc_fd, bool tolerate_refusal)
{
	struct rt_error *err = write_oom_score_adj(value, proc_fd);

	if (!err)
		return NULL;
	err = rt_while(err, "setting 'process.oomScoreAdj' to %d", value);
	if (!tolerate_refusal || err->errnum != EACCES)
		return err;
	rt_warn_ignored(err);
	return NULL;
}
