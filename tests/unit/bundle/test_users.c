#include "runtime/bundle/users.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n\nbad\n:x:5\nno:x:many:1:::\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n"
			     "1000:x:7:8::relative:\nshort:x:9:9\nlast:x:10:10::/last";
static const char group[] = "root:x:0:\nbobs:x:1001:\nextra:x:44:alice,bob\nmore:x:45:bob\nnear:x:46:bobby,xbob\nbroken:x::bob\n";

static struct rt_error *find(const char *user, struct rt_arena *arena, struct rt_image_user *ret)
{
	return rt_image_user_find(user, passwd, group, arena, ret);
}

static void names_go_before_numbers(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_image_user user;

	assert_null(find("1000", &arena, &user));
	assert_int_equal(user.uid, 7);
	assert_int_equal(user.gid, 8);
	assert_null(user.home);
	assert_null(find("9", &arena, &user));
	assert_int_equal(user.gid, 9);
	rt_arena_deinit(&arena);
}

static void groups_are_those_of_the_user_alone(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_image_user user;

	assert_null(find("bob", &arena, &user));
	assert_int_equal(user.uid, 1000);
	assert_int_equal(user.gid, 1001);
	assert_int_equal(user.additional_gid_count, 2);
	assert_int_equal(user.additional_gids[0], 44);
	assert_int_equal(user.additional_gids[1], 45);
	assert_string_equal(user.home, "/home/bob");
	assert_null(find("bob:extra", &arena, &user));
	assert_int_equal(user.gid, 44);
	assert_int_equal(user.additional_gid_count, 0);
	rt_arena_deinit(&arena);
}

static void numbers_need_not_be_there_and_names_must(void **state)
{
	static const char *const bad[] = { "nobody", "bob:nothing", "4294967295", "-1", "bob:4294967295", "no", "0x5" };
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_image_user user;

	assert_null(find("4000:5000", &arena, &user));
	assert_int_equal(user.uid, 4000);
	assert_int_equal(user.gid, 5000);
	assert_null(find("last", &arena, &user));
	assert_string_equal(user.home, "/last");
	assert_null(find(NULL, &arena, &user));
	assert_int_equal(user.uid, 0);
	assert_null(rt_image_user_find(NULL, "", "", &arena, &user));
	assert_int_equal(user.uid, 0);
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		struct rt_error *err = find(bad[i], &arena, &user);

		assert_non_null(err);
		rt_error_free(err);
	}
	rt_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_go_before_numbers),
		cmocka_unit_test(groups_are_those_of_the_user_alone),
		cmocka_unit_test(numbers_need_not_be_there_and_names_must),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
