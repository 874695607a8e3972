#include "migrate/move_private.h"

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

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* How long a restore may take, and a worker may take to end. */
#define RESTORE_TIMEOUT_US 120000000ull
#define LOOK_MS 100

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
void rt_move_set_state(struct rt_move *move, Rt__MoveState state)
{
	move->state = state;
	pthread_cond_broadcast(&move->changed);
}

void rt_move_set_reason(struct rt_move *move, const char *text)
{
	if (!move->reason && text && *text)
		move->reason = strdup(text);
}

/* Until something changes, at most LOOK_MS. Under the lock. */
static void wait_a_little(struct rt_move *move, unsigned ms)
{
	struct timespec until = rt_after_ms(ms);

	pthread_cond_clockwait(&move->changed, &move->lock, CLOCK_MONOTONIC, &until);
}

struct rt_error *rt_move_failure(const struct rt_move *move)
{
	return rt_fail(RT_PEER, "%s", move->reason ? move->reason : "the process that restores it has ended");
}

/* ---- what is asked of it ---- */

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
		err = move->reason ? rt_move_failure(move) : rt_fail(RT_WRONG_STATE, "the migration is %s, not receiving", rt_move_state_name(move->state));
	if (!err)
		err = rt_move_give_sets(move);
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
		err = rt_move_failure(move);
	if (!err)
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
		err = rt_move_failure(move);
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
		rt_move_set_reason(move, reason);
		rt_move_set_state(move, RT__MOVE_STATE__MOVE_ABORTED);
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
	rt_move_drop_images(move);
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

bool rt_move_next_want(struct rt_move *move, unsigned timeout_ms, struct rt_move_want *ret, bool *ret_end)
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
		err = rt_move_failure(move);
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
