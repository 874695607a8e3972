#include "runtime/bundle/config.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const none[] = { NULL };
static const struct rt_image_config empty = { .env = none, .entrypoint = none, .cmd = none, .volumes = none, .ports = none, .os_features = none };

/* Every config we write must be one that we load. */
static json_t *make(const struct rt_bundle_config *options)
{
	_cleanup_free_ char *text = NULL;
	struct rt_spec *spec = NULL;
	json_t *config = NULL;

	assert_null(rt_bundle_config(options, &config));
	text = json_dumps(config, 0);
	assert_null(rt_spec_load_text(text, strlen(text), "config.json", &spec));
	rt_spec_free(spec);
	return config;
}

static const char *string_at(json_t *config, const char *object, const char *array, size_t index)
{
	return json_string_value(json_array_get(json_object_get(json_object_get(config, object), array), index));
}

static void a_bare_root_gets_the_templates_shell(void **state)
{
	_cleanup_json_ json_t *config = make(&(struct rt_bundle_config){ 0 }), *image = make(&(struct rt_bundle_config){ .image = &empty });

	assert_string_equal(string_at(config, "process", "args", 0), "sh");
	assert_string_equal(string_at(image, "process", "args", 0), "sh");
	assert_true(json_is_false(json_object_get(json_object_get(config, "root"), "readonly")));
	assert_null(json_object_get(config, "annotations"));
}

static void arguments_are_the_entry_point_and_what_follows(void **state)
{
	static const char *const entry[] = { "/e", "1", NULL }, *const command[] = { "2", NULL }, *const env[] = { "HOME=", "PATHS=x", NULL };
	struct rt_image_config image = empty;
	_cleanup_json_ json_t *config = NULL;

	image.entrypoint = entry;
	image.cmd = command;
	image.env = env;
	image.working_dir = "not/absolute";
	config = make(&(struct rt_bundle_config){ .image = &image });
	assert_string_equal(string_at(config, "process", "args", 0), "/e");
	assert_string_equal(string_at(config, "process", "args", 2), "2");
	assert_string_equal(string_at(config, "process", "env", 0), "HOME=");
	assert_string_equal(string_at(config, "process", "env", 1), "PATHS=x");
	assert_true(rt_str_starts(string_at(config, "process", "env", 2), "PATH="));
	assert_null(string_at(config, "process", "env", 3));
	assert_string_equal(json_string_value(json_object_get(json_object_get(config, "process"), "cwd")), "/");
}

static void labels_win_over_what_follows_from_fields(void **state)
{
	static const struct rt_image_label labels[] = { { "org.opencontainers.image.author", "label" }, { "", "no key" }, { "k", "" } };
	struct rt_image_config image = empty;
	_cleanup_json_ json_t *config = NULL;
	json_t *annotations;

	image.labels = labels;
	image.label_count = RT_ARRAY_SIZE(labels);
	image.author = "field";
	image.created = "";
	config = make(&(struct rt_bundle_config){ .image = &image });
	annotations = json_object_get(config, "annotations");
	assert_string_equal(json_string_value(json_object_get(annotations, "org.opencontainers.image.author")), "label");
	assert_int_equal(json_object_size(annotations), 2);
}

static void only_root_has_capabilities_from_the_start(void **state)
{
	const struct rt_image_user user = { .uid = 5 };
	_cleanup_json_ json_t *root = make(&(struct rt_bundle_config){ .image = &empty });
	_cleanup_json_ json_t *other = make(&(struct rt_bundle_config){ .image = &empty, .user = &user });

	assert_non_null(json_object_get(json_object_get(json_object_get(root, "process"), "capabilities"), "effective"));
	assert_null(json_object_get(json_object_get(json_object_get(other, "process"), "capabilities"), "effective"));
}

static void maps_come_with_a_user_namespace_once(void **state)
{
	const struct rt_id_map map = { 0, 100000, 65536 };
	const struct rt_id_maps maps = { &map, 1 };
	_cleanup_json_ json_t *config = make(&(struct rt_bundle_config){ .image = &empty, .ids = &map }), *bare = json_object();
	json_t *linux_object = json_object_get(config, "linux");
	size_t count = json_array_size(json_object_get(linux_object, "namespaces"));

	assert_null(rt_bundle_config_map(config, &maps, &maps));
	assert_int_equal(json_array_size(json_object_get(linux_object, "namespaces")), count);
	assert_int_equal(json_array_size(json_object_get(linux_object, "uidMappings")), 1);
	assert_null(rt_bundle_config_map(bare, &maps, &maps));
	assert_int_equal(json_array_size(json_object_get(json_object_get(bare, "linux"), "gidMappings")), 1);
}

static void volumes_that_are_no_paths_are_left_out(void **state)
{
	static const char *const volumes[] = { "relative", "/data", NULL };
	struct rt_image_config image = empty;
	_cleanup_json_ json_t *config = NULL, *plain = make(&(struct rt_bundle_config){ .image = &empty });

	image.volumes = volumes;
	config = make(&(struct rt_bundle_config){ .image = &image });
	assert_int_equal(json_array_size(json_object_get(config, "mounts")), json_array_size(json_object_get(plain, "mounts")) + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bare_root_gets_the_templates_shell),
		cmocka_unit_test(arguments_are_the_entry_point_and_what_follows),
		cmocka_unit_test(labels_win_over_what_follows_from_fields),
		cmocka_unit_test(only_root_has_capabilities_from_the_start),
		cmocka_unit_test(maps_come_with_a_user_namespace_once),
		cmocka_unit_test(volumes_that_are_no_paths_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
