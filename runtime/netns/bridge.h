/* The bridge that containers are ports of: made with the gateways' addresses where it is missing, removed when the last container has
 * left, if we made it. Called under the store's lock. */
#pragma once

#include "runtime/netns/link.h"
#include "runtime/netns/store.h"

struct rt_bridge {
	bool found, ours;
	struct rt_link_device device; /* where found */
};

/* Looks, changes nothing. Fills in the gateways of the legs: the host's address in each leg's prefix, or the one it will get; one that is there
 * already is demanded, or wished. With `network->hostless` they stay as they are, and a missing bridge is an error. */
struct rt_error *rt_bridge_look(const struct rt_store *store, struct rt_link *link, const bool is_wish[RT_FAMILIES],
				struct rt_network *network, struct rt_bridge *ret) _must_check_;

/* Makes it, or gives it what it lacks: addresses, and the settings of the host that NAT and published ports need (forwarding stays on
 * afterwards: others may have come to rely on it). */
struct rt_error *rt_bridge_prepare(const struct rt_store *store, struct rt_link *link, const struct rt_network *network,
				   struct rt_bridge *bridge) _must_check_;

/* After a container has gone: removes the bridge if it is ours, none of the records but `id`'s is on it, and it has no ports. */
struct rt_error *rt_bridge_leave(const struct rt_store *store, struct rt_link *link, const char *name, const struct rt_record *records,
				 size_t count, const char *id) _must_check_;
