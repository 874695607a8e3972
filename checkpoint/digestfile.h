/* Digests of whole files, as one stream. */
#pragma once

#include "runtime/base/digest.h"

#include <stdint.h>

/* Size of a regular file below the directory, and its SHA-256 where it has at most `limit` bytes (*ret_taken). Symlinks are not
 * followed. A file that is missing or no regular one is RT_CONFIG. */
struct rt_error *rt_digest_file(int dir_fd, const char *name, uint64_t limit, uint64_t *ret_size,
				uint8_t ret[SHA256_DIGEST_SIZE], bool *ret_taken) _must_check_;
