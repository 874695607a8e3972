/* Where an image is read from: a layout directory, a tar of one, Docker's tar, or something that is no image but a root filesystem.
 *
 * In the helper program. Files of an image are read whole where they are JSON, and else as a stream, one at a time; in a tar that
 * means going on from where it is, or once more from its start: nothing is unpacked beside the place it is for. What the bytes
 * should be is the caller's to check. */
#pragma once

#include "runtime/bundle/unpack.h"

enum rt_source_kind {
	RT_SOURCE_LAYOUT, /* index.json and blobs/ */
	RT_SOURCE_DOCKER, /* manifest.json */
	RT_SOURCE_TREE, /* a directory that is a root filesystem */
	RT_SOURCE_TAR, /* a tar that is one */
};

struct rt_source {
	enum rt_source_kind kind;
	char *path; /* owned */
	char *tag; /* owned; NULL: none was named */
	int fd; /* the directory, or the archive */
	bool is_archive;

	struct archive *tar; /* an archive's, being read */
	size_t position; /* of the member that comes next */
	struct rt_source_member *members;
	size_t member_count;

	int blob_fd; /* a directory's file, being read */
	char *buffer;
	uint64_t left; /* of the file being read */
};
#define RT_SOURCE_NULL ((struct rt_source){ .fd = -1, .blob_fd = -1 })

/* RT_NOT_FOUND, RT_CONFIG: it is none of these. */
struct rt_error *rt_source_open(const char *image, struct rt_source *ret) _must_check_;
void rt_source_deinit(struct rt_source *source);

/* A file of the image, whole; RT_NOT_FOUND where it is not there. NUL-terminated, the caller's. */
struct rt_error *rt_source_read(struct rt_source *source, const char *path, size_t limit, char **ret, size_t *ret_size) _must_check_;

/* Begins to read a file (NULL: the source itself, once); rt_source_next() gives its bytes, valid until the next call; *ret_size 0 is the end. */
struct rt_error *rt_source_start(struct rt_source *source, const char *path, uint64_t *ret_size) _must_check_;
struct rt_error *rt_source_next(struct rt_source *source, const void **ret, size_t *ret_size) _must_check_;
