#include "migrate/source_private.h"

#include "runtime/base/clock.h"

#include <pthread.h>
#include <string.h>

#define READ_AHEAD 16 /* pages */
/* Who has asked for a page is likely to ask for the next one soon: after so long at least, and so many times what the way there and back takes. */
#define HURRY_US 5000
#define HURRY_TIMES 2
/* One request carries the answers to all that is asked meanwhile, and ends when nothing was for so long: well before the target, or anything on the way, thinks it dead. */
#define LINGER_MS 200
/* Not answered yet. Each is what a thread over there waits for. */
#define WANTS_MAX 65536
#define WANT_SIZE 24 /* space, address, pages: u64 each, little-endian */

struct rt_puller {
	struct rt_source *source;
	struct rt_http_connection *asking;
	struct rt_outflow *outflow; /* one connection of its own, so that what is asked for waits for nothing */
	uint8_t rest[WANT_SIZE];
	size_t rest_size;

	pthread_mutex_t lock; /* of what is wanted, and ended */
	pthread_cond_t changed;
	struct rt_page_ranges wanted; /* and not taken up yet */
	bool ended; /* nothing is answered any more */

	struct rt_error *asking_err, *answering_err;
	pthread_t asker, answerer;
	bool asks, answers; /* these threads are there */
};

/* The restore over there may be waiting for what nobody will send. After the commit all is sent anyway. */
static void give_up(struct rt_source *source)
{
	if (!source->committed)
		rt_http_cancel(source->control);
}

/* ---- what is asked for ---- */

static uint64_t read_u64(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

static struct rt_error *note_want(struct rt_puller *puller, const uint8_t record[WANT_SIZE])
{
	struct rt_source *source = puller->source;
	uint64_t space = read_u64(record), start = read_u64(record + 8), pages = read_u64(record + 16);
	struct rt_error *err = NULL;

	if (start % RT_PAGE_SIZE || pages == 0 || pages > RT_FRAME_MAX / RT_PAGE_SIZE)
		return rt_fail(RT_PEER, "the target asks for memory that can't be");
	/* What lies behind is likely to be asked for next, and each question costs a way there and back. What isn't there is left out. */
	if (pages < READ_AHEAD)
		pages = READ_AHEAD;
	pthread_mutex_lock(&puller->lock);
	if (puller->ended) {
		pthread_mutex_unlock(&puller->lock);
		return NULL; /* it comes with the rest */
	}
	if (puller->wanted.count >= WANTS_MAX)
		err = rt_fail(RT_PEER, "the target asks for more than anybody can wait for");
	for (size_t i = 0; i < source->space_count && !err; i++)
		if (source->spaces[i].space == space)
			err = rt_page_ranges_add(&puller->wanted, source->spaces[i].pid, start, pages);
	/* A task waits for it over there: what nobody has asked for comes later. */
	source->hurry_until = UINT64_MAX;
	pthread_cond_signal(&puller->changed);
	pthread_mutex_unlock(&puller->lock);
	return err;
}

static struct rt_error *hear_wants(void *userdata, const void *bytes, size_t size, bool *ret_enough)
{
	struct rt_puller *puller = userdata;
	const uint8_t *from = bytes;
	struct rt_error *err = NULL;

	*ret_enough = false;
	while (size > 0 && !err) {
		size_t count = WANT_SIZE - puller->rest_size < size ? WANT_SIZE - puller->rest_size : size;

		memcpy(puller->rest + puller->rest_size, from, count);
		puller->rest_size += count;
		from += count;
		size -= count;
		if (puller->rest_size == WANT_SIZE) {
			puller->rest_size = 0;
			err = note_want(puller, puller->rest);
		}
	}
	return err;
}

static void *ask(void *userdata)
{
	struct rt_puller *puller = userdata;

	puller->asking_err = rt_http_ask(puller->asking, &(struct rt_http_request){
		.method = "GET", .path = puller->source->path_faults, .push = hear_wants, .push_userdata = puller, .may_stall = true,
	}, 0, NULL);
	if (puller->asking_err)
		give_up(puller->source);
	return NULL;
}

/* ---- what is answered ---- */

/* False: nothing was wanted for so long (NULL: however long), or it is over. Under the lock. */
static bool await_wants(struct rt_puller *puller, const struct timespec *until)
{
	int error = 0;

	while (puller->wanted.count == 0 && !puller->ended && error == 0)
		error = until ? pthread_cond_clockwait(&puller->changed, &puller->lock, CLOCK_MONOTONIC, until) :
				pthread_cond_wait(&puller->changed, &puller->lock);
	return puller->wanted.count > 0 && !puller->ended;
}

/* All before has been answered. */
static struct rt_error *take_wants(void *userdata, struct rt_page_ranges *ret)
{
	struct rt_puller *puller = userdata;
	struct rt_source *source = puller->source;
	const struct timespec until = rt_after_ms(LINGER_MS);

	pthread_mutex_lock(&puller->lock);
	if (puller->wanted.count == 0)
		source->hurry_until = rt_now_us() + HURRY_US + HURRY_TIMES * rt_outflow_round_trip(puller->outflow);
	if (await_wants(puller, &until)) {
		struct rt_page_ranges wanted = puller->wanted;

		puller->wanted = *ret;
		*ret = wanted;
	}
	pthread_mutex_unlock(&puller->lock);
	return NULL;
}

static bool await_first(struct rt_puller *puller)
{
	bool wanted;

	pthread_mutex_lock(&puller->lock);
	wanted = await_wants(puller, NULL);
	pthread_mutex_unlock(&puller->lock);
	return wanted;
}

static void *answer(void *userdata)
{
	struct rt_puller *puller = userdata;
	struct rt_source *source = puller->source;
	const struct rt_page_ranges none = { 0 };
	struct rt_error *err = NULL;

	while (!err && await_first(puller)) {
		struct rt_outflow_totals totals = { 0 };

		err = rt_outflow_begin(puller->outflow, &none, source->spaces, source->space_count);
		if (!err)
			err = rt_outflow_finish(puller->outflow, &totals);
		source->report.pulled_pages += totals.pages;
	}
	pthread_mutex_lock(&puller->lock);
	puller->ended = true;
	source->hurry_until = 0;
	pthread_mutex_unlock(&puller->lock);
	puller->answering_err = err;
	if (err)
		give_up(source);
	return NULL;
}

/* ---- both ---- */

static struct rt_error *start(struct rt_puller *puller)
{
	int error;

	error = pthread_create(&puller->asker, NULL, ask, puller);
	puller->asks = !error;
	if (!error)
		error = pthread_create(&puller->answerer, NULL, answer, puller);
	puller->answers = puller->asks && !error;
	return error ? rt_fail_with(error, "cannot start a thread") : NULL;
}

struct rt_error *rt_source_answer_begin(struct rt_source *source)
{
	struct rt_puller *puller;
	struct rt_error *err;

	if (!source->lazy || !source->may_follow)
		return NULL;
	puller = calloc(1, sizeof(*puller));
	if (!puller)
		return rt_error_oom();
	puller->source = source;
	pthread_mutex_init(&puller->lock, NULL);
	pthread_cond_init(&puller->changed, NULL);
	source->puller = puller;
	err = rt_http_connect(source->client, &puller->asking);
	if (!err)
		err = rt_outflow_new(&(struct rt_outflow_options){
			.client = source->client, .path = source->path_pages, .parallel = 1, .compression = source->compression, .link_rate = &source->link_rate,
			.more = take_wants, .userdata = puller,
		}, &puller->outflow);
	return err ? err : start(puller);
}

static void end(struct rt_puller *puller)
{
	pthread_mutex_lock(&puller->lock);
	puller->ended = true;
	pthread_cond_broadcast(&puller->changed);
	pthread_mutex_unlock(&puller->lock);
	if (puller->asks) {
		rt_http_cancel(puller->asking);
		pthread_join(puller->asker, NULL);
	}
	if (puller->answers) {
		rt_outflow_cancel(puller->outflow);
		pthread_join(puller->answerer, NULL);
	}
}

void rt_source_answer_end(struct rt_source *source)
{
	struct rt_puller *puller = rt_take_ptr(source->puller);

	if (!puller)
		return;
	end(puller);
	rt_error_free(puller->asking_err);
	rt_error_free(puller->answering_err);
	rt_outflow_free(puller->outflow);
	rt_http_disconnect(puller->asking);
	rt_page_ranges_free(&puller->wanted);
	pthread_cond_destroy(&puller->changed);
	pthread_mutex_destroy(&puller->lock);
	free(puller);
}
