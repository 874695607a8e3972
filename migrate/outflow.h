/* Memory on its way out: reads ranges of pages from the container's processes and sends them over several connections at once, as frames.
 *
 * Drops what is zero, compresses if asked to. Knows neither why these pages nor when; that is source.c's. */
#pragma once

#include "migrate/codec.h"
#include "migrate/http_client.h"
#include "migrate/tracker.h"

#include <stdatomic.h>

/* Which address space of the images a process is. */
struct rt_outflow_space {
	pid_t pid; /* here */
	uint64_t space; /* in the images: its pid inside the container */
};

struct rt_outflow_options {
	struct rt_http_client *client; /* borrowed */
	const char *path; /* of the requests, borrowed */
	unsigned parallel;
	enum rt_compression compression;
	struct rt_tracker *tracker; /* told of all that is sent (hash); NULL: nobody is */
	/* Until then (rt_now_us()) somebody else is in a hurry: it pauses before the next batch, but not for long. 0: nobody is, nor was. NULL: nobody ever is. */
	const _Atomic uint64_t *hurry_until;
	_Atomic uint64_t *link_rate; /* of rt_http_link_rate(); borrowed */
	/* Where `parallel` is 1: more ranges, once the others have gone, added to *ret; it may wait for some. None: that was all. NULL: there are no more. */
	struct rt_error *(*more)(void *userdata, struct rt_page_ranges *ret);
	void *userdata;
};

struct rt_outflow;
struct rt_error *rt_outflow_new(const struct rt_outflow_options *options, struct rt_outflow **ret) _must_check_;
void rt_outflow_free(struct rt_outflow *outflow);

struct rt_outflow_totals {
	uint64_t pages, zero, gone; /* pages sent; of these as nothing but a note; vanished before they could be read */
	uint64_t wire; /* bytes */
};

/* Starts sending. `ranges` and `spaces` must stay until rt_outflow_finish(). */
struct rt_error *rt_outflow_begin(struct rt_outflow *outflow, const struct rt_page_ranges *ranges, const struct rt_outflow_space *spaces, size_t space_count) _must_check_;
/* Sends not the pages but that what was sent of them before is old (RT_FRAME_STALE). */
struct rt_error *rt_outflow_begin_stale(struct rt_outflow *outflow, const struct rt_page_ranges *ranges, const struct rt_outflow_space *spaces,
					size_t space_count) _must_check_;
/* Returns when the other side has stored all of it. Totals are of this call. */
struct rt_error *rt_outflow_finish(struct rt_outflow *outflow, struct rt_outflow_totals *ret) _must_check_;
/* Waits for that, but at most so long; true: it is time for rt_outflow_finish(), which does not wait any more. */
bool rt_outflow_wait(struct rt_outflow *outflow, unsigned ms);
/* Pages done so far, for a progress bar; any time. */
uint64_t rt_outflow_done(const struct rt_outflow *outflow);
/* Microseconds to the other side and back, as TCP knows it; 0: it does not. From `more`. */
uint64_t rt_outflow_round_trip(const struct rt_outflow *outflow);
/* Makes what is at hand fail soon, or, where `more` is at it, when that returns; from any thread. */
void rt_outflow_cancel(struct rt_outflow *outflow);
