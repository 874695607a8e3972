#include "migrate/move_private.h"

#include "migrate/link.h"
#include "runtime/base/clock.h"
#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"

#include <string.h>
#include <sys/wait.h>

/* After its death: how long its container is looked at before it is believed to live. */
#define LOOK_MS 100
#define DEATH_LOOKS 20
#define WANTS_MAX 65536

/* ---- what it says ---- */

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

void rt_move_drop_images(struct rt_move *move)
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
		rt_move_set_reason(move, text);
	if (!*text || before == RT__MOVE_STATE__MOVE_RUNNING) {
		pthread_mutex_unlock(&move->lock);
		after = rt_move_look_at(move, before);
		pthread_mutex_lock(&move->lock);
	}
	if (after == RT__MOVE_STATE__MOVE_ABORTED)
		rt_move_set_reason(move, "the process that restored it has died");
	move->ended = true;
	rt_move_set_state(move, after);
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
		rt_move_drop_images(move);
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

/* ---- where it comes from ---- */

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
		err = rt_move_failure(move);
	pthread_mutex_unlock(&move->lock);
	return err;
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

struct rt_error *rt_move_give_sets(struct rt_move *move)
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
