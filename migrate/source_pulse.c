#include "migrate/source_private.h"

#include <pthread.h>
#include <stdatomic.h>

/* A target is a thread that answers at once, so this is amply more than a busy machine needs; with the thaw it stays below a second. */
#define SILENCE_MS 700
#define BEAT_US 100000

struct rt_heartbeat {
	struct rt_source *source;
	struct rt_http_connection *connection;
	char path[80];
	atomic_bool stop;
	struct rt_error *err;
	pthread_t thread;
};

static void give_up(struct rt_source *source)
{
	if (source->outflow)
		rt_outflow_cancel(source->outflow);
	rt_http_cancel(source->control);
}

static void *beat(void *userdata)
{
	struct rt_heartbeat *heartbeat = userdata;
	struct rt_source *source = heartbeat->source;

	while (!atomic_load(&heartbeat->stop)) {
		struct rt_error *err = rt_http_ask(heartbeat->connection, &(struct rt_http_request){
			.method = "GET", .path = heartbeat->path, .timeout_ms = SILENCE_MS,
		}, 0, NULL);

		if (err && atomic_load(&heartbeat->stop)) {
			rt_error_free(err); /* cancelled */
			break;
		}
		if (err) {
			heartbeat->err = err;
			give_up(source);
			break;
		}
		usleep(BEAT_US);
	}
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
	snprintf(heartbeat->path, sizeof(heartbeat->path), "/v1/migrations/%s", source->migration);
	err = rt_http_connect(source->client, &heartbeat->connection);
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

struct rt_error *rt_heartbeat_stop(struct rt_heartbeat *heartbeat)
{
	struct rt_error *err;

	if (!heartbeat)
		return NULL;
	atomic_store(&heartbeat->stop, true);
	rt_http_cancel(heartbeat->connection);
	pthread_join(heartbeat->thread, NULL);
	rt_http_disconnect(heartbeat->connection);
	err = heartbeat->err;
	free(heartbeat);
	return err;
}
