#include "runtime/base/interrupt.h"

#include "runtime/base/proc.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Signals that are blocked and pending stay with a process: each test has one of its own. */
static void in_a_child(void (*test)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		rt_signals_reset(); /* who runs the tests in the background may ignore some */
		test();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Assertions of cmocka do not work in a child. */
static void expect(bool held, int number)
{
	if (!held)
		_exit(number);
}

static bool readable(void)
{
	struct pollfd fd = { .fd = rt_interrupt_fd(), .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

static void wait_for_one(void)
{
	struct rt_error *err;

	expect(rt_interrupt_fd() == -1 && !rt_interrupt_check(), 1);
	expect(!rt_interrupt_defer(), 2);
	expect(!rt_interrupt_check() && !readable(), 3);
	raise(SIGTERM);
	for (int i = 0; i < 2; i++) {
		err = rt_interrupt_check();
		expect(err && strcmp(err->message, "interrupted by SIGTERM") == 0 && readable(), 4);
		rt_error_free(err);
	}
}

static void a_signal_waits_and_is_told_of_as_often_as_somebody_asks(void **state)
{
	(void)state;
	in_a_child(wait_for_one);
}

static void ignore_one(void)
{
	signal(SIGHUP, SIG_IGN);
	expect(!rt_interrupt_defer(), 1);
	raise(SIGHUP);
	expect(!rt_interrupt_check() && !readable(), 2);
	raise(SIGINT);
	expect(rt_interrupt_check() != NULL, 3);
}

static void what_the_caller_had_us_ignore_is_no_interruption(void **state)
{
	(void)state;
	in_a_child(ignore_one);
}

static void end_a_program(void)
{
	const char *const argv[] = { "sleep", "60", NULL };
	struct rt_error *err;

	expect(!rt_interrupt_defer(), 1);
	raise(SIGQUIT);
	err = rt_run_program(&(struct rt_run_options){ .path = "/bin/sleep", .argv = argv, .interruptible = true });
	expect(err && strstr(err->cause->message, "interrupted by SIGQUIT"), 2);
	expect(waitpid(-1, NULL, 0) < 0, 3);
	rt_error_free(err);
	/* Others run to their end. */
	expect(!rt_run_program(&(struct rt_run_options){ .path = "/bin/true", .argv = argv }), 4);
}

static void a_program_that_may_be_is_ended(void **state)
{
	(void)state;
	in_a_child(end_a_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signal_waits_and_is_told_of_as_often_as_somebody_asks),
		cmocka_unit_test(what_the_caller_had_us_ignore_is_no_interruption),
		cmocka_unit_test(a_program_that_may_be_is_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
