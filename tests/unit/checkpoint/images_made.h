/* Image directories for tests, made of messages. */
#pragma once

#include "checkpoint/images.h"
#include "runtime/base/io.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#define MAGIC_COMMON 0x54564319U

struct made {
	char path[32];
	int fd;
};

static inline struct made make_directory(void)
{
	struct made made = { .path = "/tmp/rt-test-XXXXXX" };

	assert_non_null(mkdtemp(made.path));
	made.fd = open(made.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(made.fd >= 0);
	return made;
}

static inline void remove_directory(struct made *made)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", made->path);
	assert_int_equal(system(command), 0);
	close(made->fd);
}

static inline void write_file(const struct made *made, const char *name, const void *bytes, size_t size)
{
	_cleanup_close_ int fd = openat(made->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_null(rt_write_all(fd, bytes, size));
}

/* An image of `count` messages. Magic 0 for the common one: the inventory has none. */
static inline void write_image(const struct made *made, const char *name, uint32_t common, uint32_t magic, size_t count, ...)
{
	_cleanup_close_ int fd = openat(made->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	va_list messages;

	assert_true(fd >= 0);
	if (common)
		assert_null(rt_write_all(fd, &common, sizeof(common)));
	assert_null(rt_write_all(fd, &magic, sizeof(magic)));
	va_start(messages, count);
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ void *bytes = NULL;
		uint32_t length;
		size_t size;

		assert_null(rt_pack(va_arg(messages, ProtobufCMessage *), &bytes, &size));
		length = (uint32_t)size;
		assert_null(rt_write_all(fd, &length, sizeof(length)));
		assert_null(rt_write_all(fd, bytes, size));
	}
	va_end(messages);
}

static inline void write_inventory(const struct made *made, uint32_t version)
{
	Img__Inventory inventory = IMG__INVENTORY__INIT;

	inventory.img_version = version;
	write_image(made, "inventory.img", 0, 0x58313116, 1, &inventory.base);
}

static inline void assert_fails(struct rt_error *err, const char *part)
{
	_cleanup_free_ char *text = NULL;

	assert_non_null(err);
	text = rt_error_text(err);
	if (!strstr(text, part))
		fail_msg("'%s' lacks '%s'", text, part);
	rt_error_free(err);
}
