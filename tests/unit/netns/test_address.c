#include "runtime/netns/address.h"

#include "tests/unit/netns/expect.h"

#include <sys/socket.h>

static void what_was_parsed_is_printed_the_same(void **state)
{
	static const char *const prefixes[] = { "172.19.0.5/16", "0.0.0.0/0", "10.0.0.1/32", "fd00::5/64", "::/0", "2001:db8::/128" };
	struct rt_prefix prefix;

	for (size_t i = 0; i < RT_ARRAY_SIZE(prefixes); i++) {
		assert_null(rt_prefix_parse(prefixes[i], AF_UNSPEC, &prefix));
		assert_string_equal(rt_prefix_text(&prefix).text, prefixes[i]);
	}
}

static void bad_ones_are_quoted(void **state)
{
	struct rt_address address;
	struct rt_prefix prefix;
	char longer[RT_ADDRESS_ROOM + 3];

	memset(longer, '1', sizeof(longer));
	memcpy(longer + sizeof(longer) - 3, "/8", 3);
	expect_error(rt_address_parse("1.2.3", AF_UNSPEC, &address), "'1.2.3' is no address");
	expect_error(rt_address_parse("fd00::1", AF_INET, &address), "'fd00::1' is no IPv4 address");
	expect_error(rt_address_parse("1.2.3.4", AF_INET6, &address), "'1.2.3.4' is no IPv6 address");
	expect_error(rt_prefix_parse("1.2.3.4", AF_UNSPEC, &prefix), "'1.2.3.4' is no prefix");
	expect_error(rt_prefix_parse("1.2.3.4/33", AF_UNSPEC, &prefix), "not between 0 and 32");
	expect_error(rt_prefix_parse("::/129", AF_UNSPEC, &prefix), "not between 0 and 128");
	expect_error(rt_prefix_parse("1.2.3.4/", AF_UNSPEC, &prefix), "not between");
	expect_error(rt_prefix_parse("1.2.3.4/-1", AF_UNSPEC, &prefix), "not between");
	expect_error(rt_prefix_parse(longer, AF_UNSPEC, &prefix), "is no prefix");
}

static void hardware_addresses_are_six_bytes_of_one_device(void **state)
{
	static const char *const bad[] = { "", "02", "02:00:00:00:00", "02:00:00:00:00:0", "02:00:00:00:00:01:", "02:00:00:00:00:0g",
					   "02-00-00-00-00-01", "2:0:0:0:0:1" };
	struct rt_mac mac;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(rt_mac_parse(bad[i], &mac), "is no hardware address, such as");
	expect_error(rt_mac_parse("01:00:00:00:00:01", &mac), "a group's");
	expect_error(rt_mac_parse("00:00:00:00:00:00", &mac), "that a device can have");
	assert_null(rt_mac_parse("02:AB:cd:00:00:ff", &mac));
	assert_string_equal(rt_mac_text(&mac).text, "02:ab:cd:00:00:ff");
}

static void a_prefix_contains_what_starts_like_it(void **state)
{
	struct rt_prefix prefix;
	struct rt_address inside, outside;

	assert_null(rt_prefix_parse("10.1.2.3/22", AF_INET, &prefix));
	assert_null(rt_address_parse("10.1.3.255", AF_INET, &inside));
	assert_null(rt_address_parse("10.1.4.0", AF_INET, &outside));
	assert_true(rt_prefix_contains(&prefix, &inside));
	assert_false(rt_prefix_contains(&prefix, &outside));
	assert_null(rt_address_parse("fd00::1", AF_INET6, &outside));
	assert_false(rt_prefix_contains(&prefix, &outside));
	prefix = rt_prefix_network(&prefix);
	assert_string_equal(rt_prefix_text(&prefix).text, "10.1.0.0/22");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_parsed_is_printed_the_same),
		cmocka_unit_test(bad_ones_are_quoted),
		cmocka_unit_test(hardware_addresses_are_six_bytes_of_one_device),
		cmocka_unit_test(a_prefix_contains_what_starts_like_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
