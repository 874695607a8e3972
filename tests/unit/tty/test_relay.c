#include "runtime/tty/tty.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include <cmocka.h>

/* Three processes: the test plays the person; `rt` relays; the program runs in a terminal of its own, like one in a
 * container. */
struct play {
	int person_in, person_out; /* the test's ends: to rt's standard input, from its standard output */
	int rt_in, rt_out;	   /* rt's ends */
	pid_t rt;
};

static void open_pty(int *ret_master, int *ret_slave)
{
	*ret_master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*ret_master >= 0);
	assert_int_equal(unlockpt(*ret_master), 0);
	*ret_slave = open(ptsname(*ret_master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*ret_slave >= 0);
}

static void run_program(int slave, const char *script)
{
	if (slave >= 0 && rt_console_become(slave, geteuid()))
		_exit(126);
	execl("/bin/sh", "sh", "-c", script, NULL);
	_exit(127);
}

static void relay_and_exit(const char *script, bool with_terminal)
{
	struct rt_tty_relay relay = {.master = -1};
	int slave = -1, status;
	struct rt_error *err;

	if (with_terminal)
		open_pty(&relay.master, &slave);
	relay.pid = fork();
	if (relay.pid == 0)
		run_program(slave, script);
	if (slave >= 0)
		close(slave);
	relay.pidfd = (int)syscall(SYS_pidfd_open, relay.pid, 0);
	err = rt_tty_relay(&relay, &status);
	if (err)
		_exit(125);
	_exit(WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status));
}

static void start(struct play *play, const char *script, bool with_terminal)
{
	play->rt = fork();
	if (play->rt == 0) {
		dup2(play->rt_in, STDIN_FILENO);
		dup2(play->rt_out, STDOUT_FILENO);
		dup2(play->rt_out, STDERR_FILENO);
		syscall(SYS_close_range, 3, ~0U, 0);
		relay_and_exit(script, with_terminal);
	}
}

static struct play with_pipes(const char *script, bool with_terminal)
{
	struct play play;
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	play = (struct play){.person_in = in[1], .rt_in = in[0], .person_out = out[0], .rt_out = out[1]};
	start(&play, script, with_terminal);
	close(play.rt_in);
	close(play.rt_out);
	return play;
}

/* Up to `wanted`, or the end, or ten seconds. */
static bool hear(const struct play *play, const char *wanted)
{
	char heard[65536];
	size_t used = 0;

	while (used < sizeof(heard) - 1) {
		struct pollfd polled = {play->person_out, POLLIN, 0};
		ssize_t got;

		if (poll(&polled, 1, 10000) <= 0)
			return false;
		got = read(play->person_out, heard + used, 1);
		if (got <= 0)
			return false;
		heard[++used] = '\0';
		if (strstr(heard, wanted))
			return true;
	}
	return false;
}

static void say(const struct play *play, const char *text)
{
	assert_int_equal(write(play->person_in, text, strlen(text)), strlen(text));
}

static int wait_for_rt(const struct play *play)
{
	int status;

	assert_int_equal(waitpid(play->rt, &status, 0), play->rt);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int finish(const struct play *play)
{
	int status = wait_for_rt(play);

	if (play->person_in >= 0)
		close(play->person_in);
	if (play->person_out >= 0 && play->person_out != play->person_in)
		close(play->person_out);
	return status;
}

static void bytes_go_both_ways_and_the_status_comes_back(void **state)
{
	struct play play = with_pipes("read line; echo \"heard $line\"; exit 42", true);

	say(&play, "hello\n");
	assert_true(hear(&play, "heard hello"));
	assert_int_equal(finish(&play), 42);
}

static void the_end_of_input_does_not_end_the_program(void **state)
{
	struct play play = with_pipes("sleep 0.3; echo still here; exit 3", true);

	close(play.person_in);
	play.person_in = -1;
	assert_true(hear(&play, "still here"));
	assert_int_equal(finish(&play), 3);
}

static void all_output_arrives_however_much(void **state)
{
	struct play play = with_pipes("i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done", true);
	char bytes[4096];
	ssize_t got;
	size_t lines = 0;

	while ((got = read(play.person_out, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < got; i++)
			lines += bytes[i] == '\n';
	assert_int_equal(lines, 3000);
	assert_int_equal(finish(&play), 0);
}

static void a_program_that_left_children_in_the_terminal_is_not_waited_for(void **state)
{
	struct play play = with_pipes("trap '' HUP; sleep 2 & echo leaving; exit 5", true);

	assert_true(hear(&play, "leaving"));
	assert_int_equal(finish(&play), 5);
}

static void a_program_that_closed_its_terminal_is_waited_for(void **state)
{
	struct play play = with_pipes("exec </dev/null >/dev/null 2>&1; sleep 0.3; exit 6", true);

	assert_int_equal(finish(&play), 6);
}

static void output_that_nobody_takes_does_not_stop_the_program(void **state)
{
	struct play play =
		with_pipes("i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done; exit 7", true);

	close(play.person_out);
	play.person_out = -1;
	assert_int_equal(finish(&play), 7);
}

static void input_that_is_not_read_does_not_stop_the_output(void **state)
{
	struct play play = with_pipes("stty raw -echo; echo ready; sleep 0.5; echo done", true);
	char bytes[4096];

	assert_true(hear(&play, "ready"));
	memset(bytes, 'x', sizeof(bytes));
	for (int i = 0; i < 12; i++)
		assert_int_equal(write(play.person_in, bytes, sizeof(bytes)), sizeof(bytes));
	assert_true(hear(&play, "done"));
	assert_int_equal(finish(&play), 0);
}

static void signals_are_forwarded(void **state)
{
	struct play play = with_pipes("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done", false);

	assert_true(hear(&play, "ready"));
	kill(play.rt, SIGTERM);
	assert_int_equal(finish(&play), 9);
}

static void a_program_killed_by_a_signal_is_told_as_such(void **state)
{
	struct play play = with_pipes("kill -KILL $$", false);

	assert_int_equal(finish(&play), 100 + SIGKILL);
}

/* The person has a terminal too. */
static struct play with_person_at_terminal(const char *script, int *ret_slave, struct termios *ret_before)
{
	struct play play = {.rt = -1};
	int master, slave;

	open_pty(&master, &slave);
	play.person_in = play.person_out = master;
	play.rt_in = play.rt_out = slave;
	assert_int_equal(ioctl(slave, TIOCSWINSZ, &(struct winsize){.ws_row = 40, .ws_col = 100}), 0);
	assert_int_equal(tcgetattr(slave, ret_before), 0);
	start(&play, script, true);
	*ret_slave = slave;
	return play;
}

static void the_persons_terminal_is_raw_meanwhile_and_itself_again_after(void **state)
{
	struct termios before, meanwhile, after;
	struct play play;
	int slave;

	play = with_person_at_terminal("echo ready; read line; exit 0", &slave, &before);
	assert_true(hear(&play, "ready"));
	assert_int_equal(tcgetattr(slave, &meanwhile), 0);
	assert_false(meanwhile.c_lflag & (ICANON | ECHO | ISIG));
	say(&play, "x\r");
	assert_int_equal(wait_for_rt(&play), 0);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	assert_int_equal(after.c_oflag, before.c_oflag);
	close(play.person_in);
	close(slave);
}

static void the_size_of_the_window_is_followed(void **state)
{
	struct termios before;
	struct play play;
	int slave;

	play = with_person_at_terminal(
		"stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done", &slave, &before);
	assert_true(hear(&play, "40 100"));
	assert_true(hear(&play, "ready"));
	assert_int_equal(ioctl(slave, TIOCSWINSZ, &(struct winsize){.ws_row = 50, .ws_col = 120}), 0);
	kill(play.rt, SIGWINCH); /* rt is not in the foreground of that terminal here */
	assert_true(hear(&play, "50 120"));
	assert_int_equal(finish(&play), 0);
	close(slave);
}

static void control_c_reaches_the_program_through_its_terminal(void **state)
{
	struct termios before;
	struct play play;
	int slave;

	play = with_person_at_terminal("trap 'exit 8' INT; echo ready; while :; do sleep 0.05; done", &slave, &before);
	assert_true(hear(&play, "ready"));
	say(&play, "\003");
	assert_int_equal(finish(&play), 8);
	close(slave);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways_and_the_status_comes_back),
		cmocka_unit_test(the_end_of_input_does_not_end_the_program),
		cmocka_unit_test(all_output_arrives_however_much),
		cmocka_unit_test(a_program_that_left_children_in_the_terminal_is_not_waited_for),
		cmocka_unit_test(a_program_that_closed_its_terminal_is_waited_for),
		cmocka_unit_test(output_that_nobody_takes_does_not_stop_the_program),
		cmocka_unit_test(input_that_is_not_read_does_not_stop_the_output),
		cmocka_unit_test(signals_are_forwarded),
		cmocka_unit_test(a_program_killed_by_a_signal_is_told_as_such),
		cmocka_unit_test(the_persons_terminal_is_raw_meanwhile_and_itself_again_after),
		cmocka_unit_test(the_size_of_the_window_is_followed),
		cmocka_unit_test(control_c_reaches_the_program_through_its_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
