#include "runtime/netns/record.h"

#include "runtime/base/str.h"
#include "tests/unit/netns/expect.h"

static struct rt_record example(void)
{
	struct rt_record record = { .id = "web", .phase = RT_RECORD_HELD, .pid = 7, .path = "/run/netns/x", .device = 4, .inode = UINT32_MAX,
				    .host_ifname = "rtx", .network = { .bridge = "rt0", .ifname = "eth0", .mac = { { 2, 0, 0, 0, 0, 1 } } } };

	assert_null(rt_prefix_parse("10.0.0.5/24", AF_INET, &record.network.legs[RT_IPV4].address));
	assert_null(rt_network_add_port(&record.network, "80:80"));
	return record;
}

static void a_record_is_read_as_it_was_written(void **state)
{
	struct rt_record record = example(), read;
	_cleanup_json_ json_t *json = NULL;
	struct rt_json root;

	assert_null(rt_record_to_json(&record, &json));
	root = rt_json_root(json);
	assert_null(rt_record_from_json(&root, &read));
	assert_memory_equal(&read.network.legs, &record.network.legs, sizeof(read.network.legs));
	assert_string_equal(read.id, "web");
	assert_int_equal(read.phase, RT_RECORD_HELD);
	assert_int_equal(read.pid, 7);
	assert_string_equal(read.path, "/run/netns/x");
	assert_true(read.device == 4 && read.inode == UINT32_MAX);
	assert_string_equal(read.host_ifname, "rtx");
	assert_int_equal(read.network.port_count, 1);
}

static void a_spoilt_field_is_named(void **state)
{
	static const struct {
		const char *key;
		json_t *(*value)(void);
		const char *words;
	} bad[] = {
		{ "version", json_null, "'version' is not 1" },
		{ "phase", json_true, "'phase' must be a string" },
		{ "phase", json_null, "'phase' is none that there is" },
		{ "id", json_null, "'' cannot be a container's id" },
		{ "inode", json_true, "'inode'" },
	};
	struct rt_record record = example();

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *json = NULL;
		struct rt_json root;

		assert_null(rt_record_to_json(&record, &json));
		assert_int_equal(json_object_set_new(json, bad[i].key, bad[i].value()), 0);
		root = rt_json_root(json);
		expect_error(rt_record_from_json(&root, &record), bad[i].words);
	}
}

static void ids_are_file_names_and_no_paths(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".x", "a/b", "../x", "a b", "a\n" };
	char longer[300];

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(rt_record_id_check(bad[i]), "cannot be a container's id");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	expect_error(rt_record_id_check(longer), "is too long");
	longer[64] = '\0';
	assert_null(rt_record_id_check(longer));
	assert_null(rt_record_id_check("a_b+c-d.e"));
}

static void the_hosts_device_follows_from_the_id(void **state)
{
	char a[IFNAMSIZ], b[IFNAMSIZ], again[IFNAMSIZ];

	rt_record_host_ifname("/run/x", "web", a);
	rt_record_host_ifname("/run/x", "web", again);
	rt_record_host_ifname("/run/x", "web2", b);
	assert_string_equal(a, again);
	assert_string_not_equal(a, b);
	rt_record_host_ifname("/run/y", "web", b);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 14);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_read_as_it_was_written),
		cmocka_unit_test(a_spoilt_field_is_named),
		cmocka_unit_test(ids_are_file_names_and_no_paths),
		cmocka_unit_test(the_hosts_device_follows_from_the_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
