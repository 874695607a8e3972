/* Network devices, addresses and routes, over rtnetlink (libmnl), in our network namespace or in another.
 *
 * A socket belongs for good to the namespace that it was opened in, so nobody has to enter the container's. Knows nothing about
 * containers. (runtime/sys/netdev.h moves devices of a config into a container; it is part of the static `rt`.) */
#pragma once

#include "runtime/netns/address.h"

#include <net/if.h>

struct rt_link {
	struct mnl_socket *socket;
	unsigned sequence;
};

#define RT_LINK_NULL ((struct rt_link){ .socket = NULL })

struct rt_error *rt_link_open(struct rt_link *ret) _must_check_;
struct rt_error *rt_link_open_in(int namespace_fd, struct rt_link *ret) _must_check_;
void rt_link_close(struct rt_link *link);
#define _cleanup_link_ _cleanup_(rt_link_close)

struct rt_link_device {
	int index;
	int master; /* index of the bridge it is a port of; 0: none */
	bool up;
	bool running; /* and the other end too: what is sent is not dropped */
	char name[IFNAMSIZ];
	char kind[16]; /* "bridge", "veth"; empty: a real one */
	struct rt_mac mac;
	unsigned mtu;
};

/* *ret_found tells whether there is one of this name. */
struct rt_error *rt_link_find(struct rt_link *link, const char *name, struct rt_link_device *ret, bool *ret_found) _must_check_;

struct rt_error *rt_link_add_bridge(struct rt_link *link, const char *name, const struct rt_mac *mac) _must_check_;

struct rt_link_veth {
	const char *name; /* of the end that is here, left down, and without ARP: the host itself speaks on the bridge only */
	const char *peer_name; /* of the one that is there */
	int peer_namespace; /* descriptor */
	struct rt_mac mac, peer_mac; /* all zeroes: the kernel draws one */
	unsigned mtu; /* 0: the kernel's default */
};
/* Both ends exist at once, or neither. */
struct rt_error *rt_link_add_veth(struct rt_link *link, const struct rt_link_veth *veth) _must_check_;

/* Makes it a port of the bridge, or of none (0). */
struct rt_error *rt_link_join(struct rt_link *link, int index, int bridge) _must_check_;
/* Lets a port's frames back out of it, as when a container calls itself by a published port. */
struct rt_error *rt_link_hairpin(struct rt_link *link, int index) _must_check_;
/* Whether the bridge believes that a hardware address is behind the port because a frame with it came from there. A new port does. */
struct rt_error *rt_link_learning(struct rt_link *link, int index, bool learning) _must_check_;
/* No IPv6 address comes by itself when it goes up. */
struct rt_error *rt_link_without_addresses(struct rt_link *link, int index) _must_check_;
struct rt_error *rt_link_up(struct rt_link *link, int index) _must_check_;
/* Gone already: fine. */
struct rt_error *rt_link_delete(struct rt_link *link, int index) _must_check_;

/* At once usable: no duplicate address detection. There already: fine. */
struct rt_error *rt_link_add_address(struct rt_link *link, int index, const struct rt_prefix *address) _must_check_;
/* An address that the device (0: any, also one whose own prefix overlaps) has inside the prefix, the wanted one (may be NULL) before others; AF_UNSPEC: there is none. */
struct rt_error *rt_link_address_in(struct rt_link *link, int index, const struct rt_prefix *prefix, const struct rt_address *wanted,
				    struct rt_address *ret) _must_check_;

/* destination NULL: the default route. */
struct rt_error *rt_link_add_route(struct rt_link *link, int index, const struct rt_prefix *destination,
				   const struct rt_address *gateway) _must_check_;

/* How many devices are ports of the bridge. */
struct rt_error *rt_link_count_ports(struct rt_link *link, int bridge, size_t *ret) _must_check_;
