#include "checkpoint/image_change.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <unistd.h>

/* Which image it is, and the message's length, stand before it. */
static struct rt_error *store(int fd, enum rt_image_kind kind, const ProtobufCMessage *message)
{
	_cleanup_free_ void *bytes = NULL;
	uint32_t head[3];
	size_t size, count = rt_image_magic(kind, head);
	struct rt_error *err = rt_pack(message, &bytes, &size);

	if (err)
		return err;
	head[count++] = (uint32_t)size;
	if (ftruncate(fd, 0) < 0)
		return rt_fail_errno("cannot shorten it");
	err = rt_write_all_at(fd, head, count * sizeof(*head), 0);
	return err ? err : rt_write_all_at(fd, bytes, size, (off_t)(count * sizeof(*head)));
}

static struct rt_error *change_it(int dir_fd, const char *name, enum rt_image_kind kind, rt_image_change_fn change, const void *userdata)
{
	_cleanup_unpacked_ ProtobufCMessage *message = NULL;
	_cleanup_close_ int fd = -1;
	bool changed = false;
	struct rt_error *err = rt_image_read_one(dir_fd, name, kind, &message);

	if (!err && !message)
		err = rt_fail(RT_CRIU, "it is not there");
	if (!err)
		err = change(message, userdata, &changed);
	if (err || !changed)
		return err;
	fd = openat(dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? rt_fail_errno("cannot open it") : store(fd, kind, message);
}

struct rt_error *rt_image_change(int dir_fd, const char *name, enum rt_image_kind kind, rt_image_change_fn change, const void *userdata)
{
	struct rt_error *err = change_it(dir_fd, name, kind, change, userdata);

	return err ? rt_while(err, "correcting image '%s'", name) : NULL;
}
