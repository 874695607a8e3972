#include "runtime/sys/ns.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/mount.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

struct rt_error *rt_sys_clone(const struct rt_clone_options *options, pid_t *ret_pid, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = options->flags | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = (options->flags & CLONE_PARENT) ? 0 : SIGCHLD,
	};
	long pid;

	if (options->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)options->cgroup_fd;
	}
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return rt_fail_errno("cannot create a process (clone3)");
	*ret_pid = (pid_t)pid;
	if (pid > 0)
		*ret_pidfd = pidfd;
	return NULL;
}

struct rt_error *rt_sys_setns(int fd, uint64_t flags)
{
	/* Nobody enters a mount namespace who shares root and current directory with another thread: one that was joined a moment ago may still do. */
	if ((flags & CLONE_NEWNS) && unshare(CLONE_FS) < 0)
		return rt_fail_errno("cannot take root and current directory apart from other threads (unshare)");
	if (setns(fd, (int)flags) < 0)
		return rt_fail_errno("cannot enter a namespace (setns)");
	return NULL;
}

struct rt_error *rt_sys_unshare(uint64_t flags)
{
	if (unshare((int)flags) < 0)
		return rt_fail_errno("cannot make a namespace (unshare)");
	return NULL;
}

struct rt_error *rt_sys_open_namespace(const char *path, enum rt_namespace_kind kind, int *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int type;

	if (fd < 0)
		return rt_fail_errno("cannot open %s namespace '%s'", rt_namespace_name(kind), path);
	type = ioctl(fd, NS_GET_NSTYPE);
	if (type < 0)
		return rt_fail(RT_CONFIG, "'%s' is not a namespace", path);
	if ((uint64_t)type != rt_namespace_flag(kind))
		return rt_fail(RT_CONFIG, "'%s' is not a %s namespace", path, rt_namespace_name(kind));
	*ret = rt_take_fd(fd);
	return NULL;
}

struct rt_error *rt_sys_open_namespace_of(pid_t pid, enum rt_namespace_kind kind, int *ret)
{
	char path[64];

	if (pid == 0)
		snprintf(path, sizeof(path), "/proc/self/ns/%s", rt_namespace_file(kind));
	else
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, rt_namespace_file(kind));
	return rt_sys_open_namespace(path, kind, ret);
}

static struct rt_error *write_map(pid_t pid, const char *name, const struct rt_id_maps *maps)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	char path[64];

	if (!stream)
		return rt_error_oom();
	for (size_t i = 0; i < maps->count; i++)
		fprintf(stream, "%u %u %u\n", maps->entries[i].container_id, maps->entries[i].host_id, maps->entries[i].size);
	if (fclose(stream) != 0)
		return rt_error_oom();
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return rt_write_file_at(AT_FDCWD, path, text);
}

/* newuidmap(1) and newgidmap(1): PID, then triples. */
static struct rt_error *run_map_helper(pid_t pid, const char *program, const struct rt_id_maps *maps)
{
	_cleanup_free_ const char **argv = calloc(maps->count * 3 + 3, sizeof(*argv));
	_cleanup_free_ char *numbers = calloc(maps->count * 3 + 1, 16);
	size_t at = 0;

	if (!argv || !numbers)
		return rt_error_oom();
	snprintf(numbers, 16, "%d", pid);
	argv[0] = program;
	argv[1] = numbers;
	for (size_t i = 0; i < maps->count; i++) {
		const uint32_t triple[] = { maps->entries[i].container_id, maps->entries[i].host_id, maps->entries[i].size };

		for (size_t k = 0; k < 3; k++, at++) {
			char *number = numbers + 16 * (at + 1);

			snprintf(number, 16, "%u", triple[k]);
			argv[at + 2] = number;
		}
	}
	return rt_run_program(&(struct rt_run_options){ .path = program, .argv = argv, .envp = rt_plain_environment, .timeout_ms = 10000 });
}

static bool is_only_ourselves(const struct rt_id_maps *maps, uint32_t own)
{
	return maps->count == 1 && maps->entries[0].size == 1 && maps->entries[0].host_id == own;
}

static struct rt_error *map_unprivileged(pid_t pid, const struct rt_id_maps *uids, const struct rt_id_maps *gids)
{
	struct rt_error *err;
	char path[64];

	if (is_only_ourselves(gids, getegid())) {
		/* Without this the kernel refuses an unprivileged gid map (CVE-2014-8989). */
		snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
		err = rt_write_file_at(AT_FDCWD, path, "deny");
		if (!err)
			err = write_map(pid, "gid_map", gids);
	} else {
		err = run_map_helper(pid, "newgidmap", gids);
	}
	if (err)
		return rt_while(err, "mapping group ids");
	if (is_only_ourselves(uids, geteuid()))
		err = write_map(pid, "uid_map", uids);
	else
		err = run_map_helper(pid, "newuidmap", uids);
	if (err)
		return rt_while(err, "mapping user ids");
	return NULL;
}

struct rt_error *rt_sys_write_id_maps(pid_t pid, const struct rt_id_maps *uids, const struct rt_id_maps *gids)
{
	struct rt_error *err;

	if (geteuid() != 0)
		return map_unprivileged(pid, uids, gids);
	err = write_map(pid, "gid_map", gids);
	if (err)
		return rt_while(err, "mapping group ids");
	err = write_map(pid, "uid_map", uids);
	if (err)
		return rt_while(err, "mapping user ids");
	return NULL;
}

struct rt_error *rt_sys_make_user_namespace(const struct rt_id_maps *uids, const struct rt_id_maps *gids, int *ret)
{
	_cleanup_close_ int pidfd = -1;
	struct rt_error *err;
	pid_t pid;

	err = rt_sys_clone(&(struct rt_clone_options){ .flags = CLONE_NEWUSER, .cgroup_fd = -1 }, &pid, &pidfd);
	if (err)
		return err;
	if (pid == 0)
		for (;;)
			pause();
	err = rt_sys_write_id_maps(pid, uids, gids);
	if (!err)
		err = rt_sys_open_namespace_of(pid, RT_NS_USER, ret);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err;
}

static struct rt_error *write_time_offset(const char *clock, const struct rt_spec_time_offset *offset)
{
	struct rt_error *err;
	char text[64];

	if (!offset->present)
		return NULL;
	snprintf(text, sizeof(text), "%s %lld %u", clock, (long long)offset->secs, offset->nanosecs);
	err = rt_write_file_at(AT_FDCWD, "/proc/self/timens_offsets", text);
	if (err)
		return rt_while(err, "applying 'linux.timeOffsets.%s'", clock);
	return NULL;
}

struct rt_error *rt_sys_write_time_offsets(const struct rt_spec_time_offset *monotonic,
					   const struct rt_spec_time_offset *boottime)
{
	struct rt_error *err = write_time_offset("monotonic", monotonic);

	return err ? err : write_time_offset("boottime", boottime);
}

struct rt_error *rt_sys_make_network_namespace(int *ret)
{
	_cleanup_close_ int own = -1, made = -1;
	struct rt_error *err, *second;

	err = rt_sys_open_namespace_of(0, RT_NS_NETWORK, &own);
	if (!err)
		err = rt_sys_unshare(CLONE_NEWNET);
	if (err)
		return err;
	err = rt_sys_open_namespace_of(0, RT_NS_NETWORK, &made);
	second = rt_sys_setns(own, CLONE_NEWNET);
	if (err)
		rt_error_free(second);
	else
		err = second;
	if (!err)
		*ret = rt_take_fd(made);
	return err;
}

static struct rt_error *keep_mounts_apart(void)
{
	const struct rt_mount_attributes slave = { .propagation = MS_SLAVE };
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return rt_fail_errno("cannot open '/'");
	return rt_sys_set_mount_attributes(root, "", RT_MOUNT_RECURSIVE, &slave);
}

struct rt_error *rt_sys_call_in_own_mounts(struct rt_error *(*call)(void *userdata), void *userdata)
{
	_cleanup_close_ int own = -1, here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct rt_error *err, *second;

	if (here < 0)
		return rt_fail_errno("cannot open the current directory");
	err = rt_sys_open_namespace_of(0, RT_NS_MOUNT, &own);
	if (!err)
		err = rt_sys_unshare(CLONE_NEWNS);
	if (err)
		return err;
	err = keep_mounts_apart();
	if (!err)
		err = call(userdata);
	second = rt_sys_setns(own, CLONE_NEWNS);
	if (!second && fchdir(here) < 0)
		second = rt_fail_errno("cannot go back to the current directory");
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

struct rt_error *rt_sys_socket_in(int namespace_fd, int domain, int type, int protocol, int *ret)
{
	_cleanup_close_ int own = -1;
	struct rt_error *err, *second;

	err = rt_sys_open_namespace_of(0, RT_NS_NETWORK, &own);
	if (!err)
		err = rt_sys_setns(namespace_fd, CLONE_NEWNET);
	if (err)
		return err;
	*ret = socket(domain, type | SOCK_CLOEXEC, protocol);
	if (*ret < 0)
		err = rt_fail_errno("cannot open a socket");
	second = rt_sys_setns(own, CLONE_NEWNET);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

static struct rt_error *raise_loopback(int socket_fd)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (ioctl(socket_fd, SIOCSIFFLAGS, &request) < 0)
		return rt_fail_errno("cannot bring the loopback interface up");
	return NULL;
}

struct rt_error *rt_sys_loopback_up(void)
{
	_cleanup_close_ int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (socket_fd < 0)
		return rt_fail_errno("cannot open a socket");
	return raise_loopback(socket_fd);
}

struct rt_error *rt_sys_loopback_up_of(pid_t pid)
{
	_cleanup_close_ int namespace_fd = -1, socket_fd = -1;
	struct rt_error *err;

	err = rt_sys_open_namespace_of(pid, RT_NS_NETWORK, &namespace_fd);
	if (!err)
		err = rt_sys_socket_in(namespace_fd, AF_INET, SOCK_DGRAM, 0, &socket_fd);
	return err ? err : raise_loopback(socket_fd);
}
