#include "checkpoint/snapshot_cipher.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <string.h>
#include <sys/stat.h>

struct rt_error *rt_key_read(const char *path, uint8_t ret[RT_KEY_SIZE])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	struct rt_error *err;

	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open the key file '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size != RT_KEY_SIZE)
		return rt_fail(RT_CONFIG, "the key file '%s' must be a file of %d bytes", path, RT_KEY_SIZE);
	if (st.st_mode & 077)
		return rt_fail(RT_CONFIG, "the key file '%s' is open to others than its owner (mode %04o): make it 0600", path, st.st_mode & 07777);
	err = rt_read_exact(fd, ret, RT_KEY_SIZE);
	return err ? rt_while(err, "reading the key file '%s'", path) : NULL;
}

void rt_cipher_init(struct rt_cipher *cipher, const uint8_t key[RT_KEY_SIZE])
{
	static const uint8_t salt[] = "rt snapshot store", info[] = "AES-256-SIV";
	nettle_hash_update_func *update = (nettle_hash_update_func *)hmac_sha256_update;
	nettle_hash_digest_func *digest = (nettle_hash_digest_func *)hmac_sha256_digest;
	uint8_t extracted[SHA256_DIGEST_SIZE], derived[SIV_CMAC_AES256_KEY_SIZE];
	struct hmac_sha256_ctx hmac;

	hmac_sha256_set_key(&hmac, sizeof(salt) - 1, salt);
	hkdf_extract(&hmac, update, digest, SHA256_DIGEST_SIZE, RT_KEY_SIZE, key, extracted);
	hmac_sha256_set_key(&hmac, sizeof(extracted), extracted);
	hkdf_expand(&hmac, update, digest, SHA256_DIGEST_SIZE, sizeof(info) - 1, info, sizeof(derived), derived);
	siv_cmac_aes256_set_key(&cipher->context, derived);
	explicit_bzero(extracted, sizeof(extracted));
	explicit_bzero(derived, sizeof(derived));
	explicit_bzero(&hmac, sizeof(hmac));
}

void rt_cipher_deinit(struct rt_cipher *cipher)
{
	explicit_bzero(cipher, sizeof(*cipher));
}

/* In the place of a nonce, which SIV does without. */
static uint8_t label(enum rt_cipher_use use)
{
	return use == RT_CIPHER_CHUNK ? 'c' : 'i';
}

void rt_cipher_seal(const struct rt_cipher *cipher, enum rt_cipher_use use, const void *beside, size_t beside_size, const void *bytes, size_t size,
		    uint8_t *ret)
{
	uint8_t nonce = label(use);

	siv_cmac_aes256_encrypt_message(&cipher->context, sizeof(nonce), &nonce, beside_size, beside, size + RT_CIPHER_TAG, ret, bytes);
}

struct rt_error *rt_cipher_open(const struct rt_cipher *cipher, enum rt_cipher_use use, const void *beside, size_t beside_size, const void *sealed, size_t size,
				uint8_t *ret)
{
	uint8_t nonce = label(use);

	if (size < RT_CIPHER_TAG || !siv_cmac_aes256_decrypt_message(&cipher->context, sizeof(nonce), &nonce, beside_size, beside, size - RT_CIPHER_TAG, ret, sealed))
		return rt_fail(RT_CONFIG, "it was sealed with another key, or is damaged");
	return NULL;
}
