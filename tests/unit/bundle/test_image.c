#include "runtime/bundle/image.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OCI "application/vnd.oci.image."
#define DIGEST "'digest': 'sha256:" HEX "', 'size': 5"

struct read {
	struct rt_arena arena;
	json_t *document;
};

static json_t *parse(struct read *read, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);

	for (char *at = copy; *at; at++)
		if (*at == '\'')
			*at = '"';
	*read = (struct read){ .arena = RT_ARENA_NULL };
	assert_null(rt_json_parse(copy, strlen(copy), "test", &read->document));
	return read->document;
}

static void done(struct read *read)
{
	json_decref(read->document);
	rt_arena_deinit(&read->arena);
}

static void assert_fails(struct rt_error *err, const char *part)
{
	_cleanup_free_ char *text = NULL;

	assert_non_null(err);
	text = rt_error_text(err);
	if (!strstr(text, part))
		fail_msg("'%s' lacks '%s'", text, part);
	rt_error_free(err);
}

static void an_index_lists_images_and_what_is_none(void **state)
{
	struct rt_image_index index;
	struct read read;

	parse(&read, "{'schemaVersion': 2, 'manifests': ["
		     "{'mediaType': '" OCI "manifest.v1+json', " DIGEST ", 'annotations': {'org.opencontainers.image.ref.name': 'v1'},"
		     " 'platform': {'os': 'linux', 'architecture': 'arm', 'variant': 'v7'}},"
		     "{'mediaType': 'text/plain', " DIGEST "}]}");
	assert_null(rt_image_read_index(read.document, &read.arena, &index));
	assert_int_equal(index.count, 2);
	assert_int_equal(index.entries[0].kind, RT_IMAGE_MANIFEST);
	assert_string_equal(index.entries[0].hex, HEX);
	assert_string_equal(index.entries[0].name, "v1");
	assert_string_equal(index.entries[0].platform.variant, "v7");
	assert_int_equal(index.entries[1].kind, RT_IMAGE_OTHER);
	done(&read);
}

static void wrong_documents_name_the_field(void **state)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{ "[]", "the document must be an object" },
		{ "{'schemaVersion': 1, 'manifests': []}", "'schemaVersion' must be 2" },
		{ "{'schemaVersion': 2}", "'manifests' is missing" },
		{ "{'manifests': {}}", "'manifests' must be an array" },
		{ "{'manifests': [1]}", "'manifests[0]' must be an object" },
		{ "{'manifests': [{}]}", "'manifests[0].digest' is missing" },
		{ "{'manifests': [{'digest': 'sha256:" HEX "0', 'size': 1}]}", "'manifests[0].digest' must be 'sha256:'" },
		{ "{'manifests': [{'digest': 'sha256:../../../../../../../../../../../../../../../../../../../../etc', 'size': 1}]}", "digits" },
		{ "{'manifests': [{'digest': 'sha512:" HEX "', 'size': 1}]}", "'manifests[0].digest' must be 'sha256:'" },
		{ "{'manifests': [{'digest': 'sha256:" HEX "'}]}", "'manifests[0].size' is missing" },
		{ "{'manifests': [{'digest': 'sha256:" HEX "', 'size': -1}]}", "must not be negative" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct rt_image_index index;
		struct read read;

		parse(&read, cases[i].text);
		assert_fails(rt_image_read_index(read.document, &read.arena, &index), cases[i].part);
		done(&read);
	}
}

static void a_manifest_has_layers_that_can_be_unpacked(void **state)
{
	static const char *const good[] = { OCI "layer.v1.tar", OCI "layer.v1.tar+gzip", OCI "layer.v1.tar+zstd",
					    OCI "layer.nondistributable.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip" };
	static const char *const bad[] = { "", OCI "layer.v1.tar+encrypted", OCI "layer.v1.tar+gzip+encrypted", "text/plain" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(good) + RT_ARRAY_SIZE(bad); i++) {
		bool is_good = i < RT_ARRAY_SIZE(good);
		struct rt_image_manifest manifest;
		struct rt_error *err;
		struct read read;
		char text[1024];

		snprintf(text, sizeof(text), "{'schemaVersion': 2, 'config': {'mediaType': '" OCI "config.v1+json', " DIGEST "},"
			 "'layers': [{'mediaType': '%s', " DIGEST "}]}", is_good ? good[i] : bad[i - RT_ARRAY_SIZE(good)]);
		parse(&read, text);
		err = rt_image_read_manifest(read.document, &read.arena, &manifest);
		if (is_good)
			assert_null(err);
		else
			assert_fails(err, "'layers[0].mediaType' is");
		done(&read);
	}
}

static void an_artifact_is_no_image(void **state)
{
	struct rt_image_manifest manifest;
	struct read read;

	parse(&read, "{'schemaVersion': 2, 'config': {'mediaType': 'application/vnd.oci.empty.v1+json', " DIGEST "}, 'layers': []}");
	assert_fails(rt_image_read_manifest(read.document, &read.arena, &manifest), "this is no image of a container");
	done(&read);
}

static void a_configuration_without_settings_has_empty_lists(void **state)
{
	struct rt_image_config config;
	struct read read;

	parse(&read, "{'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:" HEX "']}, 'config': null}");
	assert_null(rt_image_read_config(read.document, &read.arena, &config));
	assert_null(config.env[0]);
	assert_null(config.volumes[0]);
	assert_null(config.user);
	assert_int_equal(config.diff_id_count, 1);
	done(&read);
}

static void dockers_archives_are_picked_by_tag(void **state)
{
	struct rt_image_manifest manifest;
	struct read read;

	parse(&read, "[{'Config': 'a.json', 'RepoTags': ['host:5000/x/busy:1'], 'Layers': ['a']},"
		     " {'Config': '" HEX ".json', 'RepoTags': null, 'Layers': ['b', 'c']}, {'Config': 'c', 'RepoTags': ['y:2'], 'Layers': []}]");
	assert_null(rt_image_read_docker(read.document, &read.arena, "busy:1", &manifest));
	assert_string_equal(manifest.config.path, "a.json");
	assert_null(manifest.config.hex);
	assert_null(rt_image_read_docker(read.document, &read.arena, "2", &manifest));
	assert_string_equal(manifest.config.path, "c");
	assert_fails(rt_image_read_docker(read.document, &read.arena, "usy:1", &manifest), "no image");
	assert_fails(rt_image_read_docker(read.document, &read.arena, NULL, &manifest), "there are 3 images");
	done(&read);
	parse(&read, "[{'Config': 'blobs/sha256/" HEX "', 'Layers': ['b', 'c']}]");
	assert_null(rt_image_read_docker(read.document, &read.arena, NULL, &manifest));
	assert_string_equal(manifest.config.hex, HEX);
	assert_int_equal(manifest.layer_count, 2);
	assert_string_equal(manifest.layers[1].path, "c");
	done(&read);
}

static struct rt_image_descriptor for_platform(const char *architecture, const char *variant)
{
	return (struct rt_image_descriptor){ .kind = RT_IMAGE_MANIFEST, .media_type = "", .hex = architecture,
					     .platform = { "linux", architecture, variant } };
}

static void the_best_platform_is_chosen(void **state)
{
	const struct rt_image_descriptor list[] = { for_platform("amd64", NULL), for_platform("arm", "v5"), for_platform("arm", "v7"),
						    for_platform("arm", "v6"), for_platform("unknown", NULL) };
	const struct rt_image_index index = { list, RT_ARRAY_SIZE(list) };
	const struct rt_image_platform v6 = { "linux", "arm", "v6" }, any = { "linux", "arm", NULL }, v8 = { "linux", "arm", "v8" };
	const struct rt_image_platform none = { "linux", "s390x", NULL }, amd64 = rt_image_platform_of("x86_64");
	const struct rt_image_descriptor *chosen;

	assert_null(rt_image_choose(&index, NULL, &amd64, &chosen));
	assert_ptr_equal(chosen, &list[0]);
	assert_null(rt_image_choose(&index, NULL, &v6, &chosen));
	assert_ptr_equal(chosen, &list[3]);
	assert_null(rt_image_choose(&index, NULL, &any, &chosen));
	assert_ptr_equal(chosen, &list[2]);
	assert_null(rt_image_choose(&index, NULL, &v8, &chosen));
	assert_ptr_equal(chosen, &list[2]);
	assert_fails(rt_image_choose(&index, NULL, &none, &chosen), "only for linux/amd64, linux/arm/v5");
}

static void platforms_are_three_words_at_most(void **state)
{
	static const char *const bad[] = { "", "linux", "/", "linux/", "a/b/c/d" };
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_image_platform platform;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		assert_fails(rt_image_platform_parse(bad[i], &arena, &platform), "is no platform");
	assert_null(rt_image_platform_parse("linux/arm/v7", &arena, &platform));
	assert_string_equal(platform.variant, "v7");
	rt_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_index_lists_images_and_what_is_none),
		cmocka_unit_test(wrong_documents_name_the_field),
		cmocka_unit_test(a_manifest_has_layers_that_can_be_unpacked),
		cmocka_unit_test(an_artifact_is_no_image),
		cmocka_unit_test(a_configuration_without_settings_has_empty_lists),
		cmocka_unit_test(dockers_archives_are_picked_by_tag),
		cmocka_unit_test(the_best_platform_is_chosen),
		cmocka_unit_test(platforms_are_three_words_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
