#include "runtime/sys/netdev.h"

#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

/* One answer fits in this: the kernel sizes its dumps by the reader's buffer, up to 32 KiB. */
#define ANSWER_ROOM (32 << 10)
/* More addresses than this on one device are refused rather than lost. */
#define MOST_ADDRESSES 64

struct request {
	struct nlmsghdr header;
	char body[1024];
};

struct address {
	struct ifaddrmsg message;
	uint16_t size;
	char attributes[256]; /* as the kernel told them */
};

struct device {
	int index;
	struct address addresses[MOST_ADDRESSES];
	size_t address_count;
};

static void begin(struct request *request, uint16_t type, uint16_t flags, const void *body, size_t size)
{
	memset(request, 0, sizeof(*request));
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = NLM_F_REQUEST | flags;
	request->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	memcpy(NLMSG_DATA(&request->header), body, size);
}

static void attach(struct request *request, uint16_t type, const void *value, size_t size)
{
	struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), value, size);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

static struct rt_error *open_rtnetlink(int *ret)
{
	*ret = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return *ret < 0 ? rt_fail_errno("cannot open rtnetlink") : NULL;
}

static struct rt_error *send_request(int fd, const struct request *request)
{
	if (send(fd, request, request->header.nlmsg_len, 0) != (ssize_t)request->header.nlmsg_len)
		return rt_fail_errno("cannot ask the kernel");
	return NULL;
}

/* Hands every answer to `take` (may be NULL) until the kernel says that it has finished. */
static struct rt_error *converse(int fd, const struct request *request,
				 struct rt_error *(*take)(const struct nlmsghdr *answer, struct device *device),
				 struct device *device)
{
	_cleanup_free_ char *room = malloc(ANSWER_ROOM);
	struct rt_error *err = room ? send_request(fd, request) : rt_error_oom();

	while (!err) {
		ssize_t got = recv(fd, room, ANSWER_ROOM, 0);
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot hear the kernel");
		for (const struct nlmsghdr *at = (void *)room; NLMSG_OK(at, (unsigned)left); at = NLMSG_NEXT(at, left)) {
			if (at->nlmsg_type == NLMSG_DONE)
				return NULL;
			if (at->nlmsg_type == NLMSG_ERROR) {
				const struct nlmsgerr *answer = NLMSG_DATA(at);

				return answer->error ? rt_fail_with(-answer->error, "the kernel refused") : NULL;
			}
			if (take)
				err = take(at, device);
			if (err)
				return err;
		}
	}
	return err;
}

static struct rt_error *take_link(const struct nlmsghdr *answer, struct device *device)
{
	const struct ifinfomsg *link = NLMSG_DATA(answer);

	if (answer->nlmsg_type == RTM_NEWLINK)
		device->index = link->ifi_index;
	return NULL;
}

static struct rt_error *ask_for_link(int fd, const char *name, struct device *device)
{
	const struct ifinfomsg body = { .ifi_family = AF_UNSPEC };
	struct request request;

	begin(&request, RTM_GETLINK, NLM_F_ACK, &body, sizeof(body));
	attach(&request, IFLA_IFNAME, name, strlen(name) + 1);
	return converse(fd, &request, device ? take_link : NULL, device);
}

static struct rt_error *find_device(int fd, const char *name, struct device *device)
{
	struct rt_error *err = ask_for_link(fd, name, device);

	if (err)
		return rt_while(err, "looking for it");
	return NULL;
}

static struct rt_error *is_taken(int fd, const char *name, bool *ret)
{
	struct rt_error *err = ask_for_link(fd, name, NULL);

	*ret = !err;
	if (err && err->errnum == ENODEV)
		err = rt_error_free(err);
	return err;
}

/* Before the move: the kernel renames after it, so that a name it then refuses would leave the device in there, to die with
 * the namespace. A name that ends in %d is a template (config-linux.md), for the first number that is free. */
static struct rt_error *choose_name(int there, const char *wanted, char ret[IFNAMSIZ])
{
	size_t stem = strcspn(wanted, "%");
	bool taken = true;

	if (!wanted[stem]) {
		struct rt_error *err = is_taken(there, wanted, &taken);

		if (!err && taken)
			return rt_fail_with(EEXIST, "the container has a device '%s'", wanted);
		memcpy(ret, wanted, stem + 1); /* the spec was checked: it fits */
		return err;
	}
	for (unsigned number = 0; taken; number++) {
		struct rt_error *err;

		if (snprintf(ret, IFNAMSIZ, "%.*s%u", (int)stem, wanted, number) >= IFNAMSIZ)
			return rt_fail(RT_SYSTEM, "no number is left for '%s'", wanted);
		err = is_taken(there, ret, &taken);
		if (err)
			return err;
	}
	return NULL;
}

/* Permanent ones of global scope: the others come back by themselves, or belong to the network they were on. */
static struct rt_error *take_address(const struct nlmsghdr *answer, struct device *device)
{
	const struct ifaddrmsg *message = NLMSG_DATA(answer);
	size_t size = answer->nlmsg_len - NLMSG_LENGTH(sizeof(*message));
	struct address *address;

	if (answer->nlmsg_type != RTM_NEWADDR || (int)message->ifa_index != device->index ||
	    message->ifa_scope != RT_SCOPE_UNIVERSE || !(message->ifa_flags & IFA_F_PERMANENT))
		return NULL;
	if (device->address_count == MOST_ADDRESSES || size > sizeof(device->addresses[0].attributes))
		return rt_fail(RT_SYSTEM, "it has more addresses than can be moved along");
	address = &device->addresses[device->address_count++];
	address->message = *message;
	address->size = (uint16_t)size;
	memcpy(address->attributes, IFA_RTA(message), size);
	return NULL;
}

static struct rt_error *list_addresses(int fd, struct device *device)
{
	const struct ifaddrmsg body = { .ifa_family = AF_UNSPEC };
	struct request request;
	struct rt_error *err;

	begin(&request, RTM_GETADDR, NLM_F_DUMP, &body, sizeof(body));
	err = converse(fd, &request, take_address, device);
	if (err)
		return rt_while(err, "listing its addresses");
	return NULL;
}

static struct rt_error *send_away(int fd, const struct device *device, const char *name, int namespace_fd)
{
	const struct ifinfomsg body = { .ifi_family = AF_UNSPEC, .ifi_index = device->index };
	const uint32_t target = (uint32_t)namespace_fd;
	struct request request;
	struct rt_error *err;

	begin(&request, RTM_NEWLINK, NLM_F_ACK, &body, sizeof(body));
	attach(&request, IFLA_NET_NS_FD, &target, sizeof(target));
	attach(&request, IFLA_IFNAME, name, strlen(name) + 1);
	err = converse(fd, &request, NULL, NULL);
	if (err)
		return rt_while(err, "moving it as '%s'", name);
	return NULL;
}

static struct rt_error *give_address(int fd, const struct device *device, const struct address *address)
{
	struct ifaddrmsg body = address->message;
	struct request request;

	body.ifa_index = (uint32_t)device->index;
	begin(&request, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	for (const struct rtattr *at = (const void *)address->attributes, *end = (const void *)(address->attributes + address->size);
	     at < end && at->rta_len >= sizeof(*at); at = (const void *)((const char *)at + RTA_ALIGN(at->rta_len)))
		if (at->rta_type == IFA_ADDRESS || at->rta_type == IFA_LOCAL || at->rta_type == IFA_BROADCAST)
			attach(&request, at->rta_type, RTA_DATA(at), RTA_PAYLOAD(at));
	return converse(fd, &request, NULL, NULL);
}

static struct rt_error *settle(int fd, struct device *device, const char *name)
{
	struct ifinfomsg body = { .ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct request request;
	struct rt_error *err;

	err = find_device(fd, name, device);
	for (size_t i = 0; i < device->address_count && !err; i++)
		err = give_address(fd, device, &device->addresses[i]);
	if (err)
		return rt_while(err, "giving it its addresses back");
	body.ifi_index = device->index;
	begin(&request, RTM_NEWLINK, NLM_F_ACK, &body, sizeof(body));
	err = converse(fd, &request, NULL, NULL);
	if (err)
		return rt_while(err, "bringing it up");
	return NULL;
}

static struct rt_error *move_device(int here, int there, int namespace_fd, const struct rt_spec_net_device *wanted)
{
	_cleanup_free_ struct device *device = calloc(1, sizeof(*device));
	struct rt_error *err;
	char name[IFNAMSIZ];

	if (!device)
		return rt_error_oom();
	err = find_device(here, wanted->host_name, device);
	if (!err)
		err = choose_name(there, wanted->name ? wanted->name : wanted->host_name, name);
	if (!err)
		err = list_addresses(here, device);
	if (!err)
		err = send_away(here, device, name, namespace_fd);
	if (!err)
		err = settle(there, device, name);
	return err;
}

struct rt_error *rt_sys_move_net_devices(const struct rt_spec_net_device *devices, size_t count, pid_t pid)
{
	_cleanup_close_ int namespace_fd = -1, here = -1, there = -1;
	struct rt_error *err;

	if (count == 0)
		return NULL;
	err = rt_sys_open_namespace_of(pid, RT_NS_NETWORK, &namespace_fd);
	if (!err)
		err = open_rtnetlink(&here);
	if (!err)
		err = rt_sys_socket_in(namespace_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &there);
	for (size_t i = 0; i < count && !err; i++) {
		err = move_device(here, there, namespace_fd, &devices[i]);
		if (err)
			err = rt_while(err, "moving network device '%s' into the container", devices[i].host_name);
	}
	return err;
}

/* ---- all links ---- */

#define LINKS_MAX 1024

static struct rt_error *take_one_up(const struct nlmsghdr *answer, struct device *device)
{
	const struct ifinfomsg *link = NLMSG_DATA(answer);

	if (answer->nlmsg_type == RTM_NEWLINK && (link->ifi_flags & IFF_UP) && !(link->ifi_flags & IFF_LOOPBACK))
		device->index = link->ifi_index;
	return NULL;
}

static struct rt_error *set_one_down(int fd, bool *ret_none)
{
	const struct ifinfomsg all = { .ifi_family = AF_UNSPEC };
	struct device device = { .index = 0 };
	struct ifinfomsg body;
	struct request request;
	struct rt_error *err;

	begin(&request, RTM_GETLINK, NLM_F_DUMP, &all, sizeof(all));
	err = converse(fd, &request, take_one_up, &device);
	*ret_none = device.index == 0;
	if (err || *ret_none)
		return err;
	body = (struct ifinfomsg){ .ifi_family = AF_UNSPEC, .ifi_index = device.index, .ifi_change = IFF_UP };
	begin(&request, RTM_NEWLINK, NLM_F_ACK, &body, sizeof(body));
	return converse(fd, &request, NULL, NULL);
}

struct rt_error *rt_sys_net_links_down(int namespace_fd)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_sys_socket_in(namespace_fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE, &fd);
	bool none = false;

	for (int i = 0; i < LINKS_MAX && !err && !none; i++)
		err = set_one_down(fd, &none);
	return err ? rt_while(err, "setting the container's network links down") : NULL;
}
