#include "runtime/netns/bridge.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/netns/forward.h"
#include "runtime/netns/host.h"
#include "runtime/netns/pool.h"


static bool has_leg(const struct rt_network *network, int family)
{
	return network->legs[family].address.address.family != AF_UNSPEC;
}

/* The host's address for one leg: what the bridge has, what was asked for, the first of the prefix. */
static struct rt_error *find_gateway(struct rt_link *link, const char *name, const struct rt_bridge *bridge, bool is_wish, struct rt_leg *leg)
{
	bool given = leg->gateway.family != AF_UNSPEC;
	struct rt_prefix network = rt_prefix_network(&leg->address);
	struct rt_address found = { .family = AF_UNSPEC };
	struct rt_error *err = NULL;

	if (bridge->found)
		err = rt_link_address_in(link, bridge->device.index, &network, given ? &leg->gateway : NULL, &found);
	if (err)
		return err;
	if (found.family != AF_UNSPEC && (!given || is_wish || rt_address_equal(&found, &leg->gateway))) {
		leg->gateway = found;
		return NULL;
	}
	if (bridge->found && !bridge->ours)
		return rt_fail(RT_SYSTEM, "bridge '%s' has no address %s%s: give it one, or use --hostless", name, given ? "" : "in ",
			       given ? rt_address_text(&leg->gateway).text : rt_prefix_text(&network).text);
	if (found.family == AF_UNSPEC) {
		err = rt_link_address_in(link, 0, &network, NULL, &found);
		if (!err && found.family != AF_UNSPEC)
			err = rt_fail(RT_SYSTEM, "subnet %s overlaps with that of address %s, which the host has",
				      rt_prefix_text(&network).text, rt_address_text(&found).text);
	}
	if (!err && !given)
		leg->gateway = rt_pool_gateway(&leg->address);
	if (!err && leg->gateway.family == AF_UNSPEC)
		err = rt_fail(RT_USAGE, "%s has no room for the host's own address: use a shorter prefix, or --hostless",
			      rt_prefix_text(&network).text);
	return err;
}

struct rt_error *rt_bridge_look(const struct rt_store *store, struct rt_link *link, const bool is_wish[RT_FAMILIES],
				struct rt_network *network, struct rt_bridge *ret)
{
	struct rt_bridge bridge = { .found = false };
	struct rt_error *err;

	err = rt_link_find(link, network->bridge, &bridge.device, &bridge.found);
	if (!err)
		err = rt_store_is_noted(store, network->bridge, RT_NOTE_MADE, &bridge.ours);
	if (err)
		return err;
	if (bridge.found && !rt_str_equal(bridge.device.kind, "bridge"))
		return rt_fail(RT_SYSTEM, "'%s' exists and is no bridge%s%s", network->bridge, *bridge.device.kind ? " but of kind " : "",
			       bridge.device.kind);
	if (!bridge.found && network->hostless)
		return rt_fail(RT_SYSTEM, "there is no bridge '%s', which with --hostless is yours to make", network->bridge);
	for (int family = 0; family < RT_FAMILIES && !network->hostless && !err; family++)
		if (has_leg(network, family))
			err = find_gateway(link, network->bridge, &bridge, is_wish[family], &network->legs[family]);
	if (!err)
		*ret = bridge;
	return err;
}

static struct rt_error *make(const struct rt_store *store, struct rt_link *link, const struct rt_network *network, struct rt_bridge *bridge)
{
	const struct rt_leg *leg = &network->legs[has_leg(network, RT_IPV4) ? RT_IPV4 : RT_IPV6];
	struct rt_mac mac = rt_pool_mac(&leg->gateway);
	struct rt_error *err;

	/* First the note: a bridge without one would stay for ever after a crash. */
	err = rt_store_note(store, network->bridge, RT_NOTE_MADE);
	if (!err)
		err = rt_link_add_bridge(link, network->bridge, &mac);
	if (!err)
		err = rt_link_find(link, network->bridge, &bridge->device, &bridge->found);
	if (!err && !bridge->found)
		err = rt_fail(RT_SYSTEM, "bridge '%s' vanished", network->bridge);
	bridge->ours = !err;
	return err;
}

struct rt_error *rt_bridge_prepare(const struct rt_store *store, struct rt_link *link, const struct rt_network *network,
				   struct rt_bridge *bridge)
{
	struct rt_error *err = NULL;

	if (!bridge->found)
		err = make(store, link, network, bridge);
	for (int family = 0; family < RT_FAMILIES && bridge->ours && !network->hostless && !err; family++) {
		struct rt_prefix own = { network->legs[family].gateway, network->legs[family].address.length };

		if (has_leg(network, family))
			err = rt_link_add_address(link, bridge->device.index, &own);
		if (err)
			err = rt_while(err, "preparing bridge '%s'", network->bridge);
	}
	if (!err && !bridge->device.up)
		err = rt_link_up(link, bridge->device.index);
	/* Neighbours too are forwarded, where Docker has the kernel filter bridges (br_netfilter). */
	if (!err && !network->hostless)
		rt_warn_ignored(rt_forward_let(store, network->bridge));
	if (!err && (network->nat || network->port_count))
		err = rt_host_prepare(network);
	return err;
}

struct rt_error *rt_bridge_leave(const struct rt_store *store, struct rt_link *link, const char *name, const struct rt_record *records,
				 size_t count, const char *id)
{
	struct rt_link_device device;
	bool ours, found = false;
	struct rt_error *err;
	size_t ports = 0;

	for (size_t i = 0; i < count; i++)
		if (rt_str_equal(records[i].network.bridge, name) && !rt_str_equal(records[i].id, id))
			return NULL;
	err = rt_forward_stop(store, name);
	if (!err)
		err = rt_store_is_noted(store, name, RT_NOTE_MADE, &ours);
	if (err || !ours)
		return err;
	err = rt_link_find(link, name, &device, &found);
	if (!err && found)
		err = rt_link_count_ports(link, device.index, &ports);
	if (err || ports > 0)
		return err;
	if (found)
		err = rt_link_delete(link, device.index);
	if (err)
		return rt_while(err, "removing bridge '%s'", name);
	return rt_store_forget(store, name, RT_NOTE_MADE);
}
