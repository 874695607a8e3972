/* What a container's network consists of, as one value: what `save` prints, `load` and the annotation org.rt.netns read, and
 * the larger part of a record. Parsing of the words that options give for its parts, and its JSON.
 *
 * Pure: no I/O. Uses runtime/base only. */
#pragma once

#include "runtime/base/json.h"
#include "runtime/netns/address.h"

#include <net/if.h>
#include <netinet/in.h>

enum rt_family { RT_IPV4, RT_IPV6, RT_FAMILIES };

/* One family's part; address.address.family is AF_UNSPEC where the container has none of it. */
struct rt_leg {
	struct rt_prefix address; /* 172.19.0.5/16 */
	struct rt_address gateway; /* of the default route; AF_UNSPEC: none */
};

struct rt_port {
	struct rt_address host; /* AF_UNSPEC: every address of the host; 0.0.0.0 and ::, every one of the family */
	uint16_t host_port, port;
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
};

struct rt_route {
	struct rt_prefix destination;
	struct rt_address gateway;
};

enum { RT_MOST_PORTS = 128, RT_MOST_ROUTES = 32 };

struct rt_network {
	char bridge[IFNAMSIZ];
	char ifname[IFNAMSIZ]; /* inside the container */
	struct rt_mac mac;
	unsigned mtu; /* 0: the kernel's default */
	bool nat;
	bool hostless; /* the bridge is the operator's: the host has no address on it, and no rules */
	struct rt_leg legs[RT_FAMILIES];
	struct rt_port ports[RT_MOST_PORTS];
	size_t port_count;
	struct rt_route routes[RT_MOST_ROUTES];
	size_t route_count;
};

int rt_family_number(enum rt_family family); /* AF_INET, AF_INET6 */

/* "[HOST-ADDRESS:]HOST-PORT:PORT[/tcp|udp|sctp]", an IPv6 address in brackets. RT_USAGE. */
struct rt_error *rt_port_parse(const char *text, struct rt_port *ret) _must_check_;
struct rt_address_text rt_port_text(const struct rt_port *port);
/* Whether both want the same port of the same address of the host. */
bool rt_port_collides(const struct rt_port *a, const struct rt_port *b);
const char *rt_protocol_name(uint8_t protocol);

/* "PREFIX=GATEWAY". RT_USAGE. */
struct rt_error *rt_route_parse(const char *text, struct rt_route *ret) _must_check_;

/* Whether it can name a network device: not empty, not too long, without '/', white space, ':' and '%'. */
struct rt_error *rt_device_name_check(const char *option, const char *name) _must_check_;

struct rt_error *rt_network_add_port(struct rt_network *network, const char *text) _must_check_;
struct rt_error *rt_network_add_route(struct rt_network *network, const char *text) _must_check_;

/* Into an object of the caller's, beside what else it has. */
struct rt_error *rt_network_to_json(const struct rt_network *network, json_t *object) _must_check_;
/* RT_CONFIG names the field. Fields that are absent leave *ret as it was; those of no meaning here are passed over. */
struct rt_error *rt_network_from_json(const struct rt_json *object, struct rt_network *ret) _must_check_;
