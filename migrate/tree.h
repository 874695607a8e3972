/* A root filesystem on its way to another host: all of it while the container runs, and a small delta when it is frozen.
 *
 * The sender notes what it sent (inode, size, mtime, ctime), so that the delta holds just what has changed since. The wire format is tar (pax, through libarchive)
 * with four additions as extended attributes that no file can have: a name that was removed ("rt.removed"), attributes without content ("rt.metadata"), changed
 * parts of a file ("rt.patch"), and the end of the stream ("rt.end"), so that a cut one is told (docs/rootfs-stream.md). The receiver treats every byte as hostile and never writes outside of its root. Owners, modes, times,
 * xattrs, ACLs, hard links, symlinks, sparse files, devices and FIFOs go along; sockets don't, nor what is mounted below the root. Neither side syncs anything. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* In an overlay's upper directory its marks (trusted.overlay.*: opaque directories, redirects) are part of the content, and go along as what they are, as do
 * whiteouts; elsewhere they would lead a later overlay astray. */
enum {
	RT_TREE_UPPER = 1 << 0,
	RT_TREE_MERGED = 1 << 1, /* receiver: what comes is an upper directory, what is below the root is what its lower ones show: whiteouts remove, opaque
				  * directories hide; what is only a reference to lower layers (redirects, metacopy) is refused; no mark is written */
};

struct rt_tree; /* what has been sent; rt_tree_free() */
struct rt_error *rt_tree_new(const char *root, unsigned flags, struct rt_tree **ret) _must_check_;
void rt_tree_free(struct rt_tree *tree);
static inline void rt_tree_freep(struct rt_tree **tree)
{
	rt_tree_free(*tree);
}

struct rt_tree_totals {
	uint64_t files, bytes; /* entries, bytes of content (holes don't count) */
	uint64_t removed;
};

/* Bytes of a stream go out through this; may block. An error ends the walk at once, and is what rt_tree_send() returns. */
typedef struct rt_error *(*rt_tree_write_fn)(void *userdata, const void *bytes, size_t size);

/* The whole tree (first call), then what differs from what was sent before. Files that change or vanish while they are read are fine: the next call puts them
 * right. After an error the tree is of no more use: part of a delta may have arrived. */
struct rt_error *rt_tree_send(struct rt_tree *tree, rt_tree_write_fn write, void *userdata, struct rt_tree_totals *ret) _must_check_;

/* Notes which files these processes have mapped shared, writable at the moment or not. A page that was dirty when it was sent may change again without a fault, and so
 * without a change of mtime or ctime: such files are compared by every later call, whatever their times say. To be called before and after the first send,
 * and when the processes are frozen; what was noted stays. Processes that are gone are fine. */
struct rt_error *rt_tree_note_mapped(struct rt_tree *tree, const pid_t *pids, size_t count) _must_check_;

/* The upper directory where `root` is an overlay's mount point (--rootfs diff: the other side has the same lower ones); *ret_upper is NULL where it is none. */
struct rt_error *rt_tree_upper_of(const char *root, char **ret_upper) _must_check_;

/* Which names came of an upper directory, over all streams of one migration: for RT_TREE_MERGED. */
struct rt_tree_merged;
struct rt_error *rt_tree_merged_new(struct rt_tree_merged **ret) _must_check_;
void rt_tree_merged_free(struct rt_tree_merged *merged);

struct rt_tree_receiver;
struct rt_tree_receive_options {
	int root_fd; /* of an existing directory; borrowed until the receiver is freed */
	uint64_t max_bytes, max_files; /* 0: what the file system has free; 10 million */
	bool privileged_nodes; /* device nodes may be made; else they are refused, whiteouts excepted */
	unsigned flags; /* RT_TREE_* */
	struct rt_tree_merged *merged; /* with RT_TREE_MERGED: the same one for each stream; borrowed */
};
struct rt_error *rt_tree_receiver_new(const struct rt_tree_receive_options *options, struct rt_tree_receiver **ret) _must_check_;
/* Bytes as they come, any number at a time; blocks while the disk is slower. After an error nothing more can be received; what is below the root is then
 * part of a tree, the caller's to remove. */
struct rt_error *rt_tree_receive(struct rt_tree_receiver *receiver, const void *bytes, size_t size) _must_check_;
/* The stream is over: an error where it was cut. */
struct rt_error *rt_tree_receiver_finish(struct rt_tree_receiver *receiver, struct rt_tree_totals *ret) _must_check_;
void rt_tree_receiver_free(struct rt_tree_receiver *receiver);
static inline void rt_tree_receiver_freep(struct rt_tree_receiver **receiver)
{
	rt_tree_receiver_free(*receiver);
}
