#include "migrate/registry_snapshot.h"

#include "migrate/registry.h"
#include "migrate/registry_manifest.h"
#include "runtime/base/str.h"
#include "runtime/cmd/output.h"

#include <pthread.h>

struct pull {
	const struct rt_registry_manifest *manifest;
	const struct rt_chunk_list *chunks; /* of the index */
	const struct rt_bundle *bundles;
	pthread_mutex_t lock; /* of what follows */
	struct rt_store_addition *addition;
	size_t taken; /* blobs */
	uint64_t bytes;
};

static bool is_needed(struct pull *pull, const struct rt_bundle *bundle)
{
	bool needed = false;

	pthread_mutex_lock(&pull->lock);
	for (size_t i = 0; i < bundle->count && !needed; i++) {
		const struct rt_listed_chunk *chunk = &pull->chunks->chunks[bundle->first + i];

		needed = !rt_store_addition_has(pull->addition, chunk->digest, chunk->size);
	}
	pthread_mutex_unlock(&pull->lock);
	return needed;
}

/* Each chunk is held against the digest that the index has for it. */
static struct rt_error *take_chunks(struct pull *pull, const struct rt_bundle *bundle, const uint8_t *bytes)
{
	struct rt_error *err = NULL;

	pthread_mutex_lock(&pull->lock);
	for (size_t i = 0; i < bundle->count && !err; i++) {
		const struct rt_listed_chunk *chunk = &pull->chunks->chunks[bundle->first + i];
		char text[RT_DIGEST_TEXT_ROOM];

		rt_digest_text(chunk->digest, text);
		err = rt_store_addition_chunk(pull->addition, text, bytes, chunk->size);
		bytes += chunk->size;
	}
	pull->taken++;
	pull->bytes += bundle->size;
	pthread_mutex_unlock(&pull->lock);
	return err;
}

static struct rt_error *pull_bundle(void *userdata, struct rt_registry_line *line, size_t number)
{
	struct pull *pull = userdata;
	const struct rt_bundle *bundle = &pull->bundles[number];
	_cleanup_free_ uint8_t *bytes = NULL;
	struct rt_error *err;

	if (!is_needed(pull, bundle))
		return NULL;
	err = rt_registry_get_blob(line, pull->manifest->bundles[number].digest, bundle->size, &bytes);
	return err ? err : take_chunks(pull, bundle, bytes);
}

/* The layers must be what the index makes of itself: nothing is fetched by what the manifest alone says. */
static struct rt_error *check_layers(const struct rt_registry_manifest *manifest, const struct rt_chunk_list *chunks, const struct rt_bundles *bundles)
{
	if (manifest->count != bundles->count)
		return rt_fail(RT_CONFIG, "the manifest has %zu layers, its index needs %zu", manifest->count, bundles->count);
	for (size_t i = 0; i < bundles->count; i++) {
		const struct rt_bundle *bundle = &bundles->list[i];
		char digest[80];

		if (manifest->bundles[i].size != bundle->size)
			return rt_fail(RT_CONFIG, "layer %zu of the manifest has %llu bytes, its index needs %u", i, (unsigned long long)manifest->bundles[i].size,
				       bundle->size);
		rt_registry_digest_text(chunks->chunks[bundle->first].digest, digest);
		if (bundle->count == 1 && !rt_str_equal(digest, manifest->bundles[i].digest))
			return rt_fail(RT_CONFIG, "layer %zu of the manifest is '%s', its index needs '%s'", i, manifest->bundles[i].digest, digest);
	}
	return NULL;
}

static struct rt_error *pull_chunks(struct rt_registry *registry, const struct rt_registry_manifest *manifest, struct rt_store_addition *addition,
				    struct pull *pull)
{
	_cleanup_(rt_chunk_list_deinit) struct rt_chunk_list chunks = { 0 };
	_cleanup_(rt_bundles_deinit) struct rt_bundles bundles = { 0 };
	struct rt_error *err = rt_snapshot_chunks(rt_store_addition_snapshot(addition), &chunks);

	if (!err)
		err = rt_bundles_make(&chunks, manifest->bits, &bundles);
	if (!err)
		err = check_layers(manifest, &chunks, &bundles);
	if (err)
		return err;
	*pull = (struct pull){ .manifest = manifest, .chunks = &chunks, .bundles = bundles.list, .addition = addition };
	pthread_mutex_init(&pull->lock, NULL);
	err = rt_registry_each(registry, bundles.count, pull_bundle, pull);
	pthread_mutex_destroy(&pull->lock);
	return err;
}

static struct rt_error *get_manifest(struct rt_registry_line *line, struct rt_registry_manifest *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	struct rt_error *err = rt_registry_get_manifest(line, RT_REGISTRY_MANIFEST, RT_REGISTRY_MANIFEST_MAX, &text, &size);

	return err ? err : rt_registry_manifest_read(text, size, ret);
}

/* As import does: the name that counts is the one given, or the one in the index. */
static struct rt_error *begin(const struct rt_store *store, struct rt_registry *registry, const char *name, struct rt_registry_manifest *ret_manifest,
			      struct rt_store_addition **ret)
{
	_cleanup_(rt_registry_line_closep) struct rt_registry_line *line = NULL;
	_cleanup_free_ uint8_t *index = NULL;
	struct rt_error *err = rt_registry_line_open(registry, &line);

	if (!err)
		err = get_manifest(line, ret_manifest);
	if (!err)
		err = rt_registry_get_blob(line, ret_manifest->index.digest, ret_manifest->index.size, &index);
	return err ? err : rt_store_add_index(store, name, index, ret_manifest->index.size, ret);
}

static struct rt_error *pull_into(const struct rt_store *store, struct rt_registry *registry, const char *name)
{
	_cleanup_(rt_registry_manifest_deinit) struct rt_registry_manifest manifest = { 0 };
	_cleanup_(rt_store_addition_freep) struct rt_store_addition *addition = NULL;
	struct pull pull;
	struct rt_error *err = begin(store, registry, name, &manifest, &addition);

	if (!err)
		err = pull_chunks(registry, &manifest, addition, &pull);
	if (!err)
		err = rt_store_addition_publish(addition);
	if (err)
		return err;
	printf("pulled '%s': %zu blobs, of which %zu were new (%.1f MiB)\n", rt_store_addition_snapshot(addition)->name, manifest.count + 1, pull.taken + 1,
	       (double)(pull.bytes + manifest.index.size) / (1 << 20));
	return rt_output_finish();
}

static struct rt_error *pull_from(const struct rt_registry_reference *reference, const char *name, const struct rt_snapshot_values *values)
{
	const struct rt_registry_options options = { .ca_file = values->cacert, .authfile = values->authfile, .plain_http = values->plain_http };
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	_cleanup_(rt_registry_closep) struct rt_registry *registry = NULL;
	struct rt_error *err = name ? rt_snapshot_check_name(name) : NULL;

	if (!err)
		err = rt_store_open(values->store, &store);
	if (!err)
		err = rt_registry_open(reference, &options, &registry);
	return err ? err : pull_into(&store, registry, name);
}

struct rt_error *rt_snapshot_pull(const char *reference, const char *name, const struct rt_snapshot_values *values)
{
	struct rt_registry_reference place;
	struct rt_error *err = rt_registry_parse_reference(reference, &place);

	if (!err)
		err = pull_from(&place, name, values);
	return err ? rt_while(err, "cannot pull a snapshot from '%s'", reference) : NULL;
}
