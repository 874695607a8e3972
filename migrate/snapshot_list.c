/* `rt snapshot ls` and `rt snapshot inspect`. */
#include "migrate/snapshot.h"

#include "checkpoint/manifest.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cmd/output.h"
#include "runtime/container/container.h"

static uint64_t size_of(const Rt__Snapshot *snapshot)
{
	uint64_t size = snapshot->rootfs_changes ? snapshot->rootfs_changes->size : 0;

	for (size_t i = 0; i < snapshot->n_images; i++)
		size += snapshot->images[i]->size;
	return size;
}

/* Without the key of one that is encrypted there is no manifest. */
static struct rt_error *load_both(const struct rt_store *store, const char *name, Rt__Snapshot **ret, Rt__Manifest **ret_manifest)
{
	struct rt_error *err = rt_snapshot_load(store, name, ret);

	if (!err && rt_snapshot_is_sealed(*ret) && !store->cipher)
		return NULL;
	return err ? err : rt_manifest_parse((*ret)->manifest.data, (*ret)->manifest.len, ret_manifest);
}

/* A stranger may have written it, and a terminal is what it is printed to. */
static struct rt_error *check_container(const Rt__Container *container)
{
	struct rt_error *err = rt_container_check_id(container->id);

	rt_error_free(err);
	return err ? rt_fail(RT_CONFIG, "the id of its container is none") : NULL;
}

static struct rt_error *list_one(const struct rt_store *store, const char *name, json_t *list)
{
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct rt_error *err = load_both(store, name, &snapshot, &manifest);
	json_t *row;

	if (!err && manifest && manifest->container)
		err = check_container(manifest->container);
	if (err)
		return err;
	row = json_pack("{s:s, s:s, s:s, s:b, s:I}", "name", name, "created", snapshot->created, "container",
			manifest && manifest->container ? manifest->container->id : "", "encrypted", rt_snapshot_is_sealed(snapshot), "size",
			(json_int_t)size_of(snapshot));
	return !row || json_array_append_new(list, row) < 0 ? rt_error_oom() : NULL;
}

/* One that is damaged hides none of the others. */
static struct rt_error *list_or_warn(const struct rt_store *store, const char *name, json_t *list)
{
	struct rt_error *err = list_one(store, name, list);

	if (err && err->code == RT_NOT_FOUND) /* removed just now */
		return rt_error_free(err);
	if (!err || (err->code != RT_CONFIG && err->code != RT_USAGE))
		return err;
	rt_warn_ignored(rt_while(err, "cannot list '%.128s'", name));
	return NULL;
}

static void print_table(const json_t *list)
{
	size_t index;
	json_t *row;

	printf("%-24s %-20s %-24s %12s\n", "NAME", "CREATED", "CONTAINER", "SIZE");
	json_array_foreach(list, index, row)
		printf("%-24s %-20.19s %-24s %8.1f MiB\n", json_string_value(json_object_get(row, "name")),
		       json_string_value(json_object_get(row, "created")),
		       json_is_true(json_object_get(row, "encrypted")) ? "(encrypted)" : json_string_value(json_object_get(row, "container")),
		       (double)json_integer_value(json_object_get(row, "size")) / (1 << 20));
}

static struct rt_error *print_json(const json_t *json)
{
	if (json_dumpf(json, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF)
		return rt_fail_errno("cannot write");
	return rt_output_finish();
}

struct rt_error *rt_snapshot_list(const struct rt_snapshot_values *values)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	_cleanup_json_ json_t *list = json_array();
	char **names = NULL;
	struct rt_error *err;

	if (values->format && !rt_str_equal(values->format, "table") && !rt_str_equal(values->format, "json"))
		return rt_fail(RT_USAGE, "invalid value '%s' for --format: it must be 'table' or 'json'", values->format);
	err = rt_store_open(values->store, &store);
	if (!err)
		err = rt_store_names(&store, &names);
	for (char **name = names; !err && *name; name++)
		err = list_or_warn(&store, *name, list);
	rt_names_free(names);
	if (err)
		return err;
	if (values->format && rt_str_equal(values->format, "json"))
		return print_json(list);
	print_table(list);
	return rt_output_finish();
}

static json_t *strings(char **list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, rt_json_visible_string(list[i]));
	return array;
}

/* Paths need not be UTF-8, and what came by a file or a registry need not be anything. */
static json_t *shown(const char *text)
{
	return text ? rt_json_visible_string(text) : json_null();
}

static json_t *describe(const Rt__Snapshot *snapshot, const Rt__Manifest *manifest, const struct rt_snapshot_usage *usage)
{
	const Rt__Container *container = manifest ? manifest->container : NULL;
	const Rt__Maker *maker = manifest ? manifest->maker : NULL;
	json_t *images = json_array();

	for (size_t i = 0; i < snapshot->n_images; i++)
		json_array_append_new(images, json_pack("{s:o, s:I}", "name", shown(snapshot->images[i]->name), "size", (json_int_t)snapshot->images[i]->size));
	return json_pack("{s:s, s:s, s:s, s:b, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o}, s:{s:I, s:I, s:I}, s:I, s:b, s:o}",
			 "name", snapshot->name, "id", snapshot->id, "created", snapshot->created, "encrypted", rt_snapshot_is_sealed(snapshot),
			 "container", "id", shown(container ? container->id : NULL), "bundle", shown(container ? container->bundle : NULL),
			 "rootfs", strings(snapshot->rootfs, snapshot->n_rootfs),
			 "maker", "rt", shown(maker ? maker->rt_version : NULL), "kernel", shown(maker ? maker->kernel_release : NULL),
			 "architecture", shown(maker ? maker->architecture : NULL), "host", shown(maker ? maker->host : NULL),
			 "bytes", "size", (json_int_t)usage->size, "stored", (json_int_t)usage->stored, "shared", (json_int_t)usage->shared,
			 "rootfsChanges", (json_int_t)(snapshot->rootfs_changes ? snapshot->rootfs_changes->size : 0),
			 "rootfsDeletions", snapshot->rootfs_deleted.len > 0, "images", images);
}

struct rt_error *rt_snapshot_inspect(const char *name, const struct rt_snapshot_values *values)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	_cleanup_json_ json_t *json = NULL;
	struct rt_snapshot_usage usage;
	struct rt_error *err;

	err = rt_store_open(values->store, &store);
	if (!err && values->key)
		err = rt_store_use_key(&store, values->key);
	if (!err)
		err = load_both(&store, name, &snapshot, &manifest);
	if (!err && values->key) {
		err = rt_snapshot_check_key(&store, snapshot);
		err = err ? rt_while(err, "snapshot '%s'", name) : NULL;
	}
	if (!err)
		err = rt_snapshot_usage(&store, snapshot, &usage);
	if (err)
		return err;
	json = describe(snapshot, manifest, &usage);
	return json ? print_json(json) : rt_error_oom();
}
