#include "migrate/snapshot_seal.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>
#include <sys/random.h>

struct rt_error *rt_seal_draw_salt(uint8_t ret[RT_SEAL_SALT])
{
	return getrandom(ret, RT_SEAL_SALT, 0) == RT_SEAL_SALT ? NULL : rt_fail_errno("cannot draw random numbers");
}

void rt_seal_init(struct rt_seal *seal, const uint8_t key[RT_SEAL_KEY], const uint8_t salt[RT_SEAL_SALT])
{
	struct hmac_sha256_ctx hmac;
	uint8_t own[SHA256_DIGEST_SIZE];

	_Static_assert(SHA256_DIGEST_SIZE == CHACHA_POLY1305_KEY_SIZE, "the digest is the key");
	hmac_sha256_set_key(&hmac, RT_SEAL_KEY, key);
	hmac_sha256_update(&hmac, RT_SEAL_SALT, salt);
	hmac_sha256_digest(&hmac, sizeof(own), own);
	chacha_poly1305_set_key(&seal->context, own);
	seal->number = 0;
	explicit_bzero(own, sizeof(own));
	explicit_bzero(&hmac, sizeof(hmac));
}

void rt_seal_deinit(struct rt_seal *seal)
{
	explicit_bzero(seal, sizeof(*seal));
}

static void next(struct rt_seal *seal)
{
	uint8_t nonce[CHACHA_POLY1305_NONCE_SIZE] = { 0 };

	for (size_t i = 0; i < sizeof(seal->number); i++)
		nonce[i] = (uint8_t)(seal->number >> (8 * i));
	seal->number++;
	chacha_poly1305_set_nonce(&seal->context, nonce);
}

void rt_seal_close(struct rt_seal *seal, const void *bytes, size_t size, uint8_t *ret)
{
	next(seal);
	chacha_poly1305_encrypt(&seal->context, size, ret, bytes);
	chacha_poly1305_digest(&seal->context, RT_SEAL_TAG, ret + size);
}

struct rt_error *rt_seal_open(struct rt_seal *seal, uint8_t *bytes, size_t size, size_t *ret_size)
{
	uint8_t tag[RT_SEAL_TAG];

	if (size < RT_SEAL_TAG)
		return rt_fail(RT_CONFIG, "a sealed piece has only %zu bytes", size);
	size -= RT_SEAL_TAG;
	next(seal);
	chacha_poly1305_decrypt(&seal->context, size, bytes, bytes);
	chacha_poly1305_digest(&seal->context, RT_SEAL_TAG, tag);
	if (!memeql_sec(tag, bytes + size, RT_SEAL_TAG))
		return rt_fail(RT_CONFIG, "it was sealed with another key, or is damaged");
	*ret_size = size;
	return NULL;
}
