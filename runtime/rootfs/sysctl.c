#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* "net.ipv4.ip_forward" to "sys/net/ipv4/ip_forward". Where the first separator is a slash the rest is taken as it
 * stands, so that names with dots in them ("net/ipv4/conf/eth0.1/forwarding") can be written. */
static struct rt_error *path_of(const char *key, char **ret)
{
	struct rt_error *err = rt_format(ret, "sys/%s", key);
	size_t first = strcspn(key, "./");

	if (err || key[first] == '/')
		return err;
	for (char *at = *ret + strlen("sys/"); *at; at++) {
		if (*at == '.')
			*at = '/';
		else if (*at == '/')
			*at = '.';
	}
	return NULL;
}

/* On this procfs and nothing else: a mount or link that an image or a shared volume put in the way is an error, not a
 * detour (CVE-2025-52881). */
static int open_on_procfs(int proc_fd, const char *path)
{
	struct open_how how = {
		.flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, proc_fd, path, &how, sizeof(how));
}

/* The container's own /proc where it is one and writable; else a procfs that is mounted nowhere. */
static struct rt_error *open_sysctl(const char *path, int *detached_fd, int *ret)
{
	_cleanup_close_ int proc_fd = -1;
	struct rt_error *err;

	if (*detached_fd < 0) {
		proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (proc_fd >= 0 && rt_is_procfs(proc_fd) && (*ret = open_on_procfs(proc_fd, path)) >= 0)
			return NULL;
		if (proc_fd >= 0 && errno == ENOENT && rt_is_procfs(proc_fd))
			return rt_fail_with(ENOENT, "this kernel has no such sysctl here");
		err = rt_sys_make_filesystem(&(struct rt_filesystem){ .type = "proc" }, detached_fd);
		if (err)
			return err;
	}
	*ret = open_on_procfs(*detached_fd, path);
	if (*ret < 0)
		return rt_fail_errno("cannot open it");
	return NULL;
}

static struct rt_error *write_sysctl(const struct rt_spec_key_value *sysctl, int *detached_fd)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err = path_of(sysctl->key, &path);
	size_t size = strlen(sysctl->value);

	if (!err)
		err = open_sysctl(path, detached_fd, &fd);
	if (err)
		return err;
	/* One write: each is a setting of its own. */
	if (write(fd, sysctl->value, size) != (ssize_t)size)
		return rt_fail_errno("cannot write '%s'", sysctl->value);
	return NULL;
}

static struct rt_error *write_sysctls(const struct rt_spec *spec, const char *beginning)
{
	_cleanup_close_ int detached_fd = -1;

	for (size_t i = 0; i < spec->sysctl_count; i++) {
		struct rt_error *err = NULL;

		if (rt_str_starts(spec->sysctl[i].key, beginning))
			err = write_sysctl(&spec->sysctl[i], &detached_fd);
		if (err)
			return rt_while(err, "setting sysctl '%s'", spec->sysctl[i].key);
	}
	return NULL;
}

struct rt_error *rt_rootfs_sysctl(const struct rt_spec *spec)
{
	return write_sysctls(spec, "");
}

struct rt_error *rt_rootfs_sysctl_network(const struct rt_spec *spec)
{
	return write_sysctls(spec, "net");
}
