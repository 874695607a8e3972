#include "runtime/bundle/archive_data.h"

#include <errno.h>
#include <sys/mman.h>

#define ZEROES ((size_t)1 << 30)

void rt_archive_zeroes_deinit(struct rt_archive_zeroes *zeroes)
{
	if (zeroes->bytes)
		munmap((void *)zeroes->bytes, ZEROES);
	zeroes->bytes = NULL;
}

bool rt_archive_write(struct archive *archive, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		la_ssize_t written = archive_write_data(archive, at, size);

		if (written <= 0)
			return false;
		at += written;
		size -= (size_t)written;
	}
	return true;
}

static bool map(struct archive *archive, struct rt_archive_zeroes *zeroes)
{
	void *bytes = mmap(NULL, ZEROES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (bytes == MAP_FAILED) {
		archive_set_error(archive, errno, "cannot map zeroes");
		return false;
	}
	zeroes->bytes = bytes;
	return true;
}

bool rt_archive_write_zeroes(struct archive *archive, struct rt_archive_zeroes *zeroes, uint64_t size)
{
	if (size > 0 && !zeroes->bytes && !map(archive, zeroes))
		return false;
	while (size > 0) {
		size_t some = size < ZEROES ? (size_t)size : ZEROES;

		if (!rt_archive_write(archive, zeroes->bytes, some))
			return false;
		size -= some;
	}
	return true;
}
