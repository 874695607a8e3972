/* hash: reads all private pages in every round and compares digests with those of what was sent. Needs nothing of the kernel but /proc/PID/pagemap and
 * process_vm_readv, and no moment in which looking and protecting must be one: a page that was sent in another state than it has now differs. */
#include "migrate/digests.h"
#include "migrate/reader.h"
#include "migrate/tracker_private.h"

#include <sys/mman.h>
#include <sys/random.h>

/* Read at once: small enough to stay in the processor's cache until it is digested. */
#define BATCH_PAGES 128

struct batch {
	unsigned char secret[RT_DIGEST_SECRET_SIZE];
	unsigned char pages[BATCH_PAGES][RT_PAGE_SIZE] __attribute__((aligned(RT_PAGE_SIZE)));
};

static void probe(const char **ret_reason)
{
	*ret_reason = sysconf(_SC_PAGESIZE) == RT_PAGE_SIZE ? NULL : "hash: pages of this kernel are not 4 KiB";
}

static struct rt_error *open_hash(struct rt_tracker *tracker)
{
	struct batch *batch = aligned_alloc(RT_PAGE_SIZE, sizeof(*batch));

	if (!batch)
		return rt_error_oom();
	tracker->secret = batch;
	if (getrandom(batch->secret, sizeof(batch->secret), 0) != (ssize_t)sizeof(batch->secret))
		return rt_fail_errno("cannot get random bytes");
	return NULL;
}

static void close_hash(struct rt_tracker *tracker)
{
	free(tracker->secret);
}

/* Reads the pages of a piece and adds those that differ. */
static struct rt_error *compare(struct rt_tracker *tracker, struct rt_space *space, uint64_t start, uint64_t pages, struct rt_page_ranges *ranges)
{
	struct rt_page_range piece = { .pid = space->pid, .start = start, .pages = pages };
	struct batch *batch = tracker->secret;
	uint64_t present[BATCH_PAGES / 64];
	uint64_t read;
	struct rt_error *err = rt_reader_read(&piece, 1, batch->pages, present, &read);

	for (uint64_t i = 0; !err && i < pages; i++) {
		struct rt_digest digest;

		if (!rt_reader_page_present(present, i))
			continue;
		digest = rt_digest_of(batch->secret, batch->pages[i]);
		if (!rt_digests_match(space->digests, start + i * RT_PAGE_SIZE, &digest, tracker->round))
			err = rt_page_ranges_add(ranges, space->pid, start + i * RT_PAGE_SIZE, 1);
	}
	return err;
}

static struct rt_error *scan_mapping(struct rt_tracker *tracker, struct rt_space *space, int pagemap, const struct rt_mapping *mapping,
				     struct rt_page_ranges *ranges)
{
	_cleanup_page_ranges_ struct rt_page_ranges there = { 0 };
	struct rt_error *err = rt_tracker_add_content(tracker, space->pid, pagemap, mapping, false, &there);

	for (size_t i = 0; !err && i < there.count; i++)
		for (uint64_t page = 0; !err && page < there.ranges[i].pages; page += BATCH_PAGES) {
			uint64_t pages = there.ranges[i].pages - page;

			err = compare(tracker, space, there.ranges[i].start + page * RT_PAGE_SIZE, pages < BATCH_PAGES ? pages : BATCH_PAGES, ranges);
		}
	return err;
}

static struct rt_error *scan(struct rt_tracker *tracker, struct rt_space *space, int pagemap, struct rt_page_ranges *ranges, struct rt_tracker_round *report)
{
	struct rt_error *err = space->digests ? NULL : rt_digests_new(&space->digests);

	for (size_t i = 0; !err && i < tracker->map.count; i++) {
		const struct rt_mapping *mapping = &tracker->map.mappings[i];

		if (!rt_mapping_is_private(mapping))
			continue;
		err = scan_mapping(tracker, space, pagemap, mapping, ranges);
		report->scanned += mapping->end - mapping->start;
	}
	if (!err)
		rt_digests_drop_before(space->digests, tracker->round);
	return err;
}

static struct rt_error *sent(struct rt_tracker *tracker, struct rt_space *space, uint64_t start, uint64_t pages, const void *data)
{
	const struct batch *batch = tracker->secret;
	struct rt_error *err = space->digests ? NULL : rt_digests_new(&space->digests);

	for (uint64_t i = 0; !err && i < pages; i++) {
		struct rt_digest digest = rt_digest_of(batch->secret, (const char *)data + i * RT_PAGE_SIZE);

		err = rt_digests_set(space->digests, start + i * RT_PAGE_SIZE, &digest, tracker->round);
	}
	return err;
}

static void forget(struct rt_space *space)
{
	rt_digests_free(space->digests);
	space->digests = NULL;
}

const struct rt_tracker_kind_ops rt_tracker_hash = {
	.kind = RT_TRACKER_HASH,
	.name = "hash",
	.probe = probe,
	.open = open_hash,
	.close = close_hash,
	.scan = scan,
	.sent = sent,
	.forget = forget,
};
