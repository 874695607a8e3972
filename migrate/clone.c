#include "migrate/clone.h"

#include "migrate/clone_start.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/cred.h"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT_MAX 10000
#define REASON_MAX 4096
#define KSM_RUN "/sys/kernel/mm/ksm/run"

/* A process that starts one container and stays until all of its memory is where it belongs. It says "+" once the container runs, else why not. */
struct worker {
	const char *id;
	int fd; /* what it says */
};

static void say_running(void *userdata)
{
	int *fd = userdata;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	rt_error_free(rt_write_all(*fd, "+", 1));
	rt_closep(fd);
	/* Whoever reads our caller's output waits for the caller, not for us. */
	for (int stream = STDIN_FILENO; stream <= STDERR_FILENO && null >= 0; stream++)
		dup2(null, stream);
	rt_closep(&null);
}

/* Goes on to CRIU, and from there to the tasks it makes: what a process maps later on is merged, too. */
static struct rt_error *prepare_merge(const struct rt_run_values *values)
{
	_cleanup_free_ char *state = NULL;
	struct rt_error *err = values->merge ? rt_sys_merge_memory() : NULL;

	if (err || !values->merge)
		return err;
	err = rt_read_file_at(AT_FDCWD, KSM_RUN, 16, &state, NULL);
	if (!err && *state != '1')
		rt_warn("nothing is merged while '" KSM_RUN "' is not 1");
	return err;
}

/* One of many: "web" is "web-3" then. */
static struct rt_error *name_host(const struct rt_run_values *values, const char *id, char **ret)
{
	return rt_format(ret, "%s%s", values->hostname, values->has_count ? strrchr(id, '-') : "");
}

static void be_worker(const struct rt_clone_start *model, const char *id, int fd)
{
	struct rt_run_values values = *model->values;
	struct rt_clone_start start = *model;
	_cleanup_free_ char *hostname = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = NULL;
	int status;

	setsid();
	start.id = id;
	start.values = &values;
	start.running = say_running;
	start.userdata = &fd;
	if (values.hostname)
		err = name_host(&values, id, &hostname);
	values.hostname = hostname;
	if (!err)
		err = rt_clone_start(&start, &status);
	if (!err)
		_exit(0);
	text = rt_error_text(err);
	if (fd >= 0)
		rt_error_free(rt_write_all(fd, text ? text : "out of memory", text ? strlen(text) : strlen("out of memory")));
	_exit(1);
}

static struct rt_error *start_worker(const struct rt_clone_start *model, const char *id, struct worker *ret)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	pid_t pid;

	err = rt_fork_with_pipe(RT_PIPE_FROM_CHILD, &pid, &fd);
	if (err)
		return err;
	if (pid == 0)
		be_worker(model, id, fd);
	*ret = (struct worker){ .id = id, .fd = rt_take_fd(fd) };
	return NULL;
}

static struct rt_error *hear_worker(struct worker *worker)
{
	_cleanup_close_ int fd = rt_take_fd(worker->fd);
	char text[REASON_MAX];
	size_t got = 0;

	while (got < sizeof(text) - 1) {
		ssize_t more = read(fd, text + got, sizeof(text) - 1 - got);

		if (more < 0 && errno == EINTR)
			continue;
		if (more <= 0)
			break;
		got += (size_t)more;
		if (text[0] == '+')
			return NULL;
	}
	text[got] = '\0';
	if (got == 0)
		return rt_fail(RT_SYSTEM, "the process that started '%s' has died", worker->id);
	return rt_fail(RT_SYSTEM, "%s", text);
}

/* The first failure counts; the others are warnings. */
static struct rt_error *hear(struct worker *worker, struct rt_error *before)
{
	struct rt_error *err = hear_worker(worker);

	if (!before)
		return err;
	rt_warn_ignored(err);
	return before;
}

static struct rt_error *run_many(const struct rt_clone_start *model, const char *id, unsigned count)
{
	unsigned width = (unsigned)get_nprocs() + 1, begun = 0, heard = 0;
	struct worker *workers = calloc(count, sizeof(*workers));
	char **ids = calloc(count, sizeof(*ids));
	struct rt_error *err = workers && ids ? NULL : rt_error_oom();

	/* What is started together waits for one another only for the processor. */
	while (!err && begun < count) {
		if (begun - heard == width)
			err = hear(&workers[heard++], err);
		if (!err)
			err = rt_format(&ids[begun], "%s-%u", id, begun + 1);
		if (!err)
			err = start_worker(model, ids[begun], &workers[begun]);
		begun += !err;
	}
	while (heard < begun)
		err = hear(&workers[heard++], err);
	for (unsigned i = 0; ids && i < count; i++)
		free(ids[i]);
	free(ids);
	free(workers);
	return err;
}

static void nothing_to_say(void *userdata)
{
}

static struct rt_error *check(const struct rt_run_values *values)
{
	const struct rt_create_options *create = &values->create;

	if (create->preserve_fds > 0)
		return rt_fail(RT_USAGE, "'--preserve-fds' can't be given with '--from-snapshot'");
	if (!values->has_count)
		return NULL;
	if (values->count == 0 || values->count > COUNT_MAX)
		return rt_fail(RT_USAGE, "invalid value '%u' for '--count': it must be 1 to %d", values->count, COUNT_MAX);
	if (!create->detach)
		return rt_fail(RT_USAGE, "'--count' needs '--detach'");
	if (create->pid_file || create->pidfd_socket || create->console_socket)
		return rt_fail(RT_USAGE, "'--count' can't be given with what is for one container alone ('--pid-file', '--pidfd-socket', "
					 "'--console-socket')");
	return NULL;
}

struct rt_error *rt_clone_run(const struct rt_context *context, const char *id, const struct rt_run_values *values, int *ret_status)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	struct rt_clone_start start = { .context = context, .store = &store, .values = values, .id = id, .running = nothing_to_say };
	struct worker worker;
	struct rt_error *err = check(values);

	if (!err)
		err = rt_store_open(values->store, &store);
	if (!err && values->key)
		err = rt_store_use_key(&store, values->key);
	if (!err)
		err = prepare_merge(values);
	if (err)
		return err;
	if (!values->create.detach)
		return rt_clone_start(&start, ret_status);
	if (values->has_count)
		return run_many(&start, id, values->count);
	err = start_worker(&start, id, &worker);
	return err ? err : hear_worker(&worker);
}
