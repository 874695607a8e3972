#include "runtime/init/sync.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <stddef.h>
#include <sys/socket.h>

#define HEAD_SIZE offsetof(struct rt_sync_message, text)

struct rt_error *rt_sync_pair(int ret[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0)
		return rt_fail_errno("cannot make a socket pair");
	return NULL;
}

struct rt_error *rt_sync_send(int socket, enum rt_sync_kind kind, int32_t value, int fd)
{
	const struct rt_sync_message message = { .kind = kind, .value = value };

	return rt_send_message(socket, &message, HEAD_SIZE, &fd, fd >= 0 ? 1 : 0);
}

struct rt_error *rt_sync_write(int socket, enum rt_sync_kind kind, int32_t value)
{
	const struct rt_sync_message message = { .kind = kind, .value = value };

	if (write(socket, &message, HEAD_SIZE) != (ssize_t)HEAD_SIZE)
		return rt_fail_errno("cannot write to the parent");
	return NULL;
}

/* The text without the final errno, which travels as a number. */
static void flatten(const struct rt_error *err, struct rt_sync_message *message)
{
	size_t used = 0;

	message->code = (int32_t)err->code;
	for (const struct rt_error *link = err; link && used < sizeof(message->text) - 1; link = link->cause) {
		int length = snprintf(message->text + used, sizeof(message->text) - used, "%s%s", used ? ": " : "", link->message);

		used += length > 0 ? (size_t)length : 0;
		message->errnum = link->errnum;
	}
}

void rt_sync_send_error(int socket, struct rt_error *err)
{
	struct rt_sync_message message = { .kind = RT_SYNC_ERROR };

	flatten(err, &message);
	rt_error_free(err);
	rt_error_free(rt_send_message(socket, &message, HEAD_SIZE + strlen(message.text) + 1, NULL, 0));
}

struct rt_error *rt_sync_receive(int socket, struct rt_sync_message *ret, int *ret_fd, bool *ret_alive)
{
	struct rt_error *err;
	size_t size, fd_count;
	int fd = -1;

	err = rt_receive_message(socket, ret, sizeof(*ret), &size, &fd, 1, &fd_count);
	/* A peer that ended with our message unread resets the connection. */
	if (err && err->errnum == ECONNRESET) {
		err = rt_error_free(err);
		size = 0;
		fd_count = 0;
	}
	if (err)
		return err;
	*ret_fd = fd_count ? fd : -1;
	*ret_alive = size > 0;
	if (size == 0)
		return NULL;
	if (size < HEAD_SIZE) {
		rt_closep(ret_fd);
		return rt_fail(RT_SYSTEM, "a message of %zu bytes is too short", size);
	}
	if (size == HEAD_SIZE)
		ret->text[0] = '\0';
	ret->text[sizeof(ret->text) - 1] = '\0';
	if (ret->kind == RT_SYNC_ERROR)
		return rt_error_make(__FILE__, __LINE__, (enum rt_code)ret->code, ret->errnum, NULL, "%s", ret->text);
	return NULL;
}

struct rt_error *rt_sync_wait_go(int socket, int32_t *ret_value)
{
	struct rt_sync_message message;
	struct rt_error *err;
	bool alive;
	int fd;

	err = rt_sync_receive(socket, &message, &fd, &alive);
	if (err)
		return err;
	rt_closep(&fd);
	if (!alive)
		return rt_fail(RT_SYSTEM, "the runtime has ended");
	if (message.kind != RT_SYNC_GO)
		return rt_fail(RT_SYSTEM, "unexpected message %d", (int)message.kind);
	if (ret_value)
		*ret_value = message.value;
	return NULL;
}
