#include "runtime/bundle/image.h"

#include "runtime/base/str.h"

#define REF_NAME "org.opencontainers.image.ref.name"

static enum rt_image_kind kind_of(const char *media_type)
{
	static const struct {
		const char *prefix;
		enum rt_image_kind kind;
	} kinds[] = {
		{ "application/vnd.oci.image.index.v1+json", RT_IMAGE_INDEX },
		{ "application/vnd.docker.distribution.manifest.list.v2+json", RT_IMAGE_INDEX },
		{ "application/vnd.oci.image.manifest.v1+json", RT_IMAGE_MANIFEST },
		{ "application/vnd.docker.distribution.manifest.v2+json", RT_IMAGE_MANIFEST },
		{ "application/vnd.oci.image.config.v1+json", RT_IMAGE_CONFIG },
		{ "application/vnd.docker.container.image.v1+json", RT_IMAGE_CONFIG },
	};
	static const char *const layers[] = {
		"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"
	};
	/* How it is packed is seen from the bytes; an encrypted one is not for us. */
	static const char *const packings[] = { "", "+gzip", "+zstd", "+xz", "+bzip2", ".gzip", ".zstd" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(kinds); i++)
		if (rt_str_equal(media_type, kinds[i].prefix))
			return kinds[i].kind;
	for (size_t i = 0; i < RT_ARRAY_SIZE(layers); i++)
		for (size_t j = 0; rt_str_starts(media_type, layers[i]) && j < RT_ARRAY_SIZE(packings); j++)
			if (rt_str_equal(media_type + strlen(layers[i]), packings[j]))
				return RT_IMAGE_LAYER;
	return RT_IMAGE_OTHER;
}

static bool is_hex_digest(const char *text)
{
	return strspn(text, "0123456789abcdef") == RT_IMAGE_DIGEST_HEX && text[RT_IMAGE_DIGEST_HEX] == '\0';
}

/* The digits of "sha256:...". */
static struct rt_error *read_digest(const struct rt_json *at, const char **ret)
{
	static const char prefix[] = "sha256:";
	const char *text = NULL;
	struct rt_error *err = rt_json_as_string(at, &text);

	if (err)
		return err;
	if (!rt_str_starts(text, prefix) || !is_hex_digest(text + strlen(prefix)))
		return rt_json_fail(at, NULL, "must be 'sha256:' and 64 hexadecimal digits, not '%.80s'", text);
	*ret = text + strlen(prefix);
	return NULL;
}

static struct rt_error *read_platform(const struct rt_json *object, struct rt_image_platform *ret)
{
	struct rt_error *err = rt_json_get_string(object, "os", &ret->os);

	if (!err)
		err = rt_json_get_string(object, "architecture", &ret->architecture);
	return err ? err : rt_json_get_string(object, "variant", &ret->variant);
}

static struct rt_error *read_descriptor(const struct rt_json *at, struct rt_image_descriptor *ret)
{
	struct rt_json digest, platform, annotations, size;
	struct rt_error *err;

	if (!json_is_object(at->value))
		return rt_json_fail(at, NULL, "must be an object");
	ret->media_type = "";
	err = rt_json_get_string(at, "mediaType", &ret->media_type);
	if (err)
		return err;
	ret->kind = kind_of(ret->media_type);
	digest = rt_json_field(at, "digest");
	if (!digest.value)
		return rt_json_fail(&digest, NULL, "is missing");
	err = read_digest(&digest, &ret->hex);
	if (err)
		return err;
	size = rt_json_field(at, "size");
	if (!size.value)
		return rt_json_fail(&size, NULL, "is missing");
	err = rt_json_as_u64(&size, &ret->size);
	ret->has_size = true;
	if (!err)
		err = rt_json_get_object(at, "platform", &platform);
	if (!err && platform.value)
		err = read_platform(&platform, &ret->platform);
	if (!err)
		err = rt_json_get_object(at, "annotations", &annotations);
	if (!err && annotations.value)
		err = rt_json_get_string(&annotations, REF_NAME, &ret->name);
	return err;
}

static struct rt_error *read_descriptors(const struct rt_json *array, struct rt_arena *arena, const struct rt_image_descriptor **ret,
					 size_t *ret_count)
{
	size_t count = rt_json_count(array);
	struct rt_image_descriptor *list = rt_arena_calloc(arena, count + 1, sizeof(*list));

	if (!list)
		return rt_error_oom();
	for (size_t i = 0; i < count; i++) {
		struct rt_json element = rt_json_element(array, i);
		struct rt_error *err = read_descriptor(&element, &list[i]);

		if (err)
			return err;
	}
	*ret = list;
	*ret_count = count;
	return NULL;
}

static struct rt_error *begin(json_t *document, struct rt_json *root)
{
	*root = rt_json_root(document);
	return json_is_object(document) ? NULL : rt_json_fail(root, NULL, "must be an object");
}

static struct rt_error *check_schema(const struct rt_json *root)
{
	uint64_t version = 2;
	struct rt_error *err = rt_json_get_u64(root, "schemaVersion", &version);

	if (!err && version != 2)
		err = rt_json_fail(root, "schemaVersion", "must be 2, not %llu", (unsigned long long)version);
	return err;
}

struct rt_error *rt_image_read_index(json_t *document, struct rt_arena *arena, struct rt_image_index *ret)
{
	struct rt_json root, manifests;
	struct rt_error *err = begin(document, &root);

	*ret = (struct rt_image_index){ 0 };
	if (!err)
		err = check_schema(&root);
	if (!err)
		err = rt_json_get_array(&root, "manifests", &manifests);
	if (!err && !manifests.value)
		err = rt_json_fail(&root, "manifests", "is missing");
	return err ? err : read_descriptors(&manifests, arena, &ret->entries, &ret->count);
}

struct rt_error *rt_image_read_manifest(json_t *document, struct rt_arena *arena, struct rt_image_manifest *ret)
{
	struct rt_json root, layers, config;
	struct rt_error *err = begin(document, &root);

	*ret = (struct rt_image_manifest){ 0 };
	if (!err)
		err = check_schema(&root);
	if (err)
		return err;
	config = rt_json_field(&root, "config");
	if (!config.value)
		return rt_json_fail(&config, NULL, "is missing");
	err = read_descriptor(&config, &ret->config);
	if (err)
		return err;
	if (ret->config.kind != RT_IMAGE_CONFIG)
		return rt_json_fail(&config, "mediaType", "is '%.128s': this is no image of a container", ret->config.media_type);
	err = rt_json_get_array(&root, "layers", &layers);
	if (!err && !layers.value)
		err = rt_json_fail(&root, "layers", "is missing");
	if (!err && rt_json_count(&layers) > RT_IMAGE_LAYERS_MAX)
		err = rt_json_fail(&layers, NULL, "has more than %d layers", RT_IMAGE_LAYERS_MAX);
	if (!err)
		err = read_descriptors(&layers, arena, &ret->layers, &ret->layer_count);
	for (size_t i = 0; !err && i < ret->layer_count; i++) {
		struct rt_json layer = rt_json_element(&layers, i);

		if (ret->layers[i].kind != RT_IMAGE_LAYER)
			err = rt_json_fail(&layer, "mediaType", "is '%.128s', which is no layer that can be unpacked here",
					   ret->layers[i].media_type);
	}
	return err;
}

/* ---- configuration ---- */

static struct rt_error *read_strings(const struct rt_json *object, const char *key, struct rt_arena *arena, const char *const **ret)
{
	struct rt_json array;
	struct rt_error *err = rt_json_get_array(object, key, &array);
	size_t count = err ? 0 : rt_json_count(&array);
	const char **list = rt_arena_calloc(arena, count + 1, sizeof(*list));

	if (!err && !list)
		err = rt_error_oom();
	for (size_t i = 0; !err && i < count; i++) {
		struct rt_json element = rt_json_element(&array, i);

		err = rt_json_as_string(&element, &list[i]);
	}
	*ret = list;
	return err;
}

/* {"80/tcp": {}}: a set, as Go has none. */
static struct rt_error *read_keys(const struct rt_json *object, const char *key, struct rt_arena *arena, const char *const **ret)
{
	struct rt_json set;
	struct rt_error *err = rt_json_get_object(object, key, &set);
	size_t count = 0, room = !err && set.value ? json_object_size(set.value) : 0;
	const char **list = rt_arena_calloc(arena, room + 1, sizeof(*list)), *name;
	json_t *value;

	if (!err && !list)
		err = rt_error_oom();
	if (!err && set.value)
		json_object_foreach(set.value, name, value)
			list[count++] = name;
	*ret = list;
	return err;
}

static struct rt_error *read_labels(const struct rt_json *object, struct rt_arena *arena, struct rt_image_config *ret)
{
	struct rt_image_label *list;
	struct rt_json labels;
	struct rt_error *err = rt_json_get_object(object, "Labels", &labels);
	const char *name;
	json_t *value;

	if (err || !labels.value)
		return err;
	list = rt_arena_calloc(arena, json_object_size(labels.value) + 1, sizeof(*list));
	if (!list)
		return rt_error_oom();
	ret->labels = list;
	json_object_foreach(labels.value, name, value)
	{
		struct rt_json label = { .value = value, .parent = &labels, .key = name };

		list[ret->label_count].key = name;
		err = rt_json_as_string(&label, &list[ret->label_count].value);
		if (err)
			return err;
		ret->label_count++;
	}
	return NULL;
}

static struct rt_error *read_diff_ids(const struct rt_json *root, struct rt_arena *arena, struct rt_image_config *ret)
{
	struct rt_json rootfs, ids;
	struct rt_error *err = rt_json_get_object(root, "rootfs", &rootfs);
	const char **list;
	size_t count;

	if (!err && !rootfs.value)
		err = rt_json_fail(root, "rootfs", "is missing");
	if (!err)
		err = rt_json_get_array(&rootfs, "diff_ids", &ids);
	if (err)
		return err;
	count = rt_json_count(&ids);
	list = rt_arena_calloc(arena, count + 1, sizeof(*list));
	if (!list)
		return rt_error_oom();
	for (size_t i = 0; !err && i < count; i++) {
		struct rt_json id = rt_json_element(&ids, i);

		err = read_digest(&id, &list[i]);
	}
	ret->diff_ids = list;
	ret->diff_id_count = count;
	return err;
}

static struct rt_error *read_process(const struct rt_json *config, struct rt_arena *arena, struct rt_image_config *ret)
{
	const struct {
		const char *key;
		const char **field;
	} strings[] = { { "User", &ret->user }, { "WorkingDir", &ret->working_dir }, { "StopSignal", &ret->stop_signal } };
	const struct {
		const char *key;
		const char *const **field;
	} lists[] = { { "Env", &ret->env }, { "Entrypoint", &ret->entrypoint }, { "Cmd", &ret->cmd } };
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(strings); i++)
		err = rt_json_get_string(config, strings[i].key, strings[i].field);
	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(lists); i++)
		err = read_strings(config, lists[i].key, arena, lists[i].field);
	if (!err)
		err = read_keys(config, "ExposedPorts", arena, &ret->ports);
	if (!err)
		err = read_keys(config, "Volumes", arena, &ret->volumes);
	return err ? err : read_labels(config, arena, ret);
}

struct rt_error *rt_image_read_config(json_t *document, struct rt_arena *arena, struct rt_image_config *ret)
{
	struct rt_json root, config;
	struct rt_error *err = begin(document, &root);

	*ret = (struct rt_image_config){ 0 };
	if (!err)
		err = read_platform(&root, &ret->platform);
	if (!err)
		err = rt_json_get_string(&root, "os.version", &ret->os_version);
	if (!err)
		err = rt_json_get_string(&root, "created", &ret->created);
	if (!err)
		err = rt_json_get_string(&root, "author", &ret->author);
	if (!err)
		err = read_strings(&root, "os.features", arena, &ret->os_features);
	if (!err)
		err = rt_json_get_object(&root, "config", &config);
	/* An absent one has no fields either, but its lists are empty, not missing. */
	if (!err)
		err = read_process(&config, arena, ret);
	return err ? err : read_diff_ids(&root, arena, ret);
}

/* ---- Docker's archive ---- */

/* "index.docker.io/library/busybox:latest" may be asked for as "busybox:latest". */
static bool tag_fits(const char *full, const char *asked)
{
	size_t full_length = strlen(full), length = strlen(asked);

	if (full_length < length || !rt_str_equal(full + full_length - length, asked))
		return false;
	return full_length == length || full[full_length - length - 1] == '/' || full[full_length - length - 1] == ':';
}

static struct rt_error *has_tag(const struct rt_json *image, const char *tag, bool *ret)
{
	struct rt_json tags;
	struct rt_error *err = rt_json_get_array(image, "RepoTags", &tags);

	*ret = false;
	for (size_t i = 0; !err && i < rt_json_count(&tags); i++) {
		struct rt_json element = rt_json_element(&tags, i);
		const char *text = "";

		err = rt_json_as_string(&element, &text);
		if (!err && tag_fits(text, tag))
			*ret = true;
	}
	return err;
}

/* "ab...cd.json", "blobs/sha256/ab...cd": a file that is called by its digest. */
static const char *digest_in_name(const char *path, struct rt_arena *arena)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t digits = strspn(name, "0123456789abcdef");

	if (digits != RT_IMAGE_DIGEST_HEX || (name[digits] && name[digits] != '.'))
		return NULL;
	return rt_arena_printf(arena, "%.*s", RT_IMAGE_DIGEST_HEX, name);
}

static struct rt_error *read_docker_image(const struct rt_json *image, struct rt_arena *arena, struct rt_image_manifest *ret)
{
	struct rt_image_descriptor *layers;
	const char *const *paths = NULL;
	struct rt_json array;
	struct rt_error *err = rt_json_get_string(image, "Config", &ret->config.path);

	if (!err && !ret->config.path)
		err = rt_json_fail(image, "Config", "is missing");
	if (!err)
		err = rt_json_get_array(image, "Layers", &array);
	if (!err && rt_json_count(&array) > RT_IMAGE_LAYERS_MAX)
		err = rt_json_fail(&array, NULL, "has more than %d layers", RT_IMAGE_LAYERS_MAX);
	if (!err)
		err = read_strings(image, "Layers", arena, &paths);
	if (err)
		return err;
	ret->config.kind = RT_IMAGE_CONFIG;
	ret->config.media_type = "";
	ret->config.hex = digest_in_name(ret->config.path, arena);
	ret->layer_count = rt_json_count(&array);
	layers = rt_arena_calloc(arena, ret->layer_count + 1, sizeof(*layers));
	if (!layers)
		return rt_error_oom();
	/* What the layers must be is in the configuration. */
	for (size_t i = 0; i < ret->layer_count; i++)
		layers[i] = (struct rt_image_descriptor){ .kind = RT_IMAGE_LAYER, .media_type = "", .path = paths[i] };
	ret->layers = layers;
	return NULL;
}

struct rt_error *rt_image_read_docker(json_t *document, struct rt_arena *arena, const char *tag, struct rt_image_manifest *ret)
{
	struct rt_json root = rt_json_root(document), chosen = { 0 };
	struct rt_error *err = NULL;
	size_t found = 0;

	*ret = (struct rt_image_manifest){ 0 };
	if (!json_is_array(document))
		return rt_json_fail(&root, NULL, "must be an array");
	for (size_t i = 0; !err && i < rt_json_count(&root); i++) {
		struct rt_json image = rt_json_element(&root, i);
		bool fits = true;

		if (!json_is_object(image.value))
			return rt_json_fail(&image, NULL, "must be an object");
		if (tag)
			err = has_tag(&image, tag, &fits);
		if (!err && fits && found++ == 0)
			chosen = image;
	}
	if (err)
		return err;
	if (found == 0)
		return rt_fail(RT_NOT_FOUND, "there is no image%s%s in it", tag ? " with the tag " : "", tag ? tag : "");
	if (found > 1 && !tag)
		return rt_fail(RT_USAGE, "there are %zu images in it: name one by its tag, behind a colon", found);
	return read_docker_image(&chosen, arena, ret);
}
