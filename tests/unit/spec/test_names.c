#include "tests/unit/spec/spec_test.h"

#include <linux/capability.h>
#include <sched.h>

static void namespaces_have_a_name_a_flag_and_a_file(void **state)
{
	uint64_t flags = 0;

	assert_string_equal(rt_namespace_name(RT_NS_NETWORK), "network");
	assert_string_equal(rt_namespace_file(RT_NS_NETWORK), "net");
	assert_true(rt_namespace_flag(RT_NS_NETWORK) == CLONE_NEWNET);
	assert_string_equal(rt_namespace_file(RT_NS_MOUNT), "mnt");
	for (int kind = 0; kind < RT_NS_KINDS; kind++) {
		assert_non_null(rt_namespace_name((enum rt_namespace_kind)kind));
		assert_false(flags & rt_namespace_flag((enum rt_namespace_kind)kind));
		flags |= rt_namespace_flag((enum rt_namespace_kind)kind);
	}
}

static void hook_kinds_have_their_names(void **state)
{
	assert_string_equal(rt_hook_kind_name(RT_HOOK_PRESTART), "prestart");
	assert_string_equal(rt_hook_kind_name(RT_HOOK_CREATE_RUNTIME), "createRuntime");
	assert_string_equal(rt_hook_kind_name(RT_HOOK_POSTSTOP), "poststop");
}

static void capabilities_are_found_in_any_spelling(void **state)
{
	int cap = -1;

	assert_true(rt_cap_from_name("CAP_SYS_ADMIN", &cap));
	assert_int_equal(cap, CAP_SYS_ADMIN);
	assert_true(rt_cap_from_name("sys_chroot", &cap));
	assert_int_equal(cap, CAP_SYS_CHROOT);
	assert_true(rt_cap_from_name("cap_CHOWN", &cap));
	assert_int_equal(cap, CAP_CHOWN);
	assert_false(rt_cap_from_name("CAP_", &cap));
	assert_false(rt_cap_from_name("CAP_SYS_ADMINX", &cap));
	assert_int_equal(cap, CAP_CHOWN);
}

static void every_capability_of_the_headers_has_a_name(void **state)
{
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		int back = -1;

		assert_non_null(rt_cap_name(cap));
		assert_true(rt_cap_from_name(rt_cap_name(cap), &back));
		assert_int_equal(back, cap);
	}
	assert_null(rt_cap_name(-1));
	assert_null(rt_cap_name(63));
}

static void the_vocabulary_lists_only_what_loads(void **state)
{
	_cleanup_json_ json_t *features = NULL;
	json_t *seccomp, *word;
	char config[256];
	size_t i;

	assert_null(rt_spec_vocabulary(&features));
	assert_string_equal(json_string_value(json_object_get(features, "ociVersionMax")), RT_SPEC_VERSION);
	assert_int_equal(json_array_size(json_object_get(features, "hooks")), RT_HOOK_KINDS);
	seccomp = json_object_get(json_object_get(features, "linux"), "seccomp");
	assert_true(json_array_size(json_object_get(seccomp, "archs")) > 20);
	json_array_foreach(json_object_get(seccomp, "archs"), i, word) {
		snprintf(config, sizeof(config),
			 LINUX("'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','architectures':['%s']}"),
			 json_string_value(word));
		rt_spec_free(load(config));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(namespaces_have_a_name_a_flag_and_a_file),
		cmocka_unit_test(hook_kinds_have_their_names),
		cmocka_unit_test(capabilities_are_found_in_any_spelling),
		cmocka_unit_test(the_vocabulary_lists_only_what_loads),
		cmocka_unit_test(every_capability_of_the_headers_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
