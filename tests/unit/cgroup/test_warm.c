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
	struct rt_cgroup_warmer warmer;
	pid_t pid;

	(void)state;
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
		cmocka_unit_test(ending_twice_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
