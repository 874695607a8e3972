/* Content of an archive's entry, written with libarchive. For helper programs, as unpack.h. */
#pragma once

#include <archive.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages that are only ever read as zeroes take no memory: mapped when they are first needed. */
struct rt_archive_zeroes {
	const uint8_t *bytes; /* NULL: not yet */
};
void rt_archive_zeroes_deinit(struct rt_archive_zeroes *zeroes);

/* All of it; false: the archive has an error. */
bool rt_archive_write(struct archive *archive, const void *bytes, size_t size);
/* A hole: libarchive wants those handed over as well, and drops them. */
bool rt_archive_write_zeroes(struct archive *archive, struct rt_archive_zeroes *zeroes, uint64_t size);
