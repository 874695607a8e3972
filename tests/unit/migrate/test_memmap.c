#include "migrate/memmap.h"

#include "tests/unit/migrate/victim.h"

static void lines_become_mappings(void **state)
{
	char text[] = "55d0c0000000-55d0c0002000 r-xp 00001000 fe:01 332383                     /usr/bin/with space\\012and newline\n"
		      "55d0c0002000-55d0c0003000 rw-p 00000000 00:00 0                          [heap]\n"
		      "7f0000000000-7f0000021000 rw-s 00000000 00:01 1024                       /dev/zero (deleted)\n"
		      "7f0000030000-7f0000031000 ---p 00000000 00:00 0 \n"
		      "7fff05570000-7fff05591000 rw-p 00000000 00:00 0                          [stack]\n"
		      "7fff05600000-7fff05604000 r--p 00000000 00:00 0                          [vvar]\n"
		      "7fff05604000-7fff05606000 r-xp 00000000 00:00 0                          [vdso]\n"
		      "7fff05700000-7fff05701000 rw-p 00000000 00:00 0                          [anon:vdso]\n"
		      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
	_cleanup_memmap_ struct rt_memmap map = { 0 };

	assert_null(rt_memmap_parse(text, &map));
	assert_int_equal(map.count, 9);
	assert_int_equal(map.mappings[0].start, 0x55d0c0000000);
	assert_int_equal(map.mappings[0].end, 0x55d0c0002000);
	assert_true(map.mappings[0].file && map.mappings[0].executable && map.mappings[0].readable && !map.mappings[0].writable);
	assert_true(rt_mapping_is_private(&map.mappings[0]));
	assert_true(!map.mappings[1].file && map.mappings[1].writable && rt_mapping_is_private(&map.mappings[1]));
	assert_true(map.mappings[2].shared && !rt_mapping_is_private(&map.mappings[2]));
	assert_true(rt_mapping_is_private(&map.mappings[3]));
	assert_true(map.mappings[4].stack && rt_mapping_is_private(&map.mappings[4]));
	assert_false(rt_mapping_is_private(&map.mappings[5]));
	assert_true(map.mappings[6].vdso && !rt_mapping_is_private(&map.mappings[6]));
	/* A name that a process can give itself. */
	assert_true(!map.mappings[7].vdso && rt_mapping_is_private(&map.mappings[7]));
	assert_false(rt_mapping_is_private(&map.mappings[8]));
}

static void lines_that_are_none_are_refused(void **state)
{
	static const char *const lines[] = {
		"x", "1000-2000", "1000-2000 r-xp", "2000-1000 rw-p 0 0:0 0", "1000-1000 rw-p 0 0:0 0", "-1000-2000 rw-p 0 0:0 0", "1000-2000 rw-p 0 00 0",
		"1000-2000 rw-p 0 0:0 x", "fffffffffffffffff-2000 rw-p 0 0:0 0", "1000 2000 rw-p 0 0:0 0", "1000-2000 rw",
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(lines); i++) {
		_cleanup_memmap_ struct rt_memmap map = { 0 };
		_cleanup_free_ char *text = strdup(lines[i]);
		struct rt_error *err = rt_memmap_parse(text, &map);

		assert_non_null(err);
		rt_error_free(err);
	}
}

static void our_own_mappings_are_read(void **state)
{
	_cleanup_memmap_ struct rt_memmap map = { 0 };
	bool found = false, stack = false, vdso = false;
	size_t count;

	for (int i = 0; i < 2; i++) {
		assert_null(rt_memmap_read(getpid(), &map, &found));
		assert_true(found);
	}
	for (size_t i = 0; i < map.count; i++) {
		stack |= map.mappings[i].stack && map.mappings[i].start <= (uintptr_t)&count && (uintptr_t)&count < map.mappings[i].end;
		vdso |= map.mappings[i].vdso;
		assert_true(i == 0 || map.mappings[i - 1].end <= map.mappings[i].start);
	}
	assert_true(stack && vdso);
	assert_null(rt_memmap_count_flag(getpid(), "rd", &count));
	assert_true(count > 5);
	assert_null(rt_memmap_count_flag(getpid(), "uw", &count));
	assert_int_equal(count, 0);
}

static void who_is_gone_has_none(void **state)
{
	_cleanup_memmap_ struct rt_memmap map = { 0 };
	bool found = true;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	usleep(20000);
	assert_null(rt_memmap_read(pid, &map, &found)); /* a zombie */
	assert_false(found);
	waitpid(pid, NULL, 0);
	found = true;
	assert_null(rt_memmap_read(pid, &map, &found));
	assert_false(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_become_mappings),
		cmocka_unit_test(lines_that_are_none_are_refused),
		cmocka_unit_test(our_own_mappings_are_read),
		cmocka_unit_test(who_is_gone_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
