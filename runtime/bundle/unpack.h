/* Entries of somebody else's tar to files below a root: layers of images, changes of a checkpoint's root filesystem.
 *
 * Whatever an entry says, nothing outside of the root is read or changed. Names lose nothing but a leading slash or "./"; ".."
 * is refused. Directories are entered with openat2 below the root's descriptor and used as descriptors from then on; the last
 * component is never followed. What is in an entry's way is replaced, a directory for a directory excepted.
 *
 * In helper programs only: it needs libarchive. What a layer means beyond its entries (whiteouts) is in layer.c. Nobody else
 * changes the tree meanwhile, or only to their own harm. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/bundle/ids.h"

#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <sys/types.h>

enum {
	RT_UNPACK_REAL_PARENTS = 1 << 0, /* a symlink on the way to an entry is an error; else it is followed, as if "/" were the root */
	RT_UNPACK_DEVICES = 1 << 1, /* device nodes are made; else they are refused */
	RT_UNPACK_NO_DEVICES = 1 << 2, /* device nodes are left out, and counted */
	RT_UNPACK_XATTRS = 1 << 3, /* all extended attributes and ACLs but those of overlay and of the host's LSM; else user.* and capabilities */
	RT_UNPACK_AS_USER = 1 << 4, /* not root: everything belongs to us; modes of directories come last, so that we can write */
	RT_UNPACK_WHITEOUTS = 1 << 5, /* overlay's whiteouts (character device 0:0) are made, whatever is said of devices */
	RT_UNPACK_OVERLAY = 1 << 6, /* with XATTRS: overlay's attributes as well, but those that name inodes of another host */
	RT_UNPACK_EXACT = 1 << 7, /* with XATTRS: those that an entry lacks are removed: of a directory that was there, or inherited */
	RT_UNPACK_NO_NEW_HOLES = 1 << 8, /* files have just the holes that entries say; else long runs of zeroes become some, too */
	RT_UNPACK_NO_MARKS = 1 << 9, /* user.overlay.* is left out, as trusted.overlay.* is without OVERLAY */
};

/* Directories get their times, their default ACLs, which new files would inherit, and as a user their modes, when nothing more is
 * put into them. */
struct rt_unpack_directories {
	struct rt_unpack_directory *list;
	size_t count, room;
	uint32_t *slots; /* by inode; index + 1 */
	size_t slot_count;
	size_t bytes; /* of all paths */
};

/* Names that the layer has made: hashes of their paths. */
struct rt_unpack_marks {
	uint64_t *slots;
	size_t count, room;
};

struct rt_unpack {
	int root_fd; /* borrowed */
	unsigned flags; /* RT_UNPACK_* */
	struct rt_id_shift shift; /* of all ids; entries are borrowed */
	uint64_t limit, written; /* bytes of content, the most and so far */
	bool marking; /* keep marks */
	size_t left_out; /* device nodes */
	size_t acls_left_out; /* that name users instead of their ids */

	char root_path[PATH_MAX]; /* as /proc spells it */
	struct {
		int fd; /* -1: none */
		char asked[PATH_MAX]; /* the path it was entered by */
		char path[PATH_MAX]; /* its real path in the root, "" for the root itself */
		bool marked; /* it and what is above it */
	} parent; /* directory of the last entry: most have the same as the one before */
	struct rt_unpack_directories directories;
	uint8_t *default_acl; /* owned; of the directory whose attributes are being set */
	size_t default_acl_size;
	struct rt_unpack_marks marks;
};

/* root_fd, flags, shift, limit and marking are set by the caller. */
struct rt_error *rt_unpack_init(struct rt_unpack *unpack) _must_check_;
void rt_unpack_deinit(struct rt_unpack *unpack);

/* `path` is clean (rt_unpack_clean_path) and may be written to; "" is the root. The content is read from `archive`. */
struct rt_error *rt_unpack_entry(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry, char *path)
	_must_check_;

/* Of a regular file that is there; anything else there is an error. Attributes and the time alone; or with them the size, and those parts of the content
 * that the entry has: what is a hole in the entry stays as it was. */
struct rt_error *rt_unpack_change(struct rt_unpack *unpack, struct archive_entry *entry, char *path) _must_check_;
struct rt_error *rt_unpack_patch(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry, char *path) _must_check_;

/* Enters the directory of `path`, which stays in unpack->parent; *ret_name points into `path`. Where it does not exist: is made
 * with `make`, else *ret_name is NULL. */
struct rt_error *rt_unpack_enter(struct rt_unpack *unpack, char *path, bool make, const char **ret_name) _must_check_;

/* Removes a file or a tree; not there: fine. */
struct rt_error *rt_unpack_remove(struct rt_unpack *unpack, char *path) _must_check_;

/* At the end of everything. */
struct rt_error *rt_unpack_finish(struct rt_unpack *unpack) _must_check_;

/* Copies a clean relative path ("a/b": no "..", no empty component, no leading "/" or "./") out of an archive's name
 * into `room` bytes. False: it cannot be one. The root itself is "". */
enum {
	RT_PATH_LENIENT = 1 << 0, /* a leading "/" is the root's, "." and "" in the middle count for nothing, as tar and engines read them */
};
bool rt_unpack_clean_path(const char *name, unsigned flags, char *clean, size_t room);

/* Opens the directory `path` below root_fd for reading, no symlink on the way; "" is the root itself. errnum tells
 * ENOENT. */
struct rt_error *rt_unpack_open_below(int root_fd, const char *path, int *ret) _must_check_;

/* What libarchive says of its failure. */
struct rt_error *rt_unpack_fail(struct archive *archive, const char *what) _must_check_;

/* --- inside unpack_*.c --- */

/* Owner, extended attributes, ACLs, mode, in the order in which one does not undo the other. */
struct rt_error *rt_unpack_attributes(struct rt_unpack *unpack, struct archive_entry *entry, int fd) _must_check_;
/* The time of what was modified last, of a file that is open. */
struct rt_error *rt_unpack_time(struct archive_entry *entry, int fd) _must_check_;
/* Owner and extended attributes of what can't be opened; a symlink is not followed. */
struct rt_error *rt_unpack_attributes_at(struct rt_unpack *unpack, struct archive_entry *entry, int dir_fd, const char *name) _must_check_;

/* Remembers what a directory must have at the end. `chosen`: an entry says so; else only where nothing is known yet. */
struct rt_error *rt_unpack_note_directory(struct rt_unpack *unpack, int fd, const char *path, const struct timespec *mtime, mode_t mode,
					  bool chosen) _must_check_;
struct rt_error *rt_unpack_finish_directories(struct rt_unpack *unpack) _must_check_;
void rt_unpack_directories_deinit(struct rt_unpack_directories *directories);

/* A path below the root, in two parts: a name in a directory. An empty name: the directory itself. */
struct rt_error *rt_unpack_mark(struct rt_unpack_marks *marks, const char *directory, const char *name) _must_check_;
bool rt_unpack_marked(const struct rt_unpack_marks *marks, const char *directory, const char *name);
/* Forgets them all: the next layer begins. */
void rt_unpack_marks_clear(struct rt_unpack_marks *marks);

static inline void rt_archive_read_freep(struct archive **archive)
{
	if (*archive)
		archive_read_free(*archive);
}

static inline void rt_archive_write_freep(struct archive **archive)
{
	if (*archive)
		archive_write_free(*archive);
}

static inline void rt_archive_entry_freep(struct archive_entry **entry)
{
	if (*entry)
		archive_entry_free(*entry);
}
