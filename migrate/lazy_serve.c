#include "migrate/lazy_private.h"

#include "runtime/base/log.h"

#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/epoll.h>

#define EVENTS 16

struct rt_error *rt_lazy_add_task(struct rt_lazy *lazy, struct rt_lazy_space *space, const struct rt_lazy_task *parent, int uffd)
{
	struct rt_lazy_task *task = calloc(1, sizeof(*task));
	struct rt_error *err;

	if (!task) {
		close(uffd);
		return rt_error_oom();
	}
	task->uffd = uffd;
	task->space = space;
	err = parent ? rt_lazy_map_copy(&task->map, &parent->map) : rt_lazy_map_init(&task->map, space->ranges, space->count, space->pages);
	space->tasks++;
	task->next = lazy->tasks;
	lazy->tasks = task;
	return err ? err : rt_lazy_watch(lazy, uffd, task);
}

void rt_lazy_free_task(struct rt_lazy *lazy, struct rt_lazy_task *task)
{
	for (struct rt_lazy_task **at = &lazy->tasks; *at; at = &(*at)->next) {
		if (*at == task) {
			*at = task->next;
			break;
		}
	}
	if (lazy->recent == task)
		lazy->recent = NULL;
	task->space->tasks--;
	rt_lazy_map_deinit(&task->map);
	free(task->waiting);
	close(task->uffd);
	free(task);
}

static struct rt_error *wait_for(struct rt_lazy_task *task, uint64_t address)
{
	for (size_t i = 0; i < task->waiting_count; i++)
		if (task->waiting[i] == address)
			return NULL;
	if (task->waiting_count == task->waiting_room) {
		size_t room = task->waiting_room ? task->waiting_room * 2 : 16;
		uint64_t *more = reallocarray(task->waiting, room, sizeof(*more));

		if (!more)
			return rt_error_oom();
		task->waiting = more;
		task->waiting_room = room;
	}
	task->waiting[task->waiting_count++] = address;
	return NULL;
}

static void record(struct rt_lazy *lazy, const struct rt_lazy_task *task, const struct rt_lazy_run *run)
{
	if (lazy->record)
		fprintf(lazy->record, "%" PRIu64 " %#" PRIx64 " %" PRIu64 "\n", task->space->number, rt_lazy_origin(task->space, run->index), run->pages);
}

/* Asks for the first pages of the run that are absent, as far as nobody has yet. */
static struct rt_error *ask(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t index, uint64_t pages)
{
	struct rt_lazy_space *space = task->space;
	uint64_t end = index + pages;

	if (!lazy->options.want)
		return rt_fail(RT_PEER, "the page at %#" PRIx64 " of task %" PRIu64 " has not come", rt_lazy_origin(space, index), space->number);
	if (!space->asked)
		space->asked = calloc(space->pages / 64 + 1, sizeof(*space->asked));
	if (!space->asked)
		return rt_error_oom();
	while (index < end) {
		uint64_t first = index;
		struct rt_error *err;

		while (index < end && !(space->asked[index / 64] >> (index % 64) & 1)) {
			space->asked[index / 64] |= 1ull << (index % 64);
			index++;
		}
		if (index > first) {
			lazy->status.wanted += index - first;
			err = lazy->options.want(lazy->options.userdata, space->number, rt_lazy_origin(space, first), index - first);
			if (err)
				return err;
		}
		while (index < end && space->asked[index / 64] >> (index % 64) & 1)
			index++;
	}
	return NULL;
}

/* Narrows the run to the pages around the one at `address` that are in the same state as it. */
static enum rt_page_state narrow(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t address, struct rt_lazy_run *run)
{
	uint64_t fault = run->index + (address - run->address) / RT_LAZY_PAGE, end = run->index + run->pages, pages;

	for (;;) {
		enum rt_page_state state = rt_lazy_look(lazy, task, run->index, end - run->index, &pages);

		if (run->index + pages > fault) {
			run->pages = pages;
			return state;
		}
		run->index += pages;
		run->address += pages * RT_LAZY_PAGE;
	}
}

/* Where nothing is listed, or is any more, memory is zero. Neighbours behind come along: a task that touches new memory mostly goes on. */
static struct rt_error *serve_unlisted(struct rt_lazy *lazy, struct rt_lazy_task *task, const struct rt_lazy_range *range, uint64_t address)
{
	uint64_t end = address - address % (RT_LAZY_AROUND * RT_LAZY_PAGE) + RT_LAZY_AROUND * RT_LAZY_PAGE, placed;

	if (range && range->start <= address)
		end = address + RT_LAZY_PAGE;
	else if (range && range->start < end)
		end = range->start;
	return rt_lazy_place_zero(lazy, task, address, (end - address) / RT_LAZY_PAGE, &placed);
}

static struct rt_error *serve_listed(struct rt_lazy *lazy, struct rt_lazy_task *task, const struct rt_lazy_range *range, uint64_t address)
{
	uint64_t left = task->map.left, placed;
	struct rt_error *err = NULL;
	struct rt_lazy_run run, one;

	rt_lazy_map_around(&task->map, range, address, RT_LAZY_AROUND, &run);
	switch (narrow(lazy, task, address, &run)) {
	case RT_PAGE_DATA:
		/* Nothing else: its neighbours are the pusher's next, should nobody fault meanwhile. */
		one = (struct rt_lazy_run){ address, run.index + (address - run.address) / RT_LAZY_PAGE, 1 };
		task->cursor = run.address;
		task->dry = false;
		record(lazy, task, &one);
		err = rt_lazy_place_data(lazy, task, &one);
		break;
	case RT_PAGE_ZERO:
		err = rt_lazy_place_zero(lazy, task, address, run.pages - (address - run.address) / RT_LAZY_PAGE, &placed);
		rt_lazy_map_mark(&task->map, run.index + (address - run.address) / RT_LAZY_PAGE, placed);
		break;
	case RT_PAGE_ABSENT:
		record(lazy, task, &run);
		err = ask(lazy, task, run.index, run.pages);
		if (!err)
			err = wait_for(task, address);
		break;
	case RT_PAGE_GONE:
		err = rt_fail(RT_SYSTEM, "the page at %#" PRIx64 " of task %" PRIu64 " has been handed over already", rt_lazy_origin(task->space, run.index),
			      task->space->number);
		break;
	}
	lazy->status.faulted += left - task->map.left;
	lazy->recent = task;
	return err;
}

static struct rt_error *serve_fault(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t address)
{
	const struct rt_lazy_range *range = rt_lazy_map_find(&task->map, address);
	bool listed = range && range->start <= address && !rt_lazy_map_is_done(&task->map, range->index + (address - range->start) / RT_LAZY_PAGE);
	struct rt_error *err = listed ? serve_listed(lazy, task, range, address) : serve_unlisted(lazy, task, range, address);

	return !err && task->retry ? wait_for(task, address) : err;
}

struct rt_error *rt_lazy_serve_waiting(struct rt_lazy *lazy, struct rt_lazy_task *task)
{
	size_t count = task->waiting_count, kept;
	struct rt_error *err = NULL;

	task->retry = false;
	for (size_t i = 0; i < count && !err && !task->gone; i++) {
		uint64_t address = task->waiting[i];

		/* Those that still can't be served are added once more. */
		task->waiting[i] = UINT64_MAX;
		err = serve_fault(lazy, task, address);
	}
	kept = 0;
	for (size_t i = 0; i < task->waiting_count; i++)
		if (task->waiting[i] != UINT64_MAX)
			task->waiting[kept++] = task->waiting[i];
	task->waiting_count = kept;
	return err;
}

/* Who waited for these pages looks again, at what is there now. */
static void wake_waiting(struct rt_lazy_task *task, uint64_t start, uint64_t end)
{
	size_t kept = 0;

	for (size_t i = 0; i < task->waiting_count; i++) {
		if (task->waiting[i] >= start && task->waiting[i] < end)
			rt_lazy_wake(task, task->waiting[i], 1);
		else
			task->waiting[kept++] = task->waiting[i];
	}
	task->waiting_count = kept;
}

static struct rt_error *serve_event(struct rt_lazy *lazy, struct rt_lazy_task *task, const struct uffd_msg *message)
{
	uint64_t start, end;

	switch (message->event) {
	case UFFD_EVENT_PAGEFAULT:
		lazy->status.faults++;
		lazy->chunk = RT_LAZY_CHUNK_MIN;
		return serve_fault(lazy, task, message->arg.pagefault.address & ~(uint64_t)(RT_LAZY_PAGE - 1));
	case UFFD_EVENT_FORK:
		rt_debug("task %" PRIu64 " forks while its pages come", task->space->number);
		return rt_lazy_add_task(lazy, task->space, task, (int)message->arg.fork.ufd);
	case UFFD_EVENT_REMAP:
		start = message->arg.remap.from;
		task->dry = false; /* it may have been moved to where the cursor has been */
		wake_waiting(task, start, start + message->arg.remap.len);
		return rt_lazy_map_move(&task->map, start, message->arg.remap.to, message->arg.remap.len);
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		start = message->arg.remove.start;
		end = message->arg.remove.end;
		wake_waiting(task, start, end);
		return rt_lazy_map_cut(&task->map, start, end);
	}
	return rt_fail(RT_SYSTEM, "the kernel tells something unknown (%u) about task %" PRIu64, message->event, task->space->number);
}

struct rt_error *rt_lazy_read_events(struct rt_lazy *lazy, struct rt_lazy_task *task)
{
	struct uffd_msg messages[EVENTS];
	struct rt_error *err = NULL;
	ssize_t got = read(task->uffd, messages, sizeof(messages));

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return NULL;
	if (got < 0)
		return rt_fail_errno("cannot read the page faults of task %" PRIu64, task->space->number);
	for (size_t i = 0; i < (size_t)got / sizeof(*messages); i++) {
		/* After an error, children still come with a descriptor that is ours to close. */
		if (!err && !task->gone)
			err = serve_event(lazy, task, &messages[i]);
		else if (messages[i].event == UFFD_EVENT_FORK)
			close((int)messages[i].arg.fork.ufd);
	}
	return err;
}
