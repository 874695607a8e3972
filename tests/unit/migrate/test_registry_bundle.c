#include "migrate/registry_bundle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Chunks whose digests are as good as random, drawn from `first` on. */
static struct rt_chunk_list draw(size_t first, size_t count, uint32_t size)
{
	struct rt_chunk_list list = { .chunks = calloc(count, sizeof(*list.chunks)), .count = count };

	for (size_t i = 0; i < count; i++) {
		struct sha256_ctx context;
		uint64_t number = first + i;

		sha256_init(&context);
		sha256_update(&context, sizeof(number), (const uint8_t *)&number);
		sha256_digest(&context, SHA256_DIGEST_SIZE, list.chunks[i].digest);
		list.chunks[i].size = size;
	}
	return list;
}

/* Every chunk is in one bundle, in order. */
static void covers(const struct rt_chunk_list *chunks, const struct rt_bundles *bundles)
{
	size_t next = 0;

	for (size_t i = 0; i < bundles->count; i++) {
		uint64_t size = 0;

		assert_int_equal(bundles->list[i].first, next);
		assert_true(bundles->list[i].count > 0);
		for (size_t j = 0; j < bundles->list[i].count; j++)
			size += chunks->chunks[next++].size;
		assert_int_equal(bundles->list[i].size, size);
		assert_true(size <= RT_BUNDLE_BYTES);
	}
	assert_int_equal(next, chunks->count);
}

static void a_chunk_is_a_blob_as_long_as_there_is_room(void **state)
{
	struct rt_chunk_list chunks = draw(0, 1000, 131072);
	struct rt_bundles bundles;

	assert_int_equal(rt_bundle_bits(0), 0);
	assert_int_equal(rt_bundle_bits(RT_BUNDLE_COUNT), 0);
	assert_int_equal(rt_bundle_bits(2 * RT_BUNDLE_COUNT), 1);
	assert_int_equal(rt_bundle_bits(100 * RT_BUNDLE_COUNT), 7);
	assert_null(rt_bundles_make(&chunks, 0, &bundles));
	assert_int_equal(bundles.count, 1000);
	covers(&chunks, &bundles);
	rt_bundles_deinit(&bundles);
	rt_chunk_list_deinit(&chunks);
}

static void bundles_have_the_size_that_is_aimed_at(void **state)
{
	for (unsigned bits = 1; bits <= 12; bits++) {
		struct rt_chunk_list chunks = draw(bits, 50000, 131072);
		struct rt_bundles bundles;

		assert_null(rt_bundles_make(&chunks, bits, &bundles));
		covers(&chunks, &bundles);
		if (bits <= 6)
			assert_in_range(bundles.count, (50000u >> bits) * 8 / 10, (50000u >> bits) * 12 / 10 + 1);
		else
			assert_in_range(bundles.count, 50000 / 256, 50000 / 64); /* 32 MiB end them first */
		rt_bundles_deinit(&bundles);
		rt_chunk_list_deinit(&chunks);
	}
}

static bool has(const struct rt_chunk_list *chunks, const struct rt_bundles *bundles, const struct rt_chunk_list *others, const struct rt_bundle *wanted)
{
	for (size_t i = 0; i < bundles->count; i++)
		if (bundles->list[i].count == wanted->count && memcmp(&chunks->chunks[bundles->list[i].first], &others->chunks[wanted->first],
								      wanted->count * sizeof(*chunks->chunks)) == 0)
			return true;
	return false;
}

/* One that begins 777 chunks later, and has others at its end. */
static void a_common_run_gives_common_bundles(void **state)
{
	struct rt_chunk_list one = draw(0, 10000, 4096), two = draw(777, 10000, 4096);
	struct rt_bundles ones, twos;
	size_t common = 0;

	assert_null(rt_bundles_make(&one, 4, &ones));
	assert_null(rt_bundles_make(&two, 4, &twos));
	for (size_t i = 0; i < twos.count; i++)
		common += has(&one, &ones, &two, &twos.list[i]);
	assert_in_range(common, twos.count * 90 / 100, twos.count * 93 / 100);
	rt_bundles_deinit(&ones);
	rt_bundles_deinit(&twos);
	rt_chunk_list_deinit(&one);
	rt_chunk_list_deinit(&two);
}

static void nothing_makes_no_bundle(void **state)
{
	struct rt_chunk_list none = { 0 };
	struct rt_bundles bundles;

	assert_null(rt_bundles_make(&none, 0, &bundles));
	assert_int_equal(bundles.count, 0);
	rt_bundles_deinit(&bundles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chunk_is_a_blob_as_long_as_there_is_room),
		cmocka_unit_test(bundles_have_the_size_that_is_aimed_at),
		cmocka_unit_test(a_common_run_gives_common_bundles),
		cmocka_unit_test(nothing_makes_no_bundle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
