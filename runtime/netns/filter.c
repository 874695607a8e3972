#include "runtime/netns/filter.h"

#include "runtime/base/str.h"
#include "runtime/netns/defaults.h"
#include "runtime/netns/pool.h"

/* Chains of one table, all of policy accept, so that they decide nothing but what their rules say:
 *
 *   guard        a published port is reached from the host at 127.0.0.1 too, for which route_localnet is set on the bridge: that must not
 *                let containers at what listens on the host's loopback
 *   prerouting   published ports, for who comes from elsewhere
 *   output       published ports, for the host's own processes
 *   postrouting  NAT for what leaves by another way than the bridge; and for published ports a source that the container answers by
 *                way of the host, where it would otherwise answer a neighbour directly, or its own loopback
 *
 * Forwarding needs no rule: where another table drops it, an accept of ours would not help. */
static const char chains[] = "add chain inet %1$s guard { type filter hook prerouting priority raw; policy accept; }\n"
			     "add chain inet %1$s prerouting { type nat hook prerouting priority dstnat; policy accept; }\n"
			     "add chain inet %1$s output { type nat hook output priority -100; policy accept; }\n"
			     "add chain inet %1$s postrouting { type nat hook postrouting priority srcnat; policy accept; }\n"
			     "flush table inet %1$s\n";

bool rt_filter_is_needed(const struct rt_record *record)
{
	return record->network.nat || record->network.port_count > 0;
}

void rt_filter_name(const char *state_directory, char ret[RT_FILTER_NAME_ROOM])
{
	if (rt_str_equal(state_directory, RT_NETNS_STATE_DIR))
		snprintf(ret, RT_FILTER_NAME_ROOM, "rt_netns");
	else
		snprintf(ret, RT_FILTER_NAME_ROOM, "rt_netns_%08x", rt_pool_hash(state_directory, strlen(state_directory)));
}

/* How nft writes addresses of the family in rules. */
struct words {
	const char *family; /* "ip" */
	const char *nfproto; /* "ipv4" */
	const char *loopback; /* where a published port can't be reached */
	const char *open, *close; /* around an address before its port */
};

static const struct words words[RT_FAMILIES] = {
	[RT_IPV4] = { "ip", "ipv4", "", "", "" },
	[RT_IPV6] = { "ip6", "ipv6", "ip6 daddr != ::1 ", "[", "]" },
};

static void write_port(FILE *stream, const char *table, const struct rt_port *port, const struct rt_address *address, const struct words *w)
{
	static const char *const hooks[] = { "prerouting", "output" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(hooks); i++) {
		fprintf(stream, "add rule inet %s %s ", table, hooks[i]);
		if (rt_address_is_any(&port->host))
			fprintf(stream, "meta nfproto %s %sfib daddr type local ", w->nfproto, w->loopback);
		else
			fprintf(stream, "%s daddr %s ", w->family, rt_address_text(&port->host).text);
		fprintf(stream, "%s dport %d dnat %s to %s%s%s:%d\n", rt_protocol_name(port->protocol), port->host_port, w->family,
			w->open, rt_address_text(address).text, w->close, port->port);
	}
}

static void write_leg(FILE *stream, const char *table, const struct rt_network *network, enum rt_family family)
{
	const struct rt_leg *leg = &network->legs[family];
	const struct rt_address *address = &leg->address.address;
	const struct words *w = &words[family];
	struct rt_prefix neighbours = rt_prefix_network(&leg->address);
	bool published = false;

	if (address->family == AF_UNSPEC)
		return;
	if (network->nat)
		fprintf(stream, "add rule inet %s postrouting %s saddr %s oifname != \"%s\" masquerade\n", table, w->family,
			rt_address_text(address).text, network->bridge);
	for (size_t i = 0; i < network->port_count; i++) {
		const struct rt_port *port = &network->ports[i];

		if (port->host.family != AF_UNSPEC && port->host.family != address->family)
			continue;
		write_port(stream, table, port, address, w);
		published = true;
	}
	if (!published)
		return;
	fprintf(stream, "add rule inet %s postrouting oifname \"%s\" %s daddr %s %s saddr %s ct status dnat masquerade\n", table,
		network->bridge, w->family, rt_address_text(address).text, w->family, rt_prefix_text(&neighbours).text);
	if (family == RT_IPV4) {
		fprintf(stream, "add rule inet %s postrouting oifname \"%s\" ip daddr %s ip saddr 127.0.0.0/8 masquerade\n", table,
			network->bridge, rt_address_text(address).text);
		fprintf(stream, "add rule inet %s guard iifname \"%s\" ip daddr 127.0.0.0/8 drop\n", table, network->bridge);
	}
}

struct rt_error *rt_filter_text(const char *table, const struct rt_record *records, size_t count, char **ret)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	bool needed = false;

	if (!stream)
		return rt_error_oom();
	for (size_t i = 0; i < count; i++)
		needed = needed || rt_filter_is_needed(&records[i]);
	fprintf(stream, "add table inet %s\n", table);
	if (needed)
		fprintf(stream, chains, table);
	else
		fprintf(stream, "delete table inet %s\n", table);
	for (size_t i = 0; i < count; i++)
		for (int family = 0; family < RT_FAMILIES; family++)
			write_leg(stream, table, &records[i].network, (enum rt_family)family);
	if (fclose(stream) != 0) {
		free(text);
		return rt_error_oom();
	}
	*ret = text;
	return NULL;
}
