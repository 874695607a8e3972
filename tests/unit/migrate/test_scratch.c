#include "migrate/scratch.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char root[64];
	struct rt_context context;
	atomic_bool done;
};

static struct fixture *begin(void)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->root, "/dev/shm/rt-test-scratch-XXXXXX");
	if (!mkdtemp(fixture->root)) {
		strcpy(fixture->root, "/tmp/rt-test-scratch-XXXXXX");
		assert_non_null(mkdtemp(fixture->root));
	}
	fixture->context.root = fixture->root;
	return fixture;
}

static void end(struct fixture *fixture)
{
	assert_null(rt_remove_tree_at(AT_FDCWD, fixture->root));
	free(fixture);
}

static void trim(const struct fixture *fixture)
{
	_cleanup_close_ int fd = -1, lock_fd = -1;
	_cleanup_free_ char *path = NULL;

	assert_null(rt_scratch_open(&fixture->context, &path, &fd));
	assert_null(rt_lock_at(fd, "lock", &lock_fd));
	assert_null(rt_scratch_trim(fd));
}

static void what_is_left_is_taken_and_what_is_used_is_not(void **state)
{
	struct rt_scratch used = RT_SCRATCH_NULL, left = RT_SCRATCH_NULL;
	_cleanup_free_ char *images = NULL;
	struct fixture *fixture = begin();

	assert_null(rt_scratch_make(&fixture->context, &used));
	assert_null(rt_scratch_directory(&used, "images", &images));
	assert_null(rt_scratch_make(&fixture->context, &left));
	rt_closep(&left.lock_fd); /* as after its owner's death */
	trim(fixture);
	assert_int_equal(access(images, F_OK), 0);
	assert_int_equal(access(left.path, F_OK), -1);
	rt_scratch_remove(&used);
	assert_int_equal(access(images, F_OK), -1);
	rt_scratch_remove(&left);
	end(fixture);
}

static void *make_and_remove(void *userdata)
{
	struct fixture *fixture = userdata;

	for (int i = 0; i < 2000; i++) {
		struct rt_scratch scratch = RT_SCRATCH_NULL;

		rt_error_free(rt_scratch_make(&fixture->context, &scratch));
		rt_scratch_remove(&scratch);
	}
	fixture->done = true;
	return NULL;
}

static void who_looks_while_one_ends_does_not_fail(void **state)
{
	struct fixture *fixture = begin();
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, make_and_remove, fixture), 0);
	while (!fixture->done)
		trim(fixture);
	pthread_join(thread, NULL);
	end(fixture);
}

static void a_place_that_is_not_in_memory_is_told(void **state)
{
	struct fixture *fixture = begin();
	_cleanup_close_ int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), root_fd = open(fixture->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct rt_log_options options = { .format = RT_LOG_TEXT };
	char path[96];

	snprintf(path, sizeof(path), "%s/log", fixture->root);
	options.path = path;
	assert_null(rt_log_open(&options));
	rt_scratch_warn_of_disk(fd, "/proc/dump-x");
	assert_null(rt_read_file_at(root_fd, "log", 4096, &text, NULL));
	assert_non_null(strstr(text, "/proc/dump-x' is not in memory"));
	end(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_left_is_taken_and_what_is_used_is_not),
		cmocka_unit_test(a_place_that_is_not_in_memory_is_told),
		cmocka_unit_test(who_looks_while_one_ends_does_not_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
