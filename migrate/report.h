/* What a migration did and how long it took: collected by source.c, shown by progress.h and written as a page by report_html.h. Plain data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_REPORT_ROUNDS 256

struct rt_report_round {
	uint64_t begin_us, us; /* since the migration began; how long */
	uint64_t pages, zero; /* sent; of these as a note only */
	uint64_t wire; /* bytes */
	uint64_t dirty; /* pages that changed meanwhile, as the next round found */
	uint64_t predicted_us; /* downtime if it were frozen now; 0: not known */
};

struct rt_report {
	const char *id, *target_id, *url, *mode, *tracker, *compression, *rootfs; /* borrowed */
	char reason[256]; /* why this mode */
	uint64_t memory; /* bytes when it began */
	uint64_t rootfs_us, rootfs_bytes;
	struct rt_report_round rounds[RT_REPORT_ROUNDS];
	size_t round_count;
	uint64_t frozen_at_us; /* since the migration began */
	/* The downtime, in order; their sum is the downtime. */
	uint64_t freeze_us; /* freezer and last look at memory */
	uint64_t dump_us; /* CRIU, meanwhile the last pages go out */
	uint64_t send_us; /* what was left to send after it: pages, files, images */
	uint64_t restore_us; /* on the target */
	uint64_t resume_us; /* decision, and the first instruction over there */
	uint64_t downtime_us;
	uint64_t final_pages; /* sent while frozen */
	uint64_t images_bytes;
	uint64_t pushed_pages, pulled_pages; /* post-copy: sent after it ran; of these asked for */
	uint64_t pushed_us;
	uint64_t wire; /* bytes in all */
	uint64_t total_us;
	bool moved; /* it runs over there */
};
