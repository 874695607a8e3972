#include "migrate/duct.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

struct rt_duct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *ring;
	size_t room, begin, used;
	bool ended, hung_up;
	struct rt_error *err;
};

struct rt_error *rt_duct_new(size_t room, struct rt_duct **ret)
{
	struct rt_duct *duct = calloc(1, sizeof(*duct));

	if (duct)
		duct->ring = malloc(room);
	if (!duct || !duct->ring) {
		free(duct);
		return rt_error_oom();
	}
	duct->room = room;
	pthread_mutex_init(&duct->lock, NULL);
	pthread_cond_init(&duct->changed, NULL);
	*ret = duct;
	return NULL;
}

void rt_duct_free(struct rt_duct *duct)
{
	if (!duct)
		return;
	pthread_mutex_destroy(&duct->lock);
	pthread_cond_destroy(&duct->changed);
	rt_error_free(duct->err);
	free(duct->ring);
	free(duct);
}

/* As much as fits in one piece; under the lock. */
static size_t put(struct rt_duct *duct, const void *bytes, size_t size)
{
	size_t end = (duct->begin + duct->used) % duct->room;
	size_t count = duct->room - duct->used < size ? duct->room - duct->used : size;

	if (count > duct->room - end)
		count = duct->room - end;
	memcpy(duct->ring + end, bytes, count);
	duct->used += count;
	return count;
}

struct rt_error *rt_duct_write(void *userdata, const void *bytes, size_t size)
{
	struct rt_duct *duct = userdata;

	pthread_mutex_lock(&duct->lock);
	while (size > 0 && !duct->hung_up) {
		size_t count = put(duct, bytes, size);

		if (count == 0) {
			pthread_cond_wait(&duct->changed, &duct->lock);
			continue;
		}
		bytes = (const uint8_t *)bytes + count;
		size -= count;
		pthread_cond_broadcast(&duct->changed);
	}
	pthread_mutex_unlock(&duct->lock);
	return size > 0 ? rt_fail(RT_SYSTEM, "nobody takes it any more") : NULL;
}

void rt_duct_end(struct rt_duct *duct, struct rt_error *err)
{
	pthread_mutex_lock(&duct->lock);
	duct->ended = true;
	duct->err = err;
	pthread_cond_broadcast(&duct->changed);
	pthread_mutex_unlock(&duct->lock);
}

struct rt_error *rt_duct_read(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct rt_duct *duct = userdata;
	struct rt_error *err = NULL;
	size_t count;

	pthread_mutex_lock(&duct->lock);
	while (duct->used == 0 && !duct->ended)
		pthread_cond_wait(&duct->changed, &duct->lock);
	count = duct->used < room ? duct->used : room;
	if (count > duct->room - duct->begin)
		count = duct->room - duct->begin;
	memcpy(buffer, duct->ring + duct->begin, count);
	duct->begin = (duct->begin + count) % duct->room;
	duct->used -= count;
	if (count == 0) {
		err = duct->err;
		duct->err = NULL;
	}
	pthread_cond_broadcast(&duct->changed);
	pthread_mutex_unlock(&duct->lock);
	*ret_size = count;
	return err;
}

void rt_duct_hang_up(struct rt_duct *duct)
{
	pthread_mutex_lock(&duct->lock);
	duct->hung_up = true;
	pthread_cond_broadcast(&duct->changed);
	pthread_mutex_unlock(&duct->lock);
}
