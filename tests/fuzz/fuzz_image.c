/* The JSON of an image, as index, manifest, configuration and Docker's manifest alike: each is refused with one error, or what comes
 * out can be used: chosen from, and made into a config.json that our own loader takes. */
#include "runtime/bundle/config.h"

#include <assert.h>
#include <string.h>

static void try_index(json_t *document, struct rt_arena *arena)
{
	const struct rt_image_platform platform = rt_image_platform_of("x86_64");
	const struct rt_image_descriptor *chosen = NULL;
	struct rt_image_index index;

	if (rt_error_free(rt_image_read_index(document, arena, &index)) || !index.entries)
		return;
	if (!rt_error_free(rt_image_choose(&index, NULL, &platform, &chosen)) && chosen)
		assert(strlen(chosen->hex) == RT_IMAGE_DIGEST_HEX);
	rt_error_free(rt_image_choose(&index, "tag", &platform, &chosen));
}

static void try_config(json_t *document, struct rt_arena *arena)
{
	_cleanup_json_ json_t *config = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_image_config image;
	struct rt_image_user user;
	struct rt_spec *spec = NULL;
	struct rt_error *err = rt_image_read_config(document, arena, &image);

	/* Any text is a passwd file. */
	if (!err)
		err = rt_image_user_find(image.user, image.author ? image.author : "", image.created ? image.created : "", arena, &user);
	if (!err)
		err = rt_bundle_config(&(struct rt_bundle_config){ .image = &image, .user = &user }, &config);
	if (err) {
		rt_error_free(err);
		return;
	}
	text = json_dumps(config, 0);
	assert(text);
	/* What the loader refuses it refuses with an error: an environment without "=", say, is the image's own fault. */
	rt_error_free(rt_spec_load_text(text, strlen(text), "config.json", &spec));
	rt_spec_free(spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct rt_arena arena = RT_ARENA_NULL;
	_cleanup_json_ json_t *document = NULL;
	struct rt_image_manifest manifest;

	if (rt_error_free(rt_json_parse((const char *)bytes, size, "image", &document)) || !document)
		return 0;
	try_index(document, &arena);
	try_config(document, &arena);
	rt_error_free(rt_image_read_manifest(document, &arena, &manifest));
	rt_error_free(rt_image_read_docker(document, &arena, "tag:1", &manifest));
	rt_error_free(rt_image_read_docker(document, &arena, NULL, &manifest));
	rt_arena_deinit(&arena);
	return 0;
}
