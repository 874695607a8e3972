/* The open container, and what the kernel says of it. */
#include "runtime/container/container.h"

#include "runtime/base/fs.h"
#include "runtime/base/lock.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/file.h>

const char *rt_status_name(enum rt_status status)
{
	switch (status) {
	case RT_STATUS_CREATING:
		return "creating";
	case RT_STATUS_CREATED:
		return "created";
	case RT_STATUS_RUNNING:
		return "running";
	case RT_STATUS_PAUSED:
		return "paused";
	case RT_STATUS_STOPPED:
		return "stopped";
	}
	return "unknown";
}

struct rt_error *rt_container_check_id(const char *id)
{
	size_t length = strlen(id);

	if (length == 0)
		return rt_fail(RT_USAGE, "container id cannot be empty");
	if (length > 1024)
		return rt_fail(RT_USAGE, "invalid container id format: longer than 1024 characters");
	if (rt_str_equal(id, ".") || rt_str_equal(id, ".."))
		return rt_fail(RT_USAGE, "invalid container id format: '%s'", id);
	for (const char *at = id; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr("_+-.", *at))
			return rt_fail(RT_USAGE, "invalid container id format: '%s' may hold only letters, digits and _+-.", id);
	return NULL;
}

static struct rt_error *not_there(const char *id)
{
	return rt_fail(RT_NOT_FOUND, "container '%s' does not exist", id);
}

/* Between our opening of the directory and our getting the lock, a delete may have removed it: then it is not there. */
static bool was_removed(int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) < 0 || st.st_nlink == 0;
}

static struct rt_error *load_cgroup(struct rt_container *container)
{
	struct rt_json json = rt_json_root(container->state.cgroup);

	if (!json.value)
		return NULL;
	return rt_cgroup_from_json(&json, &container->cgroup);
}

struct rt_error *rt_container_open_dir(const struct rt_context *context, const char *id, int *ret)
{
	_cleanup_free_ char *path = NULL;
	struct rt_error *err;

	err = rt_container_check_id(id);
	if (!err)
		err = rt_format(&path, "%s/%s", context->root, id);
	if (err)
		return err;
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret < 0 && (errno == ENOENT || errno == ENOTDIR))
		return not_there(id);
	if (*ret < 0)
		return rt_fail_errno("cannot open '%s'", path);
	return NULL;
}

struct rt_error *rt_container_open(const struct rt_context *context, const char *id, unsigned flags,
				   struct rt_container *ret)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	struct rt_error *err;
	bool found = false;

	container.context = context;
	err = rt_container_open_dir(context, id, &container.dir_fd);
	if (err)
		return err;
	if (flags & RT_OPEN_LOCKED) {
		err = rt_lock_at(container.dir_fd, "lock", &container.lock_fd);
		if (err && err->errnum == ENOENT) {
			rt_error_free(err);
			return not_there(id);
		}
		if (err)
			return err;
		if (was_removed(container.dir_fd))
			return not_there(id);
	}
	err = rt_state_load(container.dir_fd, &container.state, &found);
	if (!err && found)
		err = rt_hold_adopt(&container);
	if (!err && found)
		err = load_cgroup(&container);
	if (err)
		return rt_while(err, "opening container '%s'", id);
	if (!found) {
		container.state.id = strdup(id);
		container.state.creating = true;
		if (!container.state.id)
			return rt_error_oom();
	}
	*ret = container;
	container = RT_CONTAINER_NULL;
	return NULL;
}

void rt_container_deinit(struct rt_container *container)
{
	rt_spec_free(container->spec);
	rt_cgroup_free(container->cgroup);
	rt_state_deinit(&container->state);
	rt_closep(&container->lock_fd);
	rt_closep(&container->dir_fd);
	*container = RT_CONTAINER_NULL;
}

struct rt_error *rt_container_spec(struct rt_container *container, const struct rt_spec **ret)
{
	if (!container->spec) {
		struct rt_fd_path dir = rt_fd_path(container->dir_fd);
		char path[sizeof(dir) + sizeof("/config.json")];
		struct rt_error *err;

		snprintf(path, sizeof(path), "%s/config.json", dir.text);
		err = rt_spec_load_file(path, &container->spec);
		if (err)
			return rt_while(err, "reading the configuration of '%s'", container->state.id);
	}
	*ret = container->spec;
	return NULL;
}

struct rt_error *rt_container_pidfd(const struct rt_container *container, int *ret)
{
	const struct rt_state *state = &container->state;
	_cleanup_close_ int pidfd = -1;
	struct rt_proc_stat stat;
	struct rt_error *err;
	bool found;

	*ret = -1;
	if (state->pid <= 0)
		return NULL;
	err = rt_pidfd_open(state->pid, &pidfd);
	if (err || pidfd < 0)
		return err;
	/* In this order: the descriptor pins the process whose start time is then compared. */
	err = rt_proc_stat(state->pid, &stat, &found);
	if (err)
		return err;
	if (found && stat.start_time == state->start_time && stat.state != 'Z' && stat.state != 'X')
		*ret = rt_take_fd(pidfd);
	return NULL;
}

struct rt_error *rt_container_status(const struct rt_container *container, enum rt_status *ret)
{
	_cleanup_close_ int pidfd = -1;
	struct rt_error *err;
	bool frozen = false;

	err = rt_container_pidfd(container, &pidfd);
	if (err)
		return err;
	/* With a process, too: one that is restored but not let go yet. */
	if (pidfd < 0 || container->state.creating) {
		*ret = container->state.creating ? RT_STATUS_CREATING : RT_STATUS_STOPPED;
		return NULL;
	}
	if (container->cgroup) {
		err = rt_cgroup_is_frozen(container->cgroup, &frozen);
		if (err)
			return err;
	}
	if (frozen)
		*ret = RT_STATUS_PAUSED;
	else if (faccessat(container->dir_fd, RT_START_SOCKET, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		*ret = RT_STATUS_CREATED;
	else
		*ret = RT_STATUS_RUNNING;
	return NULL;
}

struct rt_error *rt_container_lookup(const struct rt_context *context, const char *id, unsigned flags,
				     struct rt_container *ret, enum rt_status *ret_status)
{
	struct rt_error *err = rt_container_open(context, id, flags, ret);

	if (err)
		return err;
	err = rt_container_status(ret, ret_status);
	if (err) {
		rt_container_deinit(ret);
		return rt_while(err, "asking for the status of '%s'", id);
	}
	return NULL;
}
