/* Which address of a prefix a container gets. Pure: what is taken is the caller's to know.
 *
 * A name's search starts at a place that its hash tells: so the same container finds the same address again, on this host or
 * another, as long as nobody else got it, and an address just given back is not the next one given out. */
#pragma once

#include "runtime/netns/address.h"

struct rt_pool {
	struct rt_prefix prefix; /* of any host bits nothing is used */
	const struct rt_address *taken; /* borrowed; the gateway's among them; other families do no harm */
	size_t taken_count;
};

/* The first address after the prefix's own. NULL-address where the prefix has room for one host only. */
struct rt_address rt_pool_gateway(const struct rt_prefix *prefix);

/* A free address for `name`. IPv4 leaves out the network's own and the broadcast address (not of a /31 and /32), IPv6 the routers' anycast
 * address (not of a /127 and /128) and all but the first 65536. RT_SYSTEM where none is left. */
struct rt_error *rt_pool_choose(const struct rt_pool *pool, const char *name, struct rt_address *ret) _must_check_;

/* Whether a host may have this address of the prefix, as far as the prefix goes: inside, and not one that is left out. */
struct rt_error *rt_pool_check(const struct rt_prefix *prefix, const struct rt_address *address) _must_check_;

bool rt_pool_is_taken(const struct rt_pool *pool, const struct rt_address *address);

/* A locally administered hardware address that follows from the IP address, so that a container keeps it wherever it goes. */
struct rt_mac rt_pool_mac(const struct rt_address *address);

/* For the host's end of a pair, by its name: a high one. A bridge without an address of its own takes the lowest of its ports', and changes it when that one comes or
 * goes: what is on its way to the host then is lost. */
struct rt_mac rt_pool_port_mac(const char *name);

/* FNV-1a, 32 bits. */
uint32_t rt_pool_hash(const void *bytes, size_t size);
