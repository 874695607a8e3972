/* Authenticated encryption of what leaves the store: ChaCha20-Poly1305 of nettle, piece by piece.
 *
 * The key of a file is HMAC-SHA256(key, salt), the salt drawn at random for each file; the nonce of a piece is its number. So no nonce is used twice with one
 * key, and a piece that is changed, moved, left out or of another file is found. A sealed piece is 16 bytes longer. Pure, but for the salt. */
#pragma once

#include "checkpoint/snapshot_cipher.h"

#include <nettle/chacha-poly1305.h>
#include <stdint.h>

#define RT_SEAL_KEY RT_KEY_SIZE
#define RT_SEAL_SALT 32
#define RT_SEAL_TAG 16

struct rt_seal {
	struct chacha_poly1305_ctx context;
	uint64_t number; /* of the next piece */
};

struct rt_error *rt_seal_draw_salt(uint8_t ret[RT_SEAL_SALT]) _must_check_;

void rt_seal_init(struct rt_seal *seal, const uint8_t key[RT_SEAL_KEY], const uint8_t salt[RT_SEAL_SALT]);
/* The next piece: `ret` has room for size + RT_SEAL_TAG. */
void rt_seal_close(struct rt_seal *seal, const void *bytes, size_t size, uint8_t *ret);
/* The next piece, opened in place of `bytes`; *ret_size is RT_SEAL_TAG less. RT_CONFIG where it is not what was sealed with this key. */
struct rt_error *rt_seal_open(struct rt_seal *seal, uint8_t *bytes, size_t size, size_t *ret_size) _must_check_;
void rt_seal_deinit(struct rt_seal *seal);
