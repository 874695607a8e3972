/* A restored process waits in code of CRIU's until CRIU lets it go. Three must be over for it to be free: rt, which holds the container's lock for as long
 * as it restores; CRIU; and that wait, which goes on where CRIU was killed, too: in code that CRIU put into the process. */
#include "runtime/container/private.h"

#include "runtime/base/io.h"
#include "runtime/base/lock.h"
#include "runtime/base/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

/* CRIU says that all wait a moment before the last of them does. */
#define LOOKS 20
#define LOOK_NS 1000000
#define MAPS_LIMIT (64u << 20)

/* The last number of /proc/PID/syscall. 0: it runs, is no more, or we may not look; none of that is worth failing for. */
static uint64_t read_counter(pid_t pid, bool *ret_read)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	char path[32];
	char *last;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	err = rt_read_file_at(AT_FDCWD, path, 512, &text, NULL);
	*ret_read = !err;
	rt_error_free(err);
	last = text ? strrchr(text, ' ') : NULL;
	return last ? strtoull(last + 1, NULL, 16) : 0;
}

struct rt_error *rt_hold_note(pid_t holder, pid_t pid, struct rt_state_hold *ret)
{
	struct rt_state_hold hold = { .pid = holder };
	struct rt_proc_stat stat;
	struct rt_error *err;
	bool found, read = true;

	err = rt_proc_stat(holder, &stat, &found);
	if (!err && found)
		hold.start_time = stat.start_time;
	for (int i = 0; i < LOOKS && !err && read && !hold.counter; i++) {
		if (i > 0)
			nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
		hold.counter = read_counter(pid, &read);
	}
	if (!err)
		*ret = hold;
	return err;
}

struct range {
	uint64_t start, end;
};

/* The code at an address, which is CRIU's if something waited there; false: it is gone. In doubt it is there, and everywhere. */
static bool find_code(pid_t pid, uint64_t address, struct range *ret)
{
	_cleanup_free_ char *maps = NULL;
	char path[32];

	*ret = (struct range){ 0, UINT64_MAX };
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	rt_error_free(rt_read_file_at(AT_FDCWD, path, MAPS_LIMIT, &maps, NULL));
	if (!maps)
		return true;
	for (const char *line = maps; *line;) {
		struct range range;
		char access[5];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &range.start, &range.end, access) == 3 && address >= range.start && address < range.end) {
			*ret = range;
			return access[2] == 'x';
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return false;
}

/* Nobody runs for long in there: it waits, or has been let go. */
static bool runs_elsewhere(pid_t pid, const struct range *code)
{
	for (int i = 0; i < LOOKS; i++) {
		bool read;
		uint64_t counter = read_counter(pid, &read);

		if (!read)
			return false;
		if (counter)
			return counter < code->start || counter >= code->end;
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
	}
	return true;
}

/* False in doubt. */
static struct rt_error *is_let_go(const struct rt_container *container, bool *ret)
{
	const struct rt_state_hold *hold = &container->state.hold;
	_cleanup_close_ int pidfd = -1;
	struct rt_proc_stat stat;
	struct rt_error *err;
	struct range code;
	bool found;

	*ret = false;
	err = rt_proc_stat(hold->pid, &stat, &found);
	if (err || (found && stat.start_time == hold->start_time && stat.state != 'Z' && stat.state != 'X'))
		return err;
	err = rt_container_pidfd(container, &pidfd);
	if (err || pidfd < 0 || !hold->counter)
		return err;
	/* CRIU takes its code away last: where it was killed before, the code stays in a process that is free. */
	*ret = !find_code(container->state.pid, hold->counter, &code) || runs_elsewhere(container->state.pid, &code);
	return NULL;
}

/* For as long as this runs no other command changes the container. */
static struct rt_error *adopt_locked(struct rt_container *container)
{
	struct rt_error *err;
	bool let_go;

	err = is_let_go(container, &let_go);
	if (err || !let_go)
		return err;
	container->state.creating = false;
	container->state.hold = (struct rt_state_hold){ .pid = 0 };
	err = rt_state_store(container->dir_fd, &container->state);
	return err ? rt_while(err, "'%s' was restored by an rt that was killed", container->state.id) : NULL;
}

struct rt_error *rt_hold_adopt(struct rt_container *container)
{
	_cleanup_close_ int lock_fd = -1;
	struct rt_state fresh = RT_STATE_NULL;
	struct rt_error *err;
	bool found;

	if (!container->state.creating || container->state.hold.pid <= 0)
		return NULL;
	if (container->lock_fd >= 0)
		return adopt_locked(container);
	err = rt_lock_try_at(container->dir_fd, "lock", &lock_fd);
	if (err || lock_fd < 0)
		return err;
	/* It may have become another since it was read. */
	err = rt_state_load(container->dir_fd, &fresh, &found);
	if (err || !found)
		return err;
	rt_state_deinit(&container->state);
	container->state = fresh;
	return container->state.creating && container->state.hold.pid > 0 ? adopt_locked(container) : NULL;
}
