#include "runtime/base/digest.h"

void rt_digest_text(const uint8_t digest[SHA256_DIGEST_SIZE], char text[RT_DIGEST_TEXT_ROOM])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_DIGEST_SIZE; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 15];
	}
	text[2 * SHA256_DIGEST_SIZE] = '\0';
}

void rt_digest(const void *bytes, size_t size, uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, size, bytes);
	sha256_digest(&context, SHA256_DIGEST_SIZE, ret);
}

void rt_digest_bytes(const void *bytes, size_t size, char text[RT_DIGEST_TEXT_ROOM])
{
	uint8_t digest[SHA256_DIGEST_SIZE];

	rt_digest(bytes, size, digest);
	rt_digest_text(digest, text);
}
