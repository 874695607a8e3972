/* libarchive pulls, the network pushes: a thread of our own unpacks what comes through a ring of constant size. The disk works while the network does, and a
 * full ring makes the network wait. */
#include "migrate/tree_private.h"

#include "migrate/tree_apply.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#define RING ((size_t)1 << 20)
/* So that the other side can go on while this much is being unpacked. */
#define LEND (RING / 4)
/* Directories are made by recursion, with a path each. */
#define STACK ((size_t)8 << 20)

struct rt_tree_receiver {
	struct rt_tree_apply *apply;
	pthread_t thread;
	bool running;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	/* Under the mutex. */
	uint64_t filled, emptied; /* bytes, since the beginning */
	size_t lent; /* behind `emptied`, being read */
	bool ended, abandoned; /* by the caller */
	bool done, failed; /* the thread */
	struct rt_error *err; /* owned */
	uint8_t ring[RING];
};

/* For libarchive: what comes next. 0 at the end. */
static ssize_t lend(void *userdata, const void **bytes)
{
	struct rt_tree_receiver *receiver = userdata;
	size_t at, size;

	pthread_mutex_lock(&receiver->mutex);
	receiver->emptied += receiver->lent;
	receiver->lent = 0;
	pthread_cond_signal(&receiver->changed);
	while (receiver->filled == receiver->emptied && !receiver->ended && !receiver->abandoned)
		pthread_cond_wait(&receiver->changed, &receiver->mutex);
	at = receiver->emptied % RING;
	size = receiver->filled - receiver->emptied;
	if (size > RING - at)
		size = RING - at;
	if (size > LEND)
		size = LEND;
	if (receiver->abandoned)
		size = 0;
	receiver->lent = size;
	pthread_mutex_unlock(&receiver->mutex);
	*bytes = receiver->ring + at;
	return (ssize_t)size;
}

static void *unpack(void *userdata)
{
	struct rt_tree_receiver *receiver = userdata;
	struct rt_error *err = rt_tree_apply_run(receiver->apply, lend, receiver);

	pthread_mutex_lock(&receiver->mutex);
	receiver->err = err;
	receiver->failed = err != NULL;
	receiver->done = true;
	pthread_cond_signal(&receiver->changed);
	pthread_mutex_unlock(&receiver->mutex);
	return NULL;
}

/* Signals are for the threads that expect them. */
static struct rt_error *start(struct rt_tree_receiver *receiver)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int result;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&receiver->thread, &attributes, unpack, receiver);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (result != 0)
		return rt_fail_with(result, "cannot start a thread");
	receiver->running = true;
	return NULL;
}

struct rt_error *rt_tree_receiver_new(const struct rt_tree_receive_options *options, struct rt_tree_receiver **ret)
{
	_cleanup_(rt_tree_receiver_freep) struct rt_tree_receiver *receiver = calloc(1, sizeof(*receiver));
	struct rt_error *err;

	if (!receiver)
		return rt_error_oom();
	pthread_mutex_init(&receiver->mutex, NULL);
	pthread_cond_init(&receiver->changed, NULL);
	err = rt_tree_apply_new(options, &receiver->apply);
	if (!err)
		err = start(receiver);
	if (err)
		return err;
	*ret = rt_take_ptr(receiver);
	return NULL;
}

/* What the thread ended with; it ends before the stream does only by failing. Told once. */
static struct rt_error *take_error(struct rt_tree_receiver *receiver)
{
	struct rt_error *err = rt_take_ptr(receiver->err);

	return err ? rt_while(err, "receiving the root filesystem") : rt_fail(RT_SYSTEM, "receiving the root filesystem has failed before");
}

struct rt_error *rt_tree_receive(struct rt_tree_receiver *receiver, const void *bytes, size_t size)
{
	struct rt_error *err = NULL;

	pthread_mutex_lock(&receiver->mutex);
	while (size > 0 && !err) {
		size_t at = receiver->filled % RING, room = RING - (size_t)(receiver->filled - receiver->emptied);

		if (receiver->done || receiver->ended) {
			err = take_error(receiver);
		} else if (room == 0) {
			pthread_cond_wait(&receiver->changed, &receiver->mutex);
		} else {
			if (room > RING - at)
				room = RING - at;
			if (room > size)
				room = size;
			/* Nobody else looks at this part of the ring. */
			pthread_mutex_unlock(&receiver->mutex);
			memcpy(receiver->ring + at, bytes, room);
			pthread_mutex_lock(&receiver->mutex);
			receiver->filled += room;
			pthread_cond_signal(&receiver->changed);
			bytes = (const uint8_t *)bytes + room;
			size -= room;
		}
	}
	pthread_mutex_unlock(&receiver->mutex);
	return err;
}

/* Lets the thread come to its end. */
static void join(struct rt_tree_receiver *receiver, bool *flag)
{
	if (!receiver->running)
		return;
	pthread_mutex_lock(&receiver->mutex);
	*flag = true;
	pthread_cond_signal(&receiver->changed);
	pthread_mutex_unlock(&receiver->mutex);
	pthread_join(receiver->thread, NULL);
	receiver->running = false;
}

struct rt_error *rt_tree_receiver_finish(struct rt_tree_receiver *receiver, struct rt_tree_totals *ret)
{
	bool first = receiver->running;

	join(receiver, &receiver->ended);
	if (receiver->failed || !first)
		return take_error(receiver);
	*ret = rt_tree_apply_totals(receiver->apply);
	return NULL;
}

void rt_tree_receiver_free(struct rt_tree_receiver *receiver)
{
	if (!receiver)
		return;
	join(receiver, &receiver->abandoned);
	rt_error_free(receiver->err);
	rt_tree_apply_free(receiver->apply);
	pthread_cond_destroy(&receiver->changed);
	pthread_mutex_destroy(&receiver->mutex);
	free(receiver);
}
