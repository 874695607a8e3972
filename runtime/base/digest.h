/* SHA-256, through nettle. */
#pragma once

#include "runtime/base/error.h"

#include <nettle/sha2.h>

#define RT_DIGEST_TEXT_ROOM (2 * SHA256_DIGEST_SIZE + 1)

/* Lower-case hexadecimal of a digest, NUL-terminated. */
void rt_digest_text(const uint8_t digest[SHA256_DIGEST_SIZE], char text[RT_DIGEST_TEXT_ROOM]);

/* Digest of a range of bytes; and as text. */
void rt_digest(const void *bytes, size_t size, uint8_t ret[SHA256_DIGEST_SIZE]);
void rt_digest_bytes(const void *bytes, size_t size, char text[RT_DIGEST_TEXT_ROOM]);
