#include "migrate/move.h"

#include "checkpoint/unpack.h"
#include "migrate/journal.h"
#include "migrate/link.h"
#include "migrate/message.h"
#include "migrate/network_ahead.h"
#include "migrate/tap.h"
#include "runtime/base/clock.h"
#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

/* How long a restore may take, and a worker may take to end. */
#define RESTORE_TIMEOUT_US 120000000ull
#define LOOK_MS 100
/* After the death of a worker: how long its container is looked at before it is believed to live. */
#define DEATH_LOOKS 20
#define WANTS_MAX 65536

/* ---- its life ---- */

struct rt_error *rt_move_new(const struct rt_context *context, Rt__Offer *offer, const char *directory, const char *bundle, uint64_t memory_limit,
			     struct rt_move **ret)
{
	struct rt_move *move = calloc(1, sizeof(*move));
	struct rt_error *err = NULL;

	if (!move) {
		rt_unpack_free(&offer->base);
		return rt_error_oom();
	}
	*move = (struct rt_move){
		.context = context, .offer = offer, .dir_fd = -1, .worker_fd = -1, .state = RT__MOVE_STATE__MOVE_RECEIVING, .references = 1,
		.began_us = rt_now_us(), .last_heard_us = rt_now_us(),
	};
	pthread_mutex_init(&move->lock, NULL);
	pthread_cond_init(&move->changed, NULL);
	err = rt_format(&move->directory, "%s", directory);
	if (!err)
		err = rt_format(&move->bundle, "%s", bundle);
	if (!err)
		err = rt_format(&move->rootfs, "%s/rootfs", bundle);
	if (!err && offer->lazy)
		err = rt_pagesets_new(memory_limit, &move->sets);
	if (!err) {
		move->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = move->dir_fd < 0 ? rt_fail_errno("cannot open '%s'", directory) : NULL;
	}
	if (err) {
		rt_move_free(move);
		return err;
	}
	*ret = move;
	return NULL;
}

void rt_move_free(struct rt_move *move)
{
	if (!move)
		return;
	if (move->listening)
		pthread_join(move->listener, NULL);
	rt_pagesets_free(move->sets);
	rt_closep(&move->worker_fd);
	rt_closep(&move->dir_fd);
	free(move->directory);
	free(move->bundle);
	free(move->rootfs);
	rt_tree_merged_free(move->merged);
	free(move->reason);
	free(move->wants);
	if (move->offer)
		rt_unpack_free(&move->offer->base);
	pthread_mutex_destroy(&move->lock);
	pthread_cond_destroy(&move->changed);
	free(move);
}

/* Under the lock. */
static void set_state(struct rt_move *move, Rt__MoveState state)
{
	move->state = state;
	pthread_cond_broadcast(&move->changed);
}

static void set_reason(struct rt_move *move, const char *text)
{
	if (!move->reason && text && *text)
		move->reason = strdup(text);
}

/* Until something changes, at most LOOK_MS. Under the lock. */
static void wait_a_little(struct rt_move *move, int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&move->changed, &move->lock, &until);
}

/* ---- what the worker says ---- */

static void add_want(struct rt_move *move, const struct rt_link_message *message)
{
	if (move->want_count == move->want_room) {
		size_t room = move->want_room ? move->want_room * 2 : 64;
		struct rt_move_want *larger = room <= WANTS_MAX ? reallocarray(move->wants, room, sizeof(*larger)) : NULL;

		if (!larger)
			return; /* it comes with the rest */
		move->wants = larger;
		move->want_room = room;
	}
	move->wants[move->want_count++] = (struct rt_move_want){ message->a, message->b, message->c };
}

/* The images hold the container's memory. */
static void drop_images(struct rt_move *move)
{
	rt_warn_ignored(rt_remove_tree_at(move->dir_fd, "images"));
	unlinkat(move->dir_fd, "worker.sock", 0); /* it may not be there */
}

static bool lives(const struct rt_move *move)
{
	struct rt_container container = RT_CONTAINER_NULL;
	enum rt_status status = RT_STATUS_STOPPED;
	struct rt_error *err = rt_container_lookup(move->context, move->offer->id, 0, &container, &status);

	rt_container_deinit(&container);
	rt_error_free(err);
	return !err && (status == RT_STATUS_RUNNING || status == RT_STATUS_PAUSED);
}

/* Only what this migration has made of that name. */
static void bury(const struct rt_move *move)
{
	struct rt_container container = RT_CONTAINER_NULL;
	enum rt_status status;
	struct rt_error *err = rt_container_lookup(move->context, move->offer->id, 0, &container, &status);
	bool ours = err || rt_str_equal(container.state.bundle, move->bundle); /* a directory without a state is what a restore leaves that was killed */

	rt_container_deinit(&container);
	rt_error_free(err);
	if (ours)
		rt_error_free(rt_container_delete(move->context, move->offer->id, RT_DELETE_FORCE));
}

/* A worker has died. Before the decision nothing may live. After it, in a container whose memory the worker handed out, zeros would be read for what is missing: it may
 * not live either (its guardian thinks so, too), and the source, which keeps it until all memory is here, goes on with it. Any other may: the kernel knows whether CRIU
 * got that far; if it was still at work, it kills what it made. */
Rt__MoveState rt_move_look_at(const struct rt_move *move, Rt__MoveState written)
{
	bool decided = written == RT__MOVE_STATE__MOVE_COMMITTED || written == RT__MOVE_STATE__MOVE_RUNNING;

	if (written == RT__MOVE_STATE__MOVE_COMPLETE)
		return written;
	for (int looks = 0; decided && !move->offer->lazy && lives(move); looks++) {
		if (written == RT__MOVE_STATE__MOVE_RUNNING || looks == DEATH_LOOKS)
			return RT__MOVE_STATE__MOVE_COMPLETE;
		usleep(LOOK_MS * 1000);
	}
	bury(move);
	return RT__MOVE_STATE__MOVE_ABORTED;
}

/* Under the lock, which it gives up for a while. `text`: it has said why, and undone what it did unless the container ran already. */
static void worker_ended(struct rt_move *move, const char *text)
{
	Rt__MoveState before = move->state, after = RT__MOVE_STATE__MOVE_ABORTED;

	if (*text)
		set_reason(move, text);
	if (!*text || before == RT__MOVE_STATE__MOVE_RUNNING) {
		pthread_mutex_unlock(&move->lock);
		after = rt_move_look_at(move, before);
		pthread_mutex_lock(&move->lock);
	}
	if (after == RT__MOVE_STATE__MOVE_ABORTED)
		set_reason(move, "the process that restored it has died");
	move->ended = true;
	set_state(move, after);
}

static void hear(struct rt_move *move, const struct rt_link_message *message)
{
	switch (message->word) {
	case RT_LINK_PREPARED:
		move->prepared = true;
		break;
	case RT_LINK_READY:
		move->ready_us = rt_now_us();
		if (move->state == RT__MOVE_STATE__MOVE_RESTORING)
			move->state = RT__MOVE_STATE__MOVE_READY;
		break;
	case RT_LINK_RUNNING:
		move->resume_us = message->a;
		move->state = RT__MOVE_STATE__MOVE_RUNNING;
		break;
	case RT_LINK_WANT:
		add_want(move, message);
		break;
	case RT_LINK_DONE:
		move->state = RT__MOVE_STATE__MOVE_COMPLETE;
		move->ended = true;
		drop_images(move);
		break;
	case RT_LINK_FAILED:
		worker_ended(move, message->text);
		break;
	case RT_LINK_END:
	default: /* a worker of another version */
		if (!move->ended)
			worker_ended(move, "");
		break;
	}
	pthread_cond_broadcast(&move->changed);
}

static void reap(struct rt_move *move)
{
	if (move->worker_pid <= 0)
		return;
	while (waitpid(move->worker_pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void *listen_to_worker(void *userdata)
{
	struct rt_move *move = userdata;
	struct rt_link_message message;
	int fd = move->worker_fd; /* ours to close */
	bool there, end = false, aborted;

	while (!end) {
		struct rt_error *err = rt_link_receive(fd, -1, &message, &there);

		if (err) {
			rt_warn_ignored(err);
			message = (struct rt_link_message){ .word = RT_LINK_END };
		}
		end = message.word == RT_LINK_END;
		for (size_t i = 0; i < message.fd_count; i++)
			close(message.fds[i]);
		pthread_mutex_lock(&move->lock);
		hear(move, &message);
		if (end)
			rt_closep(&move->worker_fd); /* what is over stays known for long */
		if (end && move->state == RT__MOVE_STATE__MOVE_COMPLETE && move->users == 0)
			rt_pagesets_free(rt_take_ptr(move->sets));
		aborted = move->state == RT__MOVE_STATE__MOVE_ABORTED;
		pthread_mutex_unlock(&move->lock);
	}
	reap(move);
	/* Nobody else may come to do it. */
	if (aborted)
		rt_move_abort(move, NULL);
	return NULL;
}

static struct rt_error *start_listening(struct rt_move *move, int fd, pid_t pid)
{
	int error;

	move->worker_fd = fd;
	move->worker_pid = pid;
	error = pthread_create(&move->listener, NULL, listen_to_worker, move);
	if (error)
		return rt_fail_with(error, "cannot start a thread");
	move->listening = true;
	return NULL;
}

static struct rt_error *failure(const struct rt_move *move)
{
	return rt_fail(RT_PEER, "%s", move->reason ? move->reason : "the process that restores it has ended");
}

/* ---- what is asked of it ---- */

struct rt_error *rt_move_start_worker(struct rt_move *move)
{
	const Rt__Offer *offer = move->offer;
	struct rt_error *err;
	pid_t pid;
	int fd;

	err = rt_worker_start(&(struct rt_worker_task){
		.context = move->context,
		.id = offer->id,
		.bundle = move->bundle,
		.directory = move->directory,
		.lazy = offer->lazy,
		.post_copy = offer->post_copy,
		.tcp_established = offer->tcp_established,
		.tcp_close = !offer->tcp_established,
		.ext_unix_sk = offer->ext_unix_sk,
		.file_locks = offer->file_locks,
		.link_remap = offer->link_remap,
	}, &fd, &pid);
	if (!err)
		err = start_listening(move, fd, pid);
	if (err)
		return err;
	pthread_mutex_lock(&move->lock);
	while (!move->prepared && !move->ended)
		pthread_cond_wait(&move->changed, &move->lock);
	if (move->ended)
		err = failure(move);
	pthread_mutex_unlock(&move->lock);
	return err;
}

/* In post-copy pages may come at any time, as some are needed for the restore itself; nothing else may. */
static bool takes(const struct rt_move *move, unsigned exclusive)
{
	if (move->state == RT__MOVE_STATE__MOVE_RECEIVING)
		return true;
	return !exclusive && move->offer->post_copy && move->sets && move->state != RT__MOVE_STATE__MOVE_ABORTED;
}

struct rt_error *rt_move_use(struct rt_move *move, unsigned exclusive)
{
	struct rt_error *err = NULL;

	pthread_mutex_lock(&move->lock);
	if (!takes(move, exclusive))
		err = rt_fail(RT_WRONG_STATE, "the migration is %s%s%s: nothing more is received", rt_move_state_name(move->state), move->reason ? ": " : "",
			      move->reason ? move->reason : "");
	else if (exclusive & move->exclusive)
		err = rt_fail(RT_WRONG_STATE, "another request is sending files at the moment");
	if (!err) {
		move->users++;
		move->exclusive |= exclusive;
	}
	pthread_mutex_unlock(&move->lock);
	return err;
}

void rt_move_unuse(struct rt_move *move, unsigned exclusive)
{
	pthread_mutex_lock(&move->lock);
	move->users--;
	move->exclusive &= ~exclusive;
	move->last_heard_us = rt_now_us();
	pthread_cond_broadcast(&move->changed);
	pthread_mutex_unlock(&move->lock);
}

/* Its page sets come first. */
struct rt_error *rt_move_adopt_worker(struct rt_move *move, int fd)
{
	_cleanup_free_ int *fds = NULL;
	struct rt_link_message message;
	struct rt_error *err = NULL;
	size_t count = 0, total = 1;
	bool there;

	while (!err && move->offer->lazy && count < total) {
		int *larger;

		err = rt_link_receive(fd, 5000, &message, &there);
		if (!err && (!there || message.word != RT_LINK_SETS))
			err = rt_fail(RT_SYSTEM, "the worker of '%s' does not hand over its memory", move->offer->id);
		larger = err ? NULL : reallocarray(fds, count + message.fd_count, sizeof(*fds));
		if (!err && !larger)
			err = rt_error_oom();
		if (err)
			break;
		fds = larger;
		memcpy(fds + count, message.fds, message.fd_count * sizeof(*fds));
		count += message.fd_count;
		total = message.a;
	}
	if (!err && move->offer->lazy) {
		rt_pagesets_free(rt_take_ptr(move->sets));
		err = rt_pagesets_adopt(fds, count, &move->sets);
		move->sets_given = true;
	}
	move->prepared = true;
	return err ? err : start_listening(move, fd, 0);
}

static struct rt_error *give_sets(struct rt_move *move)
{
	_cleanup_free_ int *fds = NULL;
	struct rt_error *err;
	size_t count = 0;

	if (!move->sets)
		return NULL;
	err = rt_pagesets_descriptors(move->sets, &fds, &count);
	for (size_t i = 0; i < count && !err; i += RT_MAX_FDS) {
		struct rt_link_message message = { .word = RT_LINK_SETS, .a = count };

		message.fd_count = count - i < RT_MAX_FDS ? count - i : RT_MAX_FDS;
		memcpy(message.fds, fds + i, message.fd_count * sizeof(*fds));
		err = rt_link_send(move->worker_fd, &message);
	}
	move->sets_given = true;
	return err;
}

/* In a file, as they may be too many for one message. */
static struct rt_error *put_frames(const void *frames, size_t size, struct rt_link_message *message)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (size == 0)
		return NULL;
	fd = memfd_create("rt-frames", MFD_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot make a file in memory");
	err = rt_write_all_at(fd, frames, size, 0);
	if (err)
		return err;
	message->fds[message->fd_count++] = rt_take_fd(fd);
	return NULL;
}

struct rt_error *rt_move_catch(struct rt_move *move, const void *frames, size_t size)
{
	struct rt_link_message message = { .word = RT_LINK_CATCH };
	struct rt_error *err = NULL;

	if (!*move->offer->network)
		return rt_fail(RT_WRONG_STATE, "no network was offered");
	err = rt_tap_each(frames, size, NULL, NULL);
	if (!err)
		err = put_frames(frames, size, &message);
	if (err)
		return err;
	pthread_mutex_lock(&move->lock);
	if (move->state != RT__MOVE_STATE__MOVE_RECEIVING || !move->prepared)
		err = rt_fail(RT_WRONG_STATE, "the migration is %s, not receiving", rt_move_state_name(move->state));
	else
		err = rt_link_send(move->worker_fd, &message);
	move->last_heard_us = rt_now_us();
	pthread_mutex_unlock(&move->lock);
	if (message.fd_count)
		close(message.fds[0]);
	return err;
}

struct rt_error *rt_move_restore(struct rt_move *move, bool (*gone)(void *userdata), void *userdata)
{
	uint64_t began = rt_now_us();
	struct rt_error *err = NULL;

	pthread_mutex_lock(&move->lock);
	if (move->state != RT__MOVE_STATE__MOVE_RECEIVING)
		err = move->reason ? failure(move) : rt_fail(RT_WRONG_STATE, "the migration is %s, not receiving", rt_move_state_name(move->state));
	if (!err)
		err = give_sets(move);
	if (!err) {
		move->state = RT__MOVE_STATE__MOVE_RESTORING;
		err = rt_link_say(move->worker_fd, RT_LINK_RESTORE);
	}
	while (!err && move->state == RT__MOVE_STATE__MOVE_RESTORING) {
		wait_a_little(move, LOOK_MS);
		if (move->state == RT__MOVE_STATE__MOVE_RESTORING && (gone(userdata) || rt_now_us() - began > RESTORE_TIMEOUT_US))
			err = rt_fail(RT_PEER, "nobody waits for it any more");
	}
	if (!err && move->state != RT__MOVE_STATE__MOVE_READY)
		err = failure(move);
	move->restore_us = move->ready_us - began;
	move->last_heard_us = rt_now_us();
	pthread_mutex_unlock(&move->lock);
	return err;
}

struct rt_error *rt_move_commit(struct rt_move *move)
{
	struct rt_error *err = NULL;

	pthread_mutex_lock(&move->lock);
	if (move->state == RT__MOVE_STATE__MOVE_READY) {
		move->state = RT__MOVE_STATE__MOVE_COMMITTED;
		err = rt_link_say(move->worker_fd, RT_LINK_COMMIT);
		if (err)
			move->state = RT__MOVE_STATE__MOVE_READY; /* it has died undecided, which will be heard in a moment */
	}
	while (!err && move->state == RT__MOVE_STATE__MOVE_COMMITTED)
		pthread_cond_wait(&move->changed, &move->lock);
	if (!err && move->state != RT__MOVE_STATE__MOVE_RUNNING && move->state != RT__MOVE_STATE__MOVE_COMPLETE)
		err = failure(move);
	move->last_heard_us = rt_now_us();
	pthread_mutex_unlock(&move->lock);
	return err;
}

/* Of a worker that was killed. */
static void remove_network(const struct rt_move *move)
{
	_cleanup_(rt_network_deinit) struct rt_network network = { NULL };
	_cleanup_free_ char *config = NULL;
	struct rt_error *err = rt_format(&config, "%s/config.json", move->directory);

	if (!err)
		err = rt_network_read(config, &network, NULL);
	if (!err)
		err = rt_network_ahead_undo(&network, move->offer->id);
	rt_warn_ignored(err);
}

static void remove_traces(struct rt_move *move)
{
	_cleanup_free_ char *config = NULL;

	if (faccessat(move->dir_fd, RT_WORKER_NETWORK, F_OK, 0) == 0)
		remove_network(move);
	if (move->made_bundle)
		rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, move->bundle));
	if (!move->made_bundle && move->made_rootfs && move->rootfs)
		rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, move->rootfs));
	if (!move->made_bundle && move->made_config && rt_format(&config, "%s/config.json", move->bundle) == NULL)
		unlink(config);
	move->made_bundle = move->made_rootfs = move->made_config = false;
	rt_pagesets_free(rt_take_ptr(move->sets));
	/* To have forgotten it and to have given it up are the same to the source. */
	rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, move->directory));
}

Rt__MoveState rt_move_abort(struct rt_move *move, const char *reason)
{
	Rt__MoveState state;

	pthread_mutex_lock(&move->lock);
	/* The decision may be on its way. */
	while (move->state == RT__MOVE_STATE__MOVE_COMMITTED && !move->ended)
		pthread_cond_wait(&move->changed, &move->lock);
	if (move->state != RT__MOVE_STATE__MOVE_RUNNING && move->state != RT__MOVE_STATE__MOVE_COMPLETE) {
		set_reason(move, reason);
		set_state(move, RT__MOVE_STATE__MOVE_ABORTED);
		if (move->worker_fd >= 0 && !move->ended) {
			struct rt_link_message message = { .word = RT_LINK_ABORT };

			snprintf(message.text, sizeof(message.text), "%s", reason ? reason : "");
			rt_error_free(rt_link_send(move->worker_fd, &message));
		}
		while (move->listening && !move->ended)
			pthread_cond_wait(&move->changed, &move->lock);
		/* A request that is storing things ends first. */
		while (move->users > 0)
			pthread_cond_wait(&move->changed, &move->lock);
		remove_traces(move);
	}
	state = move->state;
	pthread_mutex_unlock(&move->lock);
	return state;
}

struct rt_error *rt_move_note_complete(struct rt_move *move)
{
	_cleanup_json_ json_t *journal = NULL;
	struct rt_error *err = rt_journal_load(move->dir_fd, RT_JOURNAL_TARGET, &journal);

	if (err || !journal)
		return err;
	if (json_object_set_new(journal, "state", json_string(rt_move_state_name(RT__MOVE_STATE__MOVE_COMPLETE))) < 0)
		return rt_error_oom();
	drop_images(move);
	return rt_journal_store(move->dir_fd, RT_JOURNAL_TARGET, journal);
}

/* ---- memory ---- */

void rt_move_arrived(struct rt_move *move, uint64_t space, uint64_t start, uint64_t pages)
{
	pthread_mutex_lock(&move->lock);
	if (move->sets_given && !move->ended && move->worker_fd >= 0)
		rt_error_free(rt_link_send(move->worker_fd, &(struct rt_link_message){ .word = RT_LINK_ARRIVED, .a = space, .b = start, .c = pages }));
	pthread_mutex_unlock(&move->lock);
}

bool rt_move_next_want(struct rt_move *move, int timeout_ms, struct rt_move_want *ret, bool *ret_end)
{
	bool there;

	pthread_mutex_lock(&move->lock);
	if (move->want_count == 0 && !move->ended)
		wait_a_little(move, timeout_ms);
	there = move->want_count > 0;
	if (there) {
		*ret = move->wants[0];
		move->want_count--;
		memmove(move->wants, move->wants + 1, move->want_count * sizeof(*move->wants));
	}
	*ret_end = move->ended;
	pthread_mutex_unlock(&move->lock);
	return there;
}

struct rt_error *rt_move_heard(struct rt_move *move)
{
	struct rt_error *err = NULL;

	pthread_mutex_lock(&move->lock);
	move->last_heard_us = rt_now_us();
	if (move->state == RT__MOVE_STATE__MOVE_ABORTED)
		err = failure(move);
	pthread_mutex_unlock(&move->lock);
	return err;
}

bool rt_move_release(struct rt_move *move)
{
	bool complete;

	pthread_mutex_lock(&move->lock);
	complete = move->state == RT__MOVE_STATE__MOVE_COMPLETE;
	move->released |= complete;
	move->last_heard_us = rt_now_us();
	pthread_mutex_unlock(&move->lock);
	return complete;
}

Rt__MoveState rt_move_state(struct rt_move *move)
{
	Rt__MoveState state;

	pthread_mutex_lock(&move->lock);
	state = move->state;
	pthread_mutex_unlock(&move->lock);
	return state;
}

char *rt_move_reason(struct rt_move *move)
{
	char *copy;

	pthread_mutex_lock(&move->lock);
	copy = move->reason ? strdup(move->reason) : NULL;
	pthread_mutex_unlock(&move->lock);
	return copy;
}
