/* Inside tree_*.c: what has been sent (tree_seen.c), the bytes that go out (tree_pack.c), the walk that compares and sends (tree_send.c). */
#pragma once

#include "migrate/tree.h"
#include "runtime/bundle/archive_data.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

/* Attributes of entries, beside those of files. Files have names in user., security., system. and trusted. only. */
#define RT_TREE_REMOVED "rt.removed"
#define RT_TREE_METADATA "rt.metadata"
#define RT_TREE_PATCH "rt.patch"
#define RT_TREE_END "rt.end"

#define RT_TREE_DEPTH_MAX 390 /* the receiver's unpack_entry.c takes 400 */
#define RT_TREE_XATTR_MAX 65536

/* ---- tree_sums.c ---- */

#define RT_TREE_BLOCK ((size_t)128 << 10)

/* One sum a block; 0 for zeroes. */
struct rt_tree_sums {
	bool known;
	size_t count;
	union {
		uint64_t one; /* count 1 */
		uint64_t *list; /* owned */
	};
};
/* All zeroes. */
struct rt_error *rt_tree_sums_init(struct rt_tree_sums *sums, uint64_t size) _must_check_;
uint64_t *rt_tree_sums_at(struct rt_tree_sums *sums, size_t index);
void rt_tree_sums_clear(struct rt_tree_sums *sums);
uint64_t rt_tree_sum(const void *bytes, size_t size);

/* The sums of what passes by, in any pieces. */
struct rt_tree_summing {
	struct rt_tree_sums sums;
	uint64_t at, size;
	bool zero; /* the block so far */
	struct XXH3_state_s *state;
};
struct rt_error *rt_tree_summing_begin(struct rt_tree_summing *summing, uint64_t size) _must_check_;
void rt_tree_summing_add(struct rt_tree_summing *summing, const void *bytes, uint64_t size); /* NULL: zeroes */
void rt_tree_summing_deinit(struct rt_tree_summing *summing);

/* ---- tree_seen.c ---- */

struct rt_tree_seen {
	char *name; /* in the directory's `names` */
	uint64_t inode, device, size;
	struct statx_timestamp mtime, ctime;
	uint32_t mode; /* with the type; 0: not sent */
	bool racy; /* may have changed after it was looked at, with no change of its times */
	struct rt_tree_directory *inside; /* of directories; owned */
	struct rt_tree_sums sums; /* of regular files; owned */
};
void rt_tree_seen_clear(struct rt_tree_seen *seen); /* frees what it owns */

struct rt_tree_directory {
	char *path; /* owned; below the root, which is "" */
	char *names; /* owned; one after the other */
	struct rt_tree_seen *children; /* owned; by name */
	size_t count;
};

struct rt_tree_directory *rt_tree_directory_new(const struct rt_tree_directory *parent, const char *name);
void rt_tree_directory_free(struct rt_tree_directory *directory);

/* The names in an open directory, sorted; what is known of them moves over. `gone` is called for each that is no longer there. */
typedef struct rt_error *(*rt_tree_gone_fn)(void *userdata, struct rt_tree_directory *directory, struct rt_tree_seen *seen);
struct rt_error *rt_tree_directory_read(struct rt_tree_directory *directory, int fd, rt_tree_gone_fn gone, void *userdata) _must_check_;

/* Whether the kernel's word for it is that nothing has changed. */
bool rt_tree_seen_same(const struct rt_tree_seen *seen, const struct statx *now);
/* The same for a file whose content is known to be the same. */
bool rt_tree_seen_same_attributes(const struct rt_tree_seen *seen, const struct statx *now);
void rt_tree_seen_note(struct rt_tree_seen *seen, const struct statx *now);
static inline uint64_t rt_tree_device(const struct statx *st)
{
	return (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor;
}

/* Device and inode -> a pointer: hard links sent in one call, mapped files. */
struct rt_tree_inodes {
	struct rt_tree_inode {
		uint64_t inode, device;
		void *value; /* NULL: an empty slot */
	} *slots;
	size_t count, room;
};
struct rt_error *rt_tree_inodes_put(struct rt_tree_inodes *inodes, uint64_t inode, uint64_t device, void *value) _must_check_;
void *rt_tree_inodes_get(const struct rt_tree_inodes *inodes, uint64_t inode, uint64_t device);
void rt_tree_inodes_clear(struct rt_tree_inodes *inodes, bool free_values);

struct rt_tree {
	int root_fd;
	char *root; /* as given */
	unsigned flags;
	uint64_t mount_id;
	struct rt_tree_seen top;
	struct rt_tree_inodes mapped;
	bool failed;
};

/* ---- tree_compare.c ---- */

struct rt_tree_extent {
	uint64_t offset, size;
};
/* What of a file is not as it was sent. */
struct rt_tree_difference {
	bool known; /* else: all of it, perhaps */
	struct rt_tree_extent *extents; /* owned; whole blocks, but for the last */
	size_t count, room;
	uint64_t bytes;
	struct rt_tree_sums sums; /* owned; of the file as it is */
};
/* `chunk`: room for a block. */
struct rt_error *rt_tree_compare(int fd, const struct statx *now, struct rt_tree_seen *seen, uint8_t *chunk, struct rt_tree_difference *difference) _must_check_;
void rt_tree_difference_deinit(struct rt_tree_difference *difference);

/* ---- tree_pack.c ---- */

struct rt_tree_pack {
	struct archive *archive;
	rt_tree_write_fn write;
	void *userdata;
	struct rt_error *err; /* of `write`; owned */
	bool broken; /* there was one */
	unsigned flags; /* of the tree */
	struct rt_tree_totals totals;
	struct rt_tree_summing summing; /* of the file that is being sent */
	uint8_t *chunk;
	struct rt_archive_zeroes zeroes;
	char *names, *value; /* of extended attributes */
};

struct rt_error *rt_tree_pack_begin(struct rt_tree_pack *pack) _must_check_;
/* The rest, and the end. */
struct rt_error *rt_tree_pack_end(struct rt_tree_pack *pack) _must_check_;
void rt_tree_pack_deinit(struct rt_tree_pack *pack);

/* Something in a directory that is open. */
struct rt_tree_item {
	const char *path, *name;
	int dir_fd;
	int fd; /* of itself, or -1 */
	const struct statx *st;
};

/* A directory, symlink, FIFO or device; or a file's attributes alone. *ret_gone: it vanished. */
struct rt_error *rt_tree_pack_node(struct rt_tree_pack *pack, const struct rt_tree_item *item, bool *ret_gone) _must_check_;
struct rt_error *rt_tree_pack_metadata(struct rt_tree_pack *pack, const struct rt_tree_item *item) _must_check_;
struct rt_error *rt_tree_pack_link(struct rt_tree_pack *pack, const struct rt_tree_item *item, const char *target) _must_check_;
/* A regular file with its content, of which the sums are taken. *ret_short: it became shorter meanwhile, and ends in zeroes. */
struct rt_error *rt_tree_pack_file(struct rt_tree_pack *pack, const struct rt_tree_item *item, struct rt_tree_sums *ret_sums, bool *ret_short) _must_check_;
/* Of a file that the other side has: these parts, and the new size. */
struct rt_error *rt_tree_pack_patch(struct rt_tree_pack *pack, const struct rt_tree_item *item, const struct rt_tree_extent *extents, size_t count,
				    struct rt_tree_sums *sums, bool *ret_short) _must_check_;
struct rt_error *rt_tree_pack_removal(struct rt_tree_pack *pack, const char *path) _must_check_;
