#include "runtime/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void a_chain_reads_as_one_sentence(void **state)
{
	_cleanup_error_ struct rt_error *err = rt_fail_with(EPERM, "pivot_root");
	_cleanup_free_ char *text = NULL;

	err = rt_while(err, "switching root of '%s'", "web");
	text = rt_error_text(err);
	assert_string_equal(text, "switching root of 'web': pivot_root: operation not permitted");
}

static void a_wrap_keeps_the_code_and_the_errno(void **state)
{
	_cleanup_error_ struct rt_error *err = rt_fail(RT_CONFIG, "x");

	err = rt_while(err, "y");
	assert_int_equal(err->code, RT_CONFIG);
	assert_int_equal(err->errnum, 0);
	rt_error_free(err);
	errno = ENOENT;
	err = rt_fail_errno("z");
	assert_int_equal(err->code, RT_SYSTEM);
	assert_int_equal(err->errnum, ENOENT);
}

static void an_error_without_errno_says_none(void **state)
{
	_cleanup_error_ struct rt_error *err = rt_fail(RT_USAGE, "100%% wrong");
	_cleanup_free_ char *text = rt_error_text(err);

	assert_string_equal(text, "100% wrong");
}

static void freeing_keeps_errno_and_gives_null(void **state)
{
	struct rt_error *err = rt_fail(RT_SYSTEM, "a");

	err = rt_while(err, "b");
	errno = EBUSY;
	assert_null(rt_error_free(err));
	assert_int_equal(errno, EBUSY);
	assert_null(rt_error_free(NULL));
}

static void out_of_memory_is_static(void **state)
{
	struct rt_error *err = rt_error_oom();

	assert_int_equal(err->errnum, ENOMEM);
	rt_error_free(err);
	assert_ptr_equal(rt_error_oom(), err);
	/* It may also end a chain. */
	err = rt_while(err, "reading");
	assert_int_equal(err->errnum, ENOMEM);
	rt_error_free(err);
}

static struct rt_error *count_and_fail(int *calls)
{
	(*calls)++;
	return rt_fail(RT_SYSTEM, "inner");
}

static void a_wrap_asks_for_its_cause_once(void **state)
{
	int calls = 0;
	_cleanup_error_ struct rt_error *err = rt_while(count_and_fail(&calls), "outer");

	assert_int_equal(calls, 1);
	assert_string_equal(err->cause->message, "inner");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_reads_as_one_sentence),
		cmocka_unit_test(a_wrap_keeps_the_code_and_the_errno),
		cmocka_unit_test(a_wrap_asks_for_its_cause_once),
		cmocka_unit_test(an_error_without_errno_says_none),
		cmocka_unit_test(freeing_keeps_errno_and_gives_null),
		cmocka_unit_test(out_of_memory_is_static),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
