#include "runtime/netns/allot.h"

#include "runtime/base/str.h"
#include "runtime/netns/pool.h"

/* On the same bridge: elsewhere the same address is somebody else's. */
static bool is_neighbour(const struct rt_allotment *allotment, const struct rt_record *other)
{
	return !rt_str_equal(other->id, allotment->id) &&
	       rt_str_equal(other->network.bridge, allotment->request->network.bridge);
}

static bool has_leg(const struct rt_network *network, int family)
{
	return network->legs[family].address.address.family != AF_UNSPEC;
}

static struct rt_error *check_neighbour(const struct rt_network *ours, const struct rt_record *other)
{
	const struct rt_network *theirs = &other->network;

	for (int family = 0; family < RT_FAMILIES; family++) {
		const struct rt_address *address = &ours->legs[family].address.address;

		if (has_leg(ours, family) && rt_address_equal(address, &theirs->legs[family].address.address))
			return rt_fail(RT_EXISTS, "address %s is taken by '%s'", rt_address_text(address).text, other->id);
	}
	if (memcmp(&ours->mac, &theirs->mac, sizeof(ours->mac)) == 0)
		return rt_fail(RT_EXISTS, "hardware address %s is taken by '%s'", rt_mac_text(&ours->mac).text, other->id);
	return NULL;
}

static struct rt_error *check_ports(const struct rt_network *ours, const struct rt_record *other)
{
	for (size_t a = 0; a < ours->port_count; a++)
		for (size_t b = 0; b < other->network.port_count; b++)
			if (rt_port_collides(&ours->ports[a], &other->network.ports[b]))
				return rt_fail(RT_EXISTS, "port %s: '%s' has published %s already", rt_port_text(&ours->ports[a]).text,
					       other->id, rt_port_text(&other->network.ports[b]).text);
	return NULL;
}

static struct rt_error *check_taken(const struct rt_allotment *allotment, const struct rt_network *network)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; i < allotment->count && !err; i++) {
		const struct rt_record *other = &allotment->records[i];

		if (rt_str_equal(other->id, allotment->id))
			continue;
		if (is_neighbour(allotment, other))
			err = check_neighbour(network, other);
		if (!err)
			err = check_ports(network, other);
	}
	return err;
}

/* The neighbours' addresses and the gateways. `taken` has room for two of each. */
static size_t list_taken(const struct rt_allotment *allotment, const struct rt_network *network, struct rt_address *taken)
{
	size_t count = 0;

	for (size_t i = 0; i < allotment->count; i++)
		for (int family = 0; family < RT_FAMILIES && is_neighbour(allotment, &allotment->records[i]); family++)
			taken[count++] = allotment->records[i].network.legs[family].address.address;
	for (int family = 0; family < RT_FAMILIES; family++)
		taken[count++] = network->legs[family].gateway;
	return count;
}

static struct rt_error *choose(const struct rt_allotment *allotment, const bool fixed[RT_FAMILIES], struct rt_network *network)
{
	_cleanup_free_ struct rt_address *taken = calloc((allotment->count + 1) * RT_FAMILIES, sizeof(*taken));
	struct rt_error *err = NULL;
	size_t count;

	if (!taken)
		return rt_error_oom();
	count = list_taken(allotment, network, taken);
	for (int family = 0; family < RT_FAMILIES && !err; family++) {
		struct rt_leg *leg = &network->legs[family];
		const struct rt_pool pool = { .prefix = leg->address, .taken = taken, .taken_count = count };

		if (!has_leg(network, family))
			continue;
		if (!fixed[family])
			err = rt_pool_choose(&pool, allotment->id, &leg->address.address);
		else if (rt_address_equal(&leg->gateway, &leg->address.address))
			err = rt_fail(RT_EXISTS, "address %s is the gateway's", rt_address_text(&leg->gateway).text);
	}
	return err;
}

/* The prefixes first, as the gateways depend on them, and the addresses on the gateways. */
struct rt_error *rt_allot(const struct rt_allotment *allotment, struct rt_network *ret, struct rt_bridge *ret_bridge)
{
	struct rt_network network = allotment->request->network;
	bool fixed[RT_FAMILIES];
	struct rt_error *err;

	for (int family = 0; family < RT_FAMILIES; family++) {
		fixed[family] = has_leg(&network, family);
		if (!fixed[family])
			network.legs[family].address = allotment->request->pools[family];
	}
	err = rt_bridge_look(allotment->store, allotment->link, allotment->request->gateway_is_wish, &network, ret_bridge);
	if (!err)
		err = choose(allotment, fixed, &network);
	if (err)
		return err;
	if (!rt_mac_is_set(&network.mac))
		network.mac = rt_pool_mac(&network.legs[has_leg(&network, RT_IPV4) ? RT_IPV4 : RT_IPV6].address.address);
	err = check_taken(allotment, &network);
	if (!err)
		*ret = network;
	return err;
}
