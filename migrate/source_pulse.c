#include "migrate/source_private.h"

#include "runtime/base/clock.h"

#include <pthread.h>
#include <stdatomic.h>

/* A target is a thread that answers at once, so this is amply more than a busy machine needs; with the thaw it stays below a second. */
#define SILENCE_MS 700
#define BEAT_MS 100
#define CONNECT_MS 10000

struct rt_heartbeat {
	struct rt_source *source;
	struct rt_http_connection *connection;
	char path[80];
	pthread_mutex_t lock; /* of stop */
	pthread_cond_t stopped;
	bool stop;
	atomic_bool cancelled;
	struct rt_error *err;
	pthread_t thread;
};

/* False: it is over. */
static bool wait_for_next(struct rt_heartbeat *heartbeat)
{
	struct timespec until = rt_after_ms(BEAT_MS);
	bool stop;

	pthread_mutex_lock(&heartbeat->lock);
	if (!heartbeat->stop)
		pthread_cond_clockwait(&heartbeat->stopped, &heartbeat->lock, CLOCK_MONOTONIC, &until);
	stop = heartbeat->stop;
	pthread_mutex_unlock(&heartbeat->lock);
	return !stop;
}

static void *beat(void *userdata)
{
	struct rt_heartbeat *heartbeat = userdata;
	struct rt_source *source = heartbeat->source;

	do {
		struct rt_error *err = rt_http_ask(heartbeat->connection, &(struct rt_http_request){
			.method = "GET", .path = heartbeat->path, .timeout_ms = SILENCE_MS,
		}, 0, NULL);

		if (err && atomic_load(&heartbeat->cancelled)) {
			rt_error_free(err);
			break;
		}
		if (err) {
			heartbeat->err = err;
			rt_source_cancel(source);
			break;
		}
	} while (wait_for_next(heartbeat));
	return NULL;
}

struct rt_error *rt_heartbeat_start(struct rt_source *source, struct rt_heartbeat **ret)
{
	struct rt_heartbeat *heartbeat = calloc(1, sizeof(*heartbeat));
	struct rt_error *err;
	int error;

	if (!heartbeat)
		return rt_error_oom();
	heartbeat->source = source;
	pthread_mutex_init(&heartbeat->lock, NULL);
	pthread_cond_init(&heartbeat->stopped, NULL);
	snprintf(heartbeat->path, sizeof(heartbeat->path), "/v1/migrations/%s", source->migration);
	err = rt_http_connect(source->client, &heartbeat->connection);
	/* Nothing is frozen yet: a far target may take its time for a connection and TLS, four ways there and back, which a beat has not. */
	if (!err)
		err = rt_http_ask(heartbeat->connection, &(struct rt_http_request){
			.method = "GET", .path = heartbeat->path, .timeout_ms = CONNECT_MS,
		}, 0, NULL);
	error = err ? 0 : pthread_create(&heartbeat->thread, NULL, beat, heartbeat);
	if (!err && error)
		err = rt_fail_with(error, "cannot start a thread");
	if (err) {
		rt_http_disconnect(heartbeat->connection);
		free(heartbeat);
		return err;
	}
	*ret = heartbeat;
	return NULL;
}

struct rt_error *rt_heartbeat_stop(struct rt_heartbeat *heartbeat, enum rt_heartbeat_end how)
{
	struct rt_error *err;

	if (!heartbeat)
		return NULL;
	pthread_mutex_lock(&heartbeat->lock);
	heartbeat->stop = true;
	pthread_cond_signal(&heartbeat->stopped);
	pthread_mutex_unlock(&heartbeat->lock);
	if (how == RT_HEARTBEAT_CANCEL) {
		atomic_store(&heartbeat->cancelled, true);
		rt_http_cancel(heartbeat->connection);
	}
	pthread_join(heartbeat->thread, NULL);
	rt_http_disconnect(heartbeat->connection);
	err = heartbeat->err;
	pthread_mutex_destroy(&heartbeat->lock);
	pthread_cond_destroy(&heartbeat->stopped);
	free(heartbeat);
	return err;
}
