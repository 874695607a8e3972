#include "migrate/digests.h"

#include "migrate/tracker.h"

#include <string.h>
#include <xxhash.h>

#define PIECE_PAGES 512
#define PIECE_SIZE (PIECE_PAGES * (uint64_t)RT_PAGE_SIZE)

struct piece {
	uint64_t number; /* address / PIECE_SIZE */
	uint64_t used; /* round */
	struct rt_digest digests[PIECE_PAGES];
};

struct rt_digests {
	struct piece **pieces; /* ascending */
	size_t count;
	size_t room;
	size_t last; /* where the search ended last: rounds go upwards */
};

struct rt_error *rt_digests_new(struct rt_digests **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? NULL : rt_error_oom();
}

void rt_digests_free(struct rt_digests *digests)
{
	if (!digests)
		return;
	for (size_t i = 0; i < digests->count; i++)
		free(digests->pieces[i]);
	free(digests->pieces);
	free(digests);
}

struct rt_digest rt_digest_of(const void *secret, const void *page)
{
	XXH128_hash_t hash = XXH3_128bits_withSecret(page, RT_PAGE_SIZE, secret, RT_DIGEST_SECRET_SIZE);
	struct rt_digest digest = { { hash.low64, hash.high64 } };

	/* 0 stands for "not known". */
	digest.words[0] |= !digest.words[0] && !digest.words[1];
	return digest;
}

/* The index of the first piece that is not below `number`. */
static size_t lower_bound(const struct rt_digests *digests, uint64_t number)
{
	size_t low = 0, high = digests->count;

	if (digests->last < digests->count && digests->pieces[digests->last]->number == number)
		return digests->last;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (digests->pieces[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct piece *find(struct rt_digests *digests, uint64_t address, size_t *ret_index)
{
	uint64_t number = address / PIECE_SIZE;

	*ret_index = lower_bound(digests, number);
	digests->last = *ret_index;
	return *ret_index < digests->count && digests->pieces[*ret_index]->number == number ? digests->pieces[*ret_index] : NULL;
}

bool rt_digests_match(struct rt_digests *digests, uint64_t address, const struct rt_digest *digest, uint64_t round)
{
	size_t index;
	struct piece *piece = find(digests, address, &index);

	if (!piece)
		return false;
	piece->used = round;
	return memcmp(&piece->digests[address / RT_PAGE_SIZE % PIECE_PAGES], digest, sizeof(*digest)) == 0;
}

static struct rt_error *insert(struct rt_digests *digests, size_t index, uint64_t number, struct piece **ret)
{
	if (digests->count == digests->room) {
		size_t room = digests->room ? digests->room * 2 : 64;
		struct piece **larger = reallocarray(digests->pieces, room, sizeof(*larger));

		if (!larger)
			return rt_error_oom();
		digests->pieces = larger;
		digests->room = room;
	}
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return rt_error_oom();
	(*ret)->number = number;
	memmove(digests->pieces + index + 1, digests->pieces + index, (digests->count - index) * sizeof(*digests->pieces));
	digests->pieces[index] = *ret;
	digests->count++;
	return NULL;
}

struct rt_error *rt_digests_set(struct rt_digests *digests, uint64_t address, const struct rt_digest *digest, uint64_t round)
{
	size_t index;
	struct piece *piece = find(digests, address, &index);
	struct rt_error *err = piece ? NULL : insert(digests, index, address / PIECE_SIZE, &piece);

	if (err)
		return err;
	piece->used = round;
	piece->digests[address / RT_PAGE_SIZE % PIECE_PAGES] = *digest;
	return NULL;
}

void rt_digests_drop_before(struct rt_digests *digests, uint64_t round)
{
	size_t kept = 0;

	for (size_t i = 0; i < digests->count; i++) {
		if (digests->pieces[i]->used >= round)
			digests->pieces[kept++] = digests->pieces[i];
		else
			free(digests->pieces[i]);
	}
	digests->count = kept;
}

uint64_t rt_digests_size(const struct rt_digests *digests)
{
	return digests->count * sizeof(struct piece) + digests->room * sizeof(struct piece *) + sizeof(*digests);
}
