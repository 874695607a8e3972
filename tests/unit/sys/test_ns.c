#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOT_ALLOWED 2

static void *wait_for_ever(void *end)
{
	char nothing;

	while (read(*(int *)end, &nothing, 1) < 0)
		;
	return NULL;
}

/* In a child, which has a user namespace and so all rights in it, and a second thread, which shares its root and current directory. */
static int enter_beside_a_thread(void)
{
	struct rt_error *err;
	pthread_t thread;
	int ends[2], own;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return NOT_ALLOWED;
	own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (own < 0 || pipe2(ends, O_CLOEXEC) < 0 || pthread_create(&thread, NULL, wait_for_ever, &ends[0]))
		return 1;
	err = rt_sys_setns(own, CLONE_NEWNS);
	rt_error_free(err);
	return err ? 1 : 0;
}

static void a_mount_namespace_can_be_entered_beside_other_threads(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(enter_beside_a_thread());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NOT_ALLOWED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mount_namespace_can_be_entered_beside_other_threads),
	};

	return cmocka_run_group_tests_name("ns", tests, NULL, NULL);
}
