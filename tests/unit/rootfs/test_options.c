/* Mount options: words in, flags out. */
#include "runtime/rootfs/options.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <cmocka.h>

#define PARSE(options, arena, ...)                                                                 \
	({                                                                                         \
		static const char *const words_[] = { __VA_ARGS__ };                               \
		rt_mount_options_parse(words_, RT_ARRAY_SIZE(words_), (arena), (options));         \
	})

static void no_words_leave_everything_as_it_is(void **state)
{
	struct rt_mount_options options;

	assert_null(rt_mount_options_parse(NULL, 0, NULL, &options));
	assert_int_equal(options.set | options.clear | options.recursive_set | options.recursive_clear, 0);
	assert_false(options.bind || options.remount || options.idmap || options.copy_up);
	assert_int_equal(options.data_count, 0);
	assert_int_equal(options.propagation_count, 0);
}

static void the_later_of_two_opposite_words_wins(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "ro", "rw", "dev", "nodev", "defaults"));
	assert_int_equal(options.set, MOUNT_ATTR_NODEV);
	assert_int_equal(options.clear, MOUNT_ATTR_RDONLY);
	rt_arena_deinit(&arena);
}

static void an_atime_mode_replaces_the_one_before_and_clears_the_whole_field(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "noatime", "strictatime", "nosuid"));
	assert_int_equal(options.set, MOUNT_ATTR_STRICTATIME | MOUNT_ATTR_NOSUID);
	assert_int_equal(options.clear, MOUNT_ATTR__ATIME);
	assert_null(PARSE(&options, &arena, "strictatime", "relatime"));
	assert_int_equal(options.set, 0);
	assert_int_equal(options.clear, MOUNT_ATTR__ATIME);
	rt_arena_deinit(&arena);
}

static void recursive_words_are_kept_apart_from_plain_ones(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "rro", "rexec", "rnoatime", "nosymfollow"));
	assert_int_equal(options.recursive_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
	assert_int_equal(options.recursive_clear, MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME);
	assert_int_equal(options.set, MOUNT_ATTR_NOSYMFOLLOW);
	rt_arena_deinit(&arena);
}

static void propagation_words_keep_their_order(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "rbind", "rslave", "shared"));
	assert_true(options.bind && options.recursive);
	assert_int_equal(options.propagation_count, 2);
	assert_int_equal(options.propagations[0].type, MS_SLAVE);
	assert_true(options.propagations[0].recursive);
	assert_int_equal(options.propagations[1].type, MS_SHARED);
	assert_false(options.propagations[1].recursive);
	rt_arena_deinit(&arena);
}

static void too_many_propagation_words_are_refused(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;
	struct rt_error *err = PARSE(&options, &arena, "slave", "shared", "slave", "shared", "slave");

	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	rt_error_free(err);
	rt_arena_deinit(&arena);
}

static void unknown_words_go_to_the_file_system(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "size=65536k", "nosuid", "newinstance", "sync"));
	assert_int_equal(options.data_count, 3);
	assert_string_equal(options.data[0], "size=65536k");
	assert_string_equal(options.data[1], "newinstance");
	assert_string_equal(options.data[2], "sync");
	rt_arena_deinit(&arena);
}

static void words_joined_by_commas_are_taken_apart(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "mode=755,,size=1k,", "lowerdir=/a\\,b:/c", "context=\"u:r:t:s0:c1,c2\""));
	assert_int_equal(options.data_count, 4);
	assert_string_equal(options.data[0], "mode=755");
	assert_string_equal(options.data[1], "size=1k");
	assert_string_equal(options.data[2], "lowerdir=/a\\,b:/c");
	assert_string_equal(options.data[3], "context=\"u:r:t:s0:c1,c2\"");
	rt_arena_deinit(&arena);
}

static void what_many_file_systems_do_not_know_is_only_a_wish(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "acl", "iversion", "silent"));
	assert_int_equal(options.data_count, 0);
	assert_int_equal(options.wish_count, 2);
	assert_string_equal(options.wishes[0], "acl");
	rt_arena_deinit(&arena);
}

static void contradictions_are_refused(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;
	struct rt_error *errors[] = {
		PARSE(&options, &arena, "bind", "tmpcopyup"),
		PARSE(&options, &arena, "copy-symlink"),
		PARSE(&options, &arena, "src-nofollow"),
		PARSE(&options, &arena, "bind", "idmap", "remount"),
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(errors); i++) {
		assert_non_null(errors[i]);
		assert_int_equal(errors[i]->code, RT_CONFIG);
		rt_error_free(errors[i]);
	}
	rt_arena_deinit(&arena);
}

static void recursive_idmap_is_an_idmap_too(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_mount_options options;

	assert_null(PARSE(&options, &arena, "rbind", "ridmap"));
	assert_true(options.idmap && options.recursive_idmap);
	assert_null(PARSE(&options, &arena, "bind", "idmap"));
	assert_true(options.idmap && !options.recursive_idmap);
	rt_arena_deinit(&arena);
}

static void every_name_that_is_told_is_understood_alone_or_with_bind(void **state)
{
	const char *names[128];
	size_t count = rt_mount_option_names(names, RT_ARRAY_SIZE(names));

	assert_true(count > 60 && count <= RT_ARRAY_SIZE(names));
	for (size_t i = 0; i < count; i++) {
		const char *words[] = { "bind", names[i] };
		struct rt_arena arena = RT_ARENA_NULL;
		struct rt_mount_options options;
		size_t first = rt_str_equal(names[i], "tmpcopyup") ? 1 : 0;

		assert_null(rt_mount_options_parse(words + first, 2 - first, &arena, &options));
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(names[i], names[k]);
		rt_arena_deinit(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_words_leave_everything_as_it_is),
		cmocka_unit_test(the_later_of_two_opposite_words_wins),
		cmocka_unit_test(an_atime_mode_replaces_the_one_before_and_clears_the_whole_field),
		cmocka_unit_test(recursive_words_are_kept_apart_from_plain_ones),
		cmocka_unit_test(propagation_words_keep_their_order),
		cmocka_unit_test(too_many_propagation_words_are_refused),
		cmocka_unit_test(unknown_words_go_to_the_file_system),
		cmocka_unit_test(words_joined_by_commas_are_taken_apart),
		cmocka_unit_test(what_many_file_systems_do_not_know_is_only_a_wish),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(recursive_idmap_is_an_idmap_too),
		cmocka_unit_test(every_name_that_is_told_is_understood_alone_or_with_bind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
