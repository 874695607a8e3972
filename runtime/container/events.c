#include "runtime/container/private.h"

#include "runtime/base/str.h"

#include <poll.h>
#include <sys/timerfd.h>

static struct rt_error *print_event(const char *type, const char *id, json_t *data)
{
	_cleanup_json_ json_t *event = json_pack("{s:s, s:s, s:O*}", "type", type, "id", id, "data", data);

	if (!event || json_dumpf(event, stdout, JSON_COMPACT) < 0)
		return rt_error_oom();
	if (putchar('\n') == EOF || fflush(stdout) != 0)
		return rt_fail_errno("cannot write the event");
	return NULL;
}

static struct rt_error *print_stats(const struct rt_container *container)
{
	_cleanup_json_ json_t *stats = NULL;
	struct rt_error *err = rt_cgroup_stats(container->cgroup, &stats);

	return err ? err : print_event("stats", container->state.id, stats);
}

static struct rt_error *make_timer(int64_t interval_ms, int *ret)
{
	const struct itimerspec every = {
		.it_interval.tv_sec = interval_ms / 1000,
		.it_interval.tv_nsec = interval_ms % 1000 * 1000000,
		.it_value.tv_nsec = 1, /* the first at once */
	};
	_cleanup_close_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) < 0)
		return rt_fail_errno("cannot make a timer");
	*ret = rt_take_fd(fd);
	return NULL;
}

struct watch {
	int timer, oom, pidfd;
	uint64_t oom_count;
};

static void watch_deinit(struct watch *watch)
{
	rt_closep(&watch->timer);
	rt_closep(&watch->oom);
	rt_closep(&watch->pidfd);
}

static struct rt_error *handle_oom(const struct rt_container *container, struct watch *watch)
{
	struct rt_error *err;
	bool struck;

	err = rt_cgroup_oom_read(container->cgroup, watch->oom, &watch->oom_count, &struck);
	if (!err && struck)
		err = print_event("oom", container->state.id, NULL);
	return err;
}

static struct rt_error *watch_loop(const struct rt_container *container, struct watch *watch)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = watch->pidfd, .events = POLLIN },
			{ .fd = watch->timer, .events = POLLIN },
			{ .fd = watch->oom, .events = POLLIN },
		};
		struct rt_error *err = NULL;
		uint64_t ticks;

		if (poll(fds, RT_ARRAY_SIZE(fds), -1) < 0) {
			if (errno == EINTR)
				continue;
			return rt_fail_errno("cannot poll");
		}
		if (fds[2].revents)
			err = handle_oom(container, watch);
		if (fds[0].revents || err)
			return err;
		if (fds[1].revents && read(watch->timer, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
			err = print_stats(container);
		if (err)
			return err;
	}
}

struct rt_error *rt_container_events(const struct rt_context *context, const char *id, int64_t interval_ms, bool once)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	_cleanup_(watch_deinit) struct watch watch = { .timer = -1, .oom = -1, .pidfd = -1 };
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(context, id, 0, &container, &status);
	if (err)
		return err;
	if (status == RT_STATUS_STOPPED || status == RT_STATUS_CREATING)
		return rt_fail(RT_WRONG_STATE, "container with id '%s' is not running", id);
	if (!container.cgroup)
		return rt_fail(RT_WRONG_STATE, "container '%s' has no cgroup to read events from", id);
	if (once)
		return print_stats(&container);
	err = rt_container_pidfd(&container, &watch.pidfd);
	if (!err)
		err = make_timer(interval_ms, &watch.timer);
	if (!err)
		err = rt_cgroup_oom_watch(container.cgroup, &watch.oom);
	if (!err)
		err = watch_loop(&container, &watch);
	if (err)
		return rt_while(err, "watching '%s'", id);
	return NULL;
}
