#include "migrate/worker_private.h"

#include "checkpoint/arriving.h"
#include "migrate/catcher.h"
#include "migrate/guardian.h"
#include "migrate/journal.h"
#include "migrate/lazy.h"
#include "migrate/link.h"
#include "migrate/network_ahead.h"
#include "migrate/tmpfs.h"
#include "migrate/pause.h"
#include "migrate/tap.h"
#include "runtime/base/clock.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

struct worker {
	struct rt_worker_task task;
	json_t *words; /* what the task's strings are of */
	char *config, *images;
	int fd; /* to the daemon; -1: it has died */
	int listener; /* for its successor */
	int dir_fd;
	pthread_mutex_t lock; /* of fd and of what the hearing thread finds out */
	pthread_cond_t changed;
	pthread_t hearer;
	enum rt_link_word decision; /* COMMIT or ABORT; END: none yet */
	char reason[RT_LINK_TEXT];
	bool hearing;
	int wake[2]; /* a pipe that ends the hearing thread */

	int *set_fds;
	size_t set_count, set_total;
	struct rt_pagesets *sets;
	struct rt_lazy *lazy;
	pthread_t server;
	bool serving, running;
	struct rt_error *serve_err;
	int memory_fd; /* of rt_memory_arrives() */

	int guardian; /* a worker that dies while it serves memory leaves tasks to which the kernel gives zeros for it: they must not live on */
	struct rt_network network;
	int network_fd; /* of network_ahead.h; -1: there is none */
	struct rt_catcher catcher;
	struct rt_cgroup_warmer warmer;
	uint64_t committed_at;
};

/* ---- the daemon ---- */

static void say(struct worker *worker, const struct rt_link_message *message)
{
	pthread_mutex_lock(&worker->lock);
	if (worker->fd >= 0)
		rt_error_free(rt_link_send(worker->fd, message)); /* if it is gone, the next receive tells */
	pthread_mutex_unlock(&worker->lock);
}

static struct rt_error *take_sets(struct worker *worker, const struct rt_link_message *message)
{
	int *larger = reallocarray(worker->set_fds, worker->set_count + message->fd_count, sizeof(*larger));

	if (!larger)
		return rt_error_oom();
	worker->set_fds = larger;
	memcpy(larger + worker->set_count, message->fds, message->fd_count * sizeof(*larger));
	worker->set_count += message->fd_count;
	worker->set_total = message->a;
	if (worker->set_count < worker->set_total)
		return NULL;
	worker->set_count = 0;
	return rt_pagesets_adopt(rt_take_ptr(worker->set_fds), worker->set_total, &worker->sets);
}

static void start_catching(struct worker *worker, struct rt_link_message *message)
{
	_cleanup_close_ int fd = message->fd_count ? message->fds[0] : -1;
	_cleanup_free_ char *frames = NULL;
	struct rt_error *err = NULL;
	size_t size = 0;

	if (fd >= 0)
		err = rt_read_all(fd, RT_TAP_LIMIT, &frames, &size);
	rt_warn_ignored(err);
	rt_catcher_start(&worker->catcher, frames, size);
	/* Its first grace period, of a dozen milliseconds, passes while the dump goes on over there. */
	rt_cgroup_warm(&worker->warmer);
}

/* Until the word is there; everything else but SETS and CATCH is the end. */
static struct rt_error *wait_for(struct worker *worker, enum rt_link_word word)
{
	struct rt_link_message message;
	struct rt_error *err = NULL;
	bool there;

	while (!err) {
		err = rt_link_receive(worker->fd, -1, &message, &there);
		if (err || message.word == word)
			return err;
		if (message.word == RT_LINK_SETS)
			err = take_sets(worker, &message);
		else if (message.word == RT_LINK_CATCH)
			start_catching(worker, &message);
		else if (message.word == RT_LINK_END)
			err = rt_fail(RT_SYSTEM, "'rt receive' has ended");
		else
			err = rt_fail(RT_PEER, "%s", *message.text ? message.text : "the migration was given up");
	}
	return err;
}

static struct rt_error *write_journal(const struct worker *worker, const char *state)
{
	_cleanup_json_ json_t *journal = NULL;
	struct rt_error *err = rt_journal_load(worker->dir_fd, RT_JOURNAL_TARGET, &journal);

	if (err)
		return err;
	if (!journal || json_object_set_new(journal, "state", json_string(state)) < 0)
		return rt_fail(RT_SYSTEM, "there is no journal to write to");
	return rt_journal_store(worker->dir_fd, RT_JOURNAL_TARGET, journal);
}

/* ---- hearing the daemon, from the restore on ---- */

static void listen_for_successor(struct worker *worker)
{
	struct sockaddr_un address = rt_worker_address(worker->dir_fd);

	worker->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (worker->listener < 0 || bind(worker->listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(worker->listener, 4) < 0)
		rt_warn_ignored(rt_fail_errno("no successor of this daemon can take the migration over"));
}

static void send_sets(struct worker *worker, int fd)
{
	int *fds = NULL;
	size_t count = 0;

	if (worker->sets)
		rt_error_free(rt_pagesets_descriptors(worker->sets, &fds, &count));
	for (size_t i = 0; i < count; i += RT_MAX_FDS) {
		struct rt_link_message message = { .word = RT_LINK_SETS, .a = count };

		message.fd_count = count - i < RT_MAX_FDS ? count - i : RT_MAX_FDS;
		memcpy(message.fds, fds + i, message.fd_count * sizeof(*fds));
		rt_error_free(rt_link_send(fd, &message));
	}
	free(fds);
}

/* What its predecessor was told it can't know. */
static void take_successor(struct worker *worker)
{
	int fd = accept4(worker->listener, NULL, NULL, SOCK_CLOEXEC);
	bool running;

	if (fd < 0)
		return;
	send_sets(worker, fd);
	pthread_mutex_lock(&worker->lock);
	rt_closep(&worker->fd);
	worker->fd = fd;
	running = worker->running;
	pthread_mutex_unlock(&worker->lock);
	if (running)
		say(worker, &(struct rt_link_message){ .word = RT_LINK_RUNNING });
}

/* The first word counts. Until it is COMMIT, whatever the restore is doing has to end. */
static void decide(struct worker *worker, enum rt_link_word word, const char *reason)
{
	pthread_mutex_lock(&worker->lock);
	if (worker->decision == RT_LINK_END) {
		worker->decision = word;
		snprintf(worker->reason, sizeof(worker->reason), "%s", reason);
		if (word == RT_LINK_ABORT)
			kill(getpid(), SIGTERM); /* waits, blocked, for rt_interrupt_check() */
	}
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

static void hear(struct worker *worker)
{
	struct rt_link_message message;
	bool there = false;
	struct rt_error *err = rt_link_receive(worker->fd, 0, &message, &there);

	if (!err && !there)
		return;
	if (!err && message.word == RT_LINK_ARRIVED) {
		if (worker->lazy)
			rt_lazy_arrived(worker->lazy, message.a, message.b, message.c);
	} else if (!err && (message.word == RT_LINK_COMMIT || message.word == RT_LINK_ABORT)) {
		decide(worker, message.word, message.text);
	} else if (!err && message.word == RT_LINK_CATCH) { /* which is too late by now */
		for (size_t i = 0; i < message.fd_count; i++)
			close(message.fds[i]);
	} else {
		decide(worker, RT_LINK_ABORT, "'rt receive' has ended");
		pthread_mutex_lock(&worker->lock);
		rt_closep(&worker->fd);
		pthread_mutex_unlock(&worker->lock);
	}
	rt_error_free(err);
}

static void *hear_all(void *userdata)
{
	struct worker *worker = userdata;

	for (;;) {
		struct pollfd fds[] = {
			{ .fd = worker->wake[0], .events = POLLIN },
			{ .fd = worker->fd, .events = POLLIN },
			{ .fd = worker->listener, .events = POLLIN },
		};

		if (poll(fds, RT_ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents)
			hear(worker);
		if (fds[2].revents)
			take_successor(worker);
	}
}

static struct rt_error *start_hearing(struct worker *worker)
{
	int error;

	listen_for_successor(worker);
	if (pipe2(worker->wake, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot make a pipe");
	error = pthread_create(&worker->hearer, NULL, hear_all, worker);
	if (error)
		return rt_fail_with(error, "cannot start a thread");
	worker->hearing = true;
	return NULL;
}

static void stop_hearing(struct worker *worker)
{
	if (!worker->hearing)
		return;
	close(worker->wake[1]);
	pthread_join(worker->hearer, NULL);
	worker->hearing = false;
}

static struct rt_error *wait_for_decision(struct worker *worker)
{
	struct rt_error *err = NULL;

	pthread_mutex_lock(&worker->lock);
	while (worker->decision == RT_LINK_END)
		pthread_cond_wait(&worker->changed, &worker->lock);
	if (worker->decision != RT_LINK_COMMIT)
		err = rt_fail(RT_PEER, "%s", *worker->reason ? worker->reason : "the migration was given up");
	pthread_mutex_unlock(&worker->lock);
	return err;
}

/* ---- memory ---- */

static struct rt_error *want(void *userdata, uint64_t space, uint64_t start, uint64_t pages)
{
	say(userdata, &(struct rt_link_message){ .word = RT_LINK_WANT, .a = space, .b = start, .c = pages });
	return NULL;
}

static void *serve(void *userdata)
{
	struct worker *worker = userdata;

	worker->serve_err = rt_lazy_run(worker->lazy, -1, NULL);
	rt_closep(&worker->memory_fd);
	return NULL;
}

static struct rt_error *begin(void *userdata, int image_fd, int work_fd)
{
	struct worker *worker = userdata;
	struct rt_error *err;
	int error;

	rt_pause("worker-restoring");
	if (!worker->task.lazy)
		return start_hearing(worker);
	if (!worker->sets)
		return rt_fail(RT_PEER, "its memory has not come");
	err = rt_lazy_listen(&(struct rt_lazy_options){
		.work_fd = work_fd,
		.image_fd = image_fd,
		.sets = worker->sets,
		.release = true,
		.want = worker->task.post_copy ? want : NULL,
		.userdata = worker,
	}, &worker->lazy);
	if (!err)
		err = rt_lazy_prepare(worker->lazy);
	if (!err)
		err = rt_guardian_start(worker->task.context, worker->task.id, &worker->guardian);
	if (!err)
		err = start_hearing(worker);
	if (err)
		return err;
	err = rt_memory_arrives(worker->task.context, worker->task.id, &worker->memory_fd);
	if (err)
		return err;
	error = pthread_create(&worker->server, NULL, serve, worker);
	if (error)
		return rt_fail_with(error, "cannot start a thread");
	worker->serving = true;
	return NULL;
}

/* ---- the other hooks ---- */

static struct rt_error *await_images(void *userdata)
{
	struct worker *worker = userdata;

	rt_pause("worker-receiving");
	rt_warn_ignored(rt_catcher_prepare(&worker->catcher, &worker->network, worker->task.id, RT_WORKER_LOG_FD));
	say(worker, &(struct rt_link_message){ .word = RT_LINK_PREPARED });
	return wait_for(worker, RT_LINK_RESTORE);
}

static struct rt_error *mounts(void *userdata, Rt__Container *described, int image_fd, pid_t criu)
{
	struct worker *worker = userdata;

	return rt_tmpfs_unpack(described, image_fd, worker->task.directory, criu);
}

static struct rt_error *restored(void *userdata)
{
	struct worker *worker = userdata;
	struct rt_error *err;

	bool joined = false;

	rt_pause("worker-ready");
	say(worker, &(struct rt_link_message){ .word = RT_LINK_READY });
	err = wait_for_decision(worker);
	worker->committed_at = rt_now_us();
	if (!err)
		rt_pause("worker-decided");
	if (!err)
		err = write_journal(worker, "committed");
	if (!err)
		rt_pause("worker-committed");
	/* Before the first packet: what is sent to a port that is not there is lost, and sent again only much later. */
	if (!err)
		rt_catcher_join(&worker->catcher, &joined);
	if (!err && !joined)
		rt_warn_ignored(rt_network_release(&worker->network, worker->task.id));
	return err;
}

static void running(void *userdata)
{
	struct worker *worker = userdata;

	rt_pause("worker-running");
	pthread_mutex_lock(&worker->lock);
	worker->running = true;
	pthread_mutex_unlock(&worker->lock);
	/* Not before: until here CRIU keeps the container's network closed. */
	if (worker->catcher.started && !rt_catcher_release(&worker->catcher))
		rt_warn_ignored(rt_network_release(&worker->network, worker->task.id));
	say(worker, &(struct rt_link_message){ .word = RT_LINK_RUNNING, .a = rt_now_us() - worker->committed_at });
	rt_warn_ignored(write_journal(worker, "running"));
}

/* ---- all of it ---- */

static struct rt_error *restore(struct worker *worker)
{
	const struct rt_restore_hooks hooks = {
		.await_images = await_images, .mounts = mounts, .begin = begin, .restored = restored, .running = running, .userdata = worker,
	};
	const struct rt_worker_task *task = &worker->task;
	const struct rt_restore_options options = {
		.hooks = &hooks,
		.criu = {
			.brief_log = true,
			.image_path = worker->images,
			.tcp_established = task->tcp_established,
			.tcp_close = task->tcp_close,
			.ext_unix_sk = task->ext_unix_sk,
			.file_locks = task->file_locks,
			.link_remap = task->link_remap,
			.lazy_pages = task->lazy,
		},
		.has_network = worker->network_fd >= 0,
		.network_fd = worker->network_fd,
		.hooks_beside = worker->network.alone,
		.warmer = &worker->warmer,
		.create = { .bundle = task->bundle, .config = worker->config, .detach = true },
	};
	int status;

	return rt_container_restore(task->context, task->id, &options, &status);
}

static struct rt_error *take_task(struct worker *worker, const struct rt_context *context)
{
	struct rt_error *err = rt_worker_take_task(worker->fd, context, &worker->words, &worker->task);

	if (!err)
		err = rt_format(&worker->config, "%s/config.json", worker->task.directory);
	if (!err)
		err = rt_format(&worker->images, "%s/images", worker->task.directory);
	if (err)
		return err;
	worker->dir_fd = open(worker->task.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return worker->dir_fd < 0 ? rt_fail_errno("cannot open '%s'", worker->task.directory) : rt_worker_take_lock(worker->dir_fd);
}

static struct rt_error *prepare_network(struct worker *worker)
{
	struct rt_spec *spec = NULL;
	struct rt_error *err = rt_network_read(worker->config, &worker->network, &spec);

	if (!err)
		err = rt_network_ahead_make(&worker->network, spec, worker->task.id, worker->task.bundle, &worker->network_fd);
	if (!err && worker->network_fd >= 0)
		err = rt_replace_file_at(worker->dir_fd, RT_WORKER_NETWORK, "", 0, 0600);
	rt_spec_free(spec);
	return err;
}

#define COMPLETE_TRIES 50
#define COMPLETE_PAUSE_US 100000

/* A daemon to come would take the container for one whose memory is missing if this were not on disk. A full disk has room again without the images. */
static void write_complete(const struct worker *worker)
{
	struct rt_error *err;

	rt_warn_ignored(rt_remove_tree_at(worker->dir_fd, "images"));
	for (int tries = 1; (err = write_journal(worker, "complete")) && tries < COMPLETE_TRIES; tries++) {
		rt_error_free(err);
		usleep(COMPLETE_PAUSE_US);
	}
	rt_warn_ignored(err);
}

struct rt_error *rt_worker_run(const struct rt_context *context)
{
	struct worker worker = { .catcher = RT_CATCHER_NULL, .warmer = RT_CGROUP_WARMER_NULL, .fd = RT_WORKER_FD, .listener = -1, .dir_fd = -1, .guardian = -1, .memory_fd = -1, .network_fd = -1, .decision = RT_LINK_END };
	struct rt_error *err;

	pthread_mutex_init(&worker.lock, NULL);
	pthread_cond_init(&worker.changed, NULL);
	prctl(PR_SET_NAME, "rt-worker"); /* exec has called us after the program */
	fcntl(RT_WORKER_FD, F_SETFD, FD_CLOEXEC);
	fcntl(RT_WORKER_LOG_FD, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	err = take_task(&worker, context);
	if (!err)
		err = prepare_network(&worker);
	if (!err)
		err = restore(&worker);
	if (!err && worker.serving) {
		pthread_join(worker.server, NULL); /* all memory is where it belongs */
		err = rt_take_ptr(worker.serve_err);
	}
	/* Memory that can't be had: what ran so far is lost. */
	if (err && worker.running)
		rt_warn_ignored(rt_container_kill(context, worker.task.id, SIGKILL, RT_KILL_ALL));
	rt_pause("worker-complete");
	rt_catcher_end(&worker.catcher);
	if (err && !worker.running && worker.network_fd >= 0)
		rt_warn_ignored(rt_network_ahead_undo(&worker.network, worker.task.id));
	rt_guardian_dismiss(&worker.guardian);
	stop_hearing(&worker);
	if (!err)
		write_complete(&worker);
	if (err && worker.fd >= 0)
		rt_link_send_failure(worker.fd, rt_take_ptr(err));
	else
		say(&worker, &(struct rt_link_message){ .word = RT_LINK_DONE });
	/* The rest ends with the process. */
	rt_network_deinit(&worker.network);
	return err;
}
