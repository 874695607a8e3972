#include "checkpoint/image_change.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <unistd.h>

/* What comes before the message: which image it is, in one number or two, and the message's length. */
static struct rt_error *store(int fd, enum rt_image_kind kind, const ProtobufCMessage *message)
{
	const size_t numbers = kind == RT_IMAGE_INVENTORY ? 2 : 3;
	_cleanup_free_ void *bytes = NULL;
	uint32_t head[3] = { 0 };
	size_t size;
	struct rt_error *err = rt_pack(message, &bytes, &size);

	if (err)
		return err;
	if (pread(fd, head, sizeof(head), 0) < 0)
		return rt_fail_errno("cannot read it again");
	head[numbers - 1] = (uint32_t)size;
	if (ftruncate(fd, 0) < 0)
		return rt_fail_errno("cannot shorten it");
	err = rt_write_all_at(fd, head, numbers * sizeof(*head), 0);
	return err ? err : rt_write_all_at(fd, bytes, size, (off_t)(numbers * sizeof(*head)));
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
	fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? rt_fail_errno("cannot open it") : store(fd, kind, message);
}

struct rt_error *rt_image_change(int dir_fd, const char *name, enum rt_image_kind kind, rt_image_change_fn change, const void *userdata)
{
	struct rt_error *err = change_it(dir_fd, name, kind, change, userdata);

	return err ? rt_while(err, "correcting image '%s'", name) : NULL;
}
