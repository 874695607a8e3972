/* asleep: several threads, each in a system call that ends with time; says "asleep", and of each call "NAME RESULT whole", or "early" where less time went by
 * than it was to wait. For the tests of checkpoint and restore: a restart of these is the kernel's own affair, which no image holds. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 4

static int ends[2];
static const struct timespec duration = { .tv_sec = SECONDS };

static long into_the_same(void)
{
	struct timespec left = duration;

	return syscall(SYS_nanosleep, &left, &left);
}

static long into_nothing(void)
{
	return syscall(SYS_nanosleep, &duration, NULL);
}

static long into_another(void)
{
	struct timespec left;

	return syscall(SYS_nanosleep, &duration, &left);
}

static long by_a_clock(void)
{
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &duration, NULL);
}

static long in_poll(void)
{
	return syscall(SYS_poll, NULL, 0, SECONDS * 1000);
}

static long in_epoll(void)
{
	struct epoll_event event;

	return syscall(SYS_epoll_wait, epoll_create1(EPOLL_CLOEXEC), &event, 1, SECONDS * 1000);
}

static long in_poll_for_ever(void)
{
	struct pollfd pipe = { .fd = ends[0], .events = POLLIN };

	return syscall(SYS_poll, &pipe, 1, -1);
}

static long on_a_futex(void)
{
	static uint32_t word;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SECONDS;
	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static const struct {
	const char *name;
	long (*call)(void);
} calls[] = {
	{ "same", into_the_same }, { "nothing", into_nothing }, { "another", into_another }, { "clock", by_a_clock },
	{ "poll", in_poll }, { "futex", on_a_futex }, { "epoll", in_epoll }, { "ever", in_poll_for_ever },
};
#define COUNT (sizeof(calls) / sizeof(*calls))

static void *wait_in(void *number)
{
	size_t n = (size_t)(uintptr_t)number;
	struct timespec before, after;
	long result;

	clock_gettime(CLOCK_MONOTONIC, &before);
	errno = 0;
	result = calls[n].call();
	result = errno ? -errno : result;
	clock_gettime(CLOCK_MONOTONIC, &after);
	after.tv_sec -= before.tv_sec + (after.tv_nsec < before.tv_nsec);
	printf("%s %s %s\n", calls[n].name, result < 0 ? strerrorname_np((int)-result) : result ? "ready" : "done", after.tv_sec < SECONDS ? "early" : "whole");
	return NULL;
}

int main(void)
{
	pthread_t threads[COUNT];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (pipe(ends) < 0)
		return 1;
	for (size_t i = 0; i < COUNT; i++)
		if (pthread_create(&threads[i], NULL, wait_in, (void *)(uintptr_t)i))
			return 1;
	usleep(500000);
	puts("asleep");
	for (size_t i = 0; i + 1 < COUNT; i++)
		pthread_join(threads[i], NULL);
	if (write(ends[1], "", 1) < 0)
		return 1;
	pthread_join(threads[COUNT - 1], NULL);
	puts("awake");
	for (;;)
		pause();
}
