#include "migrate/snapshot_seal.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

struct rt_error *rt_seal_read_key(const char *path, uint8_t ret[RT_SEAL_KEY])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	struct rt_error *err;

	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open the key file '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size != RT_SEAL_KEY)
		return rt_fail(RT_CONFIG, "the key file '%s' must be a file of %d bytes", path, RT_SEAL_KEY);
	if (st.st_mode & 077)
		return rt_fail(RT_CONFIG, "the key file '%s' is open to others than its owner (mode %04o): make it 0600", path, st.st_mode & 07777);
	err = rt_read_exact(fd, ret, RT_SEAL_KEY);
	return err ? rt_while(err, "reading the key file '%s'", path) : NULL;
}

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
