#include "runtime/netns/network.h"

#include "runtime/base/str.h"
#include "runtime/netns/pool.h"

#include <ctype.h>

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP } };

int rt_family_number(enum rt_family family)
{
	return family == RT_IPV4 ? AF_INET : AF_INET6;
}

const char *rt_protocol_name(uint8_t protocol)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(protocols); i++)
		if (protocols[i].number == protocol)
			return protocols[i].name;
	return "?";
}

static bool parse_protocol(const char *text, uint8_t *ret)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(protocols); i++)
		if (rt_str_equal(protocols[i].name, text)) {
			*ret = protocols[i].number;
			return true;
		}
	return false;
}

static bool parse_port_number(const char *text, uint16_t *ret)
{
	uint64_t number;

	if (!rt_str_to_u64(text, &number) || number == 0 || number > UINT16_MAX)
		return false;
	*ret = (uint16_t)number;
	return true;
}

/* "1.2.3.4" or "[::1]" in words[0..]; the words are ours to cut. */
static struct rt_error *parse_host(char *text, struct rt_address *ret)
{
	size_t length = strlen(text);

	if (text[0] == '[' && text[length - 1] == ']') {
		text[length - 1] = '\0';
		return rt_address_parse(text + 1, AF_INET6, ret);
	}
	return rt_address_parse(text, AF_INET, ret);
}

struct rt_error *rt_port_parse(const char *text, struct rt_port *ret)
{
	_cleanup_free_ char *words = strdup(text);
	struct rt_port port = { .protocol = IPPROTO_TCP };
	struct rt_error *err = NULL;
	char *slash, *inner, *outer;

	if (!words)
		return rt_error_oom();
	slash = strchr(words, '/');
	if (slash) {
		*slash = '\0';
		if (!parse_protocol(slash + 1, &port.protocol))
			return rt_fail(RT_USAGE, "port '%s': the protocol is tcp, udp or sctp, not '%s'", text, slash + 1);
	}
	inner = strrchr(words, ':');
	if (!inner)
		return rt_fail(RT_USAGE, "port '%s' is not of the form [HOST-ADDRESS:]HOST-PORT:PORT[/PROTOCOL]", text);
	*inner++ = '\0';
	outer = strrchr(words, ':');
	if (outer) {
		*outer++ = '\0';
		err = parse_host(words, &port.host);
	}
	if (err)
		return rt_while(err, "reading port '%s'", text);
	if (!parse_port_number(outer ? outer : words, &port.host_port) || !parse_port_number(inner, &port.port))
		return rt_fail(RT_USAGE, "port '%s': a port is a number between 1 and 65535", text);
	*ret = port;
	return NULL;
}

struct rt_address_text rt_port_text(const struct rt_port *port)
{
	struct rt_address_text ret, host = rt_address_text(&port->host);
	const char *form = port->host.family == AF_UNSPEC ? "%s%d:%d/%s" : port->host.family == AF_INET6 ? "[%s]:%d:%d/%s" : "%s:%d:%d/%s";

	snprintf(ret.text, sizeof(ret.text), form, host.text, port->host_port, port->port, rt_protocol_name(port->protocol));
	return ret;
}

bool rt_port_collides(const struct rt_port *a, const struct rt_port *b)
{
	if (a->host_port != b->host_port || a->protocol != b->protocol)
		return false;
	if (a->host.family != AF_UNSPEC && b->host.family != AF_UNSPEC && a->host.family != b->host.family)
		return false;
	return rt_address_is_any(&a->host) || rt_address_is_any(&b->host) || rt_address_equal(&a->host, &b->host);
}

struct rt_error *rt_route_parse(const char *text, struct rt_route *ret)
{
	_cleanup_free_ char *words = strdup(text);
	struct rt_route route;
	struct rt_error *err;
	char *equals;

	if (!words)
		return rt_error_oom();
	equals = strchr(words, '=');
	if (!equals)
		return rt_fail(RT_USAGE, "route '%s' is not of the form PREFIX=GATEWAY", text);
	*equals = '\0';
	err = rt_prefix_parse(words, AF_UNSPEC, &route.destination);
	if (!err)
		err = rt_address_parse(equals + 1, route.destination.address.family, &route.gateway);
	if (err)
		return rt_while(err, "reading route '%s'", text);
	/* The kernel refuses a destination with host bits; the person meant the network. */
	route.destination = rt_prefix_network(&route.destination);
	*ret = route;
	return NULL;
}

struct rt_error *rt_device_name_check(const char *option, const char *name)
{
	bool fine = *name && strlen(name) < IFNAMSIZ && !rt_str_equal(name, ".") && !rt_str_equal(name, "..");

	for (const char *at = name; *at && fine; at++)
		fine = isgraph((unsigned char)*at) && !strchr("/:%\"\\{};#$@", *at);
	return fine ? NULL : rt_fail(RT_USAGE, "%s: '%s' cannot be the name of a network device", option, name);
}

struct rt_error *rt_network_add_port(struct rt_network *network, const char *text)
{
	struct rt_port port;
	struct rt_error *err = rt_port_parse(text, &port);

	if (err)
		return err;
	if (network->port_count == RT_MOST_PORTS)
		return rt_fail(RT_USAGE, "port '%s': a container can publish %d ports at most", text, RT_MOST_PORTS);
	for (size_t i = 0; i < network->port_count; i++)
		if (rt_port_collides(&network->ports[i], &port))
			return rt_fail(RT_USAGE, "port '%s' and '%s' want the same port of the host", rt_port_text(&network->ports[i]).text,
				       text);
	network->ports[network->port_count++] = port;
	return NULL;
}

struct rt_error *rt_network_add_route(struct rt_network *network, const char *text)
{
	struct rt_route route;
	struct rt_error *err = rt_route_parse(text, &route);

	if (err)
		return err;
	if (network->route_count == RT_MOST_ROUTES)
		return rt_fail(RT_USAGE, "route '%s': a container can have %d static routes at most", text, RT_MOST_ROUTES);
	network->routes[network->route_count++] = route;
	return NULL;
}

static json_t *leg_json(const struct rt_leg *leg)
{
	json_t *json = json_pack("{s:s}", "address", rt_prefix_text(&leg->address).text);

	if (json && leg->gateway.family != AF_UNSPEC &&
	    json_object_set_new(json, "gateway", json_string(rt_address_text(&leg->gateway).text)) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

static int set_lists(const struct rt_network *network, json_t *object)
{
	json_t *addresses = json_array(), *ports = json_array(), *routes = json_array();
	int failed = json_object_set_new(object, "addresses", addresses);

	failed |= json_object_set_new(object, "ports", ports);
	failed |= json_object_set_new(object, "routes", routes);
	for (int i = 0; i < RT_FAMILIES && !failed; i++)
		if (network->legs[i].address.address.family != AF_UNSPEC)
			failed |= json_array_append_new(addresses, leg_json(&network->legs[i]));
	for (size_t i = 0; i < network->port_count && !failed; i++)
		failed |= json_array_append_new(ports, json_string(rt_port_text(&network->ports[i]).text));
	for (size_t i = 0; i < network->route_count && !failed; i++)
		failed |= json_array_append_new(routes, json_sprintf("%s=%s", rt_prefix_text(&network->routes[i].destination).text,
								     rt_address_text(&network->routes[i].gateway).text));
	return failed;
}

struct rt_error *rt_network_to_json(const struct rt_network *network, json_t *object)
{
	int failed = json_object_set_new(object, "bridge", json_string(network->bridge));

	failed |= json_object_set_new(object, "ifname", json_string(network->ifname));
	failed |= json_object_set_new(object, "mac", json_string(rt_mac_text(&network->mac).text));
	failed |= json_object_set_new(object, "mtu", json_integer(network->mtu));
	failed |= json_object_set_new(object, "nat", json_boolean(network->nat));
	failed |= json_object_set_new(object, "hostless", json_boolean(network->hostless));
	return failed || set_lists(network, object) ? rt_error_oom() : NULL;
}

static struct rt_error *read_name(const struct rt_json *object, const char *key, char ret[IFNAMSIZ])
{
	const char *name = NULL;
	struct rt_error *err = rt_json_get_string(object, key, &name);

	if (err || !name)
		return err;
	err = rt_device_name_check(key, name);
	if (err)
		return err;
	memset(ret, 0, IFNAMSIZ);
	memcpy(ret, name, strlen(name));
	return NULL;
}

static struct rt_error *read_leg(const struct rt_json *element, struct rt_network *network)
{
	const char *address = NULL, *gateway = NULL;
	struct rt_leg leg = { .gateway.family = AF_UNSPEC };
	enum rt_family family;
	struct rt_error *err;

	if (!json_is_object(element->value))
		return rt_json_fail(element, NULL, "must be an object");
	err = rt_json_get_string(element, "address", &address);
	if (!err && !address)
		err = rt_json_fail(element, "address", "is missing");
	if (!err)
		err = rt_json_get_string(element, "gateway", &gateway);
	if (!err)
		err = rt_prefix_parse(address, AF_UNSPEC, &leg.address);
	if (!err && gateway)
		err = rt_address_parse(gateway, leg.address.address.family, &leg.gateway);
	if (!err)
		err = rt_pool_check(&leg.address, &leg.address.address);
	if (err)
		return err;
	family = leg.address.address.family == AF_INET ? RT_IPV4 : RT_IPV6;
	if (network->legs[family].address.address.family != AF_UNSPEC)
		return rt_json_fail(element, "address", "is the second of its family");
	network->legs[family] = leg;
	return NULL;
}

static struct rt_error *read_list(const struct rt_json *object, const char *key, struct rt_network *network,
				  struct rt_error *(*add)(struct rt_network *network, const char *text))
{
	struct rt_json list;
	struct rt_error *err = rt_json_get_array(object, key, &list);

	for (size_t i = 0; !err && i < rt_json_count(&list); i++) {
		struct rt_json element = rt_json_element(&list, i);
		const char *text = NULL;

		err = rt_json_as_string(&element, &text);
		if (!err)
			err = add(network, text);
	}
	return err;
}

static struct rt_error *read_legs(const struct rt_json *object, struct rt_network *network)
{
	struct rt_json list;
	struct rt_error *err = rt_json_get_array(object, "addresses", &list);

	if (err || !list.value)
		return err;
	memset(network->legs, 0, sizeof(network->legs));
	for (size_t i = 0; !err && i < rt_json_count(&list); i++) {
		struct rt_json element = rt_json_element(&list, i);

		err = read_leg(&element, network);
	}
	return err;
}

struct rt_error *rt_network_from_json(const struct rt_json *object, struct rt_network *ret)
{
	struct rt_network network = *ret;
	const char *mac = NULL;
	struct rt_error *err;

	if (!json_is_object(object->value))
		return rt_json_fail(object, NULL, "must be an object");
	err = read_name(object, "bridge", network.bridge);
	if (!err)
		err = read_name(object, "ifname", network.ifname);
	if (!err)
		err = rt_json_get_string(object, "mac", &mac);
	if (!err && mac)
		err = rt_mac_parse(mac, &network.mac);
	if (!err)
		err = rt_json_get_u32(object, "mtu", &network.mtu);
	if (!err)
		err = rt_json_get_bool(object, "nat", &network.nat);
	if (!err)
		err = rt_json_get_bool(object, "hostless", &network.hostless);
	if (!err)
		err = read_legs(object, &network);
	if (!err)
		err = read_list(object, "ports", &network, rt_network_add_port);
	if (!err)
		err = read_list(object, "routes", &network, rt_network_add_route);
	if (err)
		return err;
	*ret = network;
	return NULL;
}
