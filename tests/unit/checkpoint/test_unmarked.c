#include "checkpoint/unmarked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

/* Places in the file. */
enum { DEVICE = 8, LAST_CAP = 16, DIRTY_TRACK = 32, MEMFD = 33, TASK_SIZE = 40, SIZE = 912 };

static void make(uint8_t bytes[SIZE])
{
	int fd = memfd_create("device", MFD_CLOEXEC), last;
	uint64_t device, task_size = 0x7ffffffff000;
	struct stat st;
	FILE *file = fopen("/proc/sys/kernel/cap_last_cap", "re");

	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &last), 1);
	fclose(file);
	device = (uint64_t)major(st.st_dev) << 20 | minor(st.st_dev);
	memset(bytes, 0, SIZE);
	memcpy(bytes + DEVICE, &device, sizeof(device));
	memcpy(bytes + LAST_CAP, &last, sizeof(last));
	bytes[MEMFD] = 1;
	memcpy(bytes + TASK_SIZE, &task_size, sizeof(task_size));
}

static void a_cache_that_says_so_is_understood(void **state)
{
	uint8_t bytes[SIZE];

	make(bytes);
	assert_true(rt_unmarked_is_said(bytes, SIZE));
	bytes[DIRTY_TRACK] = 1;
	assert_false(rt_unmarked_is_said(bytes, SIZE));
}

static void one_that_is_written_otherwise_is_left_alone(void **state)
{
	static const size_t places[] = { DEVICE, LAST_CAP, DIRTY_TRACK, MEMFD, MEMFD + 1, MEMFD + 2, TASK_SIZE };
	uint8_t bytes[SIZE];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		make(bytes);
		bytes[places[i]] ^= 0x42;
		if (rt_unmarked_is_said(bytes, SIZE))
			fail_msg("byte %zu makes no difference", places[i]);
	}
	make(bytes);
	memmove(bytes + DIRTY_TRACK + 1, bytes + DIRTY_TRACK, SIZE - DIRTY_TRACK - 1); /* a field more before it */
	assert_false(rt_unmarked_is_said(bytes, SIZE));
	make(bytes);
	assert_false(rt_unmarked_is_said(bytes, TASK_SIZE));
	assert_false(rt_unmarked_is_said(bytes, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cache_that_says_so_is_understood),
		cmocka_unit_test(one_that_is_written_otherwise_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
