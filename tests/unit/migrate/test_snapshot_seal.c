#include "migrate/snapshot_seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[RT_SEAL_KEY] = "0123456789abcdef0123456789abcde", salt[RT_SEAL_SALT] = "salt";

static void seal_two(uint8_t first[5 + RT_SEAL_TAG], uint8_t second[5 + RT_SEAL_TAG])
{
	struct rt_seal seal;

	rt_seal_init(&seal, key, salt);
	rt_seal_close(&seal, "hello", 5, first);
	rt_seal_close(&seal, "hello", 5, second);
	rt_seal_deinit(&seal);
}

static bool opens(const uint8_t with[RT_SEAL_KEY], const uint8_t salted[RT_SEAL_SALT], const uint8_t *piece, size_t size)
{
	uint8_t copy[5 + RT_SEAL_TAG];
	struct rt_seal seal;
	struct rt_error *err;
	size_t left = 0;

	memcpy(copy, piece, size);
	rt_seal_init(&seal, with, salted);
	err = rt_seal_open(&seal, copy, size, &left);
	if (err)
		assert_int_equal(err->code, RT_CONFIG);
	else
		assert_true(left == 5 && memcmp(copy, "hello", 5) == 0);
	return rt_error_free(err), left == 5;
}

static void what_was_sealed_opens_in_its_order(void **state)
{
	uint8_t first[5 + RT_SEAL_TAG], second[5 + RT_SEAL_TAG];
	struct rt_seal seal;
	size_t size;

	seal_two(first, second);
	assert_memory_not_equal(first, second, 5); /* though it is the same text */
	assert_true(opens(key, salt, first, sizeof(first)));
	assert_false(opens(key, salt, second, sizeof(second)));
	rt_seal_init(&seal, key, salt);
	assert_null(rt_seal_open(&seal, first, sizeof(first), &size));
	assert_null(rt_seal_open(&seal, second, sizeof(second), &size));
	assert_int_equal(size, 5);
	assert_memory_equal(second, "hello", 5);
}

static void any_change_is_found(void **state)
{
	static const uint8_t other[32] = "other";
	uint8_t first[5 + RT_SEAL_TAG], second[5 + RT_SEAL_TAG];

	seal_two(first, second);
	for (size_t bit = 0; bit < 8 * sizeof(first); bit++) {
		first[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_false(opens(key, salt, first, sizeof(first)));
		first[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (size_t size = 0; size < sizeof(first); size++)
		assert_false(opens(key, salt, first, size));
	assert_false(opens(other, salt, first, sizeof(first)));
	assert_false(opens(key, other, first, sizeof(first)));
	assert_true(opens(key, salt, first, sizeof(first)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_opens_in_its_order),
		cmocka_unit_test(any_change_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
