#include "runtime/netns/network.h"

#include "tests/unit/netns/expect.h"

static void ports_are_printed_as_they_were_given(void **state)
{
	static const struct {
		const char *given, *printed;
	} known[] = {
		{ "8080:80", "8080:80/tcp" },
		{ "53:5353/udp", "53:5353/udp" },
		{ "10.0.0.1:8080:80/sctp", "10.0.0.1:8080:80/sctp" },
		{ "[fd00::1]:8080:80", "[fd00::1]:8080:80/tcp" },
		{ "0.0.0.0:1:65535", "0.0.0.0:1:65535/tcp" },
	};
	struct rt_port port;

	for (size_t i = 0; i < RT_ARRAY_SIZE(known); i++) {
		assert_null(rt_port_parse(known[i].given, &port));
		assert_string_equal(rt_port_text(&port).text, known[i].printed);
	}
}

static void bad_ports_are_quoted(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "port '' is not of the form" },
		{ "80", "is not of the form" },
		{ ":80", "between 1 and 65535" },
		{ "80:", "between 1 and 65535" },
		{ "0:80", "between 1 and 65535" },
		{ "80:65536", "between 1 and 65535" },
		{ "80:80/", "the protocol is tcp, udp or sctp, not ''" },
		{ "80:80/TCP", "not 'TCP'" },
		{ "fd00::1:80:80", "'fd00::1' is no IPv4 address" },
		{ "[1.2.3.4]:80:80", "is no IPv6 address" },
		{ "host:80:80", "'host' is no IPv4 address" },
		{ ":80:80", "'' is no IPv4 address" },
	};
	struct rt_port port;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(rt_port_parse(bad[i].text, &port), bad[i].words);
}

static void two_ports_collide_where_their_addresses_meet(void **state)
{
	static const struct {
		const char *a, *b;
		bool collide;
	} known[] = {
		{ "80:1", "80:2", true },
		{ "80:1", "81:1", false },
		{ "80:1", "80:1/udp", false },
		{ "80:1", "10.0.0.1:80:1", true },
		{ "0.0.0.0:80:1", "10.0.0.1:80:1", true },
		{ "0.0.0.0:80:1", "[::]:80:1", false },
		{ "[::]:80:1", "[fd00::1]:80:1", true },
		{ "80:1", "[fd00::1]:80:1", true },
		{ "10.0.0.1:80:1", "10.0.0.2:80:1", false },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(known); i++) {
		struct rt_port a, b;

		assert_null(rt_port_parse(known[i].a, &a));
		assert_null(rt_port_parse(known[i].b, &b));
		assert_int_equal(rt_port_collides(&a, &b), known[i].collide);
		assert_int_equal(rt_port_collides(&b, &a), known[i].collide);
	}
}

static void routes_lead_to_networks(void **state)
{
	struct rt_route route;

	assert_null(rt_route_parse("10.1.2.3/8=172.19.0.9", &route));
	assert_string_equal(rt_prefix_text(&route.destination).text, "10.0.0.0/8");
	expect_error(rt_route_parse("10.0.0.0/8", &route), "is not of the form PREFIX=GATEWAY");
	expect_error(rt_route_parse("10.0.0.0/8=fd00::1", &route), "'fd00::1' is no IPv4 address");
	expect_error(rt_route_parse("10.0.0.0=172.19.0.9", &route), "is no prefix");
}

static void device_names_are_such_as_the_kernel_and_nft_take(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "a b", "a:b", "eth%d", "sixteen-letters-", "a\"b", "a\n" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(rt_device_name_check("--bridge", bad[i]), "--bridge: ");
	assert_null(rt_device_name_check("--bridge", "fifteen-letters"));
	assert_null(rt_device_name_check("--bridge", "br-0.7_x"));
}

static const char document[] =
	"{\"bridge\": \"br0\", \"ifname\": \"net0\", \"mac\": \"02:00:00:00:00:01\", \"mtu\": 1400, \"nat\": true, \"hostless\": false,"
	" \"addresses\": [{\"address\": \"10.0.0.5/24\", \"gateway\": \"10.0.0.1\"}, {\"address\": \"fd00::5/64\"}],"
	" \"ports\": [\"80:80/tcp\", \"[::]:53:53/udp\"], \"routes\": [\"10.1.0.0/16=10.0.0.9\"]}";

static struct rt_error *read_text(const char *text, struct rt_network *ret)
{
	_cleanup_json_ json_t *json = NULL;
	struct rt_error *err = rt_json_parse(text, strlen(text), "it", &json);
	struct rt_json root = rt_json_root(json);

	return err ? err : rt_network_from_json(&root, ret);
}

static void json_is_read_and_written_alike(void **state)
{
	_cleanup_json_ json_t *written = json_object(), *expected = json_loads(document, 0, NULL);
	struct rt_network network = { .mtu = 0 };

	assert_null(read_text(document, &network));
	assert_null(rt_network_to_json(&network, written));
	assert_true(json_equal(written, expected));
}

static void bad_json_names_the_field(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "[]", "must be an object" },
		{ "{\"bridge\": 5}", "'bridge' must be a string" },
		{ "{\"bridge\": \"a/b\"}", "bridge: 'a/b' cannot be the name of a network device" },
		{ "{\"mac\": \"x\"}", "'x' is no hardware address" },
		{ "{\"mtu\": -1}", "'mtu'" },
		{ "{\"nat\": \"yes\"}", "'nat' must be" },
		{ "{\"addresses\": {}}", "'addresses' must be an array" },
		{ "{\"addresses\": [{}]}", "'addresses[0].address' is missing" },
		{ "{\"addresses\": [\"10.0.0.1/8\"]}", "'addresses[0]' must be an object" },
		{ "{\"addresses\": [{\"address\": \"10.0.0.0/8\"}]}", "itself" },
		{ "{\"addresses\": [{\"address\": \"10.0.0.1/8\"}, {\"address\": \"10.0.0.2/8\"}]}", "is the second of its family" },
		{ "{\"ports\": [\"x\"]}", "port 'x' is not of the form" },
		{ "{\"ports\": [\"80:80\", \"80:81\"]}", "want the same port of the host" },
		{ "{\"routes\": [7]}", "'routes[0]' must be a string" },
	};
	struct rt_network network, before;

	memset(&network, 0, sizeof(network));
	before = network;
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(read_text(bad[i].text, &network), bad[i].words);
	assert_memory_equal(&network, &before, sizeof(network));
}

static void there_is_a_most_of_ports(void **state)
{
	struct rt_network network = { .mtu = 0 };
	char text[32];

	for (int i = 0; i < RT_MOST_PORTS; i++) {
		snprintf(text, sizeof(text), "%d:80", i + 1);
		assert_null(rt_network_add_port(&network, text));
	}
	expect_error(rt_network_add_port(&network, "9999:80"), "128 ports at most");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_printed_as_they_were_given),
		cmocka_unit_test(bad_ports_are_quoted),
		cmocka_unit_test(two_ports_collide_where_their_addresses_meet),
		cmocka_unit_test(routes_lead_to_networks),
		cmocka_unit_test(device_names_are_such_as_the_kernel_and_nft_take),
		cmocka_unit_test(json_is_read_and_written_alike),
		cmocka_unit_test(bad_json_names_the_field),
		cmocka_unit_test(there_is_a_most_of_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
