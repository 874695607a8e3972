#include "runtime/cgroup/systemd_properties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char *limits(const struct rt_spec_resources *resources, bool v2)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_null(rt_properties_limits(out, resources, v2));
	fclose(out);
	return text;
}

static void limits_have_the_names_of_the_machine_s_kind(void **state)
{
	const int64_t limit = 1 << 20, swap = 3 << 20, pids = 10;
	const uint64_t shares = 1024;
	const struct rt_spec_resources resources = {
		.memory = { .limit = &limit, .swap = &swap }, .cpu = { .shares = &shares }, .pids_limit = &pids,
	};
	char *v1 = limits(&resources, false), *v2 = limits(&resources, true);

	assert_string_equal(v1, "MemoryLimit\tt\t0\t1048576\nCPUShares\tt\t0\t1024\nTasksMax\tt\t0\t10\n");
	assert_string_equal(v2, "MemoryMax\tt\t0\t1048576\nMemorySwapMax\tt\t0\t2097152\nCPUWeight\tt\t0\t100\nTasksMax\tt\t0\t10\n");
	free(v1);
	free(v2);
}

static void unlimited_is_the_largest_number(void **state)
{
	const int64_t unlimited = -1;
	const struct rt_spec_resources resources = {
		.memory = { .limit = &unlimited }, .cpu = { .quota = &unlimited }, .pids_limit = &unlimited,
	};
	char *text = limits(&resources, true);

	assert_string_equal(text, "MemoryMax\tt\t0\t18446744073709551615\nCPUQuotaPerSecUSec\tt\t0\t18446744073709551615\n"
				  "TasksMax\tt\t0\t18446744073709551615\n");
	free(text);
}

static void a_quota_is_rounded_up_to_what_systemd_keeps(void **state)
{
	const int64_t quota = 12345;
	const uint64_t period = 50000;
	const struct rt_spec_resources resources = { .cpu = { .quota = &quota, .period = &period } };
	char *text = limits(&resources, true);

	assert_string_equal(text, "CPUQuotaPeriodUSec\tt\t242\t50000\nCPUQuotaPerSecUSec\tt\t0\t250000\n");
	free(text);
}

static void cpu_lists_become_masks(void **state)
{
	const struct rt_spec_resources resources = { .cpu = { .cpus = "0-2,9,17", .mems = "1" } };
	char *text = limits(&resources, true);

	assert_string_equal(text, "AllowedCPUs\tay\t244\t070202\nAllowedMemoryNodes\tay\t244\t02\n");
	free(text);
}

static void nonsense_in_a_cpu_list_is_an_error(void **state)
{
	static const char *const bad[] = { "x", "1-", "3-1", "1,,2", "1;2", "99999", "0-99999999999999999999", "-1" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		const struct rt_spec_resources resources = { .cpu = { .cpus = bad[i] } };
		char *text = NULL;
		size_t size;
		FILE *out = open_memstream(&text, &size);
		struct rt_error *err = rt_properties_limits(out, &resources, true);

		fclose(out);
		free(text);
		assert_non_null(err);
		assert_non_null(strstr(err->message, "'linux.resources.cpu.cpus'"));
		rt_error_free(err);
	}
}

static void devices_are_named_by_number_and_every_container_has_the_defaults(void **state)
{
	const struct rt_spec_device_rule fuse = {
		.allow = true, .type = 'c', .major = 10, .minor = 229, .read = true, .write = true,
	};
	const struct rt_spec_resources resources = { .devices = &fuse, .device_count = 1 };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_null(rt_properties_devices(out, &resources));
	fclose(out);
	assert_non_null(strstr(text, "DevicePolicy\ts\t0\tstrict\n"));
	assert_non_null(strstr(text, "/dev/char/10:229\x1frw"));
	assert_non_null(strstr(text, "/dev/char/1:3\x1frwm"));
	assert_non_null(strstr(text, "char-*\x1fm"));
	free(text);
}

static void expect_annotation(const char *name, const char *value, const char *expected)
{
	char key[128], *text = NULL;
	struct rt_spec_key_value annotation = { .key = key, .value = value };
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct rt_error *err;

	snprintf(key, sizeof(key), "org.systemd.property.%s", name);
	err = rt_properties_annotation(out, &annotation);
	fclose(out);
	if (expected) {
		assert_null(err);
		assert_string_equal(text, expected);
	} else {
		assert_non_null(err);
		assert_int_equal(err->code, RT_CONFIG);
	}
	rt_error_free(err);
	free(text);
}

static void annotations_become_properties(void **state)
{
	expect_annotation("Description", "'a b'", "Description\ts\t0\ta b\n");
	expect_annotation("Description", "\"it's\"", "Description\ts\t0\tit's\n");
	expect_annotation("CPUAccounting", "true", "CPUAccounting\tb\t0\t1\n");
	expect_annotation("MemoryMax", "uint64 5", "MemoryMax\tt\t0\t5\n");
	expect_annotation("Nice", "-5", "Nice\ti\t0\t-5\n");
	expect_annotation("After", "['a.service', 'b.service']", "After\tas\t0\ta.service\x1f" "b.service\n");
	expect_annotation("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec\tt\t0\t5\n");
}

static void seconds_become_microseconds(void **state)
{
	expect_annotation("TimeoutStopSec", "90", "TimeoutStopUSec\tt\t0\t90000000\n");
}

static void annotations_that_make_no_sense_are_refused(void **state)
{
	expect_annotation("", "true", NULL);
	expect_annotation("lower", "true", NULL);
	expect_annotation("With Space", "true", NULL);
	expect_annotation("Tab\tName", "true", NULL);
	expect_annotation("Description", "bare", NULL);
	expect_annotation("Description", "'open", NULL);
	expect_annotation("Description", "'a' 'b'", NULL);
	expect_annotation("Description", "'a\nExecStart\ts\t0\tx'", NULL);
	expect_annotation("After", "['a'", NULL);
	expect_annotation("After", "['a',]", NULL);
	expect_annotation("Nice", "99999999999", NULL);
	expect_annotation("Nice", "byte 256", NULL);
}

static void other_annotations_are_none_of_our_business(void **state)
{
	struct rt_spec_key_value annotation = { .key = "io.example", .value = "x" };

	assert_null(rt_properties_annotation(stderr, &annotation));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_have_the_names_of_the_machine_s_kind),
		cmocka_unit_test(unlimited_is_the_largest_number),
		cmocka_unit_test(a_quota_is_rounded_up_to_what_systemd_keeps),
		cmocka_unit_test(cpu_lists_become_masks),
		cmocka_unit_test(nonsense_in_a_cpu_list_is_an_error),
		cmocka_unit_test(devices_are_named_by_number_and_every_container_has_the_defaults),
		cmocka_unit_test(annotations_become_properties),
		cmocka_unit_test(seconds_become_microseconds),
		cmocka_unit_test(annotations_that_make_no_sense_are_refused),
		cmocka_unit_test(other_annotations_are_none_of_our_business),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
