#include "checkpoint/members.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"

#include <fcntl.h>
#include <string.h>

/* No tree is deeper; a chain that is was read while it changed. */
#define DEPTH_LIMIT 10000

void rt_members_deinit(struct rt_members *members)
{
	free(members->pids);
	*members = RT_MEMBERS_NULL;
}

static struct rt_error *descends_from(pid_t pid, pid_t init, bool *ret_found, bool *ret)
{
	*ret_found = true;
	*ret = true;
	for (unsigned depth = 0; pid != init; depth++) {
		struct rt_proc_stat stat;
		struct rt_error *err;
		bool found;

		err = rt_proc_stat(pid, &stat, &found);
		if (err)
			return err;
		if (depth == 0)
			*ret_found = found;
		if (!found || stat.parent <= 1 || depth == DEPTH_LIMIT) {
			*ret = false;
			return NULL;
		}
		pid = stat.parent;
	}
	return NULL;
}

static struct rt_error *all_of(const struct rt_container *container, pid_t **ret, size_t *ret_count)
{
	*ret_count = 0;
	if (container->cgroup) {
		struct rt_error *err = rt_cgroup_pids(container->cgroup, ret, ret_count);

		if (err || *ret_count > 0)
			return err;
		free(*ret);
	}
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return rt_error_oom();
	**ret = container->state.pid;
	*ret_count = 1;
	return NULL;
}

struct rt_error *rt_members_find(const struct rt_container *container, struct rt_members *ret)
{
	_cleanup_free_ pid_t *all = NULL;
	_cleanup_(rt_members_deinit) struct rt_members members = RT_MEMBERS_NULL;
	struct rt_error *err;
	size_t total, at;

	err = all_of(container, &all, &total);
	if (err)
		return err;
	members.pids = calloc(total, sizeof(*members.pids));
	if (!members.pids)
		return rt_error_oom();
	at = total;
	for (size_t i = 0; i < total; i++) {
		bool found, member;

		err = descends_from(all[i], container->state.pid, &found, &member);
		if (err)
			return err;
		if (found && member)
			members.pids[members.count++] = all[i];
		else if (found)
			members.pids[--at] = all[i];
	}
	for (; at < total; at++)
		members.pids[members.count + members.guests++] = members.pids[at];
	*ret = members;
	members = RT_MEMBERS_NULL;
	return NULL;
}

struct rt_error *rt_member_inner_pid(pid_t pid, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	const char *line, *last;
	char path[32];
	struct rt_error *err;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	*ret = 0;
	err = rt_read_file_at(AT_FDCWD, path, 64u << 10, &text, NULL);
	if (err && (err->errnum == ENOENT || err->errnum == ESRCH))
		return rt_error_free(err);
	if (err)
		return err;
	line = strstr(text, "\nNSpid:");
	if (!line)
		return rt_fail(RT_SYSTEM, "'%s' does not tell pids of namespaces", path);
	line += strlen("\nNSpid:");
	last = line;
	for (const char *p = line; *p && *p != '\n'; p++)
		if (*p == '\t' || *p == ' ')
			last = p + 1;
	*ret = strtoull(last, NULL, 10);
	return NULL;
}
