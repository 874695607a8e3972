#include "migrate/outflow.h"

#include "migrate/reader.h"
#include "runtime/base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PARALLEL_MAX 16
/* Pages one reading takes, and one frame at most. */
#define BATCH (RT_FRAME_MAX / RT_PAGE_SIZE)
#define BATCH_RANGES 256
/* While pages are asked for, all other ones are in the way: they come in small batches where the link has a queue, which is kept short. Between two there is a pause while
 * somebody is in a hurry, of so long at least, or so many times what the last one took: it comes to an end however many these are. And how often it looks. */
#define POLITE_BATCH 32
#define GIVE_WAY_US 2500
#define GIVE_WAY_TIMES 4
#define QUEUE_US 3000
#define QUEUE_MOST_US 500000 /* a link that takes nothing for so long is for the request to notice */
#define LOOK_US 200

/* One connection and its thread: reads a batch, cuts it into frames, hands these out piece by piece. */
struct stream {
	struct rt_outflow *outflow;
	struct rt_http_connection *connection;
	struct rt_codec *codec;
	uint8_t *buffer; /* BATCH pages */
	uint64_t present[BATCH / 64];
	struct rt_page_range ranges[BATCH_RANGES]; /* of the batch, all of one pid */
	size_t range_count;
	size_t range, page; /* in the batch: where the next frame begins */
	size_t buffer_page; /* that page's place in the buffer */
	uint8_t header[RT_FRAME_HEADER];
	struct rt_frame frame;
	size_t header_left, payload_left;
	uint64_t frames;
	uint64_t link_rate; /* when it was last asked for bytes */
	uint64_t batch_us; /* when the batch at hand was begun; 0: none yet */
	bool ended;
	struct rt_outflow_totals totals;
	struct rt_error *err;
	pthread_t thread;
	bool running, joined;
};

struct rt_outflow {
	struct rt_outflow_options options;
	pthread_mutex_t lock; /* of what the streams take from */
	const struct rt_page_ranges *ranges;
	struct rt_page_ranges more; /* `ranges`, after the first ones */
	size_t range;
	uint64_t page;
	const struct rt_outflow_space *spaces;
	size_t space_count;
	bool stale; /* tells of pages, sends none */
	_Atomic uint64_t done;
	atomic_bool cancelled;
	pthread_mutex_t tracker_lock;
	struct stream streams[PARALLEL_MAX];
	size_t stream_count;
};

/* ---- what is left to read ---- */

/* Up to `most` pages of one process. */
static void take_batch(struct rt_outflow *outflow, struct stream *stream, size_t most)
{
	size_t pages = 0;

	stream->range_count = stream->range = stream->page = stream->buffer_page = 0;
	pthread_mutex_lock(&outflow->lock);
	while (outflow->range < outflow->ranges->count && pages < most && stream->range_count < BATCH_RANGES) {
		const struct rt_page_range *from = &outflow->ranges->ranges[outflow->range];
		uint64_t count = from->pages - outflow->page;

		if (stream->range_count > 0 && stream->ranges[0].pid != from->pid)
			break;
		if (count > most - pages)
			count = most - pages;
		stream->ranges[stream->range_count++] = (struct rt_page_range){
			.pid = from->pid, .start = from->start + outflow->page * RT_PAGE_SIZE, .pages = count,
		};
		pages += count;
		outflow->page += count;
		if (outflow->page == from->pages) {
			outflow->range++;
			outflow->page = 0;
		}
	}
	pthread_mutex_unlock(&outflow->lock);
}

static bool find_space(const struct rt_outflow *outflow, pid_t pid, uint64_t *ret)
{
	for (size_t i = 0; i < outflow->space_count; i++) {
		if (outflow->spaces[i].pid == pid) {
			*ret = outflow->spaces[i].space;
			return true;
		}
	}
	return false;
}

static struct rt_error *note_sent(struct rt_outflow *outflow, const struct stream *stream)
{
	struct rt_error *err = NULL;
	size_t place = 0;

	if (!outflow->options.tracker)
		return NULL;
	pthread_mutex_lock(&outflow->tracker_lock);
	for (size_t i = 0; i < stream->range_count && !err; i++) {
		const struct rt_page_range *range = &stream->ranges[i];

		for (uint64_t page = 0; page < range->pages && !err; page++, place++)
			if (rt_reader_page_present(stream->present, place))
				err = rt_tracker_sent(outflow->options.tracker, range->pid, range->start + page * RT_PAGE_SIZE, 1,
						      stream->buffer + place * RT_PAGE_SIZE);
	}
	pthread_mutex_unlock(&outflow->tracker_lock);
	return err;
}

static bool is_hurry(const struct rt_outflow *outflow)
{
	return rt_now_us() < *outflow->options.hurry_until;
}

/* True: what is sent next is to be little. */
static bool give_way(struct stream *stream)
{
	const struct rt_outflow *outflow = stream->outflow;
	uint64_t came = rt_now_us(), began, most, rate = *outflow->options.link_rate;

	if (!outflow->options.hurry_until || *outflow->options.hurry_until == 0)
		return false;
	while (!outflow->cancelled && rt_http_queue(stream->connection, rate) > QUEUE_US && rt_now_us() - came < QUEUE_MOST_US)
		usleep(LOOK_US);
	began = rt_now_us();
	most = stream->batch_us ? GIVE_WAY_TIMES * (began - stream->batch_us) : 0;
	if (most < GIVE_WAY_US)
		most = GIVE_WAY_US;
	while (!outflow->cancelled && is_hurry(outflow) && rt_now_us() - began < most)
		usleep(LOOK_US);
	stream->batch_us = rt_now_us();
	return is_hurry(outflow) || rate > 0;
}

/* Only one stream is there to take from them. */
static struct rt_error *get_more(struct rt_outflow *outflow)
{
	if (!outflow->options.more || outflow->range < outflow->ranges->count)
		return NULL;
	outflow->more.count = 0;
	outflow->ranges = &outflow->more;
	outflow->range = 0;
	return outflow->options.more(outflow->options.userdata, &outflow->more);
}

static struct rt_error *read_batch(struct stream *stream)
{
	struct rt_outflow *outflow = stream->outflow;
	struct rt_error *err;
	size_t most = give_way(stream) ? POLITE_BATCH : BATCH;
	uint64_t read;

	err = get_more(outflow);
	if (err)
		return err;
	take_batch(outflow, stream, most);
	if (stream->range_count == 0)
		return NULL;
	if (!find_space(outflow, stream->ranges[0].pid, &stream->frame.space)) {
		stream->range_count = 0; /* ended meanwhile */
		return NULL;
	}
	if (outflow->stale)
		return NULL;
	err = rt_reader_read(stream->ranges, stream->range_count, stream->buffer, stream->present, &read);
	return err ? err : note_sent(outflow, stream);
}

/* ---- frames ---- */

static bool page_is(const struct stream *stream, size_t place, bool zero)
{
	return rt_reader_page_present(stream->present, place) && rt_page_is_zero(stream->buffer + place * RT_PAGE_SIZE) == zero;
}

static void skip(struct stream *stream, size_t pages)
{
	stream->page += pages;
	stream->buffer_page += pages;
	stream->outflow->done += pages;
	if (stream->page == stream->ranges[stream->range].pages) {
		stream->range++;
		stream->page = 0;
	}
}

/* The next run of pages of one kind within one range. False: the batch is used up. */
static bool cut_frame(struct stream *stream)
{
	while (stream->range < stream->range_count) {
		const struct rt_page_range *range = &stream->ranges[stream->range];
		uint64_t start = range->start + stream->page * RT_PAGE_SIZE;
		size_t first = stream->buffer_page, room = range->pages - stream->page, count = 1;
		struct rt_frame *frame = &stream->frame;
		bool zero;

		if (stream->outflow->stale) {
			*frame = (struct rt_frame){
				.type = RT_FRAME_STALE, .space = frame->space, .start = start, .size = (uint32_t)(room * RT_PAGE_SIZE),
			};
			skip(stream, room);
			return true;
		}
		if (!rt_reader_page_present(stream->present, first)) {
			stream->totals.gone++;
			skip(stream, 1);
			continue;
		}
		zero = page_is(stream, first, true);
		while (count < room && page_is(stream, first + count, zero))
			count++;
		*frame = (struct rt_frame){
			.type = zero ? RT_FRAME_ZERO : RT_FRAME_PAGES, .space = frame->space, .start = start, .size = (uint32_t)(count * RT_PAGE_SIZE),
		};
		if (!zero)
			rt_codec_pack(stream->codec, stream->buffer + first * RT_PAGE_SIZE, frame->size, frame);
		stream->totals.pages += count;
		stream->totals.zero += zero ? count : 0;
		skip(stream, count);
		return true;
	}
	return false;
}

/* None (nothing of it is left to hand out) where more would have to be waited for, and that must not be. */
static struct rt_error *next_frame(struct stream *stream, bool may_wait)
{
	while (!cut_frame(stream)) {
		struct rt_error *err;

		if (stream->outflow->options.more && !may_wait)
			return NULL;
		err = read_batch(stream);
		if (err)
			return err;
		if (stream->range_count > 0)
			continue;
		pthread_mutex_lock(&stream->outflow->lock);
		stream->ended = stream->outflow->range == stream->outflow->ranges->count;
		pthread_mutex_unlock(&stream->outflow->lock);
		if (!stream->ended)
			continue;
		stream->frame = (struct rt_frame){ .type = RT_FRAME_END, .start = stream->frames };
		break;
	}
	stream->frames++;
	rt_frame_encode(&stream->frame, stream->header);
	stream->header_left = RT_FRAME_HEADER;
	stream->payload_left = stream->frame.stored;
	return NULL;
}

static void hand_out(struct stream *stream, const void *from, size_t whole, size_t *left, uint8_t *buffer, size_t room, size_t *used)
{
	size_t count = *left < room - *used ? *left : room - *used;

	if (count == 0)
		return;
	memcpy(buffer + *used, (const uint8_t *)from + (whole - *left), count);
	*left -= count;
	*used += count;
	stream->totals.wire += count;
}

static struct rt_error *pull(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct stream *stream = userdata;
	size_t stride = rt_codec_stride(stream->codec), used = 0;
	struct rt_error *err;

	stream->link_rate = rt_http_link_rate(stream->connection, stream->outflow->options.link_rate);
	room = room < stride ? room : stride;
	while (used < room) {
		if (stream->header_left == 0 && stream->payload_left == 0) {
			if (stream->ended)
				break;
			if (stream->outflow->cancelled)
				return rt_fail(RT_SYSTEM, "given up");
			err = next_frame(stream, used == 0);
			if (err)
				return err;
			if (stream->header_left == 0)
				break;
		}
		hand_out(stream, stream->header, RT_FRAME_HEADER, &stream->header_left, buffer, room, &used);
		if (stream->header_left == 0)
			hand_out(stream, stream->frame.payload, stream->frame.stored, &stream->payload_left, buffer, room, &used);
	}
	*ret_size = used;
	return NULL;
}

/* ---- threads ---- */

static void *work(void *userdata)
{
	struct stream *stream = userdata;

	stream->err = rt_http_ask(stream->connection, &(struct rt_http_request){
		.method = "POST", .path = stream->outflow->options.path, .pull = pull, .pull_userdata = stream,
	}, 0, NULL);
	if (stream->err)
		stream->outflow->cancelled = true; /* what one did not send the others need not either */
	return NULL;
}

static void reset(struct stream *stream)
{
	stream->range_count = stream->range = stream->page = stream->buffer_page = 0;
	stream->header_left = stream->payload_left = 0;
	stream->frames = stream->batch_us = 0;
	stream->ended = false;
	stream->totals = (struct rt_outflow_totals){ 0 };
	stream->err = NULL;
}

static struct rt_error *begin(struct rt_outflow *outflow, const struct rt_page_ranges *ranges, const struct rt_outflow_space *spaces, size_t space_count)
{
	outflow->ranges = ranges;
	outflow->range = 0;
	outflow->page = 0;
	outflow->spaces = spaces;
	outflow->space_count = space_count;
	outflow->done = 0;
	for (size_t i = 0; i < outflow->stream_count; i++) {
		struct stream *stream = &outflow->streams[i];
		int error;

		reset(stream);
		error = pthread_create(&stream->thread, NULL, work, stream);
		if (error) {
			rt_outflow_cancel(outflow);
			rt_error_free(rt_outflow_finish(outflow, NULL));
			return rt_fail_with(error, "cannot start a thread");
		}
		stream->running = true;
	}
	return NULL;
}

struct rt_error *rt_outflow_begin(struct rt_outflow *outflow, const struct rt_page_ranges *ranges, const struct rt_outflow_space *spaces, size_t space_count)
{
	outflow->stale = false;
	return begin(outflow, ranges, spaces, space_count);
}

struct rt_error *rt_outflow_begin_stale(struct rt_outflow *outflow, const struct rt_page_ranges *ranges, const struct rt_outflow_space *spaces,
					size_t space_count)
{
	outflow->stale = true;
	return begin(outflow, ranges, spaces, space_count);
}

bool rt_outflow_wait(struct rt_outflow *outflow, unsigned ms)
{
	struct timespec until = rt_after_ms(ms);

	for (size_t i = 0; i < outflow->stream_count; i++) {
		struct stream *stream = &outflow->streams[i];

		if (!stream->running || stream->joined)
			continue;
		if (pthread_clockjoin_np(stream->thread, NULL, CLOCK_MONOTONIC, &until) != 0)
			return false;
		stream->joined = true;
	}
	return true;
}

struct rt_error *rt_outflow_finish(struct rt_outflow *outflow, struct rt_outflow_totals *ret)
{
	struct rt_outflow_totals totals = { 0 };
	struct rt_error *err = NULL;

	for (size_t i = 0; i < outflow->stream_count; i++) {
		struct stream *stream = &outflow->streams[i];

		if (!stream->running)
			continue;
		if (!stream->joined)
			pthread_join(stream->thread, NULL);
		stream->running = stream->joined = false;
		totals.pages += stream->totals.pages;
		totals.zero += stream->totals.zero;
		totals.gone += stream->totals.gone;
		totals.wire += stream->totals.wire;
		/* The first one that is not the echo of another's. */
		if (!err || (err->code != RT_PEER && stream->err && stream->err->code == RT_PEER)) {
			rt_error_free(err);
			err = rt_take_ptr(stream->err);
		}
		rt_error_free(rt_take_ptr(stream->err));
	}
	if (ret)
		*ret = totals;
	return err;
}

uint64_t rt_outflow_done(const struct rt_outflow *outflow)
{
	return outflow->done;
}

uint64_t rt_outflow_round_trip(const struct rt_outflow *outflow)
{
	return rt_http_round_trip(outflow->streams[0].connection);
}

void rt_outflow_cancel(struct rt_outflow *outflow)
{
	outflow->cancelled = true;
	for (size_t i = 0; i < outflow->stream_count; i++)
		rt_http_cancel(outflow->streams[i].connection);
}

static uint64_t link_rate(void *userdata)
{
	const struct stream *stream = userdata;

	return stream->link_rate;
}

static struct rt_error *open_stream(struct rt_outflow *outflow, struct stream *stream)
{
	struct rt_error *err;

	stream->outflow = outflow;
	if (posix_memalign((void **)&stream->buffer, RT_PAGE_SIZE, BATCH * RT_PAGE_SIZE) != 0)
		return rt_error_oom();
	memset(stream->buffer, 0, BATCH * RT_PAGE_SIZE); /* its pages are there before time counts */
	err = rt_codec_new(outflow->options.compression, link_rate, stream, &stream->codec);
	return err ? err : rt_http_connect(outflow->options.client, &stream->connection);
}

struct rt_error *rt_outflow_new(const struct rt_outflow_options *options, struct rt_outflow **ret)
{
	struct rt_outflow *outflow = calloc(1, sizeof(*outflow));
	struct rt_error *err = NULL;

	if (!outflow)
		return rt_error_oom();
	outflow->options = *options;
	pthread_mutex_init(&outflow->lock, NULL);
	pthread_mutex_init(&outflow->tracker_lock, NULL);
	while (outflow->stream_count < options->parallel && outflow->stream_count < PARALLEL_MAX && !err)
		err = open_stream(outflow, &outflow->streams[outflow->stream_count++]);
	if (err) {
		rt_outflow_free(outflow);
		return err;
	}
	*ret = outflow;
	return NULL;
}

void rt_outflow_free(struct rt_outflow *outflow)
{
	if (!outflow)
		return;
	for (size_t i = 0; i < outflow->stream_count; i++) {
		rt_http_disconnect(outflow->streams[i].connection);
		rt_codec_free(outflow->streams[i].codec);
		free(outflow->streams[i].buffer);
	}
	rt_page_ranges_free(&outflow->more);
	pthread_mutex_destroy(&outflow->lock);
	pthread_mutex_destroy(&outflow->tracker_lock);
	free(outflow);
}
