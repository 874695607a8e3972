#include "runtime/netns/pool.h"

#include "tests/unit/netns/expect.h"

#include <sys/socket.h>

static struct rt_prefix prefix_of(const char *text)
{
	struct rt_prefix prefix;

	assert_null(rt_prefix_parse(text, AF_UNSPEC, &prefix));
	return prefix;
}

static struct rt_address address_of(const char *text)
{
	struct rt_address address;

	assert_null(rt_address_parse(text, AF_UNSPEC, &address));
	return address;
}

/* Takes addresses until there are none, and tells how many there were; each is checked. */
static size_t drain(const char *text)
{
	struct rt_address *taken = calloc(70000, sizeof(*taken));
	struct rt_pool pool = { .prefix = prefix_of(text), .taken = taken };
	struct rt_address address;
	struct rt_error *err;
	char name[16];
	size_t count;

	for (;; pool.taken_count++) {
		snprintf(name, sizeof(name), "c%zu", pool.taken_count);
		err = rt_pool_choose(&pool, name, &address);
		if (err)
			break;
		assert_false(rt_pool_is_taken(&pool, &address));
		assert_null(rt_pool_check(&pool.prefix, &address));
		taken[pool.taken_count] = address;
	}
	expect_error(err, "no address is left in");
	count = pool.taken_count;
	free(taken);
	return count;
}

static void every_address_is_given_once_and_then_none(void **state)
{
	assert_int_equal(drain("10.0.0.0/24"), 254);
	assert_int_equal(drain("10.0.0.0/30"), 2);
	assert_int_equal(drain("10.0.0.0/31"), 2);
	assert_int_equal(drain("10.0.0.7/32"), 1);
	assert_int_equal(drain("fd00::/120"), 255);
	assert_int_equal(drain("fd00::/127"), 2);
	assert_int_equal(drain("fd00::/128"), 1);
}

static void the_same_name_gets_the_same_address(void **state)
{
	struct rt_pool pool = { .prefix = prefix_of("172.19.0.0/16") };
	struct rt_address first, again, other;

	assert_null(rt_pool_choose(&pool, "web", &first));
	assert_null(rt_pool_choose(&pool, "web", &again));
	assert_null(rt_pool_choose(&pool, "db", &other));
	assert_true(rt_address_equal(&first, &again));
	assert_false(rt_address_equal(&first, &other));
	pool.taken = &first;
	pool.taken_count = 1;
	assert_null(rt_pool_choose(&pool, "web", &again));
	assert_false(rt_address_equal(&first, &again));
}

static void large_prefixes_are_no_work(void **state)
{
	static const char *const texts[] = { "0.0.0.0/0", "10.0.0.0/8", "::/0", "fd00::/8", "fd00::/64" };
	struct rt_address address;

	for (size_t i = 0; i < RT_ARRAY_SIZE(texts); i++) {
		struct rt_pool pool = { .prefix = prefix_of(texts[i]) };

		assert_null(rt_pool_choose(&pool, "web", &address));
		assert_true(rt_prefix_contains(&pool.prefix, &address));
	}
}

static void the_gateway_is_the_first_host(void **state)
{
	static const struct {
		const char *prefix, *gateway;
	} known[] = { { "172.19.0.0/16", "172.19.0.1" }, { "10.0.0.128/25", "10.0.0.129" }, { "10.0.0.0/31", "10.0.0.0" },
		      { "fd00::77/64", "fd00::1" } };

	for (size_t i = 0; i < RT_ARRAY_SIZE(known); i++) {
		struct rt_prefix prefix = prefix_of(known[i].prefix);
		struct rt_address gateway = rt_pool_gateway(&prefix);

		assert_string_equal(rt_address_text(&gateway).text, known[i].gateway);
	}
	assert_int_equal(rt_pool_gateway(&(struct rt_prefix){ address_of("10.0.0.1"), 32 }).family, AF_UNSPEC);
}

static void addresses_with_a_meaning_are_no_hosts(void **state)
{
	struct rt_prefix prefix = prefix_of("10.0.0.0/24"), point = prefix_of("10.0.0.0/31"), six = prefix_of("fd00::/64");
	struct rt_address address = address_of("10.0.0.0");

	expect_error(rt_pool_check(&prefix, &address), "address 10.0.0.0 is that of the network 10.0.0.0/24 itself");
	assert_null(rt_pool_check(&point, &address));
	address = address_of("10.0.0.255");
	expect_error(rt_pool_check(&prefix, &address), "is the broadcast address of 10.0.0.0/24");
	address = address_of("10.0.1.1");
	expect_error(rt_pool_check(&prefix, &address), "address 10.0.1.1 is not in 10.0.0.0/24");
	address = address_of("fd00::");
	expect_error(rt_pool_check(&six, &address), "itself");
	address = address_of("fd00::ffff:ffff:ffff:ffff");
	assert_null(rt_pool_check(&six, &address));
}

static void hardware_addresses_follow_from_the_address(void **state)
{
	struct rt_address address = address_of("172.19.0.5");
	struct rt_mac mac = rt_pool_mac(&address), six;

	assert_string_equal(rt_mac_text(&mac).text, "02:72:ac:13:00:05");
	address = address_of("fd00::5");
	six = rt_pool_mac(&address);
	assert_int_equal(six.bytes[0], 2);
	address = address_of("fd00::6");
	mac = rt_pool_mac(&address);
	assert_memory_not_equal(&mac, &six, sizeof(mac));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_address_is_given_once_and_then_none),
		cmocka_unit_test(the_same_name_gets_the_same_address),
		cmocka_unit_test(large_prefixes_are_no_work),
		cmocka_unit_test(the_gateway_is_the_first_host),
		cmocka_unit_test(addresses_with_a_meaning_are_no_hosts),
		cmocka_unit_test(hardware_addresses_follow_from_the_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
