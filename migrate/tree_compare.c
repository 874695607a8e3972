#include "migrate/tree_private.h"

#define EXTENTS_MAX 65536

void rt_tree_difference_deinit(struct rt_tree_difference *difference)
{
	free(difference->extents);
	rt_tree_sums_clear(&difference->sums);
}

static struct rt_error *add_extent(struct rt_tree_difference *difference, uint64_t offset, uint64_t size)
{
	struct rt_tree_extent *last = difference->count ? &difference->extents[difference->count - 1] : NULL;

	/* The map of a patch is in memory on both sides: with too many parts, what lies between goes along. */
	if (last && (last->offset + last->size == offset || difference->count == EXTENTS_MAX)) {
		difference->bytes += offset + size - (last->offset + last->size);
		last->size = offset + size - last->offset;
		return NULL;
	}
	if (difference->count == difference->room) {
		size_t room = difference->room ? difference->room * 2 : 16;
		struct rt_tree_extent *more = reallocarray(difference->extents, room, sizeof(*more));

		if (!more)
			return rt_error_oom();
		difference->extents = more;
		difference->room = room;
	}
	difference->extents[difference->count++] = (struct rt_tree_extent){ offset, size };
	difference->bytes += size;
	return NULL;
}

/* *ret is smaller where the file has become shorter. */
static struct rt_error *read_block(int fd, uint8_t *bytes, size_t size, uint64_t offset, size_t *ret)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(fd, bytes + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot read it");
		if (got == 0)
			break;
		done += (size_t)got;
	}
	*ret = done;
	return NULL;
}

/* Holes need not be read. Only offsets that nothing is known about are looked up: *data is where the last one led. */
static bool is_hole(int fd, const struct statx *now, uint64_t offset, size_t size, uint64_t *data)
{
	off_t found;

	if (now->stx_blocks * 512 >= now->stx_size)
		return false;
	if (*data < offset + size) {
		found = lseek(fd, (off_t)offset, SEEK_DATA);
		*data = found >= 0 ? (uint64_t)found : errno == ENXIO ? UINT64_MAX : offset;
	}
	return *data >= offset + size;
}

struct rt_error *rt_tree_compare(int fd, const struct statx *now, struct rt_tree_seen *seen, uint8_t *chunk, struct rt_tree_difference *difference)
{
	struct rt_error *err = rt_tree_sums_init(&difference->sums, now->stx_size);
	uint64_t data = 0;

	difference->known = difference->sums.known;
	for (size_t i = 0; !err && i < difference->sums.count; i++) {
		uint64_t offset = (uint64_t)i * RT_TREE_BLOCK, sum = 0;
		size_t size = now->stx_size - offset < RT_TREE_BLOCK ? (size_t)(now->stx_size - offset) : RT_TREE_BLOCK, got = size;
		bool same;

		if (!is_hole(fd, now, offset, size, &data)) {
			err = read_block(fd, chunk, size, offset, &got);
			if (!err && got == size)
				sum = rt_tree_sum(chunk, size);
		}
		*rt_tree_sums_at(&difference->sums, i) = sum;
		/* What a file grows by are zeroes; but the sum of a last block that was shorter says nothing about it. */
		if (offset >= seen->size)
			same = sum == 0;
		else
			same = offset + size <= seen->size && sum == *rt_tree_sums_at(&seen->sums, i);
		if (!err && (!same || got < size))
			err = add_extent(difference, offset, size);
	}
	return err;
}
