/* The store of snapshots: checkpoints that share what they have in common, kept so that a flipped bit is found and a crash leaves nothing half.
 *
 *	STORE/lock		flock: shared by who adds or reads chunks, exclusive by who takes some away
 *	STORE/index/NAME	a snapshot: the SHA-256 of what follows, then a message rt.Snapshot
 *	STORE/chunks/ab/abcd..	a piece of a file, named by its SHA-256
 *	STORE/tmp/RANDOM/	what is being added; only its maker looks into it
 *
 * A snapshot is there as soon as its index is, which is moved into place last, after all chunks are, and these after their bytes have reached
 * the disk. So whatever is interrupted leaves chunks nobody names and a directory in tmp, and rt_store_collect() takes both.
 *
 * Who reads or adds chunks holds the shared lock meanwhile, so that none of them is taken away; who removes an index needs none. Nothing here knows how
 * snapshots are made or started (migrate/clone.h). docs/snapshots.md has the format. */
#pragma once

#include "checkpoint/snapshot_cipher.h"
#include "runtime/base/digest.h"
#include "runtime/base/error.h"
#include "proto/snapshot.pb-c.h"

#include <stdint.h>

#define RT_STORE_DEFAULT "/var/lib/rt/snapshots"
#define RT_SNAPSHOT_FORMAT 1
#define RT_SNAPSHOT_SEALED 2 /* format of one that is encrypted */
#define RT_SNAPSHOT_CHUNK (128u << 10)
#define RT_SNAPSHOT_CHUNK_MAX (16u << 20) /* of other makers */
#define RT_SNAPSHOT_INDEX_MAX (256u << 20) /* bytes: the digests of 1 TiB */

struct rt_store {
	char *path;
	int dir_fd, index_fd, chunks_fd, tmp_fd;
	struct rt_cipher *cipher; /* owned; NULL: no key was given */
};
#define RT_STORE_NULL ((struct rt_store){ .dir_fd = -1, .index_fd = -1, .chunks_fd = -1, .tmp_fd = -1 })

/* `path` NULL: the default. Made where it is not there (0700). */
struct rt_error *rt_store_open(const char *path, struct rt_store *ret) _must_check_;
void rt_store_deinit(struct rt_store *store);

/* What is added from here on is encrypted with the key in this file, what is encrypted can be read. */
struct rt_error *rt_store_use_key(struct rt_store *store, const char *path) _must_check_;
void rt_store_forget_key(struct rt_store *store);

/* Shared; *ret is closed to end it. */
struct rt_error *rt_store_lock(const struct rt_store *store, int *ret) _must_check_;

/* Letters, digits, "_+-.", no dot in front. */
struct rt_error *rt_snapshot_check_name(const char *name) _must_check_;

/* RT_NOT_FOUND where there is none of this name; freed by rt_snapshot_free(). Checked: digest, format, sizes; not the chunks. Of an encrypted one
 * manifest, rootfs and rootfs_deleted are there only with the store's key, and then it is not to be packed again. */
struct rt_error *rt_snapshot_load(const struct rt_store *store, const char *name, Rt__Snapshot **ret) _must_check_;
/* The same from memory. `name` NULL: whatever name it has. */
struct rt_error *rt_snapshot_parse(const void *bytes, size_t size, const char *name, Rt__Snapshot **ret) _must_check_;
static inline bool rt_snapshot_is_sealed(const Rt__Snapshot *snapshot)
{
	return snapshot->format == RT_SNAPSHOT_SEALED;
}
/* For who wants its content: a key was given if and only if it needs one. */
struct rt_error *rt_snapshot_check_key(const struct rt_store *store, const Rt__Snapshot *snapshot) _must_check_;
void rt_snapshot_free(Rt__Snapshot *snapshot);
static inline void rt_snapshot_freep(Rt__Snapshot **snapshot)
{
	rt_snapshot_free(*snapshot);
}
#define _cleanup_snapshot_ _cleanup_(rt_snapshot_freep)

/* Of all that are there, sorted; NULL-terminated, freed by rt_names_free(). */
struct rt_error *rt_store_names(const struct rt_store *store, char ***ret) _must_check_;
void rt_names_free(char **names);

struct rt_error *rt_store_remove(const struct rt_store *store, const char *name) _must_check_;

/* ---- adding ---- */

struct rt_store_addition; /* one snapshot on its way into the store */

/* RT_EXISTS where the name is taken. Holds the shared lock until it is freed, which takes away what was not published. */
struct rt_error *rt_store_add(const struct rt_store *store, const char *name, struct rt_store_addition **ret) _must_check_;
void rt_store_addition_free(struct rt_store_addition *addition);
static inline void rt_store_addition_freep(struct rt_store_addition **addition)
{
	rt_store_addition_free(*addition);
}

/* A directory of its own on the store's file system, for what is to be added; gone with the addition. */
struct rt_error *rt_store_addition_directory(struct rt_store_addition *addition, const char *name, char **ret) _must_check_;

/* The message to be published, for the caller to fill in; all of it comes from malloc (rt_manifest_set() and the like). */
Rt__Snapshot *rt_store_addition_snapshot(struct rt_store_addition *addition);

/* Takes in what the descriptor has, from its start on. */
struct rt_error *rt_store_addition_file(struct rt_store_addition *addition, int fd, const char *name, Rt__StoredFile *ret) _must_check_;

/* In place of rt_store_add() and files, for a snapshot that comes from elsewhere: its index, then its chunks. `name` NULL: the one in the index. RT_CONFIG where the
 * bytes are not those that the digest is of, or the manifest, where it can be read, is none. Publishing fails where a chunk is missing. */
struct rt_error *rt_store_add_index(const struct rt_store *store, const char *name, const void *bytes, size_t size, struct rt_store_addition **ret) _must_check_;
struct rt_error *rt_store_addition_chunk(struct rt_store_addition *addition, const char *digest, const void *bytes, size_t size) _must_check_;

/* Whether the store, or what was added, has it: of this size, its bytes are not looked at. */
bool rt_store_addition_has(const struct rt_store_addition *addition, const uint8_t digest[SHA256_DIGEST_SIZE], uint32_t size);

/* The snapshot is there afterwards, whole. */
struct rt_error *rt_store_addition_publish(struct rt_store_addition *addition) _must_check_;

/* Bytes that were new to the store. */
uint64_t rt_store_addition_new_bytes(const struct rt_store_addition *addition);

/* ---- reading ---- */

struct rt_store_reader { /* of one file; what it returns has been held against the digests */
	const struct rt_store *store;
	const Rt__StoredFile *file;
	uint32_t chunk_size;
	uint8_t *chunk, *sealed; /* owned: the one that was read last, and where it is read to when it is sealed */
	uint64_t index; /* its number; UINT64_MAX: none */
};
struct rt_error *rt_store_reader_init(struct rt_store_reader *reader, const struct rt_store *store, const Rt__Snapshot *snapshot,
				      const Rt__StoredFile *file) _must_check_;
void rt_store_reader_deinit(struct rt_store_reader *reader);
/* RT_CONFIG names a chunk that is missing or damaged, or says that the file ends before. */
struct rt_error *rt_store_read(struct rt_store_reader *reader, uint64_t offset, void *buffer, size_t size) _must_check_;

/* All of a file into an empty one; zeros become holes. */
struct rt_error *rt_store_extract(const struct rt_store *store, const Rt__Snapshot *snapshot, const Rt__StoredFile *file, int fd) _must_check_;

/* A chunk's file, held against the digest; `buffer` has room for `size`. RT_CONFIG where it is missing or damaged. */
struct rt_error *rt_chunk_load(const struct rt_store *store, const uint8_t digest[SHA256_DIGEST_SIZE], void *buffer, uint32_t size) _must_check_;

/* For a snapshot that is to go elsewhere: the bytes of its index, which the caller frees, and each chunk it names once, in the order of its files. */
struct rt_error *rt_snapshot_pack(const Rt__Snapshot *snapshot, void **ret, size_t *ret_size) _must_check_;

struct rt_listed_chunk {
	uint8_t digest[SHA256_DIGEST_SIZE];
	uint32_t size;
};
struct rt_chunk_list {
	struct rt_listed_chunk *chunks; /* owned */
	size_t count;
};
struct rt_error *rt_snapshot_chunks(const Rt__Snapshot *snapshot, struct rt_chunk_list *ret) _must_check_;
void rt_chunk_list_deinit(struct rt_chunk_list *list);

/* Of one that is not encrypted: makes the message what it is when it is encrypted with the store's key, and *ret the list of its chunks then, in
 * the same order. Where these bytes are needed they are made of what the store has, `size` of them into `size` + RT_CIPHER_TAG. */
struct rt_error *rt_snapshot_encrypt(const struct rt_store *store, Rt__Snapshot *snapshot, const struct rt_chunk_list *chunks,
				     struct rt_chunk_list *ret) _must_check_;
struct rt_error *rt_chunk_load_sealed(const struct rt_store *store, const uint8_t digest[SHA256_DIGEST_SIZE], uint32_t size, uint8_t *ret) _must_check_;

typedef struct rt_error *(*rt_chunk_fn)(void *userdata, const char *digest, const void *bytes, size_t size);
struct rt_error *rt_store_each_chunk(const struct rt_store *store, const Rt__Snapshot *snapshot, rt_chunk_fn each, void *userdata) _must_check_;

/* ---- the whole store ---- */

/* Everything that is wrong, a sentence each, with every byte read. Chunks no snapshot names are looked at as well. `name` NULL: all. What is encrypted
 * is held against the digest of what is stored; where the store has a key, one snapshot is opened as well, which must be encrypted. */
struct rt_store_verdict {
	size_t snapshots, chunks, faults;
};
struct rt_error *rt_store_verify(const struct rt_store *store, const char *name, void (*fault)(void *userdata, const char *sentence), void *userdata,
				 struct rt_store_verdict *ret) _must_check_;

/* What a snapshot takes. */
struct rt_snapshot_usage {
	uint64_t size; /* bytes of its files */
	uint64_t stored; /* bytes of chunks it names, each once; zeros are not stored */
	uint64_t shared; /* of those: which another snapshot names, too */
};
struct rt_error *rt_snapshot_usage(const struct rt_store *store, const Rt__Snapshot *snapshot, struct rt_snapshot_usage *ret) _must_check_;

/* Frees what nothing names. Waits until nobody adds or reads; who comes meanwhile waits for it. A damaged index ends it: what it named can't be known. */
struct rt_store_collected {
	size_t kept, freed; /* chunks */
	uint64_t freed_bytes;
};
struct rt_error *rt_store_collect(const struct rt_store *store, struct rt_store_collected *ret) _must_check_;
