#include "runtime/base/interrupt.h"

#include "runtime/base/str.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

static const int asking[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static int waiting = -1; /* a signalfd that nobody reads */

static bool is_ignored(int number)
{
	struct sigaction action;

	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

struct rt_error *rt_interrupt_defer(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	for (size_t i = 0; i < RT_ARRAY_SIZE(asking); i++)
		if (!is_ignored(asking[i]))
			sigaddset(&mask, asking[i]);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return rt_fail_errno("cannot block signals");
	waiting = signalfd(waiting, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return waiting < 0 ? rt_fail_errno("cannot watch signals") : NULL;
}

int rt_interrupt_fd(void)
{
	return waiting;
}

struct rt_error *rt_interrupt_check(void)
{
	struct pollfd signal_there = { .fd = waiting, .events = POLLIN };
	sigset_t pending;

	if (waiting < 0 || poll(&signal_there, 1, 0) <= 0 || sigpending(&pending) < 0)
		return NULL;
	for (size_t i = 0; i < RT_ARRAY_SIZE(asking); i++)
		if (sigismember(&pending, asking[i]) == 1)
			return rt_fail(RT_SYSTEM, "interrupted by SIG%s", sigabbrev_np(asking[i]));
	return NULL;
}
