/* Which pages of private memory changed since the last look, told without freezing whose memory it is.
 *
 * A tracker watches address spaces: each pid it is given is the leader of a thread group. It is given the pids anew in every round,
 * because tasks come and go. It knows nothing of containers, transfers or CRIU.
 *
 * Told: private anonymous memory, heaps and stacks, and pages of private file mappings that were written to (copied on write). Not told: shared memory,
 * memfds and SysV segments (CRIU's business); pages never touched, and those mapped to the kernel's one zero page; vdso, vvar, device memory. A page that went
 * away (munmap, MADV_DONTNEED, a zero page again) is not told either: which of the pages told in all rounds are there at the end, CRIU's page map says.
 *
 * Memory that can't be watched (a mapping that refuses write-protection or has a userfaultfd of its own, a task that can't be stopped for a moment) is told whole in
 * every round: more than needed, never less. Huge pages, transparent or of hugetlbfs, change as a whole. A process whose first thread has ended while others
 * live has no memory in /proc, and is left out.
 *
 * The order that makes it right: a round looks and protects again in one step, the caller reads the pages after it. What is written in
 * between is sent now and told once more by the next round. */
#pragma once

#include "runtime/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RT_PAGE_SIZE 4096u

enum rt_tracker_kind {
	RT_TRACKER_AUTO, /* the first of the others that works here */
	RT_TRACKER_UFFD_WP, /* asynchronous write-protection by a userfaultfd put into each address space; Linux 6.7 */
	RT_TRACKER_SOFT_DIRTY, /* /proc/PID/clear_refs and bit 55 of /proc/PID/pagemap; wants the tasks paused for a moment in each round */
	RT_TRACKER_HASH, /* a 128-bit digest of each page: anywhere, reads all memory in every round, 16 bytes a page */
};

/* Pages of one address space. `pid` as this host's /proc has it. */
struct rt_page_range {
	pid_t pid;
	uint64_t start; /* address, page-aligned */
	uint64_t pages; /* > 0 */
};

/* A growing list of them; zero it to begin, rt_page_ranges_free() ends it. Ascending within one pid; adjacent ones are merged. */
struct rt_page_ranges {
	struct rt_page_range *ranges;
	size_t count;
	size_t room;
};

/* What a round did and what it took. */
struct rt_tracker_round {
	uint64_t pages; /* told in this round */
	uint64_t scanned; /* bytes of address space that were looked at */
	uint32_t spaces; /* address spaces looked at */
	uint32_t spaces_new; /* of these: seen for the first time, or after an execve */
	uint32_t spaces_whole; /* of these: can't be watched, told whole; the debug log names them and the reason */
	uint32_t microseconds; /* of the whole round */
	uint32_t stopped_microseconds; /* of that: the sum of the times for which single threads were stopped */
};

/* Stops and starts the tasks for soft-dirty, which can't look and reset in one step; the others never call it. */
struct rt_tracker_pause {
	struct rt_error *(*pause)(void *userdata);
	struct rt_error *(*resume)(void *userdata);
	void *userdata;
};

struct rt_tracker;

/* "uffd-wp", "soft-dirty", "hash", "auto"; and back (an unknown word is an RT_USAGE error). */
const char *rt_tracker_kind_name(enum rt_tracker_kind kind);
struct rt_error *rt_tracker_kind_parse(const char *word, enum rt_tracker_kind *ret) _must_check_;

/* Can this kernel do it? *ret_kind is `kind`, or with RT_TRACKER_AUTO the best one; *ret_usable false: it can't. *ret_reason is one sentence that says
 * why (why not, or why none of the better ones) and is the caller's to free. */
struct rt_error *rt_tracker_probe(enum rt_tracker_kind kind, enum rt_tracker_kind *ret_kind, bool *ret_usable, char **ret_reason) _must_check_;

/* Fails with the sentence of rt_tracker_probe() where the kind is not usable. `pause` is copied; NULL where the kind is not soft-dirty (or AUTO,
 * which then leaves soft-dirty out). Forks: a small process of its own stops the tasks, so that the death of this one harms none of them. */
struct rt_error *rt_tracker_open(enum rt_tracker_kind kind, const struct rt_tracker_pause *pause, struct rt_tracker **ret) _must_check_;

/* The kind in use, never AUTO. */
enum rt_tracker_kind rt_tracker_kind(const struct rt_tracker *tracker);

enum {
	RT_ROUND_FROZEN = 1 << 0, /* the tasks are frozen: stop none, what is new is told whole (the last round before a dump) */
};

/* Appends to `ranges` what must be sent: in the first round in which an address space is seen all its pages, later those that changed since the round
 * before. Pids that are gone are left out; two that share one address space (vfork) are told once. `report` may be NULL. After an error everything is
 * told again by the next round. */
struct rt_error *rt_tracker_round(struct rt_tracker *tracker, const pid_t *pids, size_t count, unsigned flags, struct rt_page_ranges *ranges,
				  struct rt_tracker_round *report) _must_check_;

/* Tells what the caller has read and is sending: `pages` pages from `start`, at `data`. Must be called for all that is sent: the hash tracker compares with
 * it in the next round. (It can't use what it read itself: a page may have changed before the caller read it, and changed back since.) Does nothing for
 * the other kinds. */
struct rt_error *rt_tracker_sent(struct rt_tracker *tracker, pid_t pid, uint64_t start, uint64_t pages, const void *data) _must_check_;

/* Lets go of all address spaces: they are as they were. The tasks may be frozen. Rounds after it begin anew.
 *
 * uffd-wp: takes 0.05 to 0.1 s a GiB (the kernel lifts the protection page by page) and holds page faults up meanwhile, so not between the freeze and the dump:
 * CRIU 4.2.1 dumps memory that is watched as any other, and what it restores is not. Let go when the tasks have been killed (then it takes no time), or
 * when they run on. */
void rt_tracker_release(struct rt_tracker *tracker);

/* rt_tracker_release() and the end of the tracker. NULL is fine. */
void rt_tracker_close(struct rt_tracker *tracker);

struct rt_error *rt_page_ranges_add(struct rt_page_ranges *ranges, pid_t pid, uint64_t start, uint64_t pages) _must_check_;
/* Appends to `ret` the pages of `ranges` that `without` does not have. */
struct rt_error *rt_page_ranges_subtract(const struct rt_page_ranges *ranges, const struct rt_page_ranges *without, struct rt_page_ranges *ret) _must_check_;
struct rt_error *rt_page_ranges_append(struct rt_page_ranges *ranges, const struct rt_page_ranges *more) _must_check_;
/* Moves what is beyond the first `pages` of them to the end of `rest`. */
struct rt_error *rt_page_ranges_split(struct rt_page_ranges *ranges, uint64_t pages, struct rt_page_ranges *rest) _must_check_;
uint64_t rt_page_ranges_pages(const struct rt_page_ranges *ranges);
void rt_page_ranges_free(struct rt_page_ranges *ranges);

static inline void rt_tracker_closep(struct rt_tracker **tracker)
{
	rt_tracker_close(*tracker);
}
#define _cleanup_tracker_ _cleanup_(rt_tracker_closep)
#define _cleanup_page_ranges_ _cleanup_(rt_page_ranges_free)
