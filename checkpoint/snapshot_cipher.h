/* Authenticated encryption of what the store holds: AES-256-SIV (RFC 5297) of nettle, under a key derived from the user's by HKDF-SHA256.
 *
 * It is deterministic: what is the same under one key is the same when it is sealed, so that snapshots go on sharing chunks, and nobody without the key
 * can tell what a chunk is from its name, the digest of its sealed bytes (docs/decisions/0017-an-encrypted-store.md). Pure, but for the key's file. */
#pragma once

#include "runtime/base/error.h"

#include <nettle/siv-cmac.h>
#include <stdint.h>

#define RT_KEY_SIZE 32
#define RT_CIPHER_TAG 16 /* bytes that are added */

/* 32 bytes; the file must be readable to its owner alone. */
struct rt_error *rt_key_read(const char *path, uint8_t ret[RT_KEY_SIZE]) _must_check_;

/* A secret: to be wiped by rt_cipher_deinit(). Threads may share it. */
struct rt_cipher {
	struct siv_cmac_aes256_ctx context;
};

/* So that none is taken for the other. */
enum rt_cipher_use {
	RT_CIPHER_CHUNK,
	RT_CIPHER_INDEX,
};

void rt_cipher_init(struct rt_cipher *cipher, const uint8_t key[RT_KEY_SIZE]);
void rt_cipher_deinit(struct rt_cipher *cipher);

/* `ret` has room for size + RT_CIPHER_TAG, and overlaps nothing. `beside` is not in it, but what is opened must have the same beside it. */
void rt_cipher_seal(const struct rt_cipher *cipher, enum rt_cipher_use use, const void *beside, size_t beside_size, const void *bytes, size_t size,
		    uint8_t *ret);
/* `ret` has room for size - RT_CIPHER_TAG. RT_CONFIG where it is not what was sealed with this key. */
struct rt_error *rt_cipher_open(const struct rt_cipher *cipher, enum rt_cipher_use use, const void *beside, size_t beside_size, const void *sealed, size_t size,
				uint8_t *ret) _must_check_;
