#include "migrate/link.h"

#include "runtime/base/str.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* What goes over the wire: the message without its descriptors, the text cut to its length. */
struct wire {
	uint32_t word, code;
	uint64_t a, b, c;
	char text[RT_LINK_TEXT];
};

struct rt_error *rt_link_pair(int ret_ends[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) < 0)
		return rt_fail_errno("cannot make a pair of sockets");
	return NULL;
}

struct rt_error *rt_link_send(int fd, const struct rt_link_message *message)
{
	struct wire wire = { .word = message->word, .code = message->code, .a = message->a, .b = message->b, .c = message->c };
	size_t length = strnlen(message->text, RT_LINK_TEXT - 1);

	memcpy(wire.text, message->text, length);
	return rt_send_message(fd, &wire, offsetof(struct wire, text) + length + 1, message->fds, message->fd_count);
}

struct rt_error *rt_link_say(int fd, enum rt_link_word word)
{
	return rt_link_send(fd, &(struct rt_link_message){ .word = word });
}

void rt_link_send_failure(int fd, struct rt_error *err)
{
	struct rt_link_message message = { .word = RT_LINK_FAILED, .code = err->code };
	_cleanup_free_ char *text = rt_error_text(err);

	snprintf(message.text, sizeof(message.text), "%s", text ? text : err->message);
	rt_error_free(err);
	rt_error_free(rt_link_send(fd, &message)); /* nobody may be listening */
}

struct rt_error *rt_link_receive(int fd, int timeout_ms, struct rt_link_message *ret, bool *ret_there)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct wire wire = { .word = RT_LINK_END };
	struct rt_error *err;
	size_t size;
	int ready;

	*ret_there = false;
	ret->fd_count = 0;
	do {
		ready = poll(&poll_fd, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return rt_fail_errno("cannot wait for the other process");
	if (ready == 0)
		return NULL;
	err = rt_receive_message(fd, &wire, sizeof(wire), &size, ret->fds, RT_MAX_FDS, &ret->fd_count);
	/* It ended with something of ours unread, which the kernel tells once, and before what it has said itself. */
	if (err && err->errnum == ECONNRESET) {
		rt_error_free(err);
		err = rt_receive_message(fd, &wire, sizeof(wire), &size, ret->fds, RT_MAX_FDS, &ret->fd_count);
	}
	if (err)
		return rt_while(err, "hearing the other process");
	ret->word = size >= offsetof(struct wire, text) ? (enum rt_link_word)wire.word : RT_LINK_END;
	ret->code = (enum rt_code)wire.code;
	ret->a = wire.a;
	ret->b = wire.b;
	ret->c = wire.c;
	wire.text[RT_LINK_TEXT - 1] = '\0';
	memcpy(ret->text, wire.text, RT_LINK_TEXT);
	*ret_there = true;
	return NULL;
}

struct rt_error *rt_link_await(int fd, enum rt_link_word word, const char *who, struct rt_link_message *ret)
{
	struct rt_error *err;
	bool there;

	err = rt_link_receive(fd, -1, ret, &there);
	if (err)
		return err;
	if (ret->word == word)
		return NULL;
	if (ret->word == RT_LINK_FAILED)
		return rt_fail(ret->code, "%s", ret->text);
	if (ret->word == RT_LINK_END)
		return rt_fail(RT_SYSTEM, "the %s has ended", who);
	return rt_fail(RT_SYSTEM, "the %s said word %d where %d was due", who, ret->word, word);
}

struct rt_error *rt_link_expect(int fd, enum rt_link_word word, const char *who)
{
	struct rt_link_message message;

	return rt_link_await(fd, word, who, &message);
}
