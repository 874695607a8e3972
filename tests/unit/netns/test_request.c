#include "runtime/netns/request.h"

#include "tests/unit/netns/expect.h"

static struct rt_request request_of(const struct rt_request_words *words)
{
	struct rt_request request;

	assert_null(rt_request_make(words, NULL, &request));
	return request;
}

static struct rt_network network_with(const char *address, const char *gateway)
{
	struct rt_network network = { .mac = { { 2, 9, 9, 9, 9, 9 } } };
	enum rt_family family = strchr(address, ':') ? RT_IPV6 : RT_IPV4;

	assert_null(rt_prefix_parse(address, AF_UNSPEC, &network.legs[family].address));
	if (gateway)
		assert_null(rt_address_parse(gateway, AF_UNSPEC, &network.legs[family].gateway));
	return network;
}

static void without_words_there_are_defaults(void **state)
{
	struct rt_request request = request_of(&(struct rt_request_words){ 0 });

	assert_string_equal(request.network.bridge, "rt0");
	assert_string_equal(request.network.ifname, "eth0");
	assert_string_equal(rt_prefix_text(&request.pools[RT_IPV4]).text, "172.19.0.0/16");
	assert_int_equal(request.pools[RT_IPV6].address.family, AF_UNSPEC);
	assert_int_equal(request.network.legs[RT_IPV4].address.address.family, AF_UNSPEC);
	assert_false(rt_mac_is_set(&request.network.mac));
}

static void a_fixed_address_is_of_the_subnet_or_has_its_own(void **state)
{
	struct rt_request request = request_of(&(struct rt_request_words){ .ip = "172.19.0.9" });

	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV4].address).text, "172.19.0.9/16");
	request = request_of(&(struct rt_request_words){ .ip = "10.0.0.9/24", .ip6 = "fd00::9/64" });
	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV4].address).text, "10.0.0.9/24");
	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV6].address).text, "fd00::9/64");
}

static void what_contradicts_itself_is_refused(void **state)
{
	static const char *const port[] = { "80:80", NULL };
	const struct {
		struct rt_request_words words;
		const char *text;
	} bad[] = {
		{ { .subnet = "none" }, "would get no address" },
		{ { .subnet = "none", .ip = "10.0.0.1" }, "has no subnet" },
		{ { .gateway6 = "fd00::1" }, "gateway fd00::1 is of no use" },
		{ { .gateway = "10.0.0.1" }, "address 10.0.0.1 is not in 172.19.0.0/16" },
		{ { .ip = "172.19.0.9", .gateway = "172.19.0.9" }, "address 172.19.0.9 is the gateway's" },
		{ { .hostless = true, .hostless_given = true, .nat = true, .nat_given = true }, "--hostless excludes" },
		{ { .hostless = true, .hostless_given = true, .publish = port }, "port '80:80/tcp' cannot be published" },
		{ { .ifname = "lo" }, "is the loopback device" },
		{ { .mtu = 67 }, "not 67" },
	};
	struct rt_request request;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(rt_request_make(&bad[i].words, NULL, &request), bad[i].text);
}

static void what_was_saved_counts_less_than_options(void **state)
{
	struct rt_network saved = network_with("10.0.0.5/24", "10.0.0.1");
	struct rt_request request;

	snprintf(saved.bridge, sizeof(saved.bridge), "br7");
	saved.nat = true;
	assert_null(rt_request_make(&(struct rt_request_words){ 0 }, &saved, &request));
	assert_string_equal(request.network.bridge, "br7");
	assert_true(request.network.nat);
	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV4].address).text, "10.0.0.5/24");
	assert_int_equal(request.pools[RT_IPV4].address.family, AF_UNSPEC);
	assert_null(rt_request_make(&(struct rt_request_words){ .bridge = "br8", .nat_given = true, .ip = "10.0.0.6/24" }, &saved, &request));
	assert_string_equal(request.network.bridge, "br8");
	assert_false(request.network.nat);
	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV4].address).text, "10.0.0.6/24");
	assert_int_equal(request.network.legs[RT_IPV4].gateway.family, AF_UNSPEC);
}

static void an_annotation_counts_more_than_options(void **state)
{
	struct rt_network annotated = network_with("10.0.0.5/24", "10.0.0.1");
	struct rt_request request = request_of(&(struct rt_request_words){ .ip = "172.19.0.9", .subnet6 = "fd00::/64", .mac = "02:00:00:00:00:01" });

	rt_request_follow(&request, &annotated);
	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV4].address).text, "10.0.0.5/24");
	assert_int_equal(request.network.mac.bytes[1], 9);
	assert_int_equal(request.network.legs[RT_IPV6].address.address.family, AF_UNSPEC);
	assert_int_equal(request.pools[RT_IPV6].address.family, AF_INET6);
}

static void the_gateway_of_an_annotation_is_but_a_wish(void **state)
{
	struct rt_network annotated = network_with("10.0.0.5/24", "10.0.0.1");
	struct rt_request request = request_of(&(struct rt_request_words){ 0 });

	rt_request_follow(&request, &annotated);
	assert_string_equal(rt_address_text(&request.network.legs[RT_IPV4].gateway).text, "10.0.0.1");
	assert_true(request.gateway_is_wish[RT_IPV4]);
	assert_false(request.gateway_is_wish[RT_IPV6]);
	request = request_of(&(struct rt_request_words){ .subnet = "10.0.0.0/24", .gateway = "10.0.0.2" });
	rt_request_follow(&request, &annotated);
	assert_string_equal(rt_address_text(&request.network.legs[RT_IPV4].gateway).text, "10.0.0.2");
	assert_false(request.gateway_is_wish[RT_IPV4]);
	request = request_of(&(struct rt_request_words){ .hostless = true, .hostless_given = true });
	rt_request_follow(&request, &annotated);
	assert_string_equal(rt_address_text(&request.network.legs[RT_IPV4].gateway).text, "10.0.0.1");
	request = request_of(&(struct rt_request_words){ .hostless = true, .hostless_given = true, .gateway = "172.19.0.3" });
	rt_request_follow(&request, &annotated);
	assert_string_equal(rt_address_text(&request.network.legs[RT_IPV4].gateway).text, "10.0.0.1");
}

static void an_earlier_address_is_kept_where_the_pool_has_it(void **state)
{
	struct rt_network earlier = network_with("172.19.3.4/16", "172.19.0.1");
	struct rt_request request = request_of(&(struct rt_request_words){ 0 });

	rt_request_keep(&request, &earlier);
	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV4].address).text, "172.19.3.4/16");
	assert_int_equal(request.network.mac.bytes[1], 9);
	request = request_of(&(struct rt_request_words){ .subnet = "10.0.0.0/24" });
	rt_request_keep(&request, &earlier);
	assert_int_equal(request.network.legs[RT_IPV4].address.address.family, AF_UNSPEC);
	assert_false(rt_mac_is_set(&request.network.mac));
	request = request_of(&(struct rt_request_words){ .ip = "172.19.0.9", .mac = "02:00:00:00:00:01" });
	rt_request_keep(&request, &earlier);
	assert_string_equal(rt_prefix_text(&request.network.legs[RT_IPV4].address).text, "172.19.0.9/16");
	assert_int_equal(request.network.mac.bytes[1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_words_there_are_defaults),
		cmocka_unit_test(a_fixed_address_is_of_the_subnet_or_has_its_own),
		cmocka_unit_test(what_contradicts_itself_is_refused),
		cmocka_unit_test(what_was_saved_counts_less_than_options),
		cmocka_unit_test(an_annotation_counts_more_than_options),
		cmocka_unit_test(the_gateway_of_an_annotation_is_but_a_wish),
		cmocka_unit_test(an_earlier_address_is_kept_where_the_pool_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
