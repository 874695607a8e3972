/* lazy-driver IMAGES WORK [--release] [--post-copy PAGES] [--record FILE] [--prefetch FILE] [--lose ADDRESS]: what a migration's target does around a lazy restore, with the
 * pages taken from the pages-*.img of an ordinary checkpoint. Says "ready" when CRIU may be called, "restored" when the tasks run, and a line of figures at the end.
 *
 *	--post-copy PAGES	the sets are empty at first; pages come when they are asked for, and besides so many per millisecond
 *	--lose			the last page never comes: it must be told before anything runs */
#include "checkpoint/images.h"
#include "migrate/lazy.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define FLAG_LAZY 2u
#define FLAG_PRESENT 4u
#define PAGE RT_PAGESET_PAGE
#define CHUNK (256u * PAGE)

struct range {
	uint64_t space, start, pages;
};

struct driver {
	struct rt_pagesets *sets, *source; /* what the target has; what the other host has */
	struct rt_lazy *lazy;
	struct range ranges[65536];
	size_t range_count;
	bool lose;
	unsigned pace;
	pthread_mutex_t lock;
	struct range wanted[65536];
	size_t wanted_count, wanted_at;
};

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* Seconds that this process has computed. */
static double processor(void)
{
	struct timespec at;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void must(struct rt_error *err)
{
	_cleanup_free_ char *text = NULL;

	if (!err)
		return;
	text = rt_error_text(err);
	fprintf(stderr, "lazy-driver: %s\n", text ? text : "out of memory");
	exit(1);
}

static void must_be(bool fine, const char *what)
{
	if (!fine)
		must(rt_fail_errno("%s", what));
}

static void store(struct rt_pageset *set, uint64_t start, const uint8_t *bytes, uint64_t size)
{
	static const uint8_t zeros[PAGE];

	for (uint64_t at = 0; at < size;) {
		uint64_t end = at + PAGE;
		bool zero = memcmp(bytes + at, zeros, PAGE) == 0;

		while (end < size && (memcmp(bytes + end, zeros, PAGE) == 0) == zero)
			end += PAGE;
		must(zero ? rt_pageset_store_zero(set, start + at, end - at) : rt_pageset_store(set, start + at, bytes + at, end - at));
		at = end;
	}
}

static void fill_range(struct driver *driver, int pages_fd, uint64_t offset, struct range range)
{
	static uint8_t buffer[CHUNK];
	struct rt_pageset *set = NULL;

	must(rt_pagesets_get(driver->source, range.space, &set));
	for (uint64_t at = 0; at < range.pages * PAGE;) {
		size_t size = range.pages * PAGE - at < CHUNK ? range.pages * PAGE - at : CHUNK;

		must_be(pread(pages_fd, buffer, size, (off_t)(offset + at)) == (ssize_t)size, "reading pages");
		store(set, range.start + at, buffer, size);
		at += size;
	}
	must_be(driver->range_count < RT_ARRAY_SIZE(driver->ranges), "too many ranges");
	driver->ranges[driver->range_count++] = range;
}

static void fill_task(struct driver *driver, int image_fd, const char *name, uint64_t number)
{
	_cleanup_image_ struct rt_image *image = NULL;
	_cleanup_close_ int pages_fd = -1;
	uint64_t offset = 0;

	must(rt_image_open(image_fd, name, RT_IMAGE_PAGEMAP, &image));
	for (;;) {
		_cleanup_unpacked_ ProtobufCMessage *message = NULL;
		const Img__PagemapEntry *entry;
		char pages_name[64];
		uint64_t pages;

		must(rt_image_next(image, &message));
		if (!message)
			return;
		if (pages_fd < 0) {
			snprintf(pages_name, sizeof(pages_name), "pages-%u.img", ((const Img__PagemapHead *)message)->pages_id);
			pages_fd = openat(image_fd, pages_name, O_RDONLY | O_CLOEXEC);
			must_be(pages_fd >= 0, pages_name);
			continue;
		}
		entry = (const Img__PagemapEntry *)message;
		pages = rt_pagemap_pages(entry);
		if (entry->flags & FLAG_LAZY)
			fill_range(driver, pages_fd, offset, (struct range){ number, entry->vaddr, pages });
		if (entry->flags & FLAG_PRESENT)
			offset += pages * PAGE;
	}
}

static void fill(struct driver *driver, int image_fd)
{
	for (uint64_t number = 1; number < 65536; number++) {
		char name[64];

		snprintf(name, sizeof(name), "pagemap-%" PRIu64 ".img", number);
		if (faccessat(image_fd, name, F_OK, 0) == 0)
			fill_task(driver, image_fd, name, number);
	}
	if (driver->lose) {
		struct range last = driver->ranges[driver->range_count - 1];

		rt_pageset_release(rt_pagesets_find(driver->source, last.space), last.start + (last.pages - 1) * PAGE, 1);
	}
}

static struct rt_error *want(void *userdata, uint64_t space, uint64_t start, uint64_t pages)
{
	struct driver *driver = userdata;

	pthread_mutex_lock(&driver->lock);
	must_be(driver->wanted_count < RT_ARRAY_SIZE(driver->wanted), "asked for too much");
	driver->wanted[driver->wanted_count++] = (struct range){ space, start, pages };
	pthread_mutex_unlock(&driver->lock);
	return NULL;
}

static void deliver(struct driver *driver, struct range range)
{
	static uint8_t buffer[CHUNK];
	struct rt_pageset *from = rt_pagesets_find(driver->source, range.space), *to = NULL;

	must(rt_pagesets_get(driver->sets, range.space, &to));
	for (uint64_t at = 0, pages; at < range.pages; at += pages) {
		uint64_t start = range.start + at * PAGE, limit = range.pages - at < CHUNK / PAGE ? range.pages - at : CHUNK / PAGE;

		if (rt_pageset_look(from, start, limit, &pages) == RT_PAGE_ZERO) {
			must(rt_pageset_store_zero(to, start, pages * PAGE));
		} else {
			must(rt_pageset_load(from, start, buffer, pages * PAGE));
			must(rt_pageset_store(to, start, buffer, pages * PAGE));
		}
	}
	rt_lazy_arrived(driver->lazy, range.space, range.start, range.pages);
}

/* The other host: what is asked for first, besides everything in its order. */
static void *send_all(void *userdata)
{
	struct driver *driver = userdata;
	size_t at = 0;

	while (at < driver->range_count) {
		struct range next = { 0 };

		usleep(1000);
		pthread_mutex_lock(&driver->lock);
		while (driver->wanted_at < driver->wanted_count) {
			next = driver->wanted[driver->wanted_at++];
			pthread_mutex_unlock(&driver->lock);
			deliver(driver, next);
			pthread_mutex_lock(&driver->lock);
		}
		pthread_mutex_unlock(&driver->lock);
		next = driver->ranges[at];
		if (next.pages > driver->pace)
			next.pages = driver->pace;
		deliver(driver, next);
		driver->ranges[at].start += next.pages * PAGE;
		driver->ranges[at].pages -= next.pages;
		at += driver->ranges[at].pages == 0;
	}
	return NULL;
}

static void serve(struct driver *driver)
{
	struct rt_lazy_status status = { 0 };
	double restored, start = now(), used = processor();

	while (!status.restored)
		must(rt_lazy_run(driver->lazy, 1, &status));
	restored = now();
	printf("restored\n");
	fflush(stdout);
	if (!status.done)
		must(rt_lazy_run(driver->lazy, -1, &status));
	printf("{\"pages\": %" PRIu64 ", \"left\": %" PRIu64 ", \"pushed\": %" PRIu64 ", \"faulted\": %" PRIu64 ", \"faults\": %" PRIu64 ", \"wanted\": %" PRIu64
	       ", \"waited\": %.6f, \"pushing\": %.6f, \"processor\": %.6f}\n",
	       status.pages, status.left, status.pushed, status.faulted, status.faults, status.wanted, restored - start, now() - restored, processor() - used);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "release", no_argument, NULL, 'r' },	     { "post-copy", required_argument, NULL, 'p' }, { "record", required_argument, NULL, 'w' },
		{ "prefetch", required_argument, NULL, 'f' }, { "lose", no_argument, NULL, 'l' },	    { 0 },
	};
	static struct driver driver = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct rt_lazy_options options = { .userdata = &driver };
	pthread_t thread;
	int word;

	while ((word = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		switch (word) {
		case 'r':
			options.release = true;
			break;
		case 'p':
			driver.pace = (unsigned)atoi(optarg);
			break;
		case 'w':
			options.record_file = optarg;
			break;
		case 'f':
			options.prefetch_file = optarg;
			break;
		case 'l':
			driver.lose = true;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 2)
		return 2;
	options.image_fd = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	options.work_fd = open(argv[optind + 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must_be(options.image_fd >= 0 && options.work_fd >= 0, "opening the directories");
	must(rt_pagesets_new(8ull << 30, &driver.source));
	driver.sets = driver.source;
	if (driver.pace > 0) {
		must(rt_pagesets_new(8ull << 30, &driver.sets));
		options.want = want;
	}
	options.sets = driver.sets;
	must(rt_lazy_listen(&options, &driver.lazy));
	fill(&driver, options.image_fd);
	must(rt_lazy_prepare(driver.lazy));
	printf("ready\n");
	fflush(stdout);
	if (driver.pace > 0)
		must_be(pthread_create(&thread, NULL, send_all, &driver) == 0, "starting a thread");
	serve(&driver);
	if (driver.pace > 0)
		pthread_join(thread, NULL);
	rt_lazy_free(driver.lazy);
	if (driver.sets != driver.source)
		rt_pagesets_free(driver.source);
	rt_pagesets_free(driver.sets);
	return 0;
}
