#include "runtime/spec/spec.h"

#include "runtime/base/io.h"
#include "runtime/spec/loader.h"

#include <fcntl.h>

/* Real ones have some 30 KiB; this is a bound on what a mistaken path can make us read. */
#define MOST_BYTES (16 * 1024 * 1024)

/* "1.2.0", "1.0.2-dev", "1.1.0+build": semantic versioning 2.0.0. */
static bool parse_version(const char *text, uint64_t numbers[3])
{
	const char *at = text;

	for (int i = 0; i < 3; i++) {
		size_t digits = strspn(at, "0123456789");

		if (digits == 0 || digits > 9 || (digits > 1 && at[0] == '0'))
			return false;
		numbers[i] = strtoull(at, NULL, 10);
		at += digits;
		if (i < 2 && *at++ != '.')
			return false;
	}
	if (!*at)
		return true;
	return (*at == '-' || *at == '+') && at[1] &&
	       !at[1 + strspn(at + 1, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-+")];
}

static void load_version(struct rt_loader *loader, const struct rt_json *root)
{
	uint64_t version[3];

	rt_load_needs(loader, root, "ociVersion");
	rt_load_string(loader, root, "ociVersion", &loader->spec->oci_version);
	if (!loader->spec->oci_version)
		return;
	if (!parse_version(loader->spec->oci_version, version))
		rt_load_fail(loader, root, "ociVersion", "must be a version such as '" RT_SPEC_VERSION "', not '%s'",
			     loader->spec->oci_version);
	else if (version[0] != 1)
		rt_load_fail(loader, root, "ociVersion", "must be of version 1 of the specification, not '%s'",
			     loader->spec->oci_version);
	else if (version[1] > 3)
		rt_load_remark(loader, root, "ociVersion",
			       "is newer than this runtime, which knows " RT_SPEC_VERSION
			       "; fields new in it are ignored");
}

static void load_root(struct rt_loader *loader, const struct rt_json *root)
{
	struct rt_json object = rt_load_object(loader, root, "root");

	if (!rt_load_needs(loader, root, "root") || !object.value)
		return;
	rt_load_needs(loader, &object, "path");
	rt_load_string(loader, &object, "path", &loader->spec->root_path);
	rt_load_bool(loader, &object, "readonly", &loader->spec->root_readonly);
}

static void load_hook(struct rt_loader *loader, const struct rt_json *entry, struct rt_spec_hook *hook)
{
	size_t unused = 0;

	rt_load_needs(loader, entry, "path");
	rt_load_string(loader, entry, "path", &hook->path);
	if (hook->path && hook->path[0] != '/')
		rt_load_fail(loader, entry, "path", "must be an absolute path, not '%s'", hook->path);
	rt_load_strings(loader, entry, "args", &hook->args, &unused);
	if (unused == 0)
		hook->args = NULL;
	rt_load_strings(loader, entry, "env", &hook->env, &unused);
	rt_load_i32(loader, entry, "timeout", &hook->timeout_s);
	if (rt_json_field(entry, "timeout").value && hook->timeout_s <= 0)
		rt_load_fail(loader, entry, "timeout", "must be above 0");
}

static void load_hooks(struct rt_loader *loader, const struct rt_json *root)
{
	struct rt_json object = rt_load_object(loader, root, "hooks");

	for (int kind = 0; kind < RT_HOOK_KINDS; kind++) {
		struct rt_spec_hooks *ret = &loader->spec->hooks[kind];
		struct rt_json array = {.key = NULL};
		struct rt_spec_hook *list = rt_load_array(loader, &object, rt_hook_kind_name((enum rt_hook_kind)kind),
							  sizeof(*list), &array, &ret->count);

		for (size_t i = 0; i < ret->count && !loader->err; i++) {
			struct rt_json entry = rt_load_element(loader, &array, i);

			if (entry.value)
				load_hook(loader, &entry, &list[i]);
		}
		ret->entries = list;
	}
}

static void load_annotations(struct rt_loader *loader, const struct rt_json *root)
{
	struct rt_spec *spec = loader->spec;

	rt_load_map(loader, root, "annotations", &spec->annotations, &spec->annotation_count);
	for (size_t i = 0; i < spec->annotation_count; i++) {
		if (!*spec->annotations[i].key)
			rt_load_fail(loader, root, "annotations", "must not have an empty key");
	}
}

static void read_config(struct rt_loader *loader, const struct rt_json *root)
{
	struct rt_spec *spec = loader->spec;
	struct rt_json process = rt_load_object(loader, root, "process");

	load_version(loader, root);
	spec->has_process = process.value != NULL;
	if (spec->has_process)
		rt_load_spec_process(loader, &process);
	load_root(loader, root);
	rt_load_string(loader, root, "hostname", &spec->hostname);
	rt_load_string(loader, root, "domainname", &spec->domainname);
	rt_load_spec_mounts(loader, root);
	load_hooks(loader, root);
	load_annotations(loader, root);
	rt_load_spec_linux(loader, root);
	rt_validate(loader);
}

static void read_process(struct rt_loader *loader, const struct rt_json *root)
{
	loader->spec->has_process = true;
	rt_load_needs(loader, root, "args");
	rt_load_spec_process(loader, root);
}

static struct rt_error *load(const char *text, size_t size, const char *name, const struct rt_spec_visitor *visitor,
			     void (*read)(struct rt_loader *loader, const struct rt_json *root), struct rt_spec **ret)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = calloc(1, sizeof(*spec));
	struct rt_loader loader = {.spec = spec, .visitor = visitor};
	struct rt_json root;
	struct rt_error *err;

	if (!spec)
		return rt_error_oom();
	err = rt_json_parse(text, size, name, &spec->json);
	if (err)
		return err;
	root = rt_json_root(spec->json);
	if (!json_is_object(root.value))
		return rt_fail(RT_CONFIG, "'%s' must be a JSON object", name);
	read(&loader, &root);
	if (loader.err)
		return loader.err->code == RT_CONFIG ? rt_while(loader.err, "reading '%s'", name) : loader.err;
	*ret = rt_take_ptr(spec);
	return NULL;
}

struct rt_error *rt_spec_load_text(const char *text, size_t size, const char *name, struct rt_spec **ret)
{
	return load(text, size, name, NULL, read_config, ret);
}

struct rt_error *rt_spec_load_file(const char *path, struct rt_spec **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	struct rt_error *err = rt_read_file_at(AT_FDCWD, path, MOST_BYTES, &text, &size);

	return err ? err : rt_spec_load_text(text, size, path, ret);
}

struct rt_error *rt_spec_load_process(const char *text, size_t size, const char *name, struct rt_spec **ret)
{
	return load(text, size, name, NULL, read_process, ret);
}

struct rt_error *rt_spec_load_resources(const char *text, size_t size, const char *name, struct rt_spec **ret)
{
	return load(text, size, name, NULL, rt_load_spec_resources, ret);
}

struct rt_error *rt_spec_audit(const char *text, size_t size, const char *name, const struct rt_spec_visitor *visitor)
{
	struct rt_spec *spec = NULL;
	struct rt_error *err = load(text, size, name, visitor, read_config, &spec);

	if (!err && visitor->read)
		visitor->read(visitor->userdata, spec);
	rt_spec_free(spec);
	return err;
}

void rt_spec_free(struct rt_spec *spec)
{
	if (!spec)
		return;
	rt_arena_deinit(&spec->arena);
	json_decref(spec->json);
	free(spec);
}

bool rt_spec_mount_is_mapped(const struct rt_spec_mount *mount)
{
	for (size_t i = 0; i < mount->option_count; i++)
		if (rt_str_equal(mount->options[i], "idmap") || rt_str_equal(mount->options[i], "ridmap"))
			return true;
	return mount->uid_mappings.count > 0;
}

bool rt_spec_mount_is_bind(const struct rt_spec_mount *mount)
{
	if (mount->type && rt_str_equal(mount->type, "bind"))
		return true;
	for (size_t i = 0; i < mount->option_count; i++)
		if (rt_str_equal(mount->options[i], "bind") || rt_str_equal(mount->options[i], "rbind"))
			return true;
	return false;
}

const char *rt_spec_annotation(const struct rt_spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->annotation_count; i++) {
		if (rt_str_equal(spec->annotations[i].key, key))
			return spec->annotations[i].value;
	}
	return NULL;
}
