#include "runtime/base/proc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

static struct rt_error *run_shell(const char *script, const char *input, int timeout_ms)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct rt_run_options options = {
		.path = "/bin/sh",
		.argv = argv,
		.input = input,
		.input_size = input ? strlen(input) : 0,
		.timeout_ms = timeout_ms,
	};

	return rt_run_program(&options);
}

static void assert_fails_with(struct rt_error *err, const char *part)
{
	assert_non_null(err);
	if (!strstr(err->message, part))
		fail_msg("\"%s\" lacks \"%s\"", err->message, part);
	rt_error_free(err);
}

static void a_program_gets_its_input_and_no_environment(void **state)
{
	assert_null(run_shell("read line && test \"$line\" = hello && test -z \"$HOME\"", "hello\n", 0));
}

static void without_input_it_reads_nothing(void **state)
{
	assert_null(run_shell("! read line", NULL, 0));
}

static void a_failure_quotes_the_last_line(void **state)
{
	assert_fails_with(run_shell("echo first; echo the reason >&2; exit 3", NULL, 0), "exited with 3: the reason");
	assert_fails_with(run_shell("exit 4", NULL, 0), "'/bin/sh' exited with 4");
	assert_fails_with(run_shell("kill -9 $$", NULL, 0), "died of signal 9");
}

static void a_program_that_is_not_there_says_so(void **state)
{
	const char *const argv[] = {"x", NULL};
	const struct rt_run_options options = {.path = "/nonexistent/program", .argv = argv};

	assert_fails_with(rt_run_program(&options), "No such file or directory");
}

static void a_program_has_no_signal_blocked_or_ignored_and_ours_stay_as_they_were(void **state)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before, after;
	sigset_t blocked, kept;

	sigaction(SIGUSR1, &ignore, &before);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR2);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	assert_null(run_shell("while read name value; do case $name in SigBlk:|SigIgn:) test $((0x$value)) = 0 || exit 5;; "
			      "esac; done </proc/$$/status",
			      NULL, 0));
	sigprocmask(SIG_UNBLOCK, &blocked, &kept);
	sigaction(SIGUSR1, &before, &after);
	assert_true(sigismember(&kept, SIGUSR2));
	assert_false(sigismember(&kept, SIGTERM));
	assert_true(after.sa_handler == SIG_IGN);
}

static void a_late_program_is_killed_with_its_children(void **state)
{
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_fails_with(run_shell("sleep 60 & sleep 60", NULL, 100), "took longer than 100 ms");
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 10);
}

static void a_grandchild_that_keeps_the_pipe_does_not_hold_us_up(void **state)
{
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_null(run_shell("sleep 3 & exit 0", NULL, 0));
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 2);
}

static void much_output_is_swallowed(void **state)
{
	assert_null(run_shell("head -c 300000 /dev/zero", NULL, 10000));
}

static void input_nobody_reads_is_no_failure(void **state)
{
	char large[300001];

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_null(run_shell("exit 0", large, 10000));
	assert_null(run_shell("cat >/dev/null", large, 10000));
}

static pid_t start_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	return pid;
}

static void a_process_is_killed_and_awaited_by_descriptor(void **state)
{
	pid_t pid = start_child();
	_cleanup_close_ int pidfd = -1;
	bool ended = true, gone = true;

	assert_null(rt_pidfd_open(pid, &pidfd));
	assert_true(pidfd >= 0);
	assert_null(rt_pidfd_wait(pidfd, 0, &ended));
	assert_false(ended);
	assert_null(rt_pidfd_kill(pidfd, SIGKILL, &gone));
	assert_false(gone);
	assert_null(rt_pidfd_wait(pidfd, -1, &ended));
	assert_true(ended);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_null(rt_pidfd_kill(pidfd, SIGKILL, &gone));
	assert_true(gone);
}

static void a_process_that_has_ended_is_an_answer(void **state)
{
	pid_t pid = start_child();
	struct rt_proc_stat stat;
	bool found = true;
	int pidfd = 7;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_null(rt_pidfd_open(pid, &pidfd));
	assert_int_equal(pidfd, -1);
	assert_null(rt_proc_stat(pid, &stat, &found));
	assert_false(found);
}

static void a_process_is_told_by_its_start(void **state)
{
	struct rt_proc_stat stat;
	bool found = false;

	assert_null(rt_proc_stat(getpid(), &stat, &found));
	assert_true(found);
	assert_int_equal(stat.parent, getppid());
	assert_int_equal(stat.state, 'R');
	assert_true(stat.start_time > 0);
}

static void descriptors_are_marked_from_a_number_on(void **state)
{
	int low = fcntl(STDERR_FILENO, F_DUPFD, 50), high = fcntl(STDERR_FILENO, F_DUPFD, 60);

	assert_null(rt_close_on_exec_from(60));
	assert_false(fcntl(low, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(high, F_GETFD) & FD_CLOEXEC);
	close(low);
	close(high);
}

static void a_pidfd_tells_its_pid_as_long_as_the_process_is_there(void **state)
{
	_cleanup_close_ int pidfd = -1;
	_cleanup_error_ struct rt_error *err = NULL;
	pid_t child = fork(), pid;

	if (child == 0)
		for (;;)
			pause();
	err = rt_pidfd_open(child, &pidfd);
	assert_null(err);
	err = rt_pidfd_pid(pidfd, &pid);
	assert_null(err);
	assert_int_equal(pid, child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	err = rt_pidfd_pid(pidfd, &pid);
	assert_null(err);
	assert_int_equal(pid, -1);
	err = rt_pidfd_pid(STDIN_FILENO, &pid);
	assert_non_null(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_gets_its_input_and_no_environment),
		cmocka_unit_test(without_input_it_reads_nothing),
		cmocka_unit_test(a_failure_quotes_the_last_line),
		cmocka_unit_test(a_program_that_is_not_there_says_so),
		cmocka_unit_test(a_program_has_no_signal_blocked_or_ignored_and_ours_stay_as_they_were),
		cmocka_unit_test(a_late_program_is_killed_with_its_children),
		cmocka_unit_test(a_grandchild_that_keeps_the_pipe_does_not_hold_us_up),
		cmocka_unit_test(much_output_is_swallowed),
		cmocka_unit_test(input_nobody_reads_is_no_failure),
		cmocka_unit_test(a_process_is_killed_and_awaited_by_descriptor),
		cmocka_unit_test(a_process_that_has_ended_is_an_answer),
		cmocka_unit_test(a_process_is_told_by_its_start),
		cmocka_unit_test(descriptors_are_marked_from_a_number_on),
		cmocka_unit_test(a_pidfd_tells_its_pid_as_long_as_the_process_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
