#include "migrate/pageset.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PAGE RT_PAGESET_PAGE
#define FAR (RT_PAGESET_ADDRESS_MAX - (64ull << 20))

static _Alignas(4096) uint8_t pages[64 * PAGE];

static int setup(void **state)
{
	struct rt_pagesets *sets = NULL;

	for (size_t i = 0; i < sizeof(pages); i++)
		pages[i] = (uint8_t)(i / PAGE + i * 7);
	assert_null(rt_pagesets_new(1 << 20, &sets));
	*state = sets;
	return 0;
}

static int teardown(void **state)
{
	rt_pagesets_free(*state);
	return 0;
}

static struct rt_pageset *get(struct rt_pagesets *sets, uint64_t space)
{
	struct rt_pageset *set = NULL;

	assert_null(rt_pagesets_get(sets, space, &set));
	return set;
}

static void expect_look(struct rt_pageset *set, uint64_t address, uint64_t limit, enum rt_page_state state, uint64_t count)
{
	uint64_t got = 0;

	assert_int_equal(rt_pageset_look(set, address, limit, &got), state);
	assert_int_equal(got, count);
}

static void expect_usage(struct rt_pagesets *sets, uint64_t data, uint64_t zero, uint64_t stored)
{
	struct rt_pageset_usage usage;

	rt_pagesets_usage(sets, &usage);
	assert_int_equal(usage.data, data);
	assert_int_equal(usage.zero, zero);
	assert_int_equal(usage.stored, stored);
}

static void states_are_those_of_the_last_store(void **state)
{
	struct rt_pageset *set = get(*state, 1);
	uint8_t back[3 * PAGE];

	expect_look(set, 0, 1000, RT_PAGE_ABSENT, 1000);
	expect_look(set, 0, UINT64_MAX, RT_PAGE_ABSENT, RT_PAGESET_ADDRESS_MAX / PAGE);
	assert_null(rt_pageset_store(set, FAR + 30 * PAGE, pages, 40 * PAGE));
	expect_look(set, FAR, 1000, RT_PAGE_ABSENT, 30);
	expect_look(set, FAR + 30 * PAGE, 1000, RT_PAGE_DATA, 40);
	expect_look(set, FAR + 31 * PAGE, 3, RT_PAGE_DATA, 3);
	expect_look(set, FAR + 70 * PAGE, 10, RT_PAGE_ABSENT, 10);
	assert_null(rt_pageset_store_zero(set, FAR + 32 * PAGE, 2 * PAGE));
	expect_look(set, FAR + 30 * PAGE, 1000, RT_PAGE_DATA, 2);
	expect_look(set, FAR + 32 * PAGE, 1000, RT_PAGE_ZERO, 2);
	expect_look(set, FAR + 34 * PAGE, 1000, RT_PAGE_DATA, 36);
	expect_usage(*state, 38, 2, 42);
	assert_null(rt_pageset_store(set, FAR + 33 * PAGE, pages + 5 * PAGE, 3 * PAGE));
	expect_usage(*state, 40 - 1, 1, 45);
	assert_null(rt_pageset_load(set, FAR + 33 * PAGE, back, sizeof(back)));
	assert_memory_equal(back, pages + 5 * PAGE, sizeof(back));
	rt_pageset_release(set, FAR, 34);
	expect_look(set, FAR, 1000, RT_PAGE_ABSENT, 30);
	expect_look(set, FAR + 30 * PAGE, 1000, RT_PAGE_GONE, 4);
	expect_usage(*state, 36, 0, 45);
	assert_null(rt_pageset_load(set, FAR + 69 * PAGE, back, PAGE));
	assert_memory_equal(back, pages + 39 * PAGE, PAGE);
	/* What is old is as if it had never come; what was handed over stays so. */
	assert_null(rt_pageset_forget(set, FAR + 32 * PAGE, 4 * PAGE));
	expect_look(set, FAR + 30 * PAGE, 1000, RT_PAGE_GONE, 4);
	expect_look(set, FAR + 34 * PAGE, 1000, RT_PAGE_ABSENT, 2);
	expect_usage(*state, 34, 0, 45);
}

static void the_next_page_is_found_anywhere(void **state)
{
	static const uint64_t at[] = { 0, 31, 32, 16383, 16384, 5u << 20, (1ull << 35) - 1 };
	struct rt_pageset *set = get(*state, 1);
	uint64_t found = 1, from = 0;

	assert_false(rt_pageset_next(set, 0, &found));
	for (size_t i = 0; i < RT_ARRAY_SIZE(at); i++)
		assert_null(i % 2 ? rt_pageset_store_zero(set, at[i] * PAGE, PAGE) : rt_pageset_store(set, at[i] * PAGE, pages, PAGE));
	for (size_t i = 0; i < RT_ARRAY_SIZE(at); i++) {
		assert_true(rt_pageset_next(set, from, &found));
		assert_int_equal(found, at[i] * PAGE);
		from = found + 1;
	}
	assert_false(rt_pageset_next(set, from, &found));
	rt_pageset_release(set, 0, 16384);
	assert_true(rt_pageset_next(set, 0, &found));
	assert_int_equal(found, 16384 * PAGE);
	assert_false(rt_pageset_next(set, RT_PAGESET_ADDRESS_MAX, &found));
	assert_false(rt_pageset_next(set, UINT64_MAX, &found));
}

static void expect_refused(struct rt_error *err, const char *text)
{
	assert_non_null(err);
	assert_int_equal(err->code, RT_PEER);
	if (!strstr(err->message, text))
		fail_msg("'%s' does not say '%s'", err->message, text);
	rt_error_free(err);
}

static void only_pages_of_user_space_are_taken(void **state)
{
	struct rt_pageset *set = get(*state, 1);

	expect_refused(rt_pageset_store(set, 1, pages, PAGE), "no pages");
	expect_refused(rt_pageset_store(set, 0, pages, PAGE + 1), "no pages");
	expect_refused(rt_pageset_store(set, RT_PAGESET_ADDRESS_MAX, pages, PAGE), "no pages");
	expect_refused(rt_pageset_store(set, UINT64_MAX - PAGE + 1, pages, 2 * PAGE), "no pages");
	expect_refused(rt_pageset_store_zero(set, RT_PAGESET_ADDRESS_MAX - PAGE, 2 * PAGE), "no pages");
	expect_refused(rt_pageset_store_zero(set, 0, UINT64_MAX - PAGE + 1), "no pages");
	assert_null(rt_pageset_store(set, RT_PAGESET_ADDRESS_MAX - PAGE, pages, PAGE));
}

static void the_limit_counts_over_all_sets_and_for_bookkeeping(void **state)
{
	struct rt_pageset *a = get(*state, 1), *b = get(*state, 2);

	/* 256 pages in all: 2 of states, 254 of data. */
	for (unsigned i = 0; i < 127; i++) {
		assert_null(rt_pageset_store(a, i * PAGE, pages, PAGE));
		assert_null(rt_pageset_store(b, i * PAGE, pages, PAGE));
	}
	expect_refused(rt_pageset_store(b, 127 * PAGE, pages, PAGE), "1048576 bytes");
	expect_look(b, 127 * PAGE, 1, RT_PAGE_ABSENT, 1);
	/* What is there may be stored again. */
	assert_null(rt_pageset_store(a, 0, pages + PAGE, 60 * PAGE));
	assert_null(rt_pageset_store_zero(a, 0, 2 * PAGE));
	assert_null(rt_pageset_store(b, 127 * PAGE, pages, 2 * PAGE));
	expect_refused(rt_pageset_store(b, 129 * PAGE, pages, PAGE), "1048576 bytes");
	/* Zero pages all over the address space take memory too. */
	rt_pageset_release(a, 0, 100);
	expect_usage(*state, 127 - 100 + 129, 0, 127 + 127 + 60 + 2 + 2);
	for (unsigned i = 1; i <= 98; i++)
		assert_null(rt_pageset_store_zero(a, (uint64_t)i << 30, PAGE));
	expect_refused(rt_pageset_store_zero(a, 500ull << 30, PAGE), "1048576 bytes");
}

#define THREADS 4

struct writer {
	struct rt_pageset *set;
	unsigned number;
};

static void *write_some(void *userdata)
{
	struct writer *writer = userdata;

	/* Neighbours in one word of states. */
	for (unsigned i = writer->number; i < 200; i += THREADS) {
		struct rt_error *err = rt_pageset_store(writer->set, i * PAGE, pages + (i % 64) * PAGE, PAGE);

		if (err)
			return err;
	}
	return NULL;
}

static void several_threads_store(void **state)
{
	struct writer writers[THREADS];
	pthread_t threads[THREADS];
	uint8_t back[PAGE];

	for (unsigned i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){ get(*state, 9), i };
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		void *err;

		pthread_join(threads[i], &err);
		assert_null(err);
	}
	expect_look(writers[0].set, 0, 1000, RT_PAGE_DATA, 200);
	expect_usage(*state, 200, 0, 200);
	for (unsigned i = 0; i < 200; i++) {
		assert_null(rt_pageset_load(writers[0].set, i * PAGE, back, PAGE));
		assert_memory_equal(back, pages + (i % 64) * PAGE, PAGE);
	}
}

/* In a child with the descriptors alone: 0 where it sees what it should. */
static int look_from_outside(const int *fds, size_t count, int ready, int go)
{
	struct rt_pagesets *sets = NULL;
	struct rt_pageset *set;
	uint8_t back[PAGE], byte = 0;
	uint64_t found;

	if (rt_pagesets_adopt(fds, count, &sets))
		return 1;
	set = rt_pagesets_find(sets, 77);
	if (!set || rt_pagesets_find(sets, 79) || rt_pageset_look(set, FAR, 2, &found) != RT_PAGE_DATA || found != 2)
		return 2;
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		return 3;
	/* What the other process stored after that. */
	if (rt_pageset_look(set, 1ull << 40, 2, &found) != RT_PAGE_DATA || found != 1 || rt_pageset_load(set, 1ull << 40, back, PAGE))
		return 4;
	if (memcmp(back, pages, PAGE) != 0 || !rt_pageset_next(set, 0, &found) || found != 1ull << 40)
		return 5;
	rt_pageset_release(set, FAR, 1);
	rt_pagesets_free(sets);
	return 0;
}

static void another_process_sees_the_same(void **state)
{
	_cleanup_free_ int *fds = NULL;
	int ready[2], go[2], status;
	uint8_t byte = 0;
	size_t count;
	pid_t child;

	assert_null(rt_pageset_store(get(*state, 77), FAR, pages, 2 * PAGE));
	get(*state, 78);
	assert_null(rt_pagesets_descriptors(*state, &fds, &count));
	assert_int_equal(count, 3);
	assert_int_equal(pipe(ready) | pipe(go), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(look_from_outside(fds, count, ready[1], go[0]));
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_null(rt_pageset_store(get(*state, 77), 1ull << 40, pages, PAGE));
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	expect_look(get(*state, 77), FAR, 9, RT_PAGE_GONE, 1);
	expect_look(get(*state, 77), FAR + PAGE, 9, RT_PAGE_DATA, 1);
	expect_usage(*state, 2, 0, 3);
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
}

static void descriptors_that_are_no_sets_are_refused(void **state)
{
	struct rt_pagesets *sets = NULL;
	struct rt_error *err;
	int fds[2] = { dup(0), dup(0) };

	err = rt_pagesets_adopt(fds, 2, &sets);
	assert_non_null(err);
	rt_error_free(err);
	assert_int_equal(close(fds[0]), -1);
	assert_int_equal(close(fds[1]), -1);
	err = rt_pagesets_adopt(NULL, 0, &sets);
	assert_non_null(err);
	rt_error_free(err);
}

static void count_one(void *userdata, uint64_t space, struct rt_pageset *set)
{
	uint64_t *sum = userdata;

	*sum += space;
}

static void sets_are_found_by_their_number(void **state)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < 500; i++)
		get(*state, i * 7919);
	for (uint64_t i = 0; i < 500; i++)
		assert_ptr_equal(get(*state, i * 7919), rt_pagesets_find(*state, i * 7919));
	assert_null(rt_pagesets_find(*state, 1));
	rt_pagesets_each(*state, count_one, &sum);
	assert_int_equal(sum, 7919 * (500 * 499 / 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(states_are_those_of_the_last_store, setup, teardown),
		cmocka_unit_test_setup_teardown(the_next_page_is_found_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(only_pages_of_user_space_are_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(the_limit_counts_over_all_sets_and_for_bookkeeping, setup, teardown),
		cmocka_unit_test_setup_teardown(several_threads_store, setup, teardown),
		cmocka_unit_test_setup_teardown(another_process_sees_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptors_that_are_no_sets_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(sets_are_found_by_their_number, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
