#include "runtime/netns/guard.h"

#include "runtime/base/str.h"
#include "runtime/netns/filter.h"
#include "runtime/netns/nftables.h"
#include "runtime/sys/ns.h"

#include <limits.h>
#include <sched.h>

#define TABLE "inet rt_netns_guard"

/* An element of a set, unlike a rule, ends by itself. */
static const char raise[] = "add table " TABLE "\n"
			    "add set " TABLE " soon { type ifname; flags timeout; }\n"
			    "add chain " TABLE " output { type filter hook output priority raw; policy accept; }\n"
			    "flush table " TABLE "\n"
			    "add element " TABLE " soon { \"%s\" timeout 5s }\n"
			    "add rule " TABLE " output oifname @soon tcp flags & rst == rst drop\n"
			    "add rule " TABLE " output oifname @soon icmp type destination-unreachable drop\n"
			    "add rule " TABLE " output oifname @soon icmpv6 type destination-unreachable drop\n";
static const char lower[] = "add table " TABLE "\ndelete table " TABLE "\n";

bool rt_guard_is_needed(pid_t pid)
{
	char path[32], target[PATH_MAX];
	const char *name;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	name = strrchr(target, '/');
	return name && rt_str_starts(name + 1, "criu");
}

/* libnftables works in the network namespace that its caller is in. */
static struct rt_error *run_in(int namespace_fd, const char *commands)
{
	_cleanup_close_ int own = -1;
	struct rt_error *err, *second;

	err = rt_sys_open_namespace_of(0, RT_NS_NETWORK, &own);
	if (!err)
		err = rt_sys_setns(namespace_fd, CLONE_NEWNET);
	if (err)
		return err;
	err = rt_nftables_run(commands);
	second = rt_sys_setns(own, CLONE_NEWNET);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

struct rt_error *rt_guard_raise(int namespace_fd, const char *ifname)
{
	_cleanup_free_ char *commands = NULL;
	struct rt_error *err = rt_format(&commands, raise, ifname);

	if (!err)
		err = run_in(namespace_fd, commands);
	return err ? rt_while(err, "guarding the connections that CRIU brings back") : NULL;
}

struct rt_error *rt_guard_lower(int namespace_fd)
{
	return run_in(namespace_fd, lower);
}
