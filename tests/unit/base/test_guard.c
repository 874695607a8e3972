#include "runtime/base/guard.h"
#include "runtime/base/proc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* What a guard of these tests does: says over a pipe what it hears, at last "." when it was left alone or "," when it was dismissed. */
struct tell {
	int fd;
	struct rt_guard_message last;
};

static void say(const struct tell *tell, char what)
{
	assert_int_equal(write(tell->fd, &what, 1), 1);
}

static void listen_and_tell(void *userdata, int pipe_fd)
{
	struct tell *tell = userdata;

	while (rt_guard_hear(pipe_fd, &tell->last)) {
		say(tell, tell->last.word == RT_GUARD_DISMISSED ? ',' : (char)tell->last.word);
		if (tell->last.word == RT_GUARD_DISMISSED)
			return;
	}
	say(tell, '.');
}

/* All it says, up to its end: nobody else holds that end of the pipe then. */
static void hear_all(int fd, char *text, size_t room)
{
	size_t got = 0;
	ssize_t more;

	while ((more = read(fd, text + got, room - 1 - got)) > 0)
		got += (size_t)more;
	text[got] = '\0';
	close(fd);
}

struct scene {
	int said; /* our end */
	struct tell tell;
	struct rt_guard_plan plan;
};

static void scene_init(struct scene *scene)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	scene->said = ends[0];
	scene->tell.fd = ends[1];
	scene->plan = (struct rt_guard_plan){ .watch = listen_and_tell, .userdata = &scene->tell, .keep = &scene->tell.fd, .keep_count = 1 };
}

static void a_dismissed_guard_ends_and_is_reaped(void **state)
{
	struct rt_guard guard;
	struct scene scene;
	char said[16];

	scene_init(&scene);
	assert_null(rt_guard_start(&scene.plan, &guard));
	close(scene.tell.fd);
	assert_null(rt_guard_tell(&guard, 'a', 0));
	assert_null(rt_guard_tell(&guard, 'b', getpid()));
	rt_guard_dismiss(&guard);
	hear_all(scene.said, said, sizeof(said));
	assert_string_equal(said, "ab,");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child */
	rt_guard_dismiss(&guard); /* none is fine */
}

static void our_death_is_what_a_guard_waits_for(void **state)
{
	struct rt_guard guard;
	struct scene scene;
	char said[16];
	pid_t pid;

	scene_init(&scene);
	pid = fork();
	if (pid == 0) {
		rt_error_free(rt_guard_start(&scene.plan, &guard));
		rt_error_free(rt_guard_tell(&guard, 'a', 0));
		raise(SIGKILL);
	}
	close(scene.tell.fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	hear_all(scene.said, said, sizeof(said));
	assert_string_equal(said, "a.");
}

static void a_guard_that_somebody_killed_is_told_of_in_an_error(void **state)
{
	struct rt_guard guard;
	struct scene scene;
	struct rt_error *err;

	scene_init(&scene);
	assert_null(rt_guard_start(&scene.plan, &guard));
	close(scene.tell.fd);
	kill(guard.pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)guard.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	err = rt_guard_tell(&guard, 'a', 0); /* and no SIGPIPE ends us */
	assert_non_null(err);
	assert_non_null(strstr(err->message, "telling the guard"));
	rt_error_free(err);
	rt_guard_dismiss(&guard);
	close(scene.said);
}

/* Says "k" for the descriptor it was to keep, "x" for each other, "s" for a session of its own, "g" for the group it was to be in. */
struct looks {
	int kept, other, fd;
	pid_t group;
};

static void look_around(void *userdata, int pipe_fd)
{
	const struct looks *looks = userdata;
	const struct tell tell = { .fd = looks->fd };

	if (fcntl(looks->kept, F_GETFD) >= 0)
		say(&tell, 'k');
	if (fcntl(looks->other, F_GETFD) >= 0)
		say(&tell, 'x');
	if (getsid(0) == getpid())
		say(&tell, 's');
	if (getpgrp() == looks->group)
		say(&tell, 'g');
}

static void look(struct looks *looks, pid_t group, char *said, size_t room)
{
	struct rt_guard guard;
	int ends[2], keep[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	looks->fd = keep[0] = ends[1];
	keep[1] = looks->kept;
	looks->group = group;
	assert_null(rt_guard_start(&(struct rt_guard_plan){
		.watch = look_around, .userdata = looks, .group = group, .keep = keep, .keep_count = 2,
	}, &guard));
	close(ends[1]);
	hear_all(ends[0], said, room);
	rt_guard_dismiss(&guard);
}

static void it_has_what_it_is_to_keep_and_no_more(void **state)
{
	struct looks looks = { .other = open("/", O_PATH | O_CLOEXEC), .kept = open("/", O_PATH | O_CLOEXEC) };
	char said[16];

	look(&looks, 0, said, sizeof(said));
	assert_string_equal(said, "ks");
	/* Far away, too. */
	assert_int_equal(dup2(looks.kept, 500), 500);
	assert_int_equal(dup2(looks.other, 499), 499);
	close(looks.kept);
	close(looks.other);
	looks.kept = 500;
	looks.other = 499;
	look(&looks, 0, said, sizeof(said));
	assert_string_equal(said, "ks");
	close(500);
	close(499);
}

static void it_enters_a_group_that_is_there(void **state)
{
	struct looks looks = { .other = -1, .kept = open("/", O_PATH | O_CLOEXEC) };
	char said[16];
	int fd = -1;
	pid_t pid;

	assert_null(rt_fork_with_pipe(RT_PIPE_TO_CHILD, &pid, &fd));
	if (pid == 0)
		_exit(read(fd, said, 1) < 0);
	setpgid(pid, pid);
	look(&looks, pid, said, sizeof(said));
	assert_string_equal(said, "kg");
	close(fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* And is apart where it is not any more. */
	look(&looks, pid, said, sizeof(said));
	assert_string_equal(said, "ks");
	close(looks.kept);
}

static void a_message_names_one_process_for_good(void **state)
{
	struct rt_guard_message message = { .pid = getpid() };
	struct rt_proc_stat stat;
	bool found;
	int fd;

	assert_null(rt_proc_stat(getpid(), &stat, &found));
	message.start_time = stat.start_time;
	fd = rt_guard_open(&message);
	assert_true(fd >= 0);
	close(fd);
	/* Another one that has its number. */
	message.start_time++;
	assert_int_equal(rt_guard_open(&message), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dismissed_guard_ends_and_is_reaped),
		cmocka_unit_test(our_death_is_what_a_guard_waits_for),
		cmocka_unit_test(a_guard_that_somebody_killed_is_told_of_in_an_error),
		cmocka_unit_test(it_has_what_it_is_to_keep_and_no_more),
		cmocka_unit_test(it_enters_a_group_that_is_there),
		cmocka_unit_test(a_message_names_one_process_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
