/* A root filesystem on its way to another host: all of it while the container runs, and a small delta when it is frozen.
 *
 * The sender notes what it sent (by inode, size, mtime, ctime), so that the delta holds just what has changed since. The wire format is tar (pax, through libarchive)
 * with two additions as pax attributes: names that were removed, and the end of the stream, so that a cut one is told. The receiver treats every byte as
 * hostile and never writes outside of its root. Owners, modes, times, xattrs, ACLs, hard links, symlinks, sparse files, devices and FIFOs go along; sockets don't. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

struct rt_tree; /* what has been sent; rt_tree_free() */
struct rt_error *rt_tree_new(const char *root, struct rt_tree **ret) _must_check_;
void rt_tree_free(struct rt_tree *tree);

struct rt_tree_totals {
	uint64_t files, bytes; /* sent, or to send */
	uint64_t removed;
};

/* Bytes of a stream go out through this; may block. */
typedef struct rt_error *(*rt_tree_write_fn)(void *userdata, const void *bytes, size_t size);

/* The whole tree (first call), then what differs from what was sent before. Files that change while they are read are sent as they are and once more by the next call. */
struct rt_error *rt_tree_send(struct rt_tree *tree, rt_tree_write_fn write, void *userdata, struct rt_tree_totals *ret) _must_check_;

/* For --rootfs diff: notes what is there without sending it, when the other side has the same base; the directory is an overlay's upper: whiteouts and opaque
 * directories go along as what they are. *ret_upper is NULL where `root` is no overlay. */
struct rt_error *rt_tree_upper_of(const char *root, char **ret_upper) _must_check_;

struct rt_tree_receiver;
struct rt_tree_receive_options {
	int root_fd; /* of an existing directory */
	uint64_t max_bytes, max_files; /* 0: what the file system has free; 10 million */
	bool privileged_nodes; /* device nodes may be made */
};
struct rt_error *rt_tree_receiver_new(const struct rt_tree_receive_options *options, struct rt_tree_receiver **ret) _must_check_;
/* Bytes as they come, any number at a time. */
struct rt_error *rt_tree_receive(struct rt_tree_receiver *receiver, const void *bytes, size_t size) _must_check_;
/* The stream is over: an error where it was cut. */
struct rt_error *rt_tree_receiver_finish(struct rt_tree_receiver *receiver, struct rt_tree_totals *ret) _must_check_;
void rt_tree_receiver_free(struct rt_tree_receiver *receiver);
