#include "migrate/registry_manifest.h"

#include "migrate/http_parse.h"
#include "migrate/registry_reference.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"

#define BITS "org.rt.snapshot.bundle-bits"
#define TITLE "org.opencontainers.image.title"
#define CREATED "org.opencontainers.image.created"

void rt_registry_manifest_deinit(struct rt_registry_manifest *manifest)
{
	free(manifest->bundles);
	free(manifest->name);
	free(manifest->created);
	*manifest = (struct rt_registry_manifest){ 0 };
}

void rt_registry_digest_text(const uint8_t digest[SHA256_DIGEST_SIZE], char text[80])
{
	memcpy(text, "sha256:", 7);
	rt_digest_text(digest, text + 7);
}

void rt_registry_digest_bytes(const void *bytes, size_t size, char text[80])
{
	memcpy(text, "sha256:", 7);
	rt_digest_bytes(bytes, size, text + 7);
}

/* ---- writing ---- */

static json_t *descriptor(const char *type, const struct rt_registry_blob *blob)
{
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", blob->digest, "size", (json_int_t)blob->size);
}

struct rt_error *rt_registry_manifest_write(const struct rt_registry_manifest *manifest, char **ret)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	json_t *layers = json_array();
	char bits[16];

	snprintf(bits, sizeof(bits), "%u", manifest->bits);
	for (size_t i = 0; layers && i < manifest->count; i++)
		json_array_append_new(layers, descriptor(RT_REGISTRY_CHUNKS, &manifest->bundles[i]));
	json = json_pack("{s:i, s:s, s:s, s:o, s:o, s:{s:s, s:s, s:s}}", "schemaVersion", 2, "mediaType", RT_REGISTRY_MANIFEST,
			 "artifactType", RT_REGISTRY_ARTIFACT, "config", descriptor(RT_REGISTRY_INDEX, &manifest->index), "layers", layers,
			 "annotations", CREATED, manifest->created, TITLE, manifest->name, BITS, bits);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	if (!text || json_array_size(layers) != manifest->count)
		return rt_error_oom();
	if (strlen(text) > RT_REGISTRY_MANIFEST_MAX)
		return rt_fail(RT_SYSTEM, "the manifest would have %zu bytes, for %zu blobs: registries take %u", strlen(text), manifest->count,
			       RT_REGISTRY_MANIFEST_MAX);
	*ret = rt_take_ptr(text);
	return NULL;
}

/* ---- reading ---- */

static struct rt_error *want(const struct rt_json *object, const char *key, const char *value)
{
	const char *text = NULL;
	char shown[128];
	struct rt_error *err = rt_json_get_string(object, key, &text);

	if (err)
		return err;
	if (!text)
		return rt_json_fail(object, key, "is missing");
	if (rt_str_equal(text, value))
		return NULL;
	rt_http_sentence(text, strlen(text), shown, sizeof(shown));
	return rt_json_fail(object, key, "is '%s' and not '%s'", shown, value);
}

static struct rt_error *read_descriptor(const struct rt_json *at, const char *type, uint64_t limit, struct rt_registry_blob *ret)
{
	const char *digest = NULL;
	struct rt_error *err;
	uint64_t size = UINT64_MAX;

	if (!json_is_object(at->value))
		return rt_json_fail(at, NULL, "must be an object");
	err = want(at, "mediaType", type);
	if (!err)
		err = rt_json_get_string(at, "digest", &digest);
	if (!err)
		err = rt_json_get_u64(at, "size", &size);
	if (err)
		return err;
	if (!digest || !rt_registry_digest_valid(digest))
		return rt_json_fail(at, "digest", "must be sha256: and 64 hexadecimal digits");
	if (size > limit)
		return rt_json_fail(at, "size", "must be at most %llu", (unsigned long long)limit);
	strcpy(ret->digest, digest);
	ret->size = size;
	return NULL;
}

static struct rt_error *read_layers(const struct rt_json *root, struct rt_registry_manifest *ret)
{
	struct rt_json layers;
	struct rt_error *err = rt_json_get_array(root, "layers", &layers);

	if (err || !layers.value)
		return err ? err : rt_json_fail(root, "layers", "is missing");
	ret->bundles = calloc(rt_json_count(&layers) + 1, sizeof(*ret->bundles));
	if (!ret->bundles)
		return rt_error_oom();
	ret->count = rt_json_count(&layers);
	for (size_t i = 0; i < ret->count && !err; i++) {
		struct rt_json layer = rt_json_element(&layers, i);

		err = read_descriptor(&layer, RT_REGISTRY_CHUNKS, RT_BUNDLE_BYTES, &ret->bundles[i]);
	}
	return err;
}

static struct rt_error *read_annotations(const struct rt_json *root, struct rt_registry_manifest *ret)
{
	struct rt_json annotations;
	const char *bits = NULL;
	struct rt_error *err = rt_json_get_object(root, "annotations", &annotations);
	uint64_t value;

	if (!err)
		err = rt_json_get_string(&annotations, BITS, &bits);
	if (err)
		return err;
	if (!bits || !rt_str_to_u64(bits, &value) || value > RT_BUNDLE_BITS_MAX)
		return rt_json_fail(&annotations, BITS, "must be a number from 0 to %d", RT_BUNDLE_BITS_MAX);
	ret->bits = (unsigned)value;
	return NULL;
}

static struct rt_error *read_root(const struct rt_json *root, struct rt_registry_manifest *ret)
{
	struct rt_json config;
	uint32_t version = 0;
	struct rt_error *err;

	if (!json_is_object(root->value))
		return rt_fail(RT_CONFIG, "it is no JSON object");
	err = rt_json_get_u32(root, "schemaVersion", &version);
	if (!err && version != 2)
		err = rt_json_fail(root, "schemaVersion", "must be 2");
	if (!err && rt_json_field(root, "mediaType").value)
		err = want(root, "mediaType", RT_REGISTRY_MANIFEST);
	if (!err)
		err = want(root, "artifactType", RT_REGISTRY_ARTIFACT);
	if (!err)
		err = rt_json_get_object(root, "config", &config);
	if (!err && !config.value)
		err = rt_json_fail(root, "config", "is missing");
	if (!err)
		err = read_descriptor(&config, RT_REGISTRY_INDEX, RT_SNAPSHOT_INDEX_MAX, &ret->index);
	if (!err)
		err = read_layers(root, ret);
	return err ? err : read_annotations(root, ret);
}

/* Jansson's words would quote what the registry sent. */
struct rt_error *rt_registry_manifest_read(const char *text, size_t size, struct rt_registry_manifest *ret)
{
	_cleanup_(rt_registry_manifest_deinit) struct rt_registry_manifest manifest = { 0 };
	json_error_t why;
	_cleanup_json_ json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
	struct rt_json root = rt_json_root(json);
	struct rt_error *err = json ? read_root(&root, &manifest) : rt_fail(RT_CONFIG, "it is no JSON: line %d", why.line);

	if (err)
		return rt_while(err, "the manifest");
	*ret = manifest;
	manifest = (struct rt_registry_manifest){ 0 };
	return NULL;
}
