/* Tracks and reads the memory of processes in rounds, as a migration does, and prints one line of JSON a round.
 *
 *     track [--kind uffd-wp|soft-dirty|hash|auto] [--rounds N] [--every MS] [--no-read] [--wait-before-last] [--each] PID...
 *
 * With --wait-before-last it waits for a line on standard input and then does its last round as a migration does after the freeze; it then
 * lets go, prints {"released": microseconds}, and waits for one more line. A --kind that needs pauses is refused: see tests/e2e for it. */
#include "migrate/reader.h"
#include "migrate/tracker.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define BUFFER_PAGES 256

static unsigned char buffer[BUFFER_PAGES][RT_PAGE_SIZE] __attribute__((aligned(4096)));

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t processor_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

struct sums {
	uint64_t read, zero;
};

/* Up to a buffer full of ranges of one process; the last may be taken in part. */
static size_t take(const struct rt_page_ranges *ranges, size_t *index, uint64_t *within, struct rt_page_range *taken)
{
	uint64_t room = BUFFER_PAGES;
	size_t count = 0;

	while (*index < ranges->count && room && count < RT_READER_MAX_RANGES) {
		const struct rt_page_range *range = &ranges->ranges[*index];
		uint64_t pages = range->pages - *within < room ? range->pages - *within : room;

		if (count && taken[0].pid != range->pid)
			break;
		taken[count++] = (struct rt_page_range){ range->pid, range->start + *within * RT_PAGE_SIZE, pages };
		room -= pages;
		*within += pages;
		if (*within == range->pages) {
			(*index)++;
			*within = 0;
		}
	}
	return count;
}

static struct rt_error *read_all(struct rt_tracker *tracker, const struct rt_page_ranges *ranges, struct sums *sums)
{
	struct rt_page_range taken[RT_READER_MAX_RANGES];
	uint64_t present[BUFFER_PAGES / 64], within = 0, read;
	struct rt_error *err = NULL;
	size_t index = 0, count;

	while (!err && (count = take(ranges, &index, &within, taken))) {
		uint64_t page = 0;

		err = rt_reader_read(taken, count, buffer, present, &read);
		sums->read += err ? 0 : read;
		for (size_t i = 0; !err && i < count; i++)
			for (uint64_t n = 0; !err && n < taken[i].pages; n++, page++) {
				if (!rt_reader_page_present(present, page))
					continue;
				sums->zero += rt_page_is_zero(buffer[page]);
				if (rt_tracker_kind(tracker) == RT_TRACKER_HASH)
					err = rt_tracker_sent(tracker, taken[i].pid, taken[i].start + n * RT_PAGE_SIZE, 1, buffer[page]);
			}
	}
	return err;
}

static struct rt_error *do_round(struct rt_tracker *tracker, const pid_t *pids, size_t count, unsigned flags, bool read, int number, bool each)
{
	_cleanup_page_ranges_ struct rt_page_ranges ranges = { 0 };
	struct rt_tracker_round report;
	struct sums sums = { 0 };
	int64_t processor = processor_us(), since;
	struct rt_error *err = rt_tracker_round(tracker, pids, count, flags, &ranges, &report);

	if (err)
		return err;
	since = now_us();
	err = read ? read_all(tracker, &ranges, &sums) : NULL;
	printf("{\"round\": %d, \"pages\": %lu, \"ranges\": %zu, \"us\": %u, \"stopped_us\": %u, \"spaces\": %u, \"new\": %u, \"whole\": %u, "
	       "\"read\": %lu, \"zero\": %lu, \"read_us\": %ld, \"processor_us\": %ld",
	       number, (unsigned long)report.pages, ranges.count, report.microseconds, report.stopped_microseconds, report.spaces, report.spaces_new,
	       report.spaces_whole, (unsigned long)sums.read, (unsigned long)sums.zero, (long)(now_us() - since), (long)(processor_us() - processor));
	if (each) {
		printf(", \"told\": [");
		for (size_t i = 0; i < ranges.count; i++)
			printf("%s[%d, %lu, %lu]", i ? ", " : "", ranges.ranges[i].pid, (unsigned long)ranges.ranges[i].start, (unsigned long)ranges.ranges[i].pages);
		printf("]");
	}
	printf("}\n");
	fflush(stdout);
	return err;
}

struct options {
	enum rt_tracker_kind kind;
	int rounds, every_ms;
	bool read, wait, each;
};

static struct rt_error *run(const struct options *options, const pid_t *pids, size_t count)
{
	_cleanup_tracker_ struct rt_tracker *tracker = NULL;
	struct rt_error *err = rt_tracker_open(options->kind, NULL, &tracker);
	int64_t next = now_us();
	char line[16];

	for (int i = 0; !err && i < options->rounds; i++) {
		if (now_us() < next)
			usleep((useconds_t)(next - now_us()));
		next += options->every_ms * 1000;
		err = do_round(tracker, pids, count, 0, options->read, i, options->each);
	}
	if (err || !options->wait || !fgets(line, sizeof(line), stdin))
		return err;
	err = do_round(tracker, pids, count, RT_ROUND_FROZEN, options->read, options->rounds, options->each);
	if (err)
		return err;
	next = now_us();
	rt_tracker_release(tracker);
	printf("{\"released\": %ld}\n", (long)(now_us() - next));
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return NULL;
	return NULL;
}

static void complain(struct rt_error *err)
{
	_cleanup_free_ char *text = rt_error_text(err);

	fprintf(stderr, "track: %s\n", text ? text : "out of memory");
	rt_error_free(err);
}

int main(int argc, char **argv)
{
	struct options options = { .kind = RT_TRACKER_AUTO, .rounds = 10, .every_ms = 100, .read = true };
	struct rt_error *err = NULL;
	pid_t pids[1024];
	size_t count = 0;

	for (int i = 1; !err && i < argc; i++) {
		if (rt_str_equal(argv[i], "--kind") && i + 1 < argc)
			err = rt_tracker_kind_parse(argv[++i], &options.kind);
		else if (rt_str_equal(argv[i], "--rounds") && i + 1 < argc)
			options.rounds = atoi(argv[++i]);
		else if (rt_str_equal(argv[i], "--every") && i + 1 < argc)
			options.every_ms = atoi(argv[++i]);
		else if (rt_str_equal(argv[i], "--no-read"))
			options.read = false;
		else if (rt_str_equal(argv[i], "--wait-before-last"))
			options.wait = true;
		else if (rt_str_equal(argv[i], "--each"))
			options.each = true;
		else if (rt_str_equal(argv[i], "--debug"))
			err = rt_log_open(&(struct rt_log_options){ .debug = true });
		else if (atoi(argv[i]) > 0 && count < RT_ARRAY_SIZE(pids))
			pids[count++] = atoi(argv[i]);
		else
			err = rt_fail(RT_USAGE, "'%s' is no option, nor a process", argv[i]);
	}
	if (!err && !count)
		err = rt_fail(RT_USAGE, "no process is named");
	if (!err)
		err = run(&options, pids, count);
	if (err)
		complain(err);
	return err != NULL;
}
