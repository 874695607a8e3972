#include "runtime/netns/link.h"

#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#define ROOM 8192
/* What the kernel sends in a dump at most. */
#define ANSWER_ROOM (32 << 10)

struct rt_error *rt_link_open(struct rt_link *ret)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (!socket)
		return rt_fail_errno("cannot open rtnetlink");
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		struct rt_error *err = rt_fail_errno("cannot bind rtnetlink");

		mnl_socket_close(socket);
		return err;
	}
	*ret = (struct rt_link){ .socket = socket };
	return NULL;
}

struct rt_error *rt_link_open_in(int namespace_fd, struct rt_link *ret)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_sys_socket_in(namespace_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &fd);
	struct mnl_socket *socket;

	if (err)
		return rt_while(err, "opening rtnetlink in the container");
	/* It asks the kernel for the port that autobind gives on the first message. */
	socket = mnl_socket_fdopen(fd);
	if (!socket)
		return rt_fail_errno("cannot use rtnetlink in the container");
	(void)rt_take_fd(fd);
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = rt_fail_errno("cannot bind rtnetlink in the container");
		mnl_socket_close(socket);
		return err;
	}
	*ret = (struct rt_link){ .socket = socket };
	return NULL;
}

void rt_link_close(struct rt_link *link)
{
	if (link->socket)
		mnl_socket_close(link->socket);
	*link = RT_LINK_NULL;
}

struct request {
	struct nlmsghdr *header;
	_Alignas(struct nlmsghdr) char bytes[ROOM];
};

/* A header and its family's fixed part, which the caller fills in. */
static void *begin(struct request *request, uint16_t type, uint16_t flags, size_t size)
{
	request->header = mnl_nlmsg_put_header(request->bytes);
	request->header->nlmsg_type = type;
	request->header->nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(request->header, size);
}

static struct ifinfomsg *begin_link(struct request *request, uint16_t type, uint16_t flags, int index)
{
	struct ifinfomsg *info = begin(request, type, flags, sizeof(*info));

	info->ifi_family = AF_UNSPEC;
	info->ifi_index = index;
	return info;
}

/* Hands every answer to `take` (may be NULL) until the kernel says that it has finished. */
static struct rt_error *converse(struct rt_link *link, struct request *request, mnl_cb_t take, void *data)
{
	_cleanup_free_ char *room = malloc(ANSWER_ROOM);
	unsigned port = mnl_socket_get_portid(link->socket);
	int status = MNL_CB_OK;

	if (!room)
		return rt_error_oom();
	request->header->nlmsg_seq = ++link->sequence;
	if (mnl_socket_sendto(link->socket, request->header, request->header->nlmsg_len) < 0)
		return rt_fail_errno("cannot ask the kernel");
	while (status >= MNL_CB_OK) {
		ssize_t got = mnl_socket_recvfrom(link->socket, room, ANSWER_ROOM);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot hear the kernel");
		/* The rest of a dump that was given up. */
		if (((const struct nlmsghdr *)room)->nlmsg_seq != link->sequence)
			continue;
		status = mnl_cb_run(room, (size_t)got, link->sequence, port, take, data);
		if (status == MNL_CB_STOP)
			return NULL;
	}
	return rt_fail_errno("the kernel refused");
}

static struct rt_error *command(struct rt_link *link, struct request *request)
{
	request->header->nlmsg_flags |= NLM_F_ACK;
	return converse(link, request, NULL, NULL);
}

/* A dump during which devices or addresses changed is not to be trusted (NLM_F_DUMP_INTR). */
static bool was_interrupted(struct rt_error **err)
{
	if (!*err || (*err)->errnum != EINTR)
		return false;
	*err = rt_error_free(*err);
	return true;
}

static void read_kind(const struct nlattr *info, char ret[16])
{
	const struct nlattr *at;

	mnl_attr_for_each_nested(at, info)
		if (mnl_attr_get_type(at) == IFLA_INFO_KIND)
			snprintf(ret, 16, "%.*s", (int)mnl_attr_get_payload_len(at), mnl_attr_get_str(at));
}

static void read_device(const struct nlmsghdr *answer, struct rt_link_device *ret)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(answer);
	struct rt_link_device device = { .index = info->ifi_index, .up = info->ifi_flags & IFF_UP,
					 .running = info->ifi_flags & IFF_RUNNING };
	const struct nlattr *at;

	mnl_attr_for_each(at, answer, sizeof(*info)) {
		switch (mnl_attr_get_type(at)) {
		case IFLA_IFNAME:
			snprintf(device.name, sizeof(device.name), "%.*s", IFNAMSIZ - 1, mnl_attr_get_str(at));
			break;
		case IFLA_MASTER:
			device.master = (int)mnl_attr_get_u32(at);
			break;
		case IFLA_MTU:
			device.mtu = mnl_attr_get_u32(at);
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(at) == sizeof(device.mac))
				memcpy(&device.mac, mnl_attr_get_payload(at), sizeof(device.mac));
			break;
		case IFLA_LINKINFO:
			read_kind(at, device.kind);
			break;
		default: /* of some sixty */
			break;
		}
	}
	*ret = device;
}

static int take_device(const struct nlmsghdr *answer, void *data)
{
	if (answer->nlmsg_type == RTM_NEWLINK)
		read_device(answer, data);
	return MNL_CB_OK;
}

struct rt_error *rt_link_find(struct rt_link *link, const char *name, struct rt_link_device *ret, bool *ret_found)
{
	struct request request;
	struct rt_error *err;

	begin_link(&request, RTM_GETLINK, NLM_F_ACK, 0);
	mnl_attr_put_strz(request.header, IFLA_IFNAME, name);
	err = converse(link, &request, take_device, ret);
	*ret_found = !err;
	if (err && err->errnum == ENODEV)
		return rt_error_free(err);
	return err ? rt_while(err, "looking for network device '%s'", name) : NULL;
}

struct rt_error *rt_link_add_bridge(struct rt_link *link, const char *name, const struct rt_mac *mac)
{
	struct ifinfomsg *message;
	struct request request;
	struct rt_error *err;
	struct nlattr *info;

	message = begin_link(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	message->ifi_flags = message->ifi_change = IFF_UP;
	mnl_attr_put_strz(request.header, IFLA_IFNAME, name);
	/* A bridge that has its own address keeps it while ports come and go. */
	mnl_attr_put(request.header, IFLA_ADDRESS, sizeof(*mac), mac);
	info = mnl_attr_nest_start(request.header, IFLA_LINKINFO);
	mnl_attr_put_strz(request.header, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(request.header, info);
	err = command(link, &request);
	return err ? rt_while(err, "making bridge '%s'", name) : NULL;
}

struct rt_error *rt_link_add_veth(struct rt_link *link, const struct rt_link_veth *veth)
{
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *message;
	struct request request;
	struct rt_error *err;

	message = begin_link(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	message->ifi_flags = message->ifi_change = IFF_NOARP;
	mnl_attr_put_strz(request.header, IFLA_IFNAME, veth->name);
	if (rt_mac_is_set(&veth->mac))
		mnl_attr_put(request.header, IFLA_ADDRESS, sizeof(veth->mac), &veth->mac);
	if (veth->mtu)
		mnl_attr_put_u32(request.header, IFLA_MTU, veth->mtu);
	info = mnl_attr_nest_start(request.header, IFLA_LINKINFO);
	mnl_attr_put_strz(request.header, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(request.header, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(request.header, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(request.header, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request.header, IFLA_IFNAME, veth->peer_name);
	if (rt_mac_is_set(&veth->peer_mac))
		mnl_attr_put(request.header, IFLA_ADDRESS, sizeof(veth->peer_mac), &veth->peer_mac);
	if (veth->mtu)
		mnl_attr_put_u32(request.header, IFLA_MTU, veth->mtu);
	mnl_attr_put_u32(request.header, IFLA_NET_NS_FD, (uint32_t)veth->peer_namespace);
	mnl_attr_nest_end(request.header, peer);
	mnl_attr_nest_end(request.header, data);
	mnl_attr_nest_end(request.header, info);
	err = command(link, &request);
	return err ? rt_while(err, "making veth '%s' with '%s' in the container", veth->name, veth->peer_name) : NULL;
}

struct rt_error *rt_link_join(struct rt_link *link, int index, int bridge)
{
	struct request request;

	begin_link(&request, RTM_NEWLINK, 0, index);
	mnl_attr_put_u32(request.header, IFLA_MASTER, (uint32_t)bridge);
	return command(link, &request);
}

static struct rt_error *set_port(struct rt_link *link, int index, uint16_t what, bool value)
{
	struct request request;
	struct nlattr *port;

	begin_link(&request, RTM_SETLINK, 0, index)->ifi_family = AF_BRIDGE;
	port = mnl_attr_nest_start(request.header, IFLA_PROTINFO);
	mnl_attr_put_u8(request.header, what, value);
	mnl_attr_nest_end(request.header, port);
	return command(link, &request);
}

struct rt_error *rt_link_hairpin(struct rt_link *link, int index)
{
	return set_port(link, index, IFLA_BRPORT_MODE, true);
}

struct rt_error *rt_link_learning(struct rt_link *link, int index, bool learning)
{
	return set_port(link, index, IFLA_BRPORT_LEARNING, learning);
}

struct rt_error *rt_link_without_addresses(struct rt_link *link, int index)
{
	struct nlattr *families, *family;
	struct request request;
	struct rt_error *err;

	begin_link(&request, RTM_NEWLINK, 0, index);
	families = mnl_attr_nest_start(request.header, IFLA_AF_SPEC);
	family = mnl_attr_nest_start(request.header, AF_INET6);
	mnl_attr_put_u8(request.header, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(request.header, family);
	mnl_attr_nest_end(request.header, families);
	err = command(link, &request);
	/* A kernel without IPv6 has none to give. */
	return err && err->errnum == EAFNOSUPPORT ? rt_error_free(err) : err;
}

struct rt_error *rt_link_up(struct rt_link *link, int index)
{
	struct request request;
	struct ifinfomsg *info = begin_link(&request, RTM_NEWLINK, 0, index);

	info->ifi_flags = info->ifi_change = IFF_UP;
	return command(link, &request);
}

struct rt_error *rt_link_delete(struct rt_link *link, int index)
{
	struct request request;
	struct rt_error *err;

	begin_link(&request, RTM_DELLINK, 0, index);
	err = command(link, &request);
	return err && err->errnum == ENODEV ? rt_error_free(err) : err;
}

struct rt_error *rt_link_add_address(struct rt_link *link, int index, const struct rt_prefix *address)
{
	int family = address->address.family;
	struct request request;
	struct ifaddrmsg *message = begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*message));
	struct rt_error *err;

	message->ifa_family = (uint8_t)family;
	message->ifa_prefixlen = (uint8_t)address->length;
	message->ifa_flags = IFA_F_PERMANENT | (family == AF_INET6 ? IFA_F_NODAD : 0);
	message->ifa_index = (uint32_t)index;
	mnl_attr_put(request.header, IFA_LOCAL, rt_address_size(family), address->address.bytes);
	mnl_attr_put(request.header, IFA_ADDRESS, rt_address_size(family), address->address.bytes);
	if (family == AF_INET && address->length < 31) {
		struct rt_address broadcast = address->address;

		for (unsigned bit = address->length; bit < 32; bit++)
			broadcast.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		mnl_attr_put(request.header, IFA_BROADCAST, 4, broadcast.bytes);
	}
	err = command(link, &request);
	if (err && err->errnum == EEXIST)
		return rt_error_free(err);
	return err ? rt_while(err, "giving address %s", rt_prefix_text(address).text) : NULL;
}

struct search {
	int index;
	const struct rt_prefix *prefix;
	const struct rt_address *wanted;
	struct rt_address found;
};

static int take_address(const struct nlmsghdr *answer, void *data)
{
	const struct ifaddrmsg *message = mnl_nlmsg_get_payload(answer);
	struct rt_address address = { .family = message->ifa_family }, local = { .family = AF_UNSPEC };
	struct search *search = data;
	struct rt_prefix prefix = *search->prefix;
	const struct nlattr *at;

	if (answer->nlmsg_type != RTM_NEWADDR || (search->index && (int)message->ifa_index != search->index) ||
	    message->ifa_family != prefix.address.family)
		return MNL_CB_OK;
	/* Of any device: one whose own prefix is the wider of the two overlaps as well. */
	if (!search->index && message->ifa_prefixlen < prefix.length)
		prefix.length = message->ifa_prefixlen;
	mnl_attr_for_each(at, answer, sizeof(*message)) {
		unsigned type = mnl_attr_get_type(at);
		struct rt_address *to = type == IFA_LOCAL ? &local : type == IFA_ADDRESS ? &address : NULL;

		if (!to || mnl_attr_get_payload_len(at) != rt_address_size(message->ifa_family))
			continue;
		to->family = message->ifa_family;
		memcpy(to->bytes, mnl_attr_get_payload(at), rt_address_size(message->ifa_family));
	}
	if (local.family != AF_UNSPEC)
		address = local;
	if (rt_prefix_contains(&prefix, &address) &&
	    (search->found.family == AF_UNSPEC || (search->wanted && rt_address_equal(&address, search->wanted))))
		search->found = address;
	return MNL_CB_OK;
}

struct rt_error *rt_link_address_in(struct rt_link *link, int index, const struct rt_prefix *prefix, const struct rt_address *wanted,
				    struct rt_address *ret)
{
	struct search search;
	struct request request;
	struct rt_error *err;

	do {
		search = (struct search){ .index = index, .prefix = prefix, .wanted = wanted };
		((struct ifaddrmsg *)begin(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg)))->ifa_family =
			(uint8_t)prefix->address.family;
		err = converse(link, &request, take_address, &search);
	} while (was_interrupted(&err));
	if (err)
		return rt_while(err, "listing addresses");
	*ret = search.found;
	return NULL;
}

struct rt_error *rt_link_add_route(struct rt_link *link, int index, const struct rt_prefix *destination,
				   const struct rt_address *gateway)
{
	struct request request;
	struct rtmsg *message = begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*message));
	struct rt_error *err;

	message->rtm_family = (uint8_t)gateway->family;
	message->rtm_table = RT_TABLE_MAIN;
	message->rtm_protocol = RTPROT_STATIC;
	message->rtm_scope = RT_SCOPE_UNIVERSE;
	message->rtm_type = RTN_UNICAST;
	if (destination) {
		message->rtm_dst_len = (uint8_t)destination->length;
		mnl_attr_put(request.header, RTA_DST, rt_address_size(gateway->family), destination->address.bytes);
	}
	mnl_attr_put(request.header, RTA_GATEWAY, rt_address_size(gateway->family), gateway->bytes);
	mnl_attr_put_u32(request.header, RTA_OIF, (uint32_t)index);
	err = command(link, &request);
	if (err)
		return rt_while(err, "adding the %s%s by %s", destination ? "route to " : "default route",
				destination ? rt_prefix_text(destination).text : "", rt_address_text(gateway).text);
	return NULL;
}

struct port_count {
	int bridge;
	size_t count;
};

static int take_port(const struct nlmsghdr *answer, void *data)
{
	struct port_count *ports = data;
	struct rt_link_device device;

	if (answer->nlmsg_type == RTM_NEWLINK) {
		read_device(answer, &device);
		ports->count += device.master == ports->bridge;
	}
	return MNL_CB_OK;
}

struct rt_error *rt_link_count_ports(struct rt_link *link, int bridge, size_t *ret)
{
	struct port_count ports;
	struct request request;
	struct rt_error *err;

	do {
		ports = (struct port_count){ .bridge = bridge };
		begin_link(&request, RTM_GETLINK, NLM_F_DUMP, 0);
		err = converse(link, &request, take_port, &ports);
	} while (was_interrupted(&err));
	if (err)
		return rt_while(err, "listing network devices");
	*ret = ports.count;
	return NULL;
}
