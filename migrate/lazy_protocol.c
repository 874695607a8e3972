#include "migrate/lazy_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SOCKET_NAME "lazy-pages.socket"
#define RESTORED 0x52535446

struct rt_error *rt_lazy_open_socket(struct rt_lazy *lazy)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int length, saved;
	mode_t mask;

	lazy->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (lazy->listen_fd < 0)
		return rt_fail_errno("cannot make the socket for CRIU");
	length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" SOCKET_NAME, rt_fd_path(lazy->options.work_fd).text);
	if (length < 0 || (size_t)length >= sizeof(address.sun_path))
		return rt_fail(RT_SYSTEM, "the name of the socket for CRIU is too long");
	if (unlinkat(lazy->options.work_fd, SOCKET_NAME, 0) < 0 && errno != ENOENT)
		return rt_fail_errno("cannot remove '" SOCKET_NAME "'");
	mask = umask(0177);
	length = bind(lazy->listen_fd, (struct sockaddr *)&address, sizeof(address));
	saved = errno;
	umask(mask);
	if (length < 0)
		return rt_fail_with(saved, "cannot make '" SOCKET_NAME "'");
	if (listen(lazy->listen_fd, 4) < 0)
		return rt_fail_errno("cannot listen on '" SOCKET_NAME "'");
	return rt_lazy_watch(lazy, lazy->listen_fd, &lazy->listen_fd);
}

void rt_lazy_close_socket(struct rt_lazy *lazy)
{
	if (lazy->listen_fd < 0)
		return;
	/* A name that stays does no harm: the next one that listens here removes it. */
	if (unlinkat(lazy->options.work_fd, SOCKET_NAME, 0) < 0)
		rt_debug("cannot remove '" SOCKET_NAME "'");
	close(rt_take_fd(lazy->listen_fd));
}

struct rt_error *rt_lazy_accept(struct rt_lazy *lazy)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(lazy->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR ? NULL : rt_fail_errno("cannot accept CRIU's connection");
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (peer.uid != 0 && peer.uid != geteuid())) {
		rt_warn("user %u may not connect to '" SOCKET_NAME "', ignoring it", (unsigned)peer.uid);
		close(fd);
		return NULL;
	}
	/* There is one connection, for all tasks. */
	rt_lazy_close_socket(lazy);
	lazy->socket_fd = fd;
	return rt_lazy_watch(lazy, fd, &lazy->socket_fd);
}

static struct rt_error *take_word(struct rt_lazy *lazy)
{
	int32_t word;

	memcpy(&word, lazy->word, sizeof(word));
	lazy->word_filled = 0;
	if (word == RESTORED) {
		lazy->restored = true;
		return NULL;
	}
	/* A zombie has no memory: its number comes negative, and no descriptor. */
	if (word <= 0)
		return NULL;
	memcpy(lazy->word, &word, sizeof(word));
	lazy->fd_follows = true;
	return NULL;
}

static struct rt_error *take_descriptor(struct rt_lazy *lazy, int uffd)
{
	struct rt_lazy_space *space;
	int32_t number;

	memcpy(&number, lazy->word, sizeof(number));
	lazy->fd_follows = false;
	space = rt_lazy_find_space(lazy, (uint64_t)number);
	if (!space) {
		close(uffd);
		return rt_fail(RT_CRIU, "CRIU restores task %d, of which there is no image of pages", (int)number);
	}
	return rt_lazy_add_task(lazy, space, NULL, uffd);
}

struct rt_error *rt_lazy_read_socket(struct rt_lazy *lazy)
{
	struct rt_error *err = NULL;

	while (!err) {
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		uint8_t dummy;
		struct iovec part = { lazy->fd_follows ? &dummy : lazy->word + lazy->word_filled, lazy->fd_follows ? 1 : 4 - lazy->word_filled };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
		ssize_t got = recvmsg(lazy->socket_fd, &message, MSG_CMSG_CLOEXEC);
		struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
		int fd = -1;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return NULL;
		if (got <= 0) {
			err = got < 0 && errno != ECONNRESET ? rt_fail_errno("cannot read from CRIU's socket for lazy pages") : NULL;
			close(rt_take_fd(lazy->socket_fd));
			if (!err && !lazy->restored)
				err = rt_fail(RT_CRIU, "CRIU ended before the tasks were restored");
			return err;
		}
		if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(header), sizeof(fd));
		if (lazy->fd_follows != (fd >= 0)) {
			if (fd >= 0)
				close(fd);
			return rt_fail(RT_CRIU, "CRIU speaks another protocol for lazy pages");
		}
		if (lazy->fd_follows) {
			err = take_descriptor(lazy, fd);
			continue;
		}
		lazy->word_filled += (size_t)got;
		if (lazy->word_filled == sizeof(lazy->word))
			err = take_word(lazy);
	}
	return err;
}
