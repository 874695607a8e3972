#include "runtime/sys/cred.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

/* In a user namespace made without privilege the kernel denies setgroups for good: the groups of the person stay. */
static bool setgroups_is_denied(void)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_error_ struct rt_error *err = rt_read_file_at(AT_FDCWD, "/proc/self/setgroups", 64, &text, NULL);

	/* No procfs in the container: what the kernel answered has to do. */
	return err ? err->errnum == ENOENT : rt_str_starts(text, "deny");
}

/* What EINVAL means for an id. */
static const char *unmapped(void)
{
	return errno == EINVAL ? " (not an id of this user namespace)" : "";
}

static struct rt_error *set_groups(const uint32_t *gids, size_t count)
{
	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "gids are 32 bits wide");

	if (setgroups(count, gids) == 0)
		return NULL;
	if (errno != EPERM || count > 0)
		return rt_fail_errno("cannot set supplementary groups%s", unmapped());
	if (getgroups(0, NULL) == 0 || setgroups_is_denied())
		return NULL;
	return rt_fail_with(EPERM, "cannot drop supplementary groups");
}

struct rt_error *rt_sys_set_user(uid_t uid, gid_t gid, const uint32_t *additional_gids, size_t count)
{
	struct rt_error *err = set_groups(additional_gids, count);

	if (err)
		return err;
	if (setresgid(gid, gid, gid) < 0)
		return rt_fail_errno("cannot become group %u%s", gid, unmapped());
	if (setresuid(uid, uid, uid) < 0)
		return rt_fail_errno("cannot become user %u%s", uid, unmapped());
	return NULL;
}

struct rt_error *rt_sys_become_root(void)
{
	return rt_sys_set_user(0, 0, NULL, 0);
}

struct rt_error *rt_sys_get_caps(struct rt_sys_caps *ret)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return rt_fail_errno("cannot get capabilities (capget)");
	*ret = (struct rt_sys_caps){
		.effective = data[0].effective | (uint64_t)data[1].effective << 32,
		.permitted = data[0].permitted | (uint64_t)data[1].permitted << 32,
		.inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32,
	};
	return NULL;
}

struct rt_error *rt_sys_set_caps(const struct rt_sys_caps *caps)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{(uint32_t)caps->effective, (uint32_t)caps->permitted, (uint32_t)caps->inheritable},
		{(uint32_t)(caps->effective >> 32), (uint32_t)(caps->permitted >> 32),
		 (uint32_t)(caps->inheritable >> 32)},
	};

	if (syscall(SYS_capset, &header, data) < 0)
		return rt_fail_errno("cannot set capabilities (capset)");
	return NULL;
}

struct rt_error *rt_sys_bounding_has(int cap, bool *ret, bool *ret_known)
{
	int answer = prctl(PR_CAPBSET_READ, (unsigned long)cap, 0UL, 0UL, 0UL);

	if (answer < 0 && errno != EINVAL)
		return rt_fail_errno("cannot read the bounding set of capabilities");
	*ret = answer > 0;
	*ret_known = answer >= 0;
	return NULL;
}

struct rt_error *rt_sys_bounding_drop(int cap)
{
	if (prctl(PR_CAPBSET_DROP, (unsigned long)cap, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot drop capability %d from the bounding set", cap);
	return NULL;
}

struct rt_error *rt_sys_ambient_clear(void)
{
	if (prctl(PR_CAP_AMBIENT, (unsigned long)PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot clear ambient capabilities");
	return NULL;
}

struct rt_error *rt_sys_ambient_raise(int cap)
{
	if (prctl(PR_CAP_AMBIENT, (unsigned long)PR_CAP_AMBIENT_RAISE, (unsigned long)cap, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot raise ambient capability %d", cap);
	return NULL;
}

struct rt_error *rt_sys_set_keep_caps(bool keep)
{
	if (prctl(PR_SET_KEEPCAPS, (unsigned long)keep, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot set PR_SET_KEEPCAPS");
	return NULL;
}

struct rt_error *rt_sys_set_dumpable(bool dumpable)
{
	if (prctl(PR_SET_DUMPABLE, (unsigned long)dumpable, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot set PR_SET_DUMPABLE");
	return NULL;
}

struct rt_error *rt_sys_set_no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot set no_new_privs");
	return NULL;
}

struct rt_error *rt_sys_set_securebits(unsigned long bits)
{
	if (prctl(PR_SET_SECUREBITS, bits, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot set secure bits %#lx", bits);
	return NULL;
}

struct rt_error *rt_sys_merge_memory(void)
{
	if (prctl(PR_SET_MEMORY_MERGE, 1UL, 0UL, 0UL, 0UL) == 0)
		return NULL;
	if (errno == EINVAL)
		return rt_fail(RT_SYSTEM, "this kernel can't merge the memory of processes (Linux 6.4 with CONFIG_KSM can)");
	return rt_fail_errno("cannot have memory merged (PR_SET_MEMORY_MERGE)");
}

struct rt_error *rt_sys_set_name(const char *name)
{
	if (prctl(PR_SET_NAME, name, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot set the name of the process");
	return NULL;
}

struct rt_error *rt_sys_set_parent_death_signal(int signal)
{
	if (prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot set the signal for the parent's end");
	return NULL;
}

struct rt_error *rt_sys_set_child_subreaper(bool subreaper)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)subreaper, 0UL, 0UL, 0UL) < 0)
		return rt_fail_errno("cannot become the reaper of orphans");
	return NULL;
}
