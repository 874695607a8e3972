#include "migrate/lazy_private.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#define EVENTS 32
/* Looks that a retry gets at once; after that a millisecond apart. */
#define QUICK_RETRIES 50

uint64_t rt_lazy_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool rt_lazy_is_for_all(void)
{
	_cleanup_free_ char *text = NULL;

	rt_error_free(rt_read_file_at(AT_FDCWD, "/proc/sys/vm/unprivileged_userfaultfd", 16, &text, NULL));
	return text && *text == '1';
}

struct rt_error *rt_lazy_pieces_add(struct rt_lazy_pieces *pieces, uint64_t space, uint64_t start, uint64_t pages)
{
	if (pieces->count == pieces->room) {
		size_t room = pieces->room ? pieces->room * 2 : 64;
		struct rt_lazy_piece *more = reallocarray(pieces->pieces, room, sizeof(*more));

		if (!more)
			return rt_error_oom();
		pieces->pieces = more;
		pieces->room = room;
	}
	pieces->pieces[pieces->count++] = (struct rt_lazy_piece){ space, start, pages };
	return NULL;
}

struct rt_error *rt_lazy_watch(struct rt_lazy *lazy, int fd, void *who)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = who };

	return epoll_ctl(lazy->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? rt_fail_errno("cannot watch for page faults") : NULL;
}

static struct rt_error *open_all(struct rt_lazy *lazy)
{
	struct rt_error *err;
	void *buffer;

	if (sysconf(_SC_PAGESIZE) != RT_LAZY_PAGE)
		return rt_fail(RT_SYSTEM, "lazy restore needs pages of %u bytes, here they have %ld", RT_LAZY_PAGE, sysconf(_SC_PAGESIZE));
	buffer = mmap(NULL, RT_LAZY_CHUNK_MAX * RT_LAZY_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffer == MAP_FAILED)
		return rt_error_oom();
	lazy->buffer = buffer;
	lazy->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	lazy->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lazy->epoll_fd < 0 || lazy->event_fd < 0)
		return rt_fail_errno("cannot watch for page faults");
	err = rt_lazy_watch(lazy, lazy->event_fd, &lazy->event_fd);
	if (!err && lazy->options.prefetch_file)
		err = rt_lazy_read_prefetch(lazy);
	if (err)
		return err;
	if (lazy->options.record_file) {
		lazy->record = fopen(lazy->options.record_file, "we");
		if (!lazy->record)
			return rt_fail_errno("cannot make the record '%s'", lazy->options.record_file);
	}
	return rt_lazy_open_socket(lazy);
}

struct rt_error *rt_lazy_listen(const struct rt_lazy_options *options, struct rt_lazy **ret)
{
	struct rt_lazy *lazy = calloc(1, sizeof(*lazy));
	struct rt_error *err;

	if (!lazy)
		return rt_error_oom();
	lazy->options = *options;
	lazy->chunk = RT_LAZY_CHUNK_MAX;
	lazy->listen_fd = lazy->socket_fd = lazy->epoll_fd = lazy->event_fd = -1;
	pthread_mutex_init(&lazy->lock, NULL);
	err = open_all(lazy);
	if (err) {
		rt_lazy_free(lazy);
		return rt_while(err, "getting ready for a lazy restore");
	}
	*ret = lazy;
	return NULL;
}

void rt_lazy_free(struct rt_lazy *lazy)
{
	if (!lazy)
		return;
	while (lazy->tasks)
		rt_lazy_free_task(lazy, lazy->tasks);
	for (size_t i = 0; i < lazy->space_count; i++) {
		free(lazy->spaces[i].ranges);
		free(lazy->spaces[i].asked);
	}
	free(lazy->spaces);
	free(lazy->prefetch.pieces);
	free(lazy->came.pieces);
	free(lazy->arrived.pieces);
	if (lazy->record)
		fclose(lazy->record);
	if (lazy->buffer)
		munmap(lazy->buffer, RT_LAZY_CHUNK_MAX * RT_LAZY_PAGE);
	rt_lazy_close_socket(lazy);
	rt_closep(&lazy->socket_fd);
	rt_closep(&lazy->event_fd);
	rt_closep(&lazy->epoll_fd);
	pthread_mutex_destroy(&lazy->lock);
	free(lazy);
}

struct rt_error *rt_lazy_prepare(struct rt_lazy *lazy)
{
	struct rt_error *err;

	if (lazy->prepared)
		return NULL;
	lazy->prepared = true;
	err = rt_lazy_read_pagemaps(lazy);
	return err ? rt_while(err, "getting ready for a lazy restore") : NULL;
}

int rt_lazy_fd(const struct rt_lazy *lazy)
{
	return lazy->epoll_fd;
}

static struct rt_error *handle(struct rt_lazy *lazy, void *who)
{
	uint64_t count;

	if (who == &lazy->listen_fd)
		return rt_lazy_accept(lazy);
	if (who == &lazy->socket_fd) {
		struct rt_error *err = rt_lazy_prepare(lazy);

		return err ? err : rt_lazy_read_socket(lazy);
	}
	if (who == &lazy->event_fd) {
		if (read(lazy->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			return rt_fail_errno("cannot read what has arrived");
		return rt_lazy_take_arrived(lazy);
	}
	return rt_lazy_read_events(lazy, who);
}

/* Faults that met a change of the mappings are tried again, tasks that have all their pages or are gone are left alone. *ret_retry: one is due. */
static struct rt_error *tidy(struct rt_lazy *lazy, bool *ret_retry)
{
	struct rt_lazy_task *next;
	struct rt_error *err = NULL;

	*ret_retry = false;
	for (struct rt_lazy_task *task = lazy->tasks; !err && task; task = next) {
		next = task->next;
		if (task->retry && !task->gone)
			err = rt_lazy_serve_waiting(lazy, task);
		/* The last descriptor's end takes the registration off all mappings: what has no page by now is zero. */
		if (task->gone || (lazy->restored && task->map.left == 0))
			rt_lazy_free_task(lazy, task);
		else
			*ret_retry |= task->retry;
	}
	lazy->status.restored = lazy->restored;
	lazy->status.done = lazy->restored && !lazy->tasks;
	return err;
}

/* Waits for something to do for at most `wait_ms`, and does it. */
static struct rt_error *step(struct rt_lazy *lazy, int wait_ms)
{
	struct epoll_event events[EVENTS];
	struct rt_error *err = NULL;
	bool retry = false;
	int count;

	for (const struct rt_lazy_task *task = lazy->tasks; task; task = task->next)
		retry |= task->retry;
	if (retry && ++lazy->idle_retries < QUICK_RETRIES)
		sched_yield();
	if (rt_lazy_can_push(lazy) || (retry && lazy->idle_retries < QUICK_RETRIES))
		wait_ms = 0;
	else if (retry && wait_ms != 0)
		wait_ms = 1;
	count = epoll_wait(lazy->epoll_fd, events, EVENTS, wait_ms);
	if (count < 0 && errno != EINTR)
		return rt_fail_errno("cannot wait for page faults");
	for (int i = 0; i < count && !err; i++)
		err = handle(lazy, events[i].data.ptr);
	if (!err)
		err = tidy(lazy, &retry);
	if (!retry)
		lazy->idle_retries = 0;
	if (!err && count <= 0 && rt_lazy_can_push(lazy)) {
		err = rt_lazy_push(lazy);
		if (!err)
			err = tidy(lazy, &retry);
	}
	return err;
}

static int until(uint64_t deadline)
{
	uint64_t now = rt_lazy_now();

	if (deadline == UINT64_MAX)
		return -1;
	if (now >= deadline)
		return 0;
	return deadline - now > (uint64_t)INT_MAX * 1000000 ? INT_MAX : (int)((deadline - now + 999999) / 1000000);
}

/* Makes rt_lazy_fd() readable where there is something to do though nothing happens. */
static void remind(struct rt_lazy *lazy)
{
	uint64_t one = 1;
	bool due = rt_lazy_can_push(lazy);

	for (const struct rt_lazy_task *task = lazy->tasks; task; task = task->next)
		due |= task->retry;
	if (due && write(lazy->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is readable */
}

void rt_lazy_end(struct rt_lazy *lazy)
{
	uint64_t one = 1;

	lazy->ended = true;
	if (write(lazy->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is awake */
}

struct rt_error *rt_lazy_run(struct rt_lazy *lazy, int timeout_ms, struct rt_lazy_status *ret)
{
	uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : rt_lazy_now() + (uint64_t)timeout_ms * 1000000;
	struct rt_error *err = NULL;

	do
		err = step(lazy, until(deadline));
	while (!err && !lazy->status.done && !lazy->ended && until(deadline) != 0);
	if (!err && (lazy->status.done || lazy->ended) && lazy->record && fflush(lazy->record) != 0)
		err = rt_fail_errno("cannot write the record '%s'", lazy->options.record_file);
	if (!lazy->status.done)
		remind(lazy);
	lazy->status.left = 0;
	for (const struct rt_lazy_task *task = lazy->tasks; task; task = task->next)
		lazy->status.left += task->map.left;
	if (ret)
		*ret = lazy->status;
	return err ? rt_while(err, "serving the pages of restored tasks") : NULL;
}
