#include "runtime/netns/filter.h"

#include "tests/unit/netns/expect.h"

static struct rt_record record_of(const char *address, const char *address6)
{
	struct rt_record record = { .id = "web", .network = { .bridge = "rt0" } };

	if (address)
		assert_null(rt_prefix_parse(address, AF_INET, &record.network.legs[RT_IPV4].address));
	if (address6)
		assert_null(rt_prefix_parse(address6, AF_INET6, &record.network.legs[RT_IPV6].address));
	return record;
}

static char *text_of(const struct rt_record *records, size_t count)
{
	char *text = NULL;

	assert_null(rt_filter_text("t", records, count, &text));
	return text;
}

static void where_nothing_is_wanted_the_table_goes(void **state)
{
	struct rt_record record = record_of("10.0.0.5/24", NULL);
	_cleanup_free_ char *text = text_of(&record, 1), *none = text_of(NULL, 0);

	assert_false(rt_filter_is_needed(&record));
	assert_string_equal(text, "add table inet t\ndelete table inet t\n");
	assert_string_equal(none, text);
}

static void nat_is_for_what_leaves_the_bridge(void **state)
{
	struct rt_record record = record_of("10.0.0.5/24", "fd00::5/64");
	_cleanup_free_ char *text = NULL;

	record.network.nat = true;
	text = text_of(&record, 1);
	assert_non_null(strstr(text, "flush table inet t\n"));
	assert_non_null(strstr(text, "add rule inet t postrouting ip saddr 10.0.0.5 oifname != \"rt0\" masquerade\n"));
	assert_non_null(strstr(text, "add rule inet t postrouting ip6 saddr fd00::5 oifname != \"rt0\" masquerade\n"));
	assert_null(strstr(text, "dnat"));
}

static void a_port_without_an_address_is_published_in_both_families(void **state)
{
	struct rt_record record = record_of("10.0.0.5/24", "fd00::5/64");
	_cleanup_free_ char *text = NULL;

	assert_null(rt_network_add_port(&record.network, "8080:80"));
	text = text_of(&record, 1);
	assert_non_null(strstr(text, "prerouting meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to 10.0.0.5:80\n"));
	assert_non_null(strstr(text, "output meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to 10.0.0.5:80\n"));
	assert_non_null(strstr(text, "ip6 daddr != ::1 fib daddr type local tcp dport 8080 dnat ip6 to [fd00::5]:80\n"));
	assert_non_null(strstr(text, "guard iifname \"rt0\" ip daddr 127.0.0.0/8 drop\n"));
}

static void a_port_with_an_address_is_published_there_alone(void **state)
{
	struct rt_record record = record_of("10.0.0.5/24", "fd00::5/64");
	_cleanup_free_ char *text = NULL;

	assert_null(rt_network_add_port(&record.network, "[2001:db8::1]:53:5353/udp"));
	text = text_of(&record, 1);
	assert_non_null(strstr(text, "prerouting ip6 daddr 2001:db8::1 udp dport 53 dnat ip6 to [fd00::5]:5353\n"));
	assert_null(strstr(text, "10.0.0.5"));
}

static void the_table_is_the_state_directorys(void **state)
{
	char usual[RT_FILTER_NAME_ROOM], one[RT_FILTER_NAME_ROOM], other[RT_FILTER_NAME_ROOM];

	rt_filter_name("/run/rt-netns", usual);
	rt_filter_name("/run/a", one);
	rt_filter_name("/run/b", other);
	assert_string_equal(usual, "rt_netns");
	assert_string_not_equal(one, other);
	assert_int_equal(strncmp(one, "rt_netns_", 9), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_nothing_is_wanted_the_table_goes),
		cmocka_unit_test(nat_is_for_what_leaves_the_bridge),
		cmocka_unit_test(a_port_without_an_address_is_published_in_both_families),
		cmocka_unit_test(a_port_with_an_address_is_published_there_alone),
		cmocka_unit_test(the_table_is_the_state_directorys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
