#include "migrate/inject.h"

#include "migrate/inject_guard.h"
#include "migrate/memmap.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/peek.h"
#include "runtime/sys/ptrace.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* More than any injection takes. A guard that is slower waits for a thread that does not get to run: it finishes alone, when that does. */
#define ANSWER_MS 2000
/* How much code is searched for a system call instruction. */
#define CODE_SIZE (64u << 10)

struct rt_injector {
	int socket; /* -1: no guard */
	pid_t guard;
	struct rt_memmap map; /* kept for its memory */
};

static struct rt_error *start_guard(struct rt_injector *injector)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return rt_fail_errno("cannot make a socket for the guard of injections");
	injector->guard = fork();
	if (injector->guard == 0)
		rt_guard_run(ends[1]);
	close(ends[1]);
	if (injector->guard < 0) {
		close(ends[0]);
		return rt_fail_errno("cannot start the guard of injections");
	}
	injector->socket = ends[0];
	return NULL;
}

/* It ends when its socket does; one that is busy with a thread that does not run is left to itself. */
static void end_guard(struct rt_injector *injector, bool wait)
{
	_cleanup_close_ int pidfd = -1;
	bool ended = false;

	if (injector->socket < 0)
		return;
	close(injector->socket);
	injector->socket = -1;
	if (wait) {
		rt_error_free(rt_pidfd_open(injector->guard, &pidfd));
		if (pidfd >= 0)
			rt_error_free(rt_pidfd_wait(pidfd, ANSWER_MS, &ended));
	}
	waitpid(injector->guard, NULL, WNOHANG);
}

struct rt_error *rt_injector_open(struct rt_injector **ret)
{
	struct rt_injector *injector = calloc(1, sizeof(*injector));
	struct rt_error *err;

	if (!injector)
		return rt_error_oom();
	injector->socket = -1;
	err = start_guard(injector);
	if (err) {
		free(injector);
		return err;
	}
	*ret = injector;
	return NULL;
}

void rt_injector_close(struct rt_injector *injector)
{
	if (!injector)
		return;
	end_guard(injector, true);
	rt_memmap_free(&injector->map);
	free(injector);
}

/* Threads that can be stopped: not in uninterruptible sleep, not traced already, not dead. A stopped one can. Those that wait come first: the leader
 * of a busy program may be late. */
static uint32_t choose_threads(pid_t pid, pid_t threads[RT_GUARD_THREADS], char *ret_state)
{
	_cleanup_closedir_ DIR *dir = NULL;
	uint32_t count = 0;
	struct dirent *entry;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && count < RT_GUARD_THREADS && (entry = readdir(dir))) {
		struct rt_proc_stat stat;
		bool found = false;
		uint64_t tid;

		if (!rt_str_to_u64(entry->d_name, &tid))
			continue;
		rt_error_free(rt_proc_stat((pid_t)tid, &stat, &found));
		if (!found)
			continue;
		*ret_state = stat.state;
		if (strchr("RST", stat.state))
			threads[count++] = (pid_t)tid;
	}
	return count;
}

/* In the vdso, which the kernel itself put there; where a process has none, in the first code there is. */
static bool find_instruction(struct rt_injector *injector, pid_t pid, uint64_t *ret)
{
	_cleanup_free_ char *code = malloc(CODE_SIZE);

	for (int wanted_vdso = 1; code && wanted_vdso >= 0; wanted_vdso--) {
		for (size_t i = 0; i < injector->map.count; i++) {
			const struct rt_mapping *mapping = &injector->map.mappings[i];
			uint64_t size = mapping->end - mapping->start < CODE_SIZE ? mapping->end - mapping->start : CODE_SIZE;
			struct iovec piece = { .iov_base = (void *)mapping->start, .iov_len = size };
			ssize_t got;
			int64_t at;

			if (!mapping->executable || mapping->vdso != (wanted_vdso == 1) || (mapping->special && !mapping->vdso))
				continue;
			got = rt_sys_peek(pid, &piece, 1, code, size);
			at = got > 0 ? rt_sys_find_call_instruction(code, (uint64_t)got) : -1;
			if (at >= 0) {
				*ret = mapping->start + (uint64_t)at;
				return true;
			}
		}
	}
	return false;
}

/* False: there is nothing to ask the guard; the answer is in *ret. */
static bool prepare(struct rt_injector *injector, pid_t pid, struct rt_guard_request *request, struct rt_injection *ret)
{
	struct rt_error *err;
	bool found = false;
	char state = 0;

	if (!RT_SYS_TRACE_CALLS) {
		snprintf(ret->reason, sizeof(ret->reason), "runs on a processor of which we don't know how to make it call");
		return false;
	}
	request->thread_count = choose_threads(pid, request->threads, &state);
	err = rt_memmap_read(pid, &injector->map, &found);
	rt_error_free(err);
	ret->gone = !state || (!err && !found);
	if (ret->gone)
		return false;
	if (!request->thread_count)
		snprintf(ret->reason, sizeof(ret->reason), "has no thread that could be stopped (state %c)", state);
	else if (!find_instruction(injector, pid, &request->instruction))
		snprintf(ret->reason, sizeof(ret->reason), "has no system call instruction in its code");
	else
		return true;
	return false;
}

/* One message of the guard; `room` is what is expected. */
static struct rt_error *receive(struct rt_injector *injector, void *bytes, size_t room, size_t *ret_size, bool *ret_late, int *ret_fd)
{
	struct pollfd poll_fd = { .fd = injector->socket, .events = POLLIN };
	struct rt_error *err;
	size_t count = 0;
	int ready, fd;

	do
		ready = poll(&poll_fd, 1, ANSWER_MS);
	while (ready < 0 && errno == EINTR);
	*ret_late = ready == 0;
	if (ready == 0)
		return NULL;
	err = rt_receive_message(injector->socket, bytes, room, ret_size, &fd, 1, &count);
	if (!err && count)
		*ret_fd = fd;
	if (!err && *ret_size == 0)
		err = rt_fail(RT_SYSTEM, "the guard of injections has ended");
	return err;
}

static struct rt_error *receive_reply(struct rt_injector *injector, struct rt_guard_reply *reply, bool *ret_late, int *ret_fd)
{
	size_t size = 1;
	struct rt_error *err = NULL;

	/* Perhaps a descriptor, then the reply. */
	for (int i = 0; !err && !*ret_late && size == 1 && i < 2; i++)
		err = receive(injector, reply, sizeof(*reply), &size, ret_late, ret_fd);
	if (!err && !*ret_late && size != sizeof(*reply))
		err = rt_fail(RT_SYSTEM, "the guard of injections answers with %zu bytes", size);
	return err;
}

static struct rt_error *ask(struct rt_injector *injector, const struct rt_guard_request *request, struct rt_injection *ret)
{
	struct rt_guard_reply reply = { 0 };
	struct rt_error *err = NULL;
	bool late = false;

	if (injector->socket < 0)
		err = start_guard(injector);
	if (!err)
		err = rt_send_message(injector->socket, request, sizeof(*request), NULL, 0);
	if (!err)
		err = receive_reply(injector, &reply, &late, &ret->fd);
	if ((err || late) && ret->fd >= 0) {
		close(ret->fd);
		ret->fd = -1;
	}
	if (err) {
		end_guard(injector, true);
		return rt_while(err, "asking the guard of injections for process %d", (int)request->pid);
	}
	if (late) {
		end_guard(injector, false);
		snprintf(ret->reason, sizeof(ret->reason), "did not get to run within %d ms", ANSWER_MS);
		return NULL;
	}
	if (reply.leaving)
		end_guard(injector, true);
	ret->gone = reply.gone;
	ret->stopped_us = reply.stopped_us;
	ret->altered_us = reply.altered_us;
	if (!reply.done)
		snprintf(ret->reason, sizeof(ret->reason), "%s", reply.reason);
	return NULL;
}

static struct rt_error *inject(struct rt_injector *injector, pid_t pid, int close_fd, struct rt_injection *ret)
{
	struct rt_guard_request request = { .pid = pid, .close_fd = close_fd };

	*ret = (struct rt_injection){ .fd = -1 };
	if (!prepare(injector, pid, &request, ret))
		return NULL;
	return ask(injector, &request, ret);
}

struct rt_error *rt_injector_get(struct rt_injector *injector, pid_t pid, struct rt_injection *ret)
{
	return inject(injector, pid, -1, ret);
}

struct rt_error *rt_injector_close_fd(struct rt_injector *injector, pid_t pid, int fd, struct rt_injection *ret)
{
	return inject(injector, pid, fd, ret);
}
