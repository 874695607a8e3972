#include "migrate/inject.h"

#include "tests/unit/migrate/victim.h"
#include "runtime/base/proc.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void inject_into(struct rt_injector *injector, pid_t pid, struct rt_injection *injection)
{
	assert_null(rt_injector_get(injector, pid, injection));
	if (injection->fd >= 0)
		close(injection->fd);
	else if (!injection->gone)
		print_message("# process %d %s\n", pid, injection->reason);
}

/* ---- what a thread was doing goes on as if nothing had been ---- */

/* Each takes about 300 ms, and returns 0 where it ended as it should. */
static long sleep_relative(void)
{
	struct timespec time = { .tv_nsec = 300000000 }, left = { 0 };

	return nanosleep(&time, &left) ? errno : 0;
}

static long sleep_until(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_nsec += 300000000;
	if (time.tv_nsec >= 1000000000) {
		time.tv_sec++;
		time.tv_nsec -= 1000000000;
	}
	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static long wait_futex(void)
{
	struct timespec time = { .tv_nsec = 300000000 };
	int word = 1;

	return syscall(SYS_futex, &word, FUTEX_WAIT, 1, &time, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : errno ? errno : -1;
}

static long wait_epoll(void)
{
	struct epoll_event event;
	int fd = epoll_create1(0);
	long result = epoll_wait(fd, &event, 1, 300);

	return result < 0 ? errno : result;
}

static long wait_poll(void)
{
	long result = poll(NULL, 0, 300);

	return result < 0 ? errno : result;
}

static long wait_select(void)
{
	struct timeval time = { .tv_usec = 300000 };
	long result = select(0, NULL, NULL, NULL, &time);

	return result < 0 ? errno : result;
}

static long wait_sigtimedwait(void)
{
	struct timespec time = { .tv_nsec = 300000000 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &time) == -1 && errno == EAGAIN ? 0 : errno;
}

static long read_pipe(void)
{
	char bytes[8] = { 0 };
	int ends[2];

	if (pipe(ends) < 0)
		return errno;
	if (fork() == 0) {
		usleep(300000);
		_exit(write(ends[1], "hello", 5) != 5);
	}
	if (read(ends[0], bytes, 8) != 5)
		return errno ? errno : -1;
	return memcmp(bytes, "hello", 5) != 0;
}

static long receive_with_timeout(void)
{
	struct timeval time = { .tv_usec = 300000 };
	int ends[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 || setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) < 0)
		return errno;
	return recv(ends[0], &byte, 1, 0) == -1 && errno == EAGAIN ? 0 : errno;
}

static long wait_semaphore(void)
{
	struct timespec time = { .tv_nsec = 300000000 };
	struct sembuf take = { .sem_op = -1 };
	int id = semget(IPC_PRIVATE, 1, 0600);
	long result = semtimedop(id, &take, 1, &time) == -1 && errno == EAGAIN ? 0 : errno;

	semctl(id, 0, IPC_RMID);
	return result;
}

static long wait_for_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		usleep(300000);
		_exit(7);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : errno ? errno : -1;
}

/* All registers, and the floating point unit, keep what is in them. */
static long compute(void)
{
	struct timespec now;
	double value = 0;
	uint64_t sum = 0;
	int64_t end = now_ms() + 300;

	for (uint64_t i = 1; now_ms() < end; i++) {
		double before = value;
		uint64_t expected = sum + 3 * i;

		value += 1.0 / (double)i;
		sum += i;
		sum += 2 * i;
		if (sum != expected || value < before)
			return 1;
		clock_gettime(CLOCK_REALTIME, &now);
	}
	return 0;
}

static long (*const doings[])(void) = {
	sleep_relative, sleep_until, wait_futex, wait_epoll, wait_poll, wait_select, wait_sigtimedwait, read_pipe, receive_with_timeout, wait_semaphore,
	wait_for_child, compute,
};

static long do_one(struct board *board, int command)
{
	return command ? doings[(command - 1) % (int)RT_ARRAY_SIZE(doings)]() : 0;
}

static void a_stopped_system_call_goes_on_as_if_nothing_had_been(void **state)
{
	struct rt_injector *injector;

	assert_null(rt_injector_open(&injector));
	for (int i = 1; i <= (int)RT_ARRAY_SIZE(doings); i++) {
		struct victim victim = victim_start(0, do_one);
		struct rt_injection injection;
		int64_t began = now_ms(), took;
		int times = 0;

		atomic_store(&victim.board->command, i);
		for (; now_ms() < began + 200; times++) {
			inject_into(injector, victim.pid, &injection);
			assert_true(injection.fd >= 0);
			usleep(10000);
		}
		assert_true(times >= 3);
		await(&victim.board->done, i + 1);
		took = now_ms() - began;
		if (atomic_load(&victim.board->result) || took < 290)
			print_message("# number %d: %ld after %ld ms\n", i, atomic_load(&victim.board->result), (long)took);
		assert_int_equal(atomic_load(&victim.board->result), 0);
		/* Time limits of calls that the kernel begins anew begin anew too; none is cut short. */
		assert_true(took >= 290);
		victim_end(&victim);
	}
	rt_injector_close(injector);
}

/* ---- hostile and unusual tasks ---- */

/* Allows nothing but what the test needs; userfaultfd kills. */
static long forbid_userfaultfd(struct board *board, int command)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = RT_ARRAY_SIZE(code), .filter = code };

	if (command == 1)
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	if (command == 2) /* the filter is in force again */
		close(-1);
	return 0;
}

static void a_seccomp_filter_that_kills_does_not(void **state)
{
	struct victim victim = victim_start(0, forbid_userfaultfd);
	struct rt_injection injection;
	struct rt_injector *injector;
	int status;

	assert_int_equal(victim_do(&victim, 1), 0);
	assert_null(rt_injector_open(&injector));
	inject_into(injector, victim.pid, &injection);
	if (geteuid() == 0)
		assert_true(injection.fd >= 0);
	assert_int_equal(kill(victim.pid, 0), 0);
	atomic_store(&victim.board->command, 2);
	assert_int_equal(waitpid(victim.pid, &status, 0), victim.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	victim_end(&victim);
	rt_injector_close(injector);
}

static char state_of(pid_t pid)
{
	struct rt_proc_stat stat = { 0 };
	bool found;

	assert_null(rt_proc_stat(pid, &stat, &found));
	return found ? stat.state : 0;
}

static void a_stopped_process_stays_stopped(void **state)
{
	struct victim victim = victim_start(0, NULL);
	struct rt_injection injection;
	struct rt_injector *injector;
	int status;

	assert_null(rt_injector_open(&injector));
	kill(victim.pid, SIGSTOP);
	assert_int_equal(waitpid(victim.pid, &status, WUNTRACED), victim.pid);
	inject_into(injector, victim.pid, &injection);
	assert_true(injection.fd >= 0);
	usleep(20000);
	assert_int_equal(state_of(victim.pid), 'T');
	kill(victim.pid, SIGCONT);
	victim_do(&victim, 1);
	victim_end(&victim);
	rt_injector_close(injector);
}

static void a_traced_process_is_left_alone(void **state)
{
	struct victim victim = victim_start(0, NULL);
	struct rt_injection injection;
	struct rt_injector *injector;
	int status;

	assert_null(rt_injector_open(&injector));
	assert_int_equal(ptrace(PTRACE_SEIZE, victim.pid, NULL, NULL), 0);
	inject_into(injector, victim.pid, &injection);
	assert_int_equal(injection.fd, -1);
	assert_false(injection.gone);
	assert_non_null(strstr(injection.reason, "traced"));
	assert_int_equal(ptrace(PTRACE_INTERRUPT, victim.pid, NULL, NULL), 0);
	assert_int_equal(waitpid(victim.pid, &status, 0), victim.pid);
	inject_into(injector, victim.pid, &injection);
	assert_int_equal(injection.fd, -1);
	ptrace(PTRACE_DETACH, victim.pid, NULL, NULL);
	inject_into(injector, victim.pid, &injection);
	assert_true(injection.fd >= 0);
	victim_end(&victim);
	rt_injector_close(injector);
}

static void the_dead_are_gone(void **state)
{
	struct rt_injection injection;
	struct rt_injector *injector;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_null(rt_injector_open(&injector));
	usleep(20000);
	inject_into(injector, pid, &injection); /* a zombie */
	assert_int_equal(injection.fd, -1);
	waitpid(pid, NULL, 0);
	inject_into(injector, pid, &injection);
	assert_int_equal(injection.fd, -1);
	assert_true(injection.gone);
	rt_injector_close(injector);
}

/* The number of signals of a timer that reached the handler. */
static volatile sig_atomic_t ticks;

static void on_tick(int signal)
{
	ticks++;
}

static long tick(struct board *board, int command)
{
	struct itimerval often = { .it_interval.tv_usec = 200, .it_value.tv_usec = 200 };
	int64_t end = now_ms() + 500;
	uint64_t rounds = 0, sum = 0;

	if (command != 1)
		return 0;
	signal(SIGALRM, on_tick);
	setitimer(ITIMER_REAL, &often, NULL);
	for (; now_ms() < end; rounds++)
		sum += rounds ^ (uint64_t)getppid();
	signal(SIGALRM, SIG_IGN);
	return rounds && sum ? ticks : -1;
}

static void signals_arrive_during_injections(void **state)
{
	struct victim victim = victim_start(0, tick);
	struct rt_injection injection;
	struct rt_injector *injector;
	int got = 0, asked = 0;
	int64_t began = now_ms();

	assert_null(rt_injector_open(&injector));
	atomic_store(&victim.board->command, 1);
	for (; now_ms() < began + 450; asked++) {
		inject_into(injector, victim.pid, &injection);
		got += injection.fd >= 0;
	}
	await(&victim.board->done, 2);
	print_message("# %d of %d injections, %ld signals\n", got, asked, atomic_load(&victim.board->result));
	assert_true(got > asked / 2);
	assert_true(atomic_load(&victim.board->result) > 50);
	victim_end(&victim);
	rt_injector_close(injector);
}

/* ---- our own death ---- */

/* A process that injects into the victim without end. Killed while it does, the victim never notices. */
static void killed_at_any_moment_the_victim_lives_on(void **state)
{
	int deaths = 200;
	struct victim victim = victim_start(0, do_one);

	srand(4);
	for (int i = 0; i < deaths; i++) {
		pid_t tracker = fork();
		int status;

		if (tracker == 0) {
			struct rt_injector *injector;
			struct rt_injection injection;

			if (rt_injector_open(&injector))
				_exit(1);
			for (;;)
				/* The guard of the one before may still be at work. */
				if (rt_injector_get(injector, victim.pid, &injection))
					_exit(1);
				else if (injection.fd >= 0)
					close(injection.fd);
		}
		if (i % 10 == 0)
			atomic_store(&victim.board->command, (int)RT_ARRAY_SIZE(doings) * (i / 10 + 1) - (i / 10 % 2 ? 11 : 0)); /* compute, sleep */
		usleep((useconds_t)(1000 + rand() % 3000));
		kill(tracker, SIGKILL);
		assert_int_equal(waitpid(tracker, &status, 0), tracker);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(atomic_load(&victim.board->result), 0);
	}
	usleep(400000);
	assert_int_equal(kill(victim.pid, 0), 0);
	assert_true(strchr("RS", state_of(victim.pid)) != NULL);
	victim_do(&victim, (int)RT_ARRAY_SIZE(doings) * 100);
	assert_int_equal(atomic_load(&victim.board->result), 0);
	victim_end(&victim);
}

static pid_t child_named(const char *name)
{
	char path[64], text[512] = "", *rest = text, *word;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	usleep(20000); /* it names itself */
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	while ((word = strsep(&rest, " "))) {
		char comm[32] = "";

		snprintf(path, sizeof(path), "/proc/%d/comm", atoi(word));
		file = *word ? fopen(path, "re") : NULL;
		if (file && fgets(comm, sizeof(comm), file) && strncmp(comm, name, strlen(name)) == 0) {
			fclose(file);
			return atoi(word);
		}
		if (file)
			fclose(file);
	}
	fail_msg("no child is named %s", name);
	return -1;
}

static void a_guard_that_was_killed_is_replaced(void **state)
{
	struct victim victim = victim_start(0, NULL);
	struct rt_injection injection;
	struct rt_injector *injector;
	struct rt_error *err;
	pid_t guard;

	assert_null(rt_injector_open(&injector));
	guard = child_named("rt-guard");
	kill(guard, SIGTERM);
	kill(guard, SIGINT);
	inject_into(injector, victim.pid, &injection);
	assert_true(injection.fd >= 0);
	kill(guard, SIGKILL);
	usleep(10000);
	err = rt_injector_get(injector, victim.pid, &injection);
	assert_non_null(err);
	rt_error_free(err);
	inject_into(injector, victim.pid, &injection);
	assert_true(injection.fd >= 0);
	victim_end(&victim);
	rt_injector_close(injector);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stopped_system_call_goes_on_as_if_nothing_had_been),
		cmocka_unit_test(a_seccomp_filter_that_kills_does_not),
		cmocka_unit_test(a_stopped_process_stays_stopped),
		cmocka_unit_test(a_traced_process_is_left_alone),
		cmocka_unit_test(the_dead_are_gone),
		cmocka_unit_test(signals_arrive_during_injections),
		cmocka_unit_test(killed_at_any_moment_the_victim_lives_on),
		cmocka_unit_test(a_guard_that_was_killed_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
