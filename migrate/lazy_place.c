#include "migrate/lazy_private.h"

#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>

/* Tries, a few milliseconds apart, until lack of memory is final. */
#define NO_MEMORY_MAX 1000

enum outcome {
	PLACED, /* go on behind what was placed */
	PRESENT, /* the first page is there */
	SMALLER, /* not all of it is in one mapping */
	NOT_THERE, /* the first page is in no mapping of ours */
	STOP, /* see the task; or an error */
};

static bool has_events(const struct rt_lazy_task *task)
{
	struct pollfd poller = { .fd = task->uffd, .events = POLLIN };

	return poll(&poller, 1, 0) > 0 && (poller.revents & POLLIN);
}

/* What `errnum`, from an ioctl that placed nothing, means. */
static enum outcome judge(struct rt_lazy_task *task, const char *what, uint64_t address, uint64_t pages, int errnum, struct rt_error **ret)
{
	switch (errnum) {
	case EEXIST:
		return PRESENT;
	case ENOENT:
		if (pages > 1)
			return SMALLER;
		if (!has_events(task))
			return NOT_THERE;
		task->retry = true;
		return STOP;
	case EINTR:
	case EAGAIN: /* an event is under way: the mappings are about to change */
		task->retry = true;
		return STOP;
	case ESRCH:
	case ENOSPC: /* the same in old kernels */
		task->gone = true;
		return STOP;
	case ENOMEM:
		task->retry = true;
		if (++task->no_memory < NO_MEMORY_MAX)
			return STOP;
		break;
	}
	*ret = rt_fail_with(errnum, "cannot place %s at %#" PRIx64 " of task %" PRIu64, what, address, task->space->number);
	return STOP;
}

void rt_lazy_wake(struct rt_lazy_task *task, uint64_t address, uint64_t pages)
{
	struct uffdio_range range = { address, pages * RT_LAZY_PAGE };

	/* It fails where the task is gone, and there is nobody to wake. */
	(void)ioctl(task->uffd, UFFDIO_WAKE, &range);
}

/* Places up to `pages`; *ret_placed is how many that was, also when it stops. */
static enum outcome copy(struct rt_lazy_task *task, uint64_t address, const uint8_t *from, uint64_t pages, uint64_t *ret_placed, struct rt_error **ret)
{
	struct uffdio_copy argument = { .dst = address, .src = (uintptr_t)from, .len = pages * RT_LAZY_PAGE };
	int errnum = ioctl(task->uffd, UFFDIO_COPY, &argument) < 0 ? errno : 0;

	*ret_placed = argument.copy > 0 ? (uint64_t)argument.copy / RT_LAZY_PAGE : 0;
	return errnum == 0 || *ret_placed > 0 ? PLACED : judge(task, "pages", address, pages, errnum, ret);
}

static enum outcome zero(struct rt_lazy_task *task, uint64_t address, uint64_t pages, uint64_t *ret_placed, struct rt_error **ret)
{
	struct uffdio_zeropage argument = { .range = { address, pages * RT_LAZY_PAGE } };
	int errnum = ioctl(task->uffd, UFFDIO_ZEROPAGE, &argument) < 0 ? errno : 0;

	*ret_placed = argument.zeropage > 0 ? (uint64_t)argument.zeropage / RT_LAZY_PAGE : 0;
	return errnum == 0 || *ret_placed > 0 ? PLACED : judge(task, "zeros", address, pages, errnum, ret);
}

/* Once a page is in the only task that gets it, nobody needs it here. */
static void release(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t index, uint64_t pages)
{
	if (lazy->options.release && task->space->tasks == 1)
		rt_pageset_release(task->set, rt_lazy_origin(task->space, index), pages);
}

struct rt_error *rt_lazy_place_data(struct rt_lazy *lazy, struct rt_lazy_task *task, const struct rt_lazy_run *run)
{
	uint64_t at = 0, limit = run->pages;
	struct rt_error *err;

	err = rt_pageset_load(task->set, rt_lazy_origin(task->space, run->index), lazy->buffer, run->pages * RT_LAZY_PAGE);
	while (!err && at < run->pages) {
		uint64_t address = run->address + at * RT_LAZY_PAGE, placed;

		if (limit > run->pages - at)
			limit = run->pages - at;
		switch (copy(task, address, lazy->buffer + at * RT_LAZY_PAGE, limit, &placed, &err)) {
		case PLACED:
			task->no_memory = 0;
			limit = run->pages;
			rt_lazy_map_mark(&task->map, run->index + at, placed);
			release(lazy, task, run->index + at, placed);
			break;
		case PRESENT:
			rt_lazy_wake(task, address, 1);
			rt_lazy_map_mark(&task->map, run->index + at, 1);
			placed = 1;
			break;
		case SMALLER:
			limit /= 2;
			break;
		case NOT_THERE:
			/* While CRIU still makes the mappings it may yet come to be; afterwards it has just gone. */
			rt_lazy_wake(task, address, 1);
			if (lazy->restored)
				rt_lazy_map_mark(&task->map, run->index + at, 1);
			placed = 1;
			break;
		case STOP:
			return err;
		}
		at += placed;
	}
	return err;
}

struct rt_error *rt_lazy_place_zero(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t address, uint64_t pages, uint64_t *ret_placed)
{
	struct rt_error *err = NULL;
	bool again = true;

	*ret_placed = 0;
	while (again) {
		again = false;
		switch (zero(task, address, pages, ret_placed, &err)) {
		case PLACED:
			task->no_memory = 0;
			break;
		case PRESENT:
			rt_lazy_wake(task, address, 1);
			*ret_placed = 1;
			break;
		case SMALLER:
			pages = 1;
			again = true;
			break;
		case NOT_THERE:
			/* Its mapping has just gone: the task finds out by itself. */
			rt_lazy_wake(task, address, 1);
			*ret_placed = 1;
			break;
		case STOP:
			break;
		}
	}
	return err;
}

enum rt_page_state rt_lazy_look(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t index, uint64_t limit, uint64_t *ret_pages)
{
	if (!task->set)
		task->set = rt_pagesets_find(lazy->options.sets, task->space->number);
	if (task->set)
		return rt_pageset_look(task->set, rt_lazy_origin(task->space, index), limit, ret_pages);
	*ret_pages = limit;
	return RT_PAGE_ABSENT;
}
