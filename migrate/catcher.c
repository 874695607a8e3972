#include "migrate/catcher.h"

#include "migrate/tap.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The container waits meanwhile, but rarely for as long as this. */
#define ANSWER_TIMEOUT_MS 1000

/* The hook's own words, with another verb: so it looks for the same bridge, and keeps the same records. */
static struct rt_error *make_words(const struct rt_network *network, const char *id, char ***ret)
{
	size_t count = 0, at = 0;
	char **words;

	while (network->words && network->words[count])
		count++;
	words = calloc(count + 2, sizeof(*words));
	if (!words)
		return rt_error_oom();
	for (size_t i = 0; i < count; i++) {
		bool verb = i > 0 && at == 0 && rt_str_equal(network->words[i], "hook");

		words[i] = verb ? (char *)"catch" : network->words[i];
		at = verb ? i : at;
	}
	words[count] = (char *)id;
	if (at == 0) {
		free(words);
		return rt_fail(RT_CONFIG, "its hook '%s' is not called as 'hook'", network->program);
	}
	*ret = words;
	return NULL;
}

static void become(const char *program, char **words, int input, int output, int log_fd)
{
	rt_signals_reset();
	/* Above all that is put in place here. */
	input = fcntl(input, F_DUPFD_CLOEXEC, 10);
	output = fcntl(output, F_DUPFD_CLOEXEC, 10);
	log_fd = fcntl(log_fd, F_DUPFD_CLOEXEC, 10);
	if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
		_exit(126);
	execve(program, words, (char *const *)rt_plain_environment);
	_exit(127);
}

static void tell(struct rt_catcher *catcher, const char *word)
{
	struct rt_error *err = catcher->to < 0 ? NULL : rt_write_all(catcher->to, word, strlen(word));

	if (!err)
		return;
	rt_warn_ignored(rt_while(err, "telling 'rt-netns catch' to %.*s", (int)strcspn(word, "\n"), word));
	rt_closep(&catcher->to);
}

/* Until it says so, has ended, or is too slow. */
static bool hears(const struct rt_catcher *catcher, const char *word)
{
	struct pollfd fd = { .fd = catcher->from, .events = POLLIN };
	char said[512];
	size_t size = 0;

	while (size < sizeof(said) - 1 && poll(&fd, 1, ANSWER_TIMEOUT_MS) > 0) {
		ssize_t got = read(catcher->from, said + size, sizeof(said) - 1 - size);

		if (got <= 0)
			return false;
		size += (size_t)got;
		said[size] = '\0';
		if (strstr(said, word))
			return true;
	}
	return false;
}

struct rt_error *rt_catcher_prepare(struct rt_catcher *catcher, const struct rt_network *network, const char *id, int log_fd)
{
	_cleanup_free_ char **words = NULL;
	int to[2], from[2];
	struct rt_error *err;

	if (!network->program || !network->saved)
		return NULL;
	err = make_words(network, id, &words);
	if (err)
		return err;
	if (pipe2(to, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot make a pipe");
	if (pipe2(from, O_CLOEXEC) < 0) {
		err = rt_fail_errno("cannot make a pipe");
		close(to[0]);
		close(to[1]);
		return err;
	}
	catcher->pid = fork();
	if (catcher->pid == 0)
		become(network->program, words, to[0], from[1], log_fd);
	err = catcher->pid < 0 ? rt_fail_errno("cannot fork") : NULL;
	close(to[0]);
	close(from[1]);
	catcher->to = to[1];
	catcher->from = from[0];
	/* It fits into the pipe, or the catcher reads it. */
	tell(catcher, network->saved);
	tell(catcher, "\n");
	/* The container still runs over there: better it waits now than after its freeze. */
	if (!err && !hears(catcher, "ready\n"))
		err = rt_fail(RT_SYSTEM, "'rt-netns catch' is not ready: what is sent to '%s' while it is frozen will be lost", id);
	return err;
}

static void hand_on(void *userdata, const void *frame, size_t size)
{
	char line[sizeof("frame \n") + 2 * RT_TAP_FRAME_MAX] = "frame ";
	size_t used = strlen(line);

	for (size_t i = 0; i < size; i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%02x", ((const uint8_t *)frame)[i]);
	line[used++] = '\n';
	line[used] = '\0';
	tell(userdata, line);
}

void rt_catcher_start(struct rt_catcher *catcher, const void *frames, size_t size)
{
	if (!catcher->started)
		tell(catcher, "start\n");
	rt_warn_ignored(rt_tap_each(frames, size, hand_on, catcher));
	catcher->started = catcher->to >= 0;
}

void rt_catcher_join(struct rt_catcher *catcher, bool *ret_joined)
{
	*ret_joined = false;
	if (!catcher->started)
		return;
	tell(catcher, "join\n");
	*ret_joined = catcher->to >= 0 && hears(catcher, "joined\n");
	catcher->started = *ret_joined;
}

bool rt_catcher_release(struct rt_catcher *catcher)
{
	tell(catcher, "release\n");
	return catcher->to >= 0;
}

void rt_catcher_end(struct rt_catcher *catcher)
{
	rt_closep(&catcher->to);
	while (catcher->pid > 0 && waitpid(catcher->pid, NULL, 0) < 0 && errno == EINTR)
		;
	rt_closep(&catcher->from);
	*catcher = RT_CATCHER_NULL;
}
