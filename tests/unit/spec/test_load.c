#include "tests/unit/spec/spec_test.h"

#include <fcntl.h>

static void the_smallest_config_loads(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(CONFIG());

	assert_string_equal(spec->oci_version, "1.3.0");
	assert_string_equal(spec->root_path, "rootfs");
	assert_false(spec->root_readonly);
	assert_false(spec->has_process);
	assert_null(spec->hostname);
	assert_null(spec->cgroups_path);
	assert_false(spec->seccomp.present);
}

static void a_document_that_is_not_json_is_refused_by_line(void **state)
{
	static const struct refusal list[] = {
		{"", "'test' is not valid JSON: line 1"},
		{"{\n'ociVersion': }", "'test' is not valid JSON: line 2"},
		{"[]", "'test' must be a JSON object"},
		{"7", "'test' must be a JSON object"},
		{"{'ociVersion':'1.0.0','ociVersion':'1.0.0'}", "duplicate"},
		{"{} {}", "'test' is not valid JSON"},
	};

	assert_all_refused(list);
}

static void the_version_must_be_one_of_this_specification(void **state)
{
	static const char *const good[] = {"1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.0-rc.1+build.5", "1.9.0"};
	static const char *const bad[] = {"1", "1.0", "1.0.", "1.0.0-", "01.0.0", "1.0.x", "1.0.0 ", "v1.0.0"};
	char config[128];

	for (size_t i = 0; i < RT_ARRAY_SIZE(good); i++) {
		snprintf(config, sizeof(config), "{'ociVersion':'%s','root':{'path':'r'}}", good[i]);
		rt_spec_free(load(config));
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		snprintf(config, sizeof(config), "{'ociVersion':'%s','root':{'path':'r'}}", bad[i]);
		assert_refused(config, "'ociVersion' must be a version such as '1.3.0'");
	}
	assert_refused("{'ociVersion':'2.0.0'}", "'ociVersion' must be of version 1 of the specification");
	assert_refused("{'root':{'path':'r'}}", "'ociVersion' is required");
}

static void a_root_is_required(void **state)
{
	static const struct refusal list[] = {
		{"{'ociVersion':'1.0.0'}", "'root' is required"},
		{"{'ociVersion':'1.0.0','root':{}}", "'root.path' is required"},
		{"{'ociVersion':'1.0.0','root':{'path':''}}", "'root.path' is required"},
		{"{'ociVersion':'1.0.0','root':{'path':'a\\u0000b'}}", "u0000 is not allowed"},
		{"{'ociVersion':'1.0.0','root':{'path':'r','readonly':1}}", "'root.readonly' must be true or false"},
	};
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load("{'ociVersion':'1.0.0','root':{'path':'/r','readonly':true}}");

	assert_true(spec->root_readonly);
	assert_all_refused(list);
}

static void unknown_fields_are_ignored(void **state)
{
	rt_spec_free(load(CONFIG(",'windows':{'x':1},'new':[1],'linux':{'later':{'a':null}}")));
}

static void null_is_absent(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(CONFIG(",'process':null,'mounts':null,'hooks':null,'hostname':null,'linux':{'resources':null}"));

	assert_false(spec->has_process);
	assert_int_equal(spec->mount_count, 0);
}

static void hooks_of_every_kind_are_read(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(CONFIG(
		",'hooks':{'prestart':[{'path':'/a','args':['a','b'],'env':['X=1'],'timeout':5},{'path':'/b'}],"
		"'createRuntime':[{'path':'/c'}],'createContainer':[{'path':'/d'}],'startContainer':[{'path':'/e'}],"
		"'poststart':[{'path':'/f'}],'poststop':[{'path':'/g'}]}"));
	const struct rt_spec_hook *first = spec->hooks[RT_HOOK_PRESTART].entries;

	assert_int_equal(spec->hooks[RT_HOOK_PRESTART].count, 2);
	assert_string_equal(first->path, "/a");
	assert_string_equal(first->args[1], "b");
	assert_null(first->args[2]);
	assert_string_equal(first->env[0], "X=1");
	assert_int_equal(first->timeout_s, 5);
	assert_null(first[1].args);
	assert_null(first[1].env);
	assert_int_equal(first[1].timeout_s, 0);
	for (int kind = 1; kind < RT_HOOK_KINDS; kind++)
		assert_int_equal(spec->hooks[kind].count, 1);
	assert_string_equal(spec->hooks[RT_HOOK_POSTSTOP].entries->path, "/g");
}

static void wrong_hooks_are_refused(void **state)
{
	static const struct refusal list[] = {
		{CONFIG(",'hooks':[]"), "'hooks' must be an object"},
		{CONFIG(",'hooks':{'poststop':[{}]}"), "'hooks.poststop[0].path' is required"},
		{CONFIG(",'hooks':{'poststop':[{'path':'a'}]}"),
		 "'hooks.poststop[0].path' must be an absolute path, not 'a'"},
		{CONFIG(",'hooks':{'prestart':[{'path':'/a','timeout':0}]}"),
		 "'hooks.prestart[0].timeout' must be above 0"},
		{CONFIG(",'hooks':{'prestart':[{'path':'/a','timeout':-3}]}"), "timeout' must be above 0"},
		{CONFIG(",'hooks':{'prestart':[3]}"), "'hooks.prestart[0]' must be an object"},
	};

	assert_all_refused(list);
}

static void annotations_are_strings_by_name(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(CONFIG(",'annotations':{'a.b':'c','empty':''}"));

	assert_string_equal(rt_spec_annotation(spec, "a.b"), "c");
	assert_string_equal(rt_spec_annotation(spec, "empty"), "");
	assert_null(rt_spec_annotation(spec, "other"));
	assert_refused(CONFIG(",'annotations':{'a':1}"), "'annotations.a' must be a string");
	assert_refused(CONFIG(",'annotations':{'':'x'}"), "'annotations' must not have an empty key");
}

static void a_bare_process_loads_for_exec(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load_with(rt_spec_load_process, "{'cwd':'/','args':['ls','-l'],'user':{'uid':7,'gid':8}}");

	assert_true(spec->has_process);
	assert_string_equal(spec->process.args[1], "-l");
	assert_int_equal(spec->process.user.uid, 7);
	assert_refused_by(rt_spec_load_process, "{'cwd':'/'}", "'args' is required");
	assert_refused_by(rt_spec_load_process, "{'args':['a']}", "'cwd' is required");
}

static void bare_resources_load_for_update(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load_with(rt_spec_load_resources, "{'memory':{'limit':4096},'pids':{'limit':-7}}");

	assert_int_equal(*spec->resources.memory.limit, 4096);
	assert_int_equal(*spec->resources.pids_limit, -1);
	assert_refused_by(rt_spec_load_resources, "{'memory':7}", "'memory' must be an object");
}

static void a_file_that_is_not_there_is_named(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	_cleanup_error_ struct rt_error *err = rt_spec_load_file("/nonexistent/config.json", &spec);
	_cleanup_free_ char *why = rt_error_text(err);

	assert_non_null(err);
	assert_int_equal(err->code, RT_SYSTEM);
	assert_int_equal(err->errnum, ENOENT);
	assert_non_null(strstr(why, "/nonexistent/config.json"));
}

static void a_file_loads(void **state)
{
	char path[] = "/tmp/rt-test-load-XXXXXX";
	int fd = mkstemp(path);
	const char text[] = "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"x\"}}";
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	struct rt_error *err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	err = rt_spec_load_file(path, &spec);
	unlink(path);
	assert_null(err);
	assert_string_equal(spec->root_path, "x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_smallest_config_loads),
		cmocka_unit_test(a_document_that_is_not_json_is_refused_by_line),
		cmocka_unit_test(the_version_must_be_one_of_this_specification),
		cmocka_unit_test(a_root_is_required),
		cmocka_unit_test(unknown_fields_are_ignored),
		cmocka_unit_test(null_is_absent),
		cmocka_unit_test(hooks_of_every_kind_are_read),
		cmocka_unit_test(wrong_hooks_are_refused),
		cmocka_unit_test(annotations_are_strings_by_name),
		cmocka_unit_test(a_bare_process_loads_for_exec),
		cmocka_unit_test(bare_resources_load_for_update),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
		cmocka_unit_test(a_file_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
