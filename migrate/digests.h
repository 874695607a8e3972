/* What the other side is known to hold of one address space: a digest of 128 bits of each page, by address.
 *
 * 16 bytes a page (0.4 % of the memory it stands for), in pieces of 2 MiB of address space. The digests are keyed with a secret of the tracker's own, so that
 * nobody can make pages in advance that look alike. */
#pragma once

#include "runtime/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct rt_digests;
struct rt_digest {
	uint64_t words[2]; /* both 0: not known */
};

#define RT_DIGEST_SECRET_SIZE 192

struct rt_error *rt_digests_new(struct rt_digests **ret) _must_check_;
void rt_digests_free(struct rt_digests *digests);

/* Of one page of RT_PAGE_SIZE bytes. */
struct rt_digest rt_digest_of(const void *secret, const void *page);

/* True where the page at `address` is known and its digest is this one. Marks the piece as used in `round`. */
bool rt_digests_match(struct rt_digests *digests, uint64_t address, const struct rt_digest *digest, uint64_t round);

/* What is known of the page from now on. */
struct rt_error *rt_digests_set(struct rt_digests *digests, uint64_t address, const struct rt_digest *digest, uint64_t round) _must_check_;

/* Drops the pieces that were not used since `round`: that memory is gone. */
void rt_digests_drop_before(struct rt_digests *digests, uint64_t round);

/* Bytes in use. */
uint64_t rt_digests_size(const struct rt_digests *digests);
