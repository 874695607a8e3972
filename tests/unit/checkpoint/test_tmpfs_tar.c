/* What needs no root: the tree of a user, through files and pipes. Every kind of file, and GNU tar, are in e2e/test_tmpfs_tar.py. */
#include "checkpoint/tmpfs_tar.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct trees {
	char path[64];
	int source, target; /* directories below it */
};

static int set_up(void **state)
{
	struct trees *trees = calloc(1, sizeof(*trees));
	char path[96];

	snprintf(trees->path, sizeof(trees->path), "/tmp/rt-test-tar.XXXXXX");
	assert_non_null(mkdtemp(trees->path));
	snprintf(path, sizeof(path), "%s/source", trees->path);
	assert_int_equal(mkdir(path, 0755), 0);
	trees->source = open(path, O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof(path), "%s/target", trees->path);
	assert_int_equal(mkdir(path, 0700), 0);
	trees->target = open(path, O_RDONLY | O_DIRECTORY);
	*state = trees;
	return 0;
}

static int tear_down(void **state)
{
	struct trees *trees = *state;

	assert_null(rt_remove_tree_at(AT_FDCWD, trees->path));
	close(trees->source);
	close(trees->target);
	free(trees);
	return 0;
}

static void write_file(int dir_fd, const char *name, const void *bytes, size_t size)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0640);

	assert_true(fd >= 0);
	assert_null(rt_write_all(fd, bytes, size));
	close(fd);
}

static int packed(const struct trees *trees)
{
	int image = memfd_create("image", 0);

	assert_true(image >= 0);
	assert_null(rt_tmpfs_tar_pack(trees->source, image));
	assert_int_equal(lseek(image, 0, SEEK_SET), 0);
	return image;
}

static void assert_same(const struct trees *trees, const char *name)
{
	struct stat before, after;

	assert_int_equal(fstatat(trees->source, name, &before, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstatat(trees->target, name, &after, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(before.st_mode, after.st_mode);
	assert_int_equal(before.st_nlink, after.st_nlink);
	assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	if (S_ISREG(before.st_mode))
		assert_int_equal(before.st_size, after.st_size);
}

static void a_tree_comes_back(void **state)
{
	static const char *const names[] = { ".", "file", "hard", "directory", "directory/link", "directory/fifo", "holes" };
	const struct trees *trees = *state;
	_cleanup_free_ char *content = NULL;
	struct stat one, two;
	char target[16];
	int image, fd;

	write_file(trees->source, "file", "content", 7);
	assert_int_equal(linkat(trees->source, "file", trees->source, "hard", 0), 0);
	assert_int_equal(mkdirat(trees->source, "directory", 0710), 0);
	assert_int_equal(symlinkat("nowhere", trees->source, "directory/link"), 0);
	assert_int_equal(mkfifoat(trees->source, "directory/fifo", 0600), 0);
	fd = openat(trees->source, "holes", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(pwrite(fd, "middle", 6, 500000), 6);
	close(fd);

	image = packed(trees);
	assert_null(rt_tmpfs_tar_unpack(image, trees->target));
	close(image);
	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		assert_same(trees, names[i]);
	assert_int_equal(fstatat(trees->target, "file", &one, 0), 0);
	assert_int_equal(fstatat(trees->target, "hard", &two, 0), 0);
	assert_int_equal(one.st_ino, two.st_ino);
	assert_null(rt_read_file_at(trees->target, "file", 100, &content, NULL));
	assert_string_equal(content, "content");
	assert_int_equal(readlinkat(trees->target, "directory/link", target, sizeof(target)), 7);
	fd = openat(trees->target, "holes", O_RDONLY);
	assert_int_equal(pread(fd, target, 8, 499999), 8);
	assert_memory_equal(target, "\0middle", 8);
	close(fd);
}

/* The caller's descriptor may have been read to its end. */
static void a_directory_is_packed_wherever_its_descriptor_stands(void **state)
{
	const struct trees *trees = *state;
	int copy = dup(trees->source), image;
	DIR *dir = fdopendir(copy);

	write_file(trees->source, "file", "x", 1);
	while (readdir(dir))
		;
	closedir(dir);
	image = packed(trees);
	assert_null(rt_tmpfs_tar_unpack(image, trees->target));
	assert_same(trees, "file");
	close(image);
}

static void every_cut_is_an_error(void **state)
{
	const struct trees *trees = *state;
	uint8_t bytes[4096];
	ssize_t size;
	int image;

	write_file(trees->source, "file", "content", 7);
	image = packed(trees);
	size = read(image, bytes, sizeof(bytes));
	assert_true(size > 100 && size < (ssize_t)sizeof(bytes));
	for (ssize_t cut = 0; cut < size; cut++) {
		struct rt_error *err;

		assert_int_equal(ftruncate(image, 0), 0);
		assert_int_equal(pwrite(image, bytes, (size_t)cut, 0), cut);
		assert_int_equal(lseek(image, 0, SEEK_SET), 0);
		err = rt_tmpfs_tar_unpack(image, trees->target);
		assert_non_null(err);
		rt_error_free(err);
	}
	close(image);
}

/* A few may say the same in another way: a tar is zeroes for the most part, which can be copied from here or from there. */
static void no_flipped_byte_goes_unnoticed(void **state)
{
	const struct trees *trees = *state;
	unsigned taken = 0;
	uint8_t bytes[4096];
	ssize_t size;
	int image;

	write_file(trees->source, "file", "content", 7);
	image = packed(trees);
	size = read(image, bytes, sizeof(bytes));
	/* What gzip says of a file's time and system is no part of it. */
	for (ssize_t at = 10; at < size; at++) {
		_cleanup_free_ char *content = NULL;
		struct rt_error *err;

		bytes[at] ^= 0x10;
		assert_int_equal(pwrite(image, bytes, (size_t)size, 0), size);
		bytes[at] ^= 0x10;
		assert_int_equal(lseek(image, 0, SEEK_SET), 0);
		err = rt_tmpfs_tar_unpack(image, trees->target);
		taken += !err;
		if (!err)
			assert_same(trees, "file");
		if (!err)
			assert_null(rt_read_file_at(trees->target, "file", 100, &content, NULL));
		if (!err)
			assert_string_equal(content, "content");
		rt_error_free(err);
	}
	assert_true(taken < size / 4);
	close(image);
}

static void an_image_may_come_byte_by_byte(void **state)
{
	const struct trees *trees = *state;
	int image, pipe_fds[2];
	pid_t writer;
	char byte;

	write_file(trees->source, "file", "content", 7);
	image = packed(trees);
	assert_int_equal(pipe(pipe_fds), 0);
	writer = fork();
	if (writer == 0) {
		while (read(image, &byte, 1) == 1)
			if (write(pipe_fds[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(pipe_fds[1]);
	assert_null(rt_tmpfs_tar_unpack(pipe_fds[0], trees->target));
	assert_same(trees, "file");
	close(pipe_fds[0]);
	close(image);
	assert_int_equal(waitpid(writer, NULL, 0), writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_tree_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_directory_is_packed_wherever_its_descriptor_stands, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_cut_is_an_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_flipped_byte_goes_unnoticed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_image_may_come_byte_by_byte, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
