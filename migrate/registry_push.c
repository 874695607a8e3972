#include "migrate/registry_snapshot.h"

#include "migrate/registry.h"
#include "migrate/registry_manifest.h"
#include "runtime/base/str.h"
#include "runtime/cmd/output.h"

#include <stdatomic.h>

struct push {
	const struct rt_store *store;
	const struct rt_chunk_list *chunks; /* as they are to be there */
	const struct rt_chunk_list *stored; /* as they are here: the same, or they are encrypted on the way */
	const struct rt_bundle *bundles;
	struct rt_registry_blob *blobs; /* of the manifest: filled in as they go */
	atomic_ullong sent; /* bytes */
	atomic_uint sent_blobs;
};

static struct rt_error *load_bundle(const struct push *push, const struct rt_bundle *bundle, uint8_t **ret)
{
	_cleanup_free_ uint8_t *bytes = malloc(bundle->size);
	struct rt_error *err = bytes ? NULL : rt_error_oom();
	uint32_t used = 0;

	for (size_t i = 0; i < bundle->count && !err; i++) {
		const struct rt_listed_chunk *chunk = &push->chunks->chunks[bundle->first + i], *stored = &push->stored->chunks[bundle->first + i];

		if (push->stored == push->chunks)
			err = rt_chunk_load(push->store, chunk->digest, bytes + used, chunk->size);
		else
			err = rt_chunk_load_sealed(push->store, stored->digest, stored->size, bytes + used);
		used += chunk->size;
	}
	if (!err)
		*ret = rt_take_ptr(bytes);
	return err;
}

static struct rt_error *send_blob(struct push *push, struct rt_registry_line *line, const struct rt_registry_blob *blob, const uint8_t *bytes)
{
	struct rt_error *err = rt_registry_put_blob(line, blob->digest, bytes, blob->size);

	if (!err) {
		atomic_fetch_add(&push->sent, blob->size);
		atomic_fetch_add(&push->sent_blobs, 1);
	}
	return err;
}

/* The digest of a single chunk is known before its bytes are read, that of several is not. */
static struct rt_error *push_bundle(void *userdata, struct rt_registry_line *line, size_t number)
{
	struct push *push = userdata;
	const struct rt_bundle *bundle = &push->bundles[number];
	struct rt_registry_blob *blob = &push->blobs[number];
	_cleanup_free_ uint8_t *bytes = NULL;
	struct rt_error *err = NULL;
	bool there;

	blob->size = bundle->size;
	if (bundle->count == 1)
		rt_registry_digest_text(push->chunks->chunks[bundle->first].digest, blob->digest);
	else
		err = load_bundle(push, bundle, &bytes);
	if (!err && bytes)
		rt_registry_digest_bytes(bytes, bundle->size, blob->digest);
	if (!err)
		err = rt_registry_has_blob(line, blob->digest, blob->size, &there);
	if (err || there)
		return err;
	if (!bytes)
		err = load_bundle(push, bundle, &bytes);
	return err ? err : send_blob(push, line, blob, bytes);
}

/* With digests that are not known yet it is as long as with those. */
static struct rt_error *check_room(const struct push *push, struct rt_registry_manifest *manifest)
{
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < manifest->count; i++) {
		strcpy(manifest->bundles[i].digest, manifest->index.digest);
		manifest->bundles[i].size = push->bundles[i].size;
	}
	return rt_registry_manifest_write(manifest, &text);
}

/* The index first, as with its size is known whether all of it will fit: before anything was sent. */
static struct rt_error *push_index(struct push *push, struct rt_registry_line *line, const Rt__Snapshot *snapshot, struct rt_registry_manifest *manifest)
{
	struct rt_registry_blob *blob = &manifest->index;
	_cleanup_free_ void *index = NULL;
	size_t size;
	struct rt_error *err = rt_snapshot_pack(snapshot, &index, &size);
	bool there;

	if (err)
		return err;
	rt_registry_digest_bytes(index, size, blob->digest);
	blob->size = size;
	err = check_room(push, manifest);
	if (!err)
		err = rt_registry_has_blob(line, blob->digest, size, &there);
	return err || there ? err : send_blob(push, line, blob, index);
}

/* The manifest last: a registry refuses one whose blobs it lacks, and whoever pulls sees the snapshot only from then on. */
static struct rt_error *push_manifest(struct rt_registry_line *line, const struct rt_registry_manifest *manifest, char digest[80])
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_registry_manifest_write(manifest, &text);

	if (err)
		return err;
	rt_registry_digest_bytes(text, strlen(text), digest);
	return rt_registry_put_manifest(line, RT_REGISTRY_MANIFEST, text, strlen(text));
}

static struct rt_error *push_blobs(struct push *push, struct rt_registry *registry, const Rt__Snapshot *snapshot, struct rt_registry_manifest *manifest,
				   char digest[80])
{
	_cleanup_(rt_registry_line_closep) struct rt_registry_line *line = NULL;
	struct rt_error *err = rt_registry_line_open(registry, &line);

	if (!err)
		err = push_index(push, line, snapshot, manifest);
	if (!err)
		err = rt_registry_each(registry, manifest->count, push_bundle, push);
	return err ? err : push_manifest(line, manifest, digest);
}

static struct rt_error *push_chunks(const Rt__Snapshot *snapshot, struct rt_registry *registry, struct push *push, char digest[80])
{
	_cleanup_(rt_registry_manifest_deinit) struct rt_registry_manifest manifest = { .bits = rt_bundle_bits(push->chunks->count) };
	_cleanup_(rt_bundles_deinit) struct rt_bundles bundles = { 0 };
	struct rt_error *err = rt_bundles_make(push->chunks, manifest.bits, &bundles);

	if (err)
		return err;
	manifest.count = bundles.count;
	manifest.bundles = calloc(bundles.count + 1, sizeof(*manifest.bundles));
	manifest.name = strdup(snapshot->name);
	manifest.created = strdup(snapshot->created);
	if (!manifest.bundles || !manifest.name || !manifest.created)
		return rt_error_oom();
	push->bundles = bundles.list;
	push->blobs = manifest.bundles;
	err = push_blobs(push, registry, snapshot, &manifest, digest);
	if (!err)
		printf("pushed '%s': %zu blobs, of which %u were new (%.1f MiB)\n%s\n", snapshot->name, bundles.count + 1, atomic_load(&push->sent_blobs),
		       (double)atomic_load(&push->sent) / (1 << 20), digest);
	return err;
}

static struct rt_error *push_all(const struct rt_store *store, Rt__Snapshot *snapshot, struct rt_registry *registry, char digest[80])
{
	_cleanup_(rt_chunk_list_deinit) struct rt_chunk_list stored = { 0 }, sealed = { 0 };
	struct push push = { .store = store, .chunks = &stored, .stored = &stored };
	struct rt_error *err = rt_snapshot_chunks(snapshot, &stored);

	if (!err && store->cipher) {
		err = rt_snapshot_encrypt(store, snapshot, &stored, &sealed);
		push.chunks = &sealed;
	}
	return err ? err : push_chunks(snapshot, registry, &push, digest);
}

static struct rt_error *push_to(const char *name, const struct rt_registry_reference *reference, const struct rt_snapshot_values *values)
{
	const struct rt_registry_options options = {
		.ca_file = values->cacert, .authfile = values->authfile, .plain_http = values->plain_http, .push = true,
	};
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	_cleanup_(rt_registry_closep) struct rt_registry *registry = NULL;
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	_cleanup_close_ int lock_fd = -1;
	char digest[80];
	struct rt_error *err = rt_store_open(values->store, &store);

	if (!err)
		err = rt_store_lock(&store, &lock_fd);
	if (!err)
		err = rt_snapshot_load(&store, name, &snapshot);
	if (!err && values->encrypt && rt_snapshot_is_sealed(snapshot))
		err = rt_fail(RT_CONFIG, "it is encrypted already: leave '--encrypt' out");
	if (!err && values->encrypt)
		err = rt_store_use_key(&store, values->encrypt);
	if (!err)
		err = rt_registry_open(reference, &options, &registry);
	if (!err)
		err = push_all(&store, snapshot, registry, digest);
	return err ? err : rt_output_finish();
}

struct rt_error *rt_snapshot_push(const char *name, const char *reference, const struct rt_snapshot_values *values)
{
	struct rt_registry_reference place;
	struct rt_error *err = rt_registry_parse_reference(reference, &place);

	if (!err && place.by_digest)
		err = rt_fail(RT_USAGE, "'%s' has a digest, which is known only afterwards: it must have a tag", reference);
	if (!err)
		err = push_to(name, &place, values);
	return err ? rt_while(err, "cannot push snapshot '%s'", name) : NULL;
}
