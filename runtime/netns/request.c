#include "runtime/netns/request.h"

#include "runtime/base/str.h"
#include "runtime/netns/defaults.h"
#include "runtime/netns/pool.h"

static bool is_fixed(const struct rt_leg *leg)
{
	return leg->address.address.family != AF_UNSPEC;
}

static struct rt_error *set_name(const char *option, const char *given, const char *fallback, char name[IFNAMSIZ])
{
	struct rt_error *err;

	if (!given && *name)
		return NULL;
	if (!given)
		given = fallback;
	err = rt_device_name_check(option, given);
	if (!err)
		snprintf(name, IFNAMSIZ, "%s", given);
	return err;
}

/* "172.19.0.9" of the pool, or "10.0.0.9/24" of its own prefix. */
static struct rt_error *fix_address(struct rt_request *request, enum rt_family family, const char *text)
{
	struct rt_leg *leg = &request->network.legs[family];
	const struct rt_prefix *pool = &request->pools[family];
	int number = rt_family_number(family);
	struct rt_error *err;

	*leg = (struct rt_leg){ .gateway.family = AF_UNSPEC };
	if (strchr(text, '/')) {
		err = rt_prefix_parse(text, number, &leg->address);
	} else {
		err = rt_address_parse(text, number, &leg->address.address);
		if (!err && pool->address.family == AF_UNSPEC)
			err = rt_fail(RT_USAGE, "address %s has no subnet: give it as ADDRESS/LENGTH, or give the subnet too", text);
		leg->address.length = pool->length;
		if (!err)
			err = rt_pool_check(pool, &leg->address.address);
	}
	return err ? err : rt_pool_check(&leg->address, &leg->address.address);
}

static struct rt_error *fix_gateway(struct rt_request *request, enum rt_family family, const char *text)
{
	struct rt_leg *leg = &request->network.legs[family];
	const struct rt_prefix *prefix = is_fixed(leg) ? &leg->address : &request->pools[family];
	struct rt_error *err = rt_address_parse(text, rt_family_number(family), &leg->gateway);

	if (!err && prefix->address.family == AF_UNSPEC)
		err = rt_fail(RT_USAGE, "gateway %s is of no use: the container gets no such address", text);
	if (!err)
		err = rt_pool_check(prefix, &leg->gateway);
	if (!err && is_fixed(leg) && rt_address_equal(&leg->address.address, &leg->gateway))
		err = rt_fail(RT_USAGE, "address %s is the gateway's", text);
	return err;
}

static struct rt_error *read_family(struct rt_request *request, enum rt_family family, const char *subnet, const char *ip, const char *gateway)
{
	struct rt_error *err = NULL;

	if (subnet && !rt_str_equal(subnet, "none")) {
		err = rt_prefix_parse(subnet, rt_family_number(family), &request->pools[family]);
		if (!err)
			request->pools[family] = rt_prefix_network(&request->pools[family]);
	}
	if (!err && ip)
		err = fix_address(request, family, ip);
	if (!err && gateway)
		err = fix_gateway(request, family, gateway);
	return err;
}

static struct rt_error *read_lists(const struct rt_request_words *words, struct rt_network *network)
{
	struct rt_error *err = NULL;

	for (const char *const *text = words->publish; text && *text && !err; text++)
		err = rt_network_add_port(network, *text);
	for (const char *const *text = words->routes; text && *text && !err; text++)
		err = rt_network_add_route(network, *text);
	return err;
}

/* What contradicts itself, whichever part came from where. */
static struct rt_error *check(const struct rt_request *request)
{
	const struct rt_network *network = &request->network;

	if (network->hostless && network->nat)
		return rt_fail(RT_USAGE, "NAT needs an address of the host on the bridge, which --hostless excludes");
	if (network->hostless && network->port_count)
		return rt_fail(RT_USAGE, "port '%s' cannot be published: with --hostless the host has no address on the bridge",
			       rt_port_text(&network->ports[0]).text);
	if (network->mtu && (network->mtu < 68 || network->mtu > 65535))
		return rt_fail(RT_USAGE, "an MTU is between 68 and 65535, not %u", network->mtu);
	for (int family = 0; family < RT_FAMILIES; family++)
		if (is_fixed(&network->legs[family]) || request->pools[family].address.family != AF_UNSPEC)
			return NULL;
	return rt_fail(RT_USAGE, "the container would get no address: give it a subnet or an address");
}

struct rt_error *rt_request_make(const struct rt_request_words *words, const struct rt_network *saved, struct rt_request *ret)
{
	struct rt_request request = { .hold = words->hold };
	struct rt_network *network = &request.network;
	/* Only what was saved counts for families that no option speaks of. */
	const char *subnet = words->subnet ? words->subnet : saved ? NULL : RT_NETNS_SUBNET;
	struct rt_error *err;

	if (saved)
		*network = *saved;
	request.gateway_is_wish[RT_IPV4] = saved && !words->gateway;
	request.gateway_is_wish[RT_IPV6] = saved && !words->gateway6;
	err = set_name("--bridge", words->bridge, RT_NETNS_BRIDGE, network->bridge);
	if (!err)
		err = set_name("--ifname", words->ifname, RT_NETNS_IFNAME, network->ifname);
	if (!err && rt_str_equal(network->ifname, "lo"))
		err = rt_fail(RT_USAGE, "--ifname: 'lo' is the loopback device");
	if (!err && words->mac)
		err = rt_mac_parse(words->mac, &network->mac);
	if (words->mtu)
		network->mtu = words->mtu;
	if (words->nat_given)
		network->nat = words->nat;
	if (words->hostless_given)
		network->hostless = words->hostless;
	if (!err)
		err = read_family(&request, RT_IPV4, subnet, words->ip, words->gateway);
	if (!err)
		err = read_family(&request, RT_IPV6, words->subnet6, words->ip6, words->gateway6);
	if (!err)
		err = read_lists(words, network);
	if (!err)
		err = check(&request);
	if (err)
		return err;
	*ret = request;
	return NULL;
}

void rt_request_follow(struct rt_request *request, const struct rt_network *annotated)
{
	for (int family = 0; family < RT_FAMILIES; family++) {
		struct rt_leg *leg = &request->network.legs[family];
		struct rt_address given = leg->gateway;

		if (!is_fixed(&annotated->legs[family]))
			continue;
		*leg = annotated->legs[family];
		request->gateway_is_wish[family] = !rt_prefix_contains(&leg->address, &given);
		if (!request->gateway_is_wish[family])
			leg->gateway = given;
	}
	if (rt_mac_is_set(&annotated->mac))
		request->network.mac = annotated->mac;
}

void rt_request_keep(struct rt_request *request, const struct rt_network *earlier)
{
	bool same = true;

	for (int family = 0; family < RT_FAMILIES; family++) {
		struct rt_leg *leg = &request->network.legs[family];
		const struct rt_prefix *had = &earlier->legs[family].address;
		const struct rt_prefix *pool = &request->pools[family];

		if (!is_fixed(leg) && had->length == pool->length && rt_prefix_contains(pool, &had->address))
			leg->address = *had;
		same = same && rt_address_equal(&leg->address.address, &had->address);
	}
	/* That of another address may soon be somebody else's. */
	if (same && !rt_mac_is_set(&request->network.mac))
		request->network.mac = earlier->mac;
}
