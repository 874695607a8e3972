#include "runtime/netns/host.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>

#define IPV6 "/proc/sys/net/ipv6/conf"

/* /proc/sys/net shows the network namespace of who reads it, wherever it was mounted. */
static struct rt_error *read_number(const char *path, char *ret)
{
	_cleanup_free_ char *now = NULL;
	struct rt_error *err = rt_read_file_at(AT_FDCWD, path, 64, &now, NULL);

	if (!err)
		*ret = now[0];
	return err;
}

static struct rt_error *switch_on(const char *path)
{
	char now = '1';
	struct rt_error *err = read_number(path, &now);

	if (!err && now == '0')
		err = rt_write_file_at(AT_FDCWD, path, "1");
	return err ? rt_while(err, "switching on '%s'", path) : NULL;
}

/* A host that forwards no longer heeds router advertisements, and would lose its own way out, unless told so ("2"). */
static struct rt_error *keep_advertisements(void)
{
	_cleanup_closedir_ DIR *dir = opendir(IPV6);
	struct dirent *entry;

	if (!dir)
		return rt_fail_errno("cannot list '" IPV6 "'");
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL;
		struct rt_error *err;
		char now = '0';

		if (entry->d_name[0] == '.')
			continue;
		err = rt_format(&path, IPV6 "/%s/accept_ra", entry->d_name);
		if (!err)
			err = read_number(path, &now);
		if (!err && now == '1')
			err = rt_write_file_at(AT_FDCWD, path, "2");
		/* The device may just have gone. */
		if (err && err->errnum == ENOENT)
			err = rt_error_free(err);
		if (err)
			return err;
	}
	return NULL;
}

static struct rt_error *forward_ipv6(void)
{
	static const char path[] = IPV6 "/all/forwarding";
	char now = '1';
	struct rt_error *err = read_number(path, &now);

	if (err || now != '0')
		return err;
	err = keep_advertisements();
	return err ? err : switch_on(path);
}

struct rt_error *rt_host_prepare(const struct rt_network *network)
{
	bool ipv4 = network->legs[RT_IPV4].address.address.family != AF_UNSPEC;
	bool ipv6 = network->legs[RT_IPV6].address.address.family != AF_UNSPEC;
	_cleanup_free_ char *localnet = NULL;
	struct rt_error *err = NULL;

	if (ipv4)
		err = switch_on("/proc/sys/net/ipv4/ip_forward");
	if (!err && ipv6)
		err = forward_ipv6();
	if (err || network->port_count == 0 || !ipv4)
		return err;
	/* Or the kernel drops what goes from 127.0.0.1 of the host to a published port. */
	err = rt_format(&localnet, "/proc/sys/net/ipv4/conf/%s/route_localnet", network->bridge);
	return err ? err : switch_on(localnet);
}
