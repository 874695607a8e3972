/* The files of a directory on the wire: FILE and DATA frames out of it, and into another. Flat directories of regular files, as image directories are; what starts
 * with '.' and what ends in ".log" stays. */
#pragma once

#include "migrate/codec.h"

struct rt_files_out; /* a stream of frames, to be pulled */
struct rt_error *rt_files_out_new(int dir_fd, enum rt_frame_codec codec, struct rt_files_out **ret) _must_check_;
void rt_files_out_free(struct rt_files_out *out);
/* Next bytes; 0 at the end. An rt_http_pull_fn. */
struct rt_error *rt_files_out_pull(void *out, void *buffer, size_t room, size_t *ret_size) _must_check_;
uint64_t rt_files_out_wire(const struct rt_files_out *out); /* bytes handed out */

struct rt_files_in;
/* At most `limit` bytes in all. */
struct rt_error *rt_files_in_new(int dir_fd, uint64_t limit, struct rt_files_in **ret) _must_check_;
void rt_files_in_free(struct rt_files_in *in);
/* FILE, DATA and END frames; RT_PEER where they are out of order, a name is no plain name, or the limit is passed. */
struct rt_error *rt_files_in_take(struct rt_files_in *in, const struct rt_frame *frame, const void *data) _must_check_;
