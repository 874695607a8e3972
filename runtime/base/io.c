#include "runtime/base/io.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* offset -1: where the file stands. */
static struct rt_error *write_whole(int fd, const void *bytes, size_t size, off_t offset)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t written = offset < 0 ? write(fd, at, size) : pwrite(fd, at, size, offset);

		if (written < 0) {
			if (errno == EINTR)
				continue;
			return rt_fail_errno("cannot write");
		}
		at += written;
		size -= (size_t)written;
		offset += offset < 0 ? 0 : written;
	}
	return NULL;
}

struct rt_error *rt_write_all(int fd, const void *bytes, size_t size)
{
	return write_whole(fd, bytes, size, -1);
}

struct rt_error *rt_write_pipe(int fd, const void *bytes, size_t size)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction kept;
	struct rt_error *err;

	sigaction(SIGPIPE, &ignore, &kept);
	err = rt_write_all(fd, bytes, size);
	sigaction(SIGPIPE, &kept, NULL);
	return err;
}

struct rt_error *rt_write_all_at(int fd, const void *bytes, size_t size, off_t offset)
{
	return offset < 0 ? rt_fail_with(EINVAL, "cannot write before the beginning") : write_whole(fd, bytes, size, offset);
}

struct rt_error *rt_read_exact(int fd, void *bytes, size_t size)
{
	char *at = bytes;

	while (size > 0) {
		ssize_t got = read(fd, at, size);

		if (got < 0) {
			if (errno == EINTR)
				continue;
			return rt_fail_errno("cannot read");
		}
		if (got == 0)
			return rt_fail(RT_SYSTEM, "unexpected end, %zu bytes missing", size);
		at += got;
		size -= (size_t)got;
	}
	return NULL;
}

struct rt_error *rt_read_all(int fd, size_t limit, char **ret, size_t *ret_size)
{
	_cleanup_free_ char *bytes = NULL;
	size_t used = 0, room = 0;

	for (;;) {
		ssize_t got;

		if (room - used < 2) {
			size_t grown = room ? room * 2 : 4096;
			char *larger = realloc(bytes, grown);

			if (!larger)
				return rt_error_oom();
			bytes = larger;
			room = grown;
		}
		got = read(fd, bytes + used, room - used - 1);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return rt_fail_errno("cannot read");
		}
		if (got == 0)
			break;
		used += (size_t)got;
		if (used > limit)
			return rt_fail_with(EFBIG, "more than %zu bytes", limit);
	}
	bytes[used] = '\0';
	*ret = rt_take_ptr(bytes);
	if (ret_size)
		*ret_size = used;
	return NULL;
}

struct rt_error *rt_read_file_at(int dir_fd, const char *path, size_t limit, char **ret, size_t *ret_size)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct rt_error *err;

	if (fd < 0)
		return rt_fail_errno("cannot open '%s'", path);
	err = rt_read_all(fd, limit, ret, ret_size);
	if (err)
		return rt_while(err, "reading '%s'", path);
	return NULL;
}

struct rt_error *rt_write_file_at(int dir_fd, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t written;

	if (fd < 0)
		return rt_fail_errno("cannot open '%s'", path);
	do
		written = write(fd, text, strlen(text));
	while (written < 0 && errno == EINTR);
	if (written < 0)
		/* An error is one line; the first says enough of a longer text. */
		return rt_fail_errno("cannot write '%.*s' to '%s'", (int)strcspn(text, "\n"), text, path);
	return NULL;
}

struct rt_error *rt_send_message(int socket, const void *bytes, size_t size, const int *fds, size_t fd_count)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * RT_MAX_FDS)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd_count > RT_MAX_FDS)
		return rt_fail(RT_SYSTEM, "too many descriptors for one message: %zu", fd_count);
	if (fd_count > 0) {
		struct cmsghdr *header;

		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
	}
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return rt_fail_errno("cannot send");
	if ((size_t)sent != size)
		return rt_fail(RT_SYSTEM, "sent %zd of %zu bytes", sent, size);
	return NULL;
}

static size_t take_descriptors(struct msghdr *message, int *fds, size_t room)
{
	size_t count = 0;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		size_t here;

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here && count < room; i++)
			memcpy(&fds[count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
	}
	return count;
}

struct rt_error *rt_receive_message(int socket, void *bytes, size_t room, size_t *ret_size, int *fds, size_t fd_room,
				    size_t *ret_fd_count)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * RT_MAX_FDS)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { .iov_base = bytes, .iov_len = room };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room),
	};
	int arrived[RT_MAX_FDS];
	size_t count;
	ssize_t got;

	do
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return rt_fail_errno("cannot receive");
	count = take_descriptors(&message, arrived, RT_MAX_FDS);
	if (count > fd_room || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		for (size_t i = 0; i < count; i++)
			close(arrived[i]);
		return rt_fail(RT_SYSTEM, "a message arrived with more bytes or descriptors than expected");
	}
	if (count > 0)
		memcpy(fds, arrived, count * sizeof(int));
	*ret_size = (size_t)got;
	if (ret_fd_count)
		*ret_fd_count = count;
	return NULL;
}

struct rt_error *rt_fd_above_stdio(int *fd)
{
	int higher;

	if (*fd < 0 || *fd > STDERR_FILENO)
		return NULL;
	higher = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (higher < 0)
		return rt_fail_errno("cannot duplicate a descriptor");
	close(*fd);
	*fd = higher;
	return NULL;
}
