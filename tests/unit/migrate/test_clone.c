#include "migrate/clone_cache.h"
#include "migrate/clone_config.h"
#include "migrate/clone_identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const words[] = { "rt-clone", "--clone-gone", "/run/rt/@clones/web2", NULL };
static const struct rt_clone_config clone = {
	.id = "web2", .rootfs = "/run/rt/@clones/web2/rootfs", .hostname = "two", .hook = "/usr/libexec/rt/rt-clone", .hook_args = words,
};

static json_t *config_of(const char *text)
{
	json_t *config = json_loads(text, 0, NULL);

	assert_non_null(config);
	return config;
}

/* The string at "a/b/0/c". */
static const char *at(const json_t *config, const char *path)
{
	char *copy = strdup(path), *rest = copy, *word;

	while (config && (word = strsep(&rest, "/")))
		config = json_is_array(config) ? json_array_get(config, (size_t)atoi(word)) : json_object_get(config, word);
	free(copy);
	return json_string_value(config);
}

static void a_clone_has_its_own_root_cgroup_and_name(void **state)
{
	_cleanup_json_ json_t *config = config_of(
		"{\"root\": {\"path\": \"rootfs\", \"readonly\": true}, \"hostname\": \"one\", \"linux\": {\"cgroupsPath\": \"/a/web1\"},"
		" \"annotations\": {\"org.rt.netns\": \"{}\", \"keep\": \"me\"}, \"hooks\": {\"poststop\": [{\"path\": \"/x\"}]}}");

	assert_null(rt_clone_config_apply(config, &clone));
	assert_string_equal(at(config, "root/path"), clone.rootfs);
	assert_true(json_is_true(json_object_get(json_object_get(config, "root"), "readonly")));
	assert_string_equal(at(config, "hostname"), "two");
	assert_string_equal(at(config, "linux/cgroupsPath"), "/a/web2");
	assert_null(at(config, "annotations/org.rt.netns"));
	assert_string_equal(at(config, "annotations/keep"), "me");
	assert_string_equal(at(config, "hooks/poststop/0/path"), "/x");
	assert_string_equal(at(config, "hooks/poststop/1/path"), clone.hook);
	assert_string_equal(at(config, "hooks/poststop/1/args/2"), words[2]);
}

static void any_form_of_cgroup_path_ends_in_the_id(void **state)
{
	static const char *const cases[][2] = {
		{ "web1", "web2" }, { "/web1", "/web2" }, { "machine.slice:rt:web1", "machine.slice:rt:web2" }, { "", "" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *config = json_pack("{s:{s:s}, s:{s:s}}", "root", "path", "r", "linux", "cgroupsPath", cases[i][0]);

		assert_null(rt_clone_config_apply(config, &clone));
		assert_string_equal(at(config, "linux/cgroupsPath"), cases[i][1]);
	}
}

static void a_config_without_a_root_is_refused(void **state)
{
	_cleanup_json_ json_t *config = config_of("{\"root\": 5}");
	_cleanup_error_ struct rt_error *err = rt_clone_config_apply(config, &clone);

	assert_non_null(err);
	assert_string_equal(err->message, "'root' must be an object");
}

static void a_clone_has_no_mount_of_its_root_as_the_layer_below_has_the_ids(void **state)
{
	_cleanup_json_ json_t *config = config_of("{\"root\": {\"path\": \"rootfs\"}, \"mounts\": [{\"destination\": \"/\"}, {\"destination\": \"/proc\"}]}");
	_cleanup_json_ json_t *without = config_of("{\"root\": {\"path\": \"rootfs\"}, \"mounts\": [{\"destination\": \"/x\"}, 7]}");

	assert_ptr_equal(rt_clone_root_mount(config), json_array_get(json_object_get(config, "mounts"), 0));
	assert_null(rt_clone_root_mount(without));
	assert_null(rt_clone_config_apply(config, &clone));
	assert_string_equal(at(config, "mounts/0/destination"), "/proc");
	assert_null(at(config, "mounts/1/destination"));
}

static void the_resume_command_is_an_array_of_strings(void **state)
{
	static const char *const bad[] = { "", "{}", "[]", "[1]", "[\"a\", null]", "reseed" };
	_cleanup_json_ json_t *config = json_pack("{s:{s:s}}", "annotations", RT_CLONE_RESUME, "[\"/bin/reseed\", \"a b\"]");
	_cleanup_json_ json_t *none = json_object();
	char **command = NULL;

	assert_null(rt_clone_resume_command(config, &command));
	assert_string_equal(command[0], "/bin/reseed");
	assert_string_equal(command[1], "a b");
	assert_null(command[2]);
	rt_clone_command_free(command);
	assert_null(rt_clone_resume_command(none, &command));
	assert_null(command);
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		struct rt_error *err;

		json_object_set_new(json_object_get(config, "annotations"), RT_CLONE_RESUME, json_string(bad[i]));
		err = rt_clone_resume_command(config, &command);
		assert_non_null(err);
		assert_int_equal(err->code, RT_CONFIG);
		rt_error_free(err);
	}
}

static void no_two_clones_are_told_the_same(void **state)
{
	_cleanup_free_ char *one = NULL, *two = NULL;
	_cleanup_json_ json_t *told = NULL;

	assert_null(rt_clone_identity_draw("web2", "warm", &one));
	assert_null(rt_clone_identity_draw("web2", "warm", &two));
	assert_string_not_equal(one, two);
	told = config_of(one);
	assert_string_equal(at(told, "id"), "web2");
	assert_string_equal(at(told, "snapshot"), "warm");
	assert_int_equal(strlen(at(told, "generation")), 32);
	assert_int_equal(strlen(at(told, "seed")), 64);
}

static void refused(Rt__Manifest *manifest, const char *reason)
{
	_cleanup_error_ struct rt_error *err = rt_clone_check_machine(manifest);

	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	assert_non_null(strstr(err->message, reason));
}

static void a_snapshot_of_another_machine_is_refused(void **state)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	_cleanup_free_ char *release = NULL, *vendor = NULL;

	assert_null(rt_manifest_new(40201, &manifest));
	assert_null(rt_clone_check_machine(manifest));
	release = strdup(manifest->maker->kernel_release);
	vendor = strdup(manifest->cpu->vendor);

	assert_null(rt_manifest_set(&manifest->maker->kernel_release, "2.6.39-4-amd64"));
	refused(manifest, "it was taken on kernel 2.6.39-4-amd64, this host runs ");
	assert_null(rt_manifest_set(&manifest->maker->kernel_release, release));
	assert_null(rt_manifest_set(&manifest->cpu->vendor, "Another"));
	refused(manifest, "it was taken on a processor of Another, this one is of ");
	assert_null(rt_manifest_set(&manifest->cpu->vendor, vendor));
	manifest->maker->page_size *= 4;
	refused(manifest, "it was taken with pages of ");
	manifest->maker->page_size /= 4;
	assert_null(rt_clone_check_machine(manifest));
	assert_null(rt_manifest_set(&manifest->maker->architecture, "vax"));
	refused(manifest, "it was taken on vax, this host is ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clone_has_its_own_root_cgroup_and_name),
		cmocka_unit_test(any_form_of_cgroup_path_ends_in_the_id),
		cmocka_unit_test(a_config_without_a_root_is_refused),
		cmocka_unit_test(a_clone_has_no_mount_of_its_root_as_the_layer_below_has_the_ids),
		cmocka_unit_test(the_resume_command_is_an_array_of_strings),
		cmocka_unit_test(no_two_clones_are_told_the_same),
		cmocka_unit_test(a_snapshot_of_another_machine_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
