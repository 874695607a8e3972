/* Two directories for a test to send from and to, and what tells them apart. */
#pragma once

#include "migrate/tree.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

struct made {
	char path[32], from[40], to[40];
	int from_fd, to_fd;
};

static inline struct made make_both(void)
{
	struct made made = { .path = "/tmp/rt-test-tree.XXXXXX" };

	assert_non_null(mkdtemp(made.path));
	snprintf(made.from, sizeof(made.from), "%s/from", made.path);
	snprintf(made.to, sizeof(made.to), "%s/to", made.path);
	assert_return_code(mkdir(made.from, 0755), errno);
	assert_return_code(mkdir(made.to, 0755), errno);
	made.from_fd = open(made.from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	made.to_fd = open(made.to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(made.from_fd >= 0 && made.to_fd >= 0);
	return made;
}

static inline void remove_both(struct made *made)
{
	struct rt_error *err = rt_remove_tree_at(AT_FDCWD, made->path);

	rt_closep(&made->from_fd);
	rt_closep(&made->to_fd);
	assert_null(err);
}

static inline void assert_works(struct rt_error *err)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	rt_error_free(err);
	if (err)
		fail_msg("%s", text);
}

/* The error has this in its sentence. */
static inline void assert_says(struct rt_error *err, const char *part)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	rt_error_free(err);
	if (!text)
		fail_msg("no error, where '%s' was expected", part);
	else if (!strstr(text, part))
		fail_msg("'%s' lacks '%s'", text, part);
}

static inline void put_file(int dir_fd, const char *name, const void *bytes, size_t size)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_return_code(fd, errno);
	assert_works(rt_write_all(fd, bytes, size));
}

static inline void put_text(int dir_fd, const char *name, const char *text)
{
	put_file(dir_fd, name, text, strlen(text));
}

/* Beyond the tick in which a file's time may stay the same. */
static inline void let_time_pass(void)
{
	usleep(50000);
}
