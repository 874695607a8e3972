/* The index of a snapshot whose chunks are encrypted: what tells of the container (manifest, configuration, paths) is sealed in it; names, sizes and
 * digests, which are of sealed bytes, are not, so that gc, verify, push and export need no key. They stand beside what is sealed: none can be changed
 * without being found out. */
#include "checkpoint/snapshot_private.h"

#include "checkpoint/unpack.h"

#include <stdlib.h>

static const ProtobufCBinaryData nothing;

/* Everything else of the index. Without the name, which another store may change. */
static struct rt_error *pack_beside(const Rt__Snapshot *snapshot, void **ret, size_t *ret_size)
{
	Rt__Snapshot outer = *snapshot;

	outer.format = RT_SNAPSHOT_SEALED;
	outer.name = (char *)protobuf_c_empty_string;
	outer.manifest = outer.rootfs_deleted = outer.sealed = nothing;
	outer.n_rootfs = 0;
	return rt_pack(&outer.base, ret, ret_size);
}

static struct rt_error *pack_inside(const Rt__Snapshot *snapshot, void **ret, size_t *ret_size)
{
	Rt__Snapshot inner = RT__SNAPSHOT__INIT;

	inner.manifest = snapshot->manifest;
	inner.rootfs_deleted = snapshot->rootfs_deleted;
	inner.rootfs = snapshot->rootfs;
	inner.n_rootfs = snapshot->n_rootfs;
	return rt_pack(&inner.base, ret, ret_size);
}

static void forget_inside(Rt__Snapshot *snapshot)
{
	free(snapshot->manifest.data);
	free(snapshot->rootfs_deleted.data);
	for (size_t i = 0; i < snapshot->n_rootfs; i++)
		free(snapshot->rootfs[i]);
	free(snapshot->rootfs);
	snapshot->manifest = snapshot->rootfs_deleted = nothing;
	snapshot->rootfs = NULL;
	snapshot->n_rootfs = 0;
}

struct rt_error *rt_snapshot_seal(Rt__Snapshot *snapshot, const struct rt_cipher *cipher)
{
	_cleanup_free_ void *beside = NULL, *inside = NULL;
	size_t beside_size, inside_size;
	struct rt_error *err = pack_beside(snapshot, &beside, &beside_size);
	uint8_t *sealed;

	if (!err)
		err = pack_inside(snapshot, &inside, &inside_size);
	if (err)
		return err;
	sealed = malloc(inside_size + RT_CIPHER_TAG);
	if (!sealed)
		return rt_error_oom();
	rt_cipher_seal(cipher, RT_CIPHER_INDEX, beside, beside_size, inside, inside_size, sealed);
	explicit_bzero(inside, inside_size);
	forget_inside(snapshot);
	snapshot->format = RT_SNAPSHOT_SEALED;
	snapshot->sealed = (ProtobufCBinaryData){ .data = sealed, .len = inside_size + RT_CIPHER_TAG };
	return NULL;
}

static struct rt_error *take_inside(Rt__Snapshot *snapshot, const uint8_t *bytes, size_t size)
{
	ProtobufCMessage *message;
	struct rt_error *err = rt_unpack(&rt__snapshot__descriptor, bytes, size, &message);
	Rt__Snapshot *inner = (Rt__Snapshot *)message;

	if (err)
		return err;
	forget_inside(snapshot);
	snapshot->manifest = inner->manifest;
	snapshot->rootfs_deleted = inner->rootfs_deleted;
	snapshot->rootfs = inner->rootfs;
	snapshot->n_rootfs = inner->n_rootfs;
	inner->manifest = inner->rootfs_deleted = nothing;
	inner->rootfs = NULL;
	inner->n_rootfs = 0;
	rt_unpack_free(message);
	return NULL;
}

struct rt_error *rt_snapshot_unseal(Rt__Snapshot *snapshot, const struct rt_cipher *cipher)
{
	_cleanup_free_ void *beside = NULL;
	_cleanup_free_ uint8_t *inside = NULL;
	size_t beside_size, size = snapshot->sealed.len;
	struct rt_error *err = pack_beside(snapshot, &beside, &beside_size);

	if (err)
		return err;
	inside = malloc(size);
	if (!inside)
		return rt_error_oom();
	err = rt_cipher_open(cipher, RT_CIPHER_INDEX, beside, beside_size, snapshot->sealed.data, size, inside);
	if (!err)
		err = take_inside(snapshot, inside, size - RT_CIPHER_TAG);
	explicit_bzero(inside, size);
	return err;
}

/* ---- the key that goes with a store ---- */

struct rt_error *rt_store_use_key(struct rt_store *store, const char *path)
{
	uint8_t key[RT_KEY_SIZE];
	struct rt_error *err = rt_key_read(path, key);

	if (err)
		return err;
	store->cipher = calloc(1, sizeof(*store->cipher));
	if (store->cipher)
		rt_cipher_init(store->cipher, key);
	explicit_bzero(key, sizeof(key));
	return store->cipher ? NULL : rt_error_oom();
}

void rt_store_forget_key(struct rt_store *store)
{
	if (store->cipher)
		rt_cipher_deinit(store->cipher);
	free(rt_take_ptr(store->cipher));
}

struct rt_error *rt_snapshot_check_key(const struct rt_store *store, const Rt__Snapshot *snapshot)
{
	if (rt_snapshot_is_sealed(snapshot) && !store->cipher)
		return rt_fail(RT_CONFIG, "it is encrypted: its key must be given ('--key')");
	if (!rt_snapshot_is_sealed(snapshot) && store->cipher)
		return rt_fail(RT_CONFIG, "it is not encrypted: leave '--key' out");
	return NULL;
}

struct rt_error *rt_chunk_open(const struct rt_store *store, const uint8_t digest[RT_DIGEST], const uint8_t *sealed, size_t size, uint8_t *ret)
{
	char text[RT_DIGEST_TEXT_ROOM];
	struct rt_error *err = rt_cipher_open(store->cipher, RT_CIPHER_CHUNK, NULL, 0, sealed, size, ret);

	if (!err)
		return NULL;
	rt_digest_text(digest, text);
	return rt_while(err, "chunk '%s'", text);
}
