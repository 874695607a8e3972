/* Shared by the files of the store, checkpoint/snapshot_*.c. */
#pragma once

#include "checkpoint/snapshot.h"

#include <string.h>

#define RT_DIGEST SHA256_DIGEST_SIZE
#define RT_CHUNK_PATH_ROOM (RT_DIGEST_TEXT_ROOM + 3)

/* "ab/abcd...", below STORE/chunks. */
void rt_chunk_path(const uint8_t digest[RT_DIGEST], char path[RT_CHUNK_PATH_ROOM]);

static inline bool rt_chunk_is_zero(const uint8_t digest[RT_DIGEST])
{
	static const uint8_t zeros[RT_DIGEST];

	return memcmp(digest, zeros, RT_DIGEST) == 0;
}

static inline size_t rt_chunk_count(const Rt__StoredFile *file)
{
	return file->digests.len / RT_DIGEST;
}

static inline const uint8_t *rt_chunk_digest(const Rt__StoredFile *file, uint64_t index)
{
	return file->digests.data + index * RT_DIGEST;
}

/* Bytes of the chunk: less than `chunk_size` at the end of the file. */
uint32_t rt_chunk_bytes(const Rt__StoredFile *file, uint32_t chunk_size, uint64_t index);

/* The same of what the store has of it. */
uint32_t rt_chunk_stored(const Rt__Snapshot *snapshot, const Rt__StoredFile *file, uint64_t index);

/* Opens a chunk of an encrypted snapshot; the store has a key. */
struct rt_error *rt_chunk_open(const struct rt_store *store, const uint8_t digest[RT_DIGEST], const uint8_t *sealed, size_t size, uint8_t *ret) _must_check_;

/* As rt_snapshot_load(), but what is sealed stays it, whatever key the store has. */
struct rt_error *rt_snapshot_load_stored(const struct rt_store *store, const char *name, Rt__Snapshot **ret) _must_check_;

/* snapshot_sealed.c: into the form it is stored in, and back for reading. */
struct rt_error *rt_snapshot_seal(Rt__Snapshot *snapshot, const struct rt_cipher *cipher) _must_check_;
struct rt_error *rt_snapshot_unseal(Rt__Snapshot *snapshot, const struct rt_cipher *cipher) _must_check_;

/* False: the text is no digest in hexadecimal. */
bool rt_chunk_parse(const char *text, uint8_t ret[RT_DIGEST]);

/* Calls for each file of a snapshot. */
typedef struct rt_error *(*rt_stored_file_fn)(void *userdata, const Rt__StoredFile *file);
struct rt_error *rt_snapshot_each_file(const Rt__Snapshot *snapshot, rt_stored_file_fn each, void *userdata) _must_check_;

struct rt_error *rt_store_lock_as(const struct rt_store *store, int operation, int *ret) _must_check_;
