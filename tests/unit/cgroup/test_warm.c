#include "runtime/cgroup/warm.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void it_ends_when_told(void **state)
{
	struct rt_cgroup_warmer warmer = RT_CGROUP_WARMER_NULL;
	pid_t pid;

	(void)state;
	rt_cgroup_warm_prepare(&warmer);
	rt_cgroup_warm(&warmer);
	pid = warmer.pid; /* 0: we may write to no cgroup here, and all the rest must do without */
	rt_cgroup_warm_end(&warmer);
	assert_int_equal(warmer.pid, 0);
	assert_int_equal(warmer.fd, -1);
	if (pid > 0) {
		assert_int_equal(kill(pid, 0), -1);
		assert_int_equal(errno, ESRCH);
	}
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void it_ends_with_us_though_never_begun(void **state)
{
	struct rt_cgroup_warmer warmer;

	(void)state;
	rt_cgroup_warm_prepare(&warmer);
	rt_cgroup_warm_stop(&warmer);
	assert_int_equal(warmer.fd, -1);
	rt_cgroup_warm_end(&warmer);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void one_that_was_killed_is_no_loss(void **state)
{
	struct rt_cgroup_warmer warmer;

	(void)state;
	rt_cgroup_warm_prepare(&warmer);
	if (warmer.pid > 0) {
		assert_int_equal(kill(warmer.pid, SIGKILL), 0);
		assert_int_equal(waitid(P_PID, (id_t)warmer.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	}
	rt_cgroup_warm(&warmer); /* no SIGPIPE */
	rt_cgroup_warm_end(&warmer);
	assert_int_equal(warmer.pid, 0);
}

static void ending_twice_is_fine(void **state)
{
	struct rt_cgroup_warmer warmer = RT_CGROUP_WARMER_NULL;

	(void)state;
	rt_cgroup_warm_end(&warmer);
	rt_cgroup_warm_end(&warmer);
	assert_int_equal(warmer.fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_ends_when_told),
		cmocka_unit_test(it_ends_with_us_though_never_begun),
		cmocka_unit_test(one_that_was_killed_is_no_loss),
		cmocka_unit_test(ending_twice_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
