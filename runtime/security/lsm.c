#include "runtime/security/security.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>

bool rt_lsm_apparmor_enabled(void)
{
	_cleanup_close_ int fd = open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
	char answer;

	return fd >= 0 && read(fd, &answer, 1) == 1 && answer == 'Y';
}

bool rt_lsm_selinux_enabled(void)
{
	struct statfs fs;

	return statfs("/sys/fs/selinux", &fs) == 0 && fs.f_type == SELINUX_MAGIC;
}

/* A file of the calling thread's attributes; where the LSM is not the only one, its own directory has it. */
static struct rt_error *write_attribute(int proc_fd, const char *own, const char *common, const char *value)
{
	_cleanup_close_ int fd = openat(proc_fd, own, O_WRONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		fd = openat(proc_fd, common, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open '/proc/%s'", common);
	/* What lies there may be a mount of somebody who wants the label to go nowhere (CVE-2019-16884,
	 * CVE-2025-52881). */
	if (!rt_is_procfs(fd))
		return rt_fail(RT_SYSTEM, "'/proc/%s' is not on procfs", common);
	return rt_write_all(fd, value, strlen(value));
}

struct rt_error *rt_lsm_check(const char *apparmor_profile, const char *selinux_label)
{
	if (apparmor_profile && *apparmor_profile && !rt_lsm_apparmor_enabled())
		return rt_fail(RT_CONFIG, "'process.apparmorProfile' is '%s', but the kernel doesn't run AppArmor",
			       apparmor_profile);
	if (selinux_label && *selinux_label && !rt_lsm_selinux_enabled())
		return rt_fail(RT_CONFIG, "'process.selinuxLabel' is '%s', but the kernel doesn't run SELinux",
			       selinux_label);
	return NULL;
}

static struct rt_error *apply_apparmor(const char *profile, int proc_fd)
{
	_cleanup_free_ char *command = NULL;
	struct rt_error *err;

	err = rt_format(&command, "exec %s", profile);
	if (!err)
		err = write_attribute(proc_fd, "thread-self/attr/apparmor/exec", "thread-self/attr/exec", command);
	if (err)
		return rt_while(err, "applying AppArmor profile '%s'", profile);
	return NULL;
}

/* Whether the LSM runs is not asked here: the container's /sys could lie, and the kernel refuses the write where it
 * doesn't. */
struct rt_error *rt_lsm_apply(const char *apparmor_profile, const char *selinux_label, int proc_fd)
{
	struct rt_error *err = NULL;

	if (apparmor_profile && *apparmor_profile)
		err = apply_apparmor(apparmor_profile, proc_fd);
	if (!err && selinux_label && *selinux_label) {
		err = write_attribute(proc_fd, "thread-self/attr/exec", "thread-self/attr/exec", selinux_label);
		if (err)
			err = rt_while(err, "applying SELinux label '%s'", selinux_label);
	}
	return err;
}
