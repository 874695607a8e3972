#include "checkpoint/timers.h"

#include "checkpoint/images.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

#define FDINFO_LIMIT (1u << 20)

static struct rt_error *look(void *userdata, const ProtobufCMessage *entry)
{
	const Img__TimerFd *timer = ((const Img__File *)entry)->timerfd;
	bool *found = userdata;

	if (timer && timer->ticks && (timer->interval_sec || timer->interval_nsec) && !timer->value_sec && !timer->value_nsec)
		*found = true;
	return NULL;
}

struct timer {
	int clock;
	unsigned long long ticks;
	unsigned flags; /* of timerfd_settime() */
	struct itimerspec spec;
};

static bool parse(const char *text, struct timer *ret)
{
	const char *at = strstr(text, "clockid:");
	long long value[2], interval[2];

	if (!at || sscanf(at, "clockid: %d ticks: %llu settime flags: %o it_value: (%lld, %lld) it_interval: (%lld, %lld)", &ret->clock,
			  &ret->ticks, &ret->flags, &value[0], &value[1], &interval[0], &interval[1]) != 7)
		return false;
	ret->spec.it_interval = (struct timespec){ .tv_sec = interval[0], .tv_nsec = interval[1] };
	return ret->ticks && !value[0] && !value[1] && (interval[0] || interval[1]);
}

static struct timespec sum(struct timespec a, struct timespec b)
{
	struct timespec both = { .tv_sec = a.tv_sec + b.tv_sec, .tv_nsec = a.tv_nsec + b.tv_nsec };

	if (both.tv_nsec >= 1000000000) {
		both.tv_nsec -= 1000000000;
		both.tv_sec++;
	}
	return both;
}

/* Setting takes the ticks away, so they come after it. The flags stay what fdinfo shows, for the next checkpoint. */
static struct rt_error *start(int fd, struct timer *timer)
{
	uint64_t ticks = timer->ticks;
	struct timespec now;

	timer->spec.it_value = timer->spec.it_interval;
	if (timer->flags & TFD_TIMER_ABSTIME) {
		if (clock_gettime(timer->clock, &now) < 0)
			return rt_fail_errno("cannot read clock %d", timer->clock);
		timer->spec.it_value = sum(now, timer->spec.it_interval);
	}
	if (timerfd_settime(fd, (int)timer->flags, &timer->spec, NULL) < 0)
		return rt_fail_errno("cannot start a timer");
	if (ioctl(fd, TFD_IOC_SET_TICKS, &ticks) < 0)
		return rt_fail_errno("cannot set the ticks of a timer");
	return NULL;
}

static struct rt_error *look_at_descriptor(pid_t pid, int process, const char *number)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	struct timer timer;
	struct rt_error *err;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", pid, number);
	err = rt_read_file_at(AT_FDCWD, path, FDINFO_LIMIT, &text, NULL);
	if (err || !parse(text, &timer))
		return err;
	fd = (int)syscall(SYS_pidfd_getfd, process, atoi(number), 0U);
	if (fd < 0)
		return rt_fail_errno("cannot get at descriptor %s of process %d", number, pid);
	return start(fd, &timer);
}

static struct rt_error *look_at_process(pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_close_ int process = -1;
	struct rt_error *err;
	struct dirent *entry;
	char path[64], link[32];

	err = rt_pidfd_open(pid, &process);
	if (err || process < 0)
		return err;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return rt_fail_errno("cannot read '%s'", path);
	while (!err && (entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		link[length > 0 ? length : 0] = '\0';
		if (rt_str_equal(link, "anon_inode:[timerfd]"))
			err = look_at_descriptor(pid, process, entry->d_name);
	}
	return err;
}

struct rt_error *rt_timers_start_again(int image_fd, const struct rt_container *container, pid_t init)
{
	_cleanup_free_ pid_t *pids = NULL;
	struct rt_error *err;
	bool found = false;
	size_t count = 0;

	err = rt_image_each(image_fd, "files.img", RT_IMAGE_FILES, look, &found);
	if (err || !found)
		return err;
	if (container->cgroup)
		err = rt_cgroup_pids(container->cgroup, &pids, &count);
	for (size_t i = 0; i < (count ? count : 1) && !err; i++)
		err = look_at_process(count ? pids[i] : init);
	return err ? rt_while(err, "starting expired timers again") : NULL;
}
