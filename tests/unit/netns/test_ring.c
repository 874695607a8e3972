#include "runtime/netns/ring.h"

#include "tests/unit/netns/expect.h"

static void expect_next(struct rt_ring *ring, const char *text)
{
	struct rt_ring_frame frame;

	assert_true(rt_ring_pop(ring, &frame));
	assert_int_equal(frame.size, strlen(text));
	assert_memory_equal(frame.bytes, text, frame.size);
	free(frame.bytes);
}

static void push(struct rt_ring *ring, const char *text)
{
	rt_ring_push(ring, text, strlen(text));
}

static void frames_come_out_in_order(void **state)
{
	_cleanup_ring_ struct rt_ring ring = RT_RING_NULL;
	struct rt_ring_frame frame;

	assert_null(rt_ring_init(&ring, 3, 100));
	assert_false(rt_ring_pop(&ring, &frame));
	/* Several times around. */
	for (int i = 0; i < 5; i++) {
		push(&ring, "one");
		push(&ring, "two");
		expect_next(&ring, "one");
		push(&ring, "three");
		expect_next(&ring, "two");
		expect_next(&ring, "three");
		assert_false(rt_ring_pop(&ring, &frame));
	}
	assert_int_equal(ring.dropped, 0);
	assert_int_equal(ring.bytes, 0);
}

static void where_the_number_is_reached_the_oldest_goes(void **state)
{
	_cleanup_ring_ struct rt_ring ring = RT_RING_NULL;

	assert_null(rt_ring_init(&ring, 2, 100));
	push(&ring, "one");
	push(&ring, "two");
	push(&ring, "three");
	assert_int_equal(ring.dropped, 1);
	expect_next(&ring, "two");
	expect_next(&ring, "three");
}

static void where_the_size_is_reached_as_many_go_as_must(void **state)
{
	_cleanup_ring_ struct rt_ring ring = RT_RING_NULL;

	assert_null(rt_ring_init(&ring, 10, 10));
	push(&ring, "aaa");
	push(&ring, "bbb");
	push(&ring, "cccc");
	assert_int_equal(ring.dropped, 0);
	push(&ring, "ddddd");
	assert_int_equal(ring.dropped, 2);
	assert_int_equal(ring.bytes, 9);
	expect_next(&ring, "cccc");
	expect_next(&ring, "ddddd");
}

static void one_that_fits_nowhere_costs_no_other(void **state)
{
	_cleanup_ring_ struct rt_ring ring = RT_RING_NULL;

	assert_null(rt_ring_init(&ring, 10, 10));
	push(&ring, "aaa");
	push(&ring, "elevenbytes");
	assert_int_equal(ring.dropped, 1);
	expect_next(&ring, "aaa");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_in_order),
		cmocka_unit_test(where_the_number_is_reached_the_oldest_goes),
		cmocka_unit_test(where_the_size_is_reached_as_many_go_as_must),
		cmocka_unit_test(one_that_fits_nowhere_costs_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
