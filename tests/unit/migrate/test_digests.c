#include "migrate/digests.h"

#include "tests/unit/migrate/victim.h"

static void fill(unsigned char *page, int seed)
{
	for (int i = 0; i < 4096; i++)
		page[i] = (unsigned char)(i * 7 + seed);
}

static void what_was_set_matches_and_nothing_else(void **state)
{
	static unsigned char secret[RT_DIGEST_SECRET_SIZE] = "a secret of its own", page[4096];
	const uint64_t addresses[] = { 0x7f0000000000, 0x1000, 0x55d000001000, 0x55d000002000, 0x55d000200000, 0 };
	struct rt_digests *digests;
	struct rt_digest digest;

	assert_null(rt_digests_new(&digests));
	for (int i = 0; i < 6; i++) {
		fill(page, i);
		digest = rt_digest_of(secret, page);
		assert_false(rt_digests_match(digests, addresses[i], &digest, 1));
		assert_null(rt_digests_set(digests, addresses[i], &digest, 1));
	}
	for (int i = 0; i < 6; i++)
		for (int content = 0; content < 6; content++) {
			fill(page, content);
			digest = rt_digest_of(secret, page);
			assert_int_equal(rt_digests_match(digests, addresses[i], &digest, 1), i == content);
		}
	/* 16 bytes a page and little more, in pieces of 512 pages. */
	assert_true(rt_digests_size(digests) < 5 * (8192 + 16) + 1024);
	rt_digests_free(digests);
}

static void memory_that_is_gone_is_forgotten(void **state)
{
	static unsigned char secret[RT_DIGEST_SECRET_SIZE], page[4096];
	struct rt_digest digest = rt_digest_of(secret, page);
	struct rt_digests *digests;

	assert_null(rt_digests_new(&digests));
	assert_null(rt_digests_set(digests, 0x200000, &digest, 1));
	assert_null(rt_digests_set(digests, 0x400000, &digest, 1));
	assert_null(rt_digests_set(digests, 0x600000, &digest, 1));
	assert_true(rt_digests_match(digests, 0x400000, &digest, 2));
	rt_digests_drop_before(digests, 2);
	assert_false(rt_digests_match(digests, 0x200000, &digest, 2));
	assert_true(rt_digests_match(digests, 0x400000, &digest, 2));
	assert_false(rt_digests_match(digests, 0x600000, &digest, 2));
	rt_digests_free(digests);
}

static void the_secret_decides(void **state)
{
	static unsigned char one[RT_DIGEST_SECRET_SIZE] = "one secret", other[RT_DIGEST_SECRET_SIZE] = "other secret", page[4096];
	struct rt_digest a = rt_digest_of(one, page), b = rt_digest_of(other, page);

	assert_memory_not_equal(&a, &b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_set_matches_and_nothing_else),
		cmocka_unit_test(memory_that_is_gone_is_forgotten),
		cmocka_unit_test(the_secret_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
