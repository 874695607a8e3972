/* The files of a directory on the wire: FILE and DATA frames out of it, and into another. Flat directories of regular files, as image directories are; what starts
 * with '.' and what ends in ".log" stays. */
#pragma once

#include "migrate/codec.h"

/* A list of names, each its own copy. */
struct rt_files_names {
	char **names;
	size_t count, room;
};
void rt_files_names_deinit(struct rt_files_names *names);
struct rt_error *rt_files_names_add(struct rt_files_names *names, const char *name) _must_check_;
bool rt_files_names_have(const struct rt_files_names *names, const char *name);
/* Whether a file of this name goes over the wire. Pure. */
bool rt_files_is_wanted(const char *name);
/* Adds what is there of such files, but for those of `without`. */
struct rt_error *rt_files_list(int dir_fd, const struct rt_files_names *without, struct rt_files_names *names) _must_check_;

struct rt_files_out; /* a stream of frames, to be pulled */
/* These files; both stay the caller's, and stay as they are for as long as it is pulled. `codec`: borrowed, too. */
struct rt_error *rt_files_out_new(int dir_fd, struct rt_codec *codec, const struct rt_files_names *names, struct rt_files_out **ret) _must_check_;
void rt_files_out_free(struct rt_files_out *out);
/* Next bytes; 0 at the end. An rt_http_pull_fn. */
struct rt_error *rt_files_out_pull(void *out, void *buffer, size_t room, size_t *ret_size) _must_check_;
uint64_t rt_files_out_wire(const struct rt_files_out *out); /* bytes handed out */

struct rt_files_in;
/* At most `limit` bytes in all. */
struct rt_error *rt_files_in_new(int dir_fd, uint64_t limit, struct rt_files_in **ret) _must_check_;
void rt_files_in_free(struct rt_files_in *in);
uint64_t rt_files_in_used(const struct rt_files_in *in); /* bytes of that limit */
/* FILE, DATA and END frames; RT_PEER where they are out of order, a name is no plain name, or the limit is passed. */
struct rt_error *rt_files_in_take(struct rt_files_in *in, const struct rt_frame *frame, const void *data) _must_check_;
