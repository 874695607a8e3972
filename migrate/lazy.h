/* Serves the page faults of restored tasks from page sets, in the place of `criu lazy-pages`: the tasks run at once, and find their memory as they touch it, while
 * a pusher fills in the rest.
 *
 *	rt_lazy_listen()	before CRIU is asked to restore with lazy_pages: the socket CRIU connects to (lazy-pages.socket in its work directory)
 *	rt_lazy_run()		until every page is where it belongs, or the tasks are gone
 *
 * Which pages are wanted is in the pagemap images of the checkpoint (entries with PE_LAZY); what they don't list is zero. A page the sets don't hold is asked for
 * through `want`, and served once rt_lazy_arrived() tells that it came; its task waits as long as that takes. If this process ends early, the kernel hands
 * zeros to the tasks: so whoever runs it must kill the container then, see rt_lazy_run(). (A process that must not outlive this one can be told so by the kernel:
 * let a guardian hold the other end of a pipe, and kill the container's cgroup at its end.)
 *
 * Each task's userfaultfd is closed as soon as all its pages are in place: nothing of this stays in the container, and CRIU can dump it again.
 *
 * CRIU's protocol, from criu/uffd.c of 4.x: for each task an int with its pid as the images number it (negative: a zombie, nothing follows), then a message with its
 * userfaultfd; at the end the u32 0x52535446 ("FTSR"), sent when the tasks are about to run. Events asked for there: fork, remap, remove, unmap. */
#pragma once

#include "migrate/pageset.h"

#include <sys/types.h>

struct rt_lazy; /* opaque; rt_lazy_free() */

/* Whether tasks of a user namespace of their own can be restored lazily, too: they open the userfaultfd themselves, and only where everybody may do they get one
 * that faults of the kernel go to as well. */
bool rt_lazy_is_for_all(void);

struct rt_lazy_options {
	int work_fd; /* of CRIU's work directory: where the socket goes; it and image_fd stay open until rt_lazy_free() */
	int image_fd; /* where the pagemap images are, once the first task has connected */
	struct rt_pagesets *sets; /* borrowed */
	/* Pages that are missing: called from rt_lazy_run(), once for each range. NULL: everything must be in the sets, a missing page is an error before any task
	 * runs (told by rt_lazy_prepare()). */
	struct rt_error *(*want)(void *userdata, uint64_t space, uint64_t start, uint64_t pages);
	void *userdata;
	bool on_demand; /* what nobody touches, and is not in prefetch_file, stays here: rt_lazy_run() goes on until rt_lazy_end() */
	bool release; /* pages are given back (RT_PAGE_GONE) as soon as the only task that gets them has them: memory is not held twice */
	const char *record_file; /* NULL: none; else the order in which pages were faulted in is written here (one line "space address pages") */
	const char *prefetch_file; /* NULL: none; else such a record: these pages are pushed first */
};

struct rt_error *rt_lazy_listen(const struct rt_lazy_options *options, struct rt_lazy **ret) _must_check_;
void rt_lazy_free(struct rt_lazy *lazy);

/* After the images are complete, before CRIU restores: reads the pagemaps, and without `want` checks that the sets hold every lazy page. */
struct rt_error *rt_lazy_prepare(struct rt_lazy *lazy) _must_check_;

/* Descriptor that becomes readable when rt_lazy_run() has something to do: it can be polled next to others. */
int rt_lazy_fd(const struct rt_lazy *lazy);

/* Pages have been stored in the sets: wakes the tasks that wait for them. Any thread, any time. */
void rt_lazy_arrived(struct rt_lazy *lazy, uint64_t space, uint64_t start, uint64_t pages);

/* The tasks have ended, or are about to: rt_lazy_run() returns. Any thread. */
void rt_lazy_end(struct rt_lazy *lazy);

struct rt_lazy_status {
	bool restored; /* CRIU has told that the tasks run */
	bool done; /* every page is where it belongs, or its task is gone */
	uint64_t pages; /* that the images list */
	uint64_t left; /* not in their tasks yet; children that were forked since have their own */
	uint64_t pushed, faulted, wanted; /* put in place unasked, or because of a fault; asked for through `want` */
	uint64_t faults; /* that a task had to wait for */
};

/* Does what there is to do for at most `timeout_ms` (-1: until done); *ret may be NULL. Where it fails before the tasks run, the restore has failed;
 * after it, the container must be killed. A CRIU that ends without having connected is for its caller to see, and so is, while pages are missing, the end
 * of the tasks that wait for them. */
struct rt_error *rt_lazy_run(struct rt_lazy *lazy, int timeout_ms, struct rt_lazy_status *ret) _must_check_;
