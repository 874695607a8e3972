#include "runtime/container/birth.h"

#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <sys/socket.h>
#include <sys/un.h>

/* The name is removed once we are connected: from then on the container counts as running, and should we die, its
 * process sees our end and ends. */
static struct rt_error *connect_start(const struct rt_container *container, int *ret)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return rt_fail_errno("cannot make a socket");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" RT_START_SOCKET, rt_fd_path(container->dir_fd).text);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return rt_fail_errno("cannot reach the container's process");
	if (unlinkat(container->dir_fd, RT_START_SOCKET, 0) < 0)
		return rt_fail_errno("cannot remove '" RT_START_SOCKET "'");
	*ret = rt_take_fd(fd);
	return NULL;
}

static struct rt_error *let_run(struct rt_container *container, int socket_fd)
{
	const struct rt_spec *spec; /* read here, for the hooks */
	struct rt_error *err = rt_init_start(socket_fd);

	if (err || container->state.self_contained)
		return err;
	err = rt_container_spec(container, &spec);
	return err ? err : rt_birth_run_poststart(container);
}

struct rt_error *rt_container_start(const struct rt_context *context, const char *id)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	_cleanup_close_ int socket_fd = -1;
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &container, &status);
	if (err)
		return err;
	switch (status) {
	case RT_STATUS_CREATED:
		break;
	case RT_STATUS_STOPPED:
		return rt_fail(RT_WRONG_STATE, "cannot start '%s': a container that has stopped can't be started again", id);
	case RT_STATUS_RUNNING:
		return rt_fail(RT_WRONG_STATE, "cannot start '%s': it is already running", id);
	case RT_STATUS_CREATING:
	case RT_STATUS_PAUSED:
		return rt_fail(RT_WRONG_STATE, "cannot start '%s': it is %s", id, rt_status_name(status));
	}
	err = connect_start(&container, &socket_fd);
	if (!err) {
		err = let_run(&container, socket_fd);
		/* A container is started once: what failed then is of no more use, and runtime.md wants it destroyed. */
		if (err)
			rt_warn_ignored(rt_container_destroy(&container));
	}
	if (err)
		return rt_while(err, "cannot start '%s'", id);
	return NULL;
}
