#include "tests/unit/spec/spec_test.h"

static struct rt_spec *load_template(bool rootless)
{
	_cleanup_json_ json_t *config = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_spec *spec = NULL;

	assert_null(rt_spec_template(rootless, 1000, 1001, &config));
	text = json_dumps(config, 0);
	assert_non_null(text);
	assert_null(rt_spec_load_text(text, strlen(text), "template", &spec));
	return spec;
}

static void the_template_is_a_valid_config(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load_template(false);

	assert_string_equal(spec->oci_version, RT_SPEC_VERSION);
	assert_true(spec->process.terminal && spec->root_readonly);
	assert_string_equal(spec->process.args[0], "sh");
	assert_int_equal(spec->mount_count, 7);
	assert_true(spec->namespaces[RT_NS_NETWORK].wanted);
	assert_false(spec->namespaces[RT_NS_USER].wanted);
	assert_int_equal(spec->resources.device_count, 1);
}

static void a_users_template_maps_the_user_to_root(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load_template(true);

	assert_true(spec->namespaces[RT_NS_USER].wanted);
	assert_false(spec->namespaces[RT_NS_NETWORK].wanted);
	assert_int_equal(spec->uid_mappings.entries[0].host_id, 1000);
	assert_int_equal(spec->gid_mappings.entries[0].host_id, 1001);
	assert_int_equal(spec->resources.device_count, 0);
}

static void a_users_template_needs_no_privilege_to_mount(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load_template(true);

	for (size_t i = 0; i < spec->mount_count; i++) {
		const struct rt_spec_mount *mount = &spec->mounts[i];

		for (size_t j = 0; j < mount->option_count; j++)
			assert_int_not_equal(strncmp(mount->options[j], "gid=", 4), 0);
		if (strcmp(mount->destination, "/sys") == 0) {
			assert_string_equal(mount->source, "/sys");
			assert_string_equal(mount->options[0], "rbind");
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_template_is_a_valid_config),
		cmocka_unit_test(a_users_template_maps_the_user_to_root),
		cmocka_unit_test(a_users_template_needs_no_privilege_to_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
