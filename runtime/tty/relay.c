#include "runtime/tty/tty.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#define ROOM 8192
#define WRITE_AT_ONCE 4096 /* PIPE_BUF: what a pipe that polls writable takes without blocking */

/* Bytes on their way in one direction. */
struct buffer {
	char bytes[ROOM];
	size_t start, end;
};

struct relay {
	const struct rt_tty_relay *options;
	int master;	   /* -1: none, or its other end has closed */
	int input, output; /* the person's; -1: at its end, or nobody listens */
	int signals;
	int terminal; /* the person's terminal, -1: none */
	struct termios saved;
	bool raw; /* `saved` is to be put back */
	struct buffer in, out;
};

/* rt_tty_hold_signals() */
static sigset_t mask_before;
static bool held;

static size_t pending(const struct buffer *buffer)
{
	return buffer->end - buffer->start;
}

/* *ret_ended: nothing will come any more. EIO is how a master says that the last slave has closed. */
static void fill(struct buffer *buffer, int fd, bool *ret_ended)
{
	ssize_t got = read(fd, buffer->bytes, sizeof(buffer->bytes));

	*ret_ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
	buffer->start = 0;
	buffer->end = got > 0 ? (size_t)got : 0;
}

/* *ret_ended: nobody takes it any more. */
static void drain(struct buffer *buffer, int fd, bool *ret_ended)
{
	size_t count = pending(buffer) < WRITE_AT_ONCE ? pending(buffer) : WRITE_AT_ONCE;
	ssize_t put = write(fd, buffer->bytes + buffer->start, count);

	*ret_ended = put < 0 && errno != EAGAIN && errno != EINTR;
	if (put > 0)
		buffer->start += (size_t)put;
}

static void copy_size(const struct relay *relay)
{
	struct winsize size;

	/* The terminal may be gone already; its last size has to do then. */
	if (relay->master >= 0 && relay->terminal >= 0 && ioctl(relay->terminal, TIOCGWINSZ, &size) == 0 &&
	    ioctl(relay->master, TIOCSWINSZ, &size) < 0)
		rt_debug("cannot set the size of the terminal: %s", strerror(errno));
}

static void forward_signal(struct relay *relay)
{
	struct signalfd_siginfo info;

	if (read(relay->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGWINCH:
		copy_size(relay);
		return;
	case SIGCHLD: /* of no interest: the pidfd tells */
	case SIGPIPE: /* our own writes tell */
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
		return;
	}
	rt_warn_ignored(rt_pidfd_kill(relay->options->pidfd, (int)info.ssi_signo, NULL));
}

static bool is_ignored(int number)
{
	struct sigaction action;

	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* All that can be forwarded. What a fault of our own raises must still end us; what our caller had us ignore (nohup), is not
 * meant for the container either. */
static sigset_t forwarded(void)
{
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t mask;

	sigfillset(&mask);
	for (size_t i = 0; i < RT_ARRAY_SIZE(own); i++)
		sigdelset(&mask, own[i]);
	for (int number = 1; number < NSIG; number++)
		if (is_ignored(number))
			sigdelset(&mask, number);
	return mask;
}

struct rt_error *rt_tty_hold_signals(void)
{
	const sigset_t mask = forwarded();

	if (held)
		return NULL;
	if (sigprocmask(SIG_BLOCK, &mask, &mask_before) < 0)
		return rt_fail_errno("cannot block signals");
	held = true;
	return NULL;
}

static struct rt_error *take_signals(struct relay *relay)
{
	const sigset_t mask = forwarded();
	struct rt_error *err = rt_tty_hold_signals();

	if (err)
		return err;
	relay->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (relay->signals < 0)
		return rt_fail_errno("cannot receive signals");
	return NULL;
}

static struct rt_error *take_terminal(struct relay *relay)
{
	struct termios raw;
	int flags = fcntl(relay->master, F_GETFL);

	/* A program that doesn't read its input must not keep us from its output. */
	if (flags < 0 || fcntl(relay->master, F_SETFL, flags | O_NONBLOCK) < 0)
		return rt_fail_errno("cannot set up the terminal of the container");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && relay->terminal < 0; fd++)
		if (isatty(fd))
			relay->terminal = fd;
	copy_size(relay);
	if (!isatty(STDIN_FILENO))
		return NULL;
	if (tcgetattr(STDIN_FILENO, &relay->saved) < 0)
		return rt_fail_errno("cannot get the mode of the terminal");
	raw = relay->saved;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return rt_fail_errno("cannot set the terminal to raw mode");
	relay->raw = true;
	return NULL;
}

static void give_back(struct relay *relay)
{
	struct signalfd_siginfo info;

	/* Not TCSAFLUSH: what the person typed ahead is for the shell. */
	if (relay->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &relay->saved);
	/* Too late to be forwarded; let through now they would end us before we have cleaned up. */
	while (relay->signals >= 0 && read(relay->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		;
	rt_closep(&relay->signals);
	if (held)
		sigprocmask(SIG_SETMASK, &mask_before, NULL);
	held = false;
}

enum { POLL_PROCESS, POLL_SIGNALS, POLL_MASTER, POLL_INPUT, POLL_OUTPUT, POLL_COUNT };

/* Waits for what can be done now: a full buffer is not read into, an empty one not written. */
static struct rt_error *wait_for_something(const struct relay *relay, struct pollfd polled[POLL_COUNT])
{
	short master = (short)((pending(&relay->out) ? 0 : POLLIN) | (pending(&relay->in) ? POLLOUT : 0));
	bool reads_input = relay->master >= 0 && !pending(&relay->in);

	polled[POLL_PROCESS] = (struct pollfd){relay->options->pidfd, POLLIN, 0};
	polled[POLL_SIGNALS] = (struct pollfd){relay->signals, POLLIN, 0};
	/* Asked for nothing, a closed end would still wake us, again and again. */
	polled[POLL_MASTER] = (struct pollfd){master ? relay->master : -1, master, 0};
	polled[POLL_INPUT] = (struct pollfd){reads_input ? relay->input : -1, POLLIN, 0};
	polled[POLL_OUTPUT] = (struct pollfd){pending(&relay->out) ? relay->output : -1, POLLOUT, 0};
	while (poll(polled, POLL_COUNT, -1) < 0)
		if (errno != EINTR)
			return rt_fail_errno("cannot wait for the terminal");
	return NULL;
}

/* From the container: what nobody takes is dropped, so that the program is not stopped by a full terminal. */
static void move_output(struct relay *relay, const struct pollfd polled[POLL_COUNT])
{
	bool ended = false;

	if (polled[POLL_MASTER].revents & (POLLIN | POLLHUP | POLLERR) && !pending(&relay->out)) {
		fill(&relay->out, relay->master, &ended);
		if (ended)
			relay->master = -1;
	}
	if (polled[POLL_OUTPUT].revents) {
		drain(&relay->out, relay->output, &ended);
		if (ended)
			relay->output = -1;
	}
	if (relay->output < 0)
		relay->out.start = relay->out.end;
}

static void move_input(struct relay *relay, const struct pollfd polled[POLL_COUNT])
{
	bool ended = false;

	if (polled[POLL_INPUT].revents && !pending(&relay->in)) {
		fill(&relay->in, relay->input, &ended);
		if (ended)
			relay->input = -1;
	}
	if (relay->master >= 0 && pending(&relay->in)) {
		drain(&relay->in, relay->master, &ended);
		if (ended)
			relay->in.start = relay->in.end;
	}
}

/* The process has ended. What it wrote is in the terminal still; what others there go on writing is not waited for. */
static void move_the_rest(struct relay *relay)
{
	bool ended = relay->master < 0;

	for (;;) {
		if (relay->output >= 0 && pending(&relay->out))
			rt_error_free(
				rt_write_all(relay->output, relay->out.bytes + relay->out.start, pending(&relay->out)));
		if (ended)
			return;
		fill(&relay->out, relay->master, &ended);
		ended = ended || !pending(&relay->out);
	}
}

static struct rt_error *run(struct relay *relay)
{
	struct pollfd polled[POLL_COUNT];
	struct rt_error *err;

	for (;;) {
		err = wait_for_something(relay, polled);
		if (err)
			return err;
		if (polled[POLL_SIGNALS].revents)
			forward_signal(relay);
		move_output(relay, polled);
		move_input(relay, polled);
		if (polled[POLL_PROCESS].revents) {
			move_the_rest(relay);
			return NULL;
		}
	}
}

struct rt_error *rt_tty_relay(const struct rt_tty_relay *options, int *ret_status)
{
	_cleanup_(give_back) struct relay relay = {
		.options = options,
		.master = options->master,
		.input = STDIN_FILENO,
		.output = STDOUT_FILENO,
		.signals = -1,
		.terminal = -1,
	};
	struct rt_error *err = take_signals(&relay);
	int status;

	if (!err && relay.master >= 0)
		err = take_terminal(&relay);
	if (!err)
		err = run(&relay);
	if (err)
		return err;
	/* __WALL: a process made as our sibling's has no exit signal, and plain waitpid() wouldn't see it. */
	while (waitpid(options->pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return rt_fail_errno("cannot wait for process %d", options->pid);
	*ret_status = status;
	return NULL;
}
