#include "runtime/base/io.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

static int memory_file(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_null(rt_write_all(fd, text, strlen(text)));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void everything_is_read_and_ended(void **state)
{
	_cleanup_close_ int fd = memory_file("hello");
	_cleanup_free_ char *text = NULL;
	size_t size;

	assert_null(rt_read_all(fd, 100, &text, &size));
	assert_int_equal(size, 5);
	assert_string_equal(text, "hello");
}

static void an_empty_file_gives_an_empty_string(void **state)
{
	_cleanup_close_ int fd = memory_file("");
	_cleanup_free_ char *text = NULL;

	assert_null(rt_read_all(fd, 0, &text, NULL));
	assert_string_equal(text, "");
}

static void large_content_arrives_whole(void **state)
{
	static char content[100001];
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t size;

	memset(content, 'x', sizeof(content) - 1);
	fd = memory_file(content);
	assert_null(rt_read_all(fd, sizeof(content), &text, &size));
	assert_int_equal(size, sizeof(content) - 1);
	assert_string_equal(text, content);
}

static void more_than_the_limit_is_refused(void **state)
{
	_cleanup_close_ int fd = memory_file("hello");
	char *text = NULL;
	_cleanup_error_ struct rt_error *err = rt_read_all(fd, 4, &text, NULL);

	assert_non_null(err);
	assert_int_equal(err->errnum, EFBIG);
	assert_null(text);
}

static void an_early_end_is_no_errno(void **state)
{
	_cleanup_close_ int fd = memory_file("abc");
	char bytes[8];
	_cleanup_error_ struct rt_error *err = rt_read_exact(fd, bytes, 5);

	assert_non_null(err);
	assert_int_equal(err->errnum, 0);
}

static void a_file_that_is_not_there_is_never_made(void **state)
{
	_cleanup_error_ struct rt_error *err = rt_write_file_at(AT_FDCWD, "/tmp/rt-test-io-not-there", "x");
	_cleanup_error_ struct rt_error *read = NULL;
	char *text;

	assert_non_null(err);
	assert_int_equal(err->errnum, ENOENT);
	read = rt_read_file_at(AT_FDCWD, "/tmp/rt-test-io-not-there", 10, &text, NULL);
	assert_non_null(read);
	assert_int_equal(read->errnum, ENOENT);
}

static void messages_carry_descriptors(void **state)
{
	_cleanup_close_ int file = memory_file("passed"), arrived = -1;
	int ends[2], fds[2] = {-1, -1};
	char bytes[16];
	size_t size, count;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	assert_null(rt_send_message(ends[0], "hi", 2, &file, 1));
	assert_null(rt_receive_message(ends[1], bytes, sizeof(bytes), &size, fds, 2, &count));
	assert_int_equal(size, 2);
	assert_int_equal(count, 1);
	arrived = fds[0];
	assert_true(fcntl(arrived, F_GETFD) & FD_CLOEXEC);
	assert_null(rt_read_exact(arrived, bytes, 6));
	assert_memory_equal(bytes, "passed", 6);
	close(ends[0]);
	assert_null(rt_receive_message(ends[1], bytes, sizeof(bytes), &size, NULL, 0, NULL));
	assert_int_equal(size, 0);
	close(ends[1]);
}

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void what_does_not_fit_is_refused_and_closed(void **state)
{
	int ends[2], two[2], before;
	struct rt_error *err;
	char bytes[4];
	size_t size;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	two[0] = ends[0];
	two[1] = ends[1];
	before = open_descriptors();
	assert_null(rt_send_message(ends[0], "x", 1, two, 2));
	err = rt_receive_message(ends[1], bytes, sizeof(bytes), &size, NULL, 0, NULL);
	assert_non_null(err);
	rt_error_free(err);
	assert_null(rt_send_message(ends[0], "too long", 8, NULL, 0));
	err = rt_receive_message(ends[1], bytes, sizeof(bytes), &size, NULL, 0, NULL);
	assert_non_null(err);
	rt_error_free(err);
	assert_int_equal(open_descriptors(), before);
	close(ends[0]);
	close(ends[1]);
}

static void a_closed_peer_is_an_error_not_a_signal(void **state)
{
	int ends[2];
	struct rt_error *err;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	close(ends[1]);
	err = rt_send_message(ends[0], "x", 1, NULL, 0);
	assert_non_null(err);
	assert_int_equal(err->errnum, EPIPE);
	rt_error_free(err);
	close(ends[0]);
}

static void descriptors_above_stdio_stay(void **state)
{
	int fd = memory_file(""), before = fd, none = -1;

	assert_true(fd > 2);
	assert_null(rt_fd_above_stdio(&fd));
	assert_int_equal(fd, before);
	assert_null(rt_fd_above_stdio(&none));
	assert_int_equal(none, -1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_read_and_ended),
		cmocka_unit_test(an_empty_file_gives_an_empty_string),
		cmocka_unit_test(large_content_arrives_whole),
		cmocka_unit_test(more_than_the_limit_is_refused),
		cmocka_unit_test(an_early_end_is_no_errno),
		cmocka_unit_test(a_file_that_is_not_there_is_never_made),
		cmocka_unit_test(messages_carry_descriptors),
		cmocka_unit_test(what_does_not_fit_is_refused_and_closed),
		cmocka_unit_test(a_closed_peer_is_an_error_not_a_signal),
		cmocka_unit_test(descriptors_above_stdio_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
