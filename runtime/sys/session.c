#include "runtime/sys/session.h"

#include <linux/keyctl.h>
#include <string.h>
#include <sys/syscall.h>

/* linux/key.h is not exported: everything for who possesses it; for its owner view, read and search, so that a process of
 * the container that changed its user still finds it. */
#define KEYRING_PERMISSIONS 0x3f0b0000u

struct rt_error *rt_sys_new_session(void)
{
	if (setsid() < 0 && errno != EPERM)
		return rt_fail_errno("cannot make a session");
	return NULL;
}

struct rt_error *rt_sys_new_session_keyring(const char *name)
{
	long keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);

	if (keyring < 0) {
		if (errno == ENOSYS)
			return NULL;
		return rt_fail_errno("cannot make session keyring '%s'", name);
	}
	if (syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, KEYRING_PERMISSIONS) < 0)
		return rt_fail_errno("cannot set the permissions of session keyring '%s'", name);
	return NULL;
}

struct rt_error *rt_sys_set_host_name(const char *name)
{
	if (sethostname(name, strlen(name)) < 0)
		return rt_fail_errno("cannot set the host name to '%s'", name);
	return NULL;
}

struct rt_error *rt_sys_set_domain_name(const char *name)
{
	if (setdomainname(name, strlen(name)) < 0)
		return rt_fail_errno("cannot set the domain name to '%s'", name);
	return NULL;
}
