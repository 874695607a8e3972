#include "runtime/bundle/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct rt_id_map ranges[] = { { 0, 100000, 1000 }, { 1000, 500000, 10 } };
static const struct rt_id_shift shift = { .uids = { ranges, 2 }, .gids = { ranges, 1 } };

static void an_id_moves_with_its_range(void **state)
{
	uint32_t id = 7;

	assert_true(rt_id_map(&shift.uids, 0, &id));
	assert_int_equal(id, 100000);
	assert_true(rt_id_map(&shift.uids, 999, &id));
	assert_int_equal(id, 100999);
	assert_true(rt_id_map(&shift.uids, 1009, &id));
	assert_int_equal(id, 500009);
	assert_false(rt_id_map(&shift.uids, 1010, &id));
	assert_false(rt_id_map(&shift.gids, 1000, &id));
	assert_int_equal(id, 500009);
	assert_true(rt_id_map(&(struct rt_id_maps){ NULL, 0 }, 42, &id));
	assert_int_equal(id, 42);
}

static void other_ids_stay_unless_they_are_targets(void **state)
{
	struct rt_id_shift keep = shift;
	uint32_t id = 7;

	assert_false(rt_id_shift_uid(&keep, 2000, &id));
	keep.keep_others = true;
	assert_true(rt_id_shift_uid(&keep, 2000, &id));
	assert_int_equal(id, 2000);
	assert_false(rt_id_shift_uid(&keep, 100001, &id));
	assert_true(rt_id_shift_gid(&keep, 500001, &id));
}

static void ranges_are_base_and_length(void **state)
{
	static const char *const bad[] = { "", "0", ":", "0:", ":5", "0:0", "-1:5", "0:-5", "1:4294967295", "4294967295:1", "a:5", "0:5:6", "0x1:5",
					   "99999999999999999999:1" };
	uint32_t base = 7, length = 7;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		assert_false(rt_id_range_parse(bad[i], &base, &length));
	assert_int_equal(base, 7);
	assert_true(rt_id_range_parse("100000:65536", &base, &length));
	assert_int_equal(base, 100000);
	assert_int_equal(length, 65536);
	assert_true(rt_id_range_parse("0:4294967294", &base, &length));
}

static void ranges_that_share_an_id_are_seen_on_both_sides(void **state)
{
	const struct rt_id_map from[] = { { 0, 100, 10 }, { 9, 500, 10 } }, to[] = { { 0, 100, 10 }, { 10, 109, 1 } };

	assert_true(rt_id_maps_overlap(&(struct rt_id_maps){ from, 2 }));
	assert_true(rt_id_maps_overlap(&(struct rt_id_maps){ to, 2 }));
	assert_false(rt_id_maps_overlap(&shift.uids));
}

static void an_inverse_takes_back(void **state)
{
	struct rt_id_map inverse[2];
	uint32_t id;

	rt_id_maps_invert(&shift.uids, inverse);
	assert_true(rt_id_map(&(struct rt_id_maps){ inverse, 2 }, 500003, &id));
	assert_int_equal(id, 1003);
}

#define ENTRY(tag, permissions, id) (tag), 0, (permissions), 0, (id) & 255, (id) >> 8 & 255, (id) >> 16 & 255, (uint32_t)(id) >> 24

static void acls_keep_everything_but_ids(void **state)
{
	uint8_t acl[] = { 2, 0, 0, 0, ENTRY(1, 7, 0xffffffff), ENTRY(2, 4, 10), ENTRY(4, 5, 0xffffffff), ENTRY(8, 4, 20), ENTRY(16, 7, 0xffffffff),
			  ENTRY(32, 0, 0xffffffff) };
	const uint8_t expected[] = { 2, 0, 0, 0, ENTRY(1, 7, 0xffffffff), ENTRY(2, 4, 100010), ENTRY(4, 5, 0xffffffff), ENTRY(8, 4, 100020),
				     ENTRY(16, 7, 0xffffffff), ENTRY(32, 0, 0xffffffff) };
	uint32_t id = 0;

	assert_int_equal(rt_acl_shift(acl, sizeof(acl), &shift, &id), RT_ID_CHANGED);
	assert_memory_equal(acl, expected, sizeof(acl));
	assert_int_equal(rt_acl_shift(acl, sizeof(acl), &shift, &id), RT_ID_OUTSIDE);
	assert_int_equal(id, 100010);
	assert_int_equal(rt_acl_shift(acl, sizeof(acl) - 1, &shift, &id), RT_ID_DAMAGED);
	assert_int_equal(rt_acl_shift(acl, 3, &shift, &id), RT_ID_DAMAGED);
	acl[0] = 3;
	assert_int_equal(rt_acl_shift(acl, sizeof(acl), &shift, &id), RT_ID_DAMAGED);
}

static void capabilities_become_those_of_another_root(void **state)
{
	const uint8_t v2[RT_CAPS_ROOM] = { 1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t caps[RT_CAPS_ROOM];
	struct rt_id_map inverse[2];
	const struct rt_id_shift back = { .uids = { inverse, 2 } };
	size_t size = 20;
	uint32_t id = 0;

	memcpy(caps, v2, sizeof(caps));
	assert_int_equal(rt_caps_shift(caps, &size, &shift, &id), RT_ID_CHANGED);
	assert_int_equal(size, 24);
	assert_int_equal(caps[3], 3);
	assert_int_equal(caps[0], 1);
	assert_int_equal(caps[20] | caps[21] << 8 | caps[22] << 16, 100000);
	assert_int_equal(rt_caps_shift(caps, &size, &shift, &id), RT_ID_OUTSIDE);
	assert_int_equal(id, 100000);
	rt_id_maps_invert(&shift.uids, inverse);
	assert_int_equal(rt_caps_shift(caps, &size, &back, &id), RT_ID_CHANGED);
	assert_int_equal(size, 20);
	assert_memory_equal(caps, v2, 20);
	size = 19;
	assert_int_equal(rt_caps_shift(caps, &size, &shift, &id), RT_ID_DAMAGED);
	size = 0;
	assert_int_equal(rt_caps_shift(caps, &size, &shift, &id), RT_ID_DAMAGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_moves_with_its_range),
		cmocka_unit_test(other_ids_stay_unless_they_are_targets),
		cmocka_unit_test(ranges_are_base_and_length),
		cmocka_unit_test(ranges_that_share_an_id_are_seen_on_both_sides),
		cmocka_unit_test(an_inverse_takes_back),
		cmocka_unit_test(acls_keep_everything_but_ids),
		cmocka_unit_test(capabilities_become_those_of_another_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
