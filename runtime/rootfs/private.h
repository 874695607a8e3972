/* Shared by the files of this folder only. */
#pragma once

#include "runtime/rootfs/options.h"
#include "runtime/rootfs/rootfs.h"
#include "runtime/sys/mount.h"

enum rt_rootfs_entry_kind {
	RT_ENTRY_BIND,
	RT_ENTRY_FILESYSTEM, /* a new one, by its type */
	RT_ENTRY_CGROUP, /* type "cgroup": whatever the machine has */
	RT_ENTRY_REMOUNT, /* only changes what is mounted there */
	RT_ENTRY_SYMLINK, /* "copy-symlink" whose source is one */
	RT_ENTRY_ROOT, /* at "/": the root filesystem itself, with id mappings (decisions/0018-an-idmapped-root.md) */
};

/* One of the spec's mounts. Strings are the spec's or the arena's. */
struct rt_rootfs_entry {
	enum rt_rootfs_entry_kind kind;
	const char *destination; /* absolute and clean, as the container spells it; symlinks still in it */
	const char *source; /* bind: absolute path on the host; else as written, may be NULL */
	const char *type;
	const char *link_target; /* RT_ENTRY_SYMLINK: filled when sources are opened */
	struct rt_mount_options options;
	struct rt_id_maps uid_mappings, gid_mappings; /* of the mount itself */
	bool late_readonly; /* others are mounted inside it first: read-only when all stand */
	int tree_fd; /* bind, root: the source, detached, until it is attached; -1: the child must open it */
	int mounted_fd; /* late_readonly: the mount; else -1 */
};

/* Mounts that show the kernel's own and have things to hide. */
enum rt_rootfs_view {
	RT_VIEW_PROC, /* on /proc */
	RT_VIEW_SYS, /* on /sys */
	RT_VIEW_COUNT,
};

/* How the root and what comes from the host take part in propagation. */
struct rt_propagation {
	uint64_t type; /* MS_*; 0: none given */
	bool recursive;
};

struct rt_rootfs {
	struct rt_rootfs_request request; /* the caller's pointers: spec and bundle outlive us */
	const struct rt_spec *spec;
	struct rt_arena arena;
	char *path;
	struct rt_propagation propagation; /* rootfsPropagation */
	struct rt_rootfs_entry *entries;
	size_t entry_count;
	struct rt_rootfs_entry *root_entry; /* the one of RT_ENTRY_ROOT; NULL: none */
	struct rt_rootfs_mount_info *infos; /* one an entry; arena */
	int container_map_fd; /* user namespace for `idmap` without mappings of its own; ours if made_map */
	bool made_map;

	/* of the child */
	int root_fd; /* of the container; the mount itself once isolated */
	int null_fd; /* mount of the host's /dev/null, for masks; -1: none needed */
	int view_fds[RT_VIEW_COUNT]; /* the topmost mount there, where it is such a view; else -1 */
};

/* plan.c: pure. */

/* Absolute form without ".", ".." and doubled slashes; ".." at the root stays there. NULL without memory. */
char *rt_rootfs_clean_path(struct rt_arena *arena, const char *path);
/* `inside` is `outside` or lies below it; both clean. */
bool rt_rootfs_path_is_below(const char *inside, const char *outside);
/* Only a procfs goes on /proc, and inside it only the files that are known to be imitated there. */
struct rt_error *rt_rootfs_check_destination(const struct rt_rootfs_entry *entry) _must_check_;
struct rt_error *rt_rootfs_plan_entries(struct rt_rootfs *rootfs) _must_check_;
/* Plans the root and the entries, and opens nothing yet. */
struct rt_error *rt_rootfs_plan_paths(const struct rt_rootfs_request *request, struct rt_rootfs **ret) _must_check_;
struct rt_error *rt_rootfs_plan_propagation(const char *word, struct rt_propagation *ret) _must_check_;
/* True where mounts of the container are to be seen outside by those that ask for it. */
bool rt_rootfs_is_shared(const struct rt_rootfs *rootfs);

/* sources.c */

/* Parent: opens what comes from the host. */
struct rt_error *rt_rootfs_open_sources(struct rt_rootfs *rootfs) _must_check_;
/* The same for one. */
struct rt_error *rt_rootfs_open_source(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry) _must_check_;
/* It asks for id mappings. */
bool rt_rootfs_is_mapped(const struct rt_rootfs_entry *entry);
/* Child: opens again, in its own mount namespace, what must carry the locks a new user namespace puts on its mounts. */
struct rt_error *rt_rootfs_reopen_sources(struct rt_rootfs *rootfs) _must_check_;
/* Applies the mount's own options to a detached tree. */
struct rt_error *rt_rootfs_apply_options(const struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry,
					 int tree_fd) _must_check_;

/* Child: a detached copy of something of the host's that isn't a volume, with these MOUNT_ATTR_* added. */
struct rt_error *rt_rootfs_clone_from_host(const char *path, unsigned flags, uint64_t attributes, int *ret) _must_check_;

/* views.c
 *
 * Whoever else can write to the root filesystem may put a link in the place of /proc once it is mounted; the mount moves away
 * with the directory it is on. A path that was resolved from the root would then name another file or none, and the mask
 * for it be put there or left out (CVE-2023-27561). So views are remembered by descriptor, and what is below their mount
 * point is resolved from there: no name inside them is the image's. */

/* A new procfs or sysfs, wherever it goes. */
bool rt_rootfs_is_view(const struct rt_rootfs_entry *entry);
/* To be called for everything mounted; -1: a mount there is no descriptor of. */
struct rt_error *rt_rootfs_remember_view(struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry,
					 int mount_fd) _must_check_;

/* Where a path of the container, clean, is to be resolved. Borrowed. */
struct rt_rootfs_place {
	int fd;
	const char *path; /* from there */
	int *view_fd; /* the view, where the path is its mount point: what is put on top of it takes its place; else NULL */
};
struct rt_rootfs_place rt_rootfs_find_place(struct rt_rootfs *rootfs, const char *path);
/* The view is `mount_fd` from now on (it stays the caller's), or with -1 unknown. */
struct rt_error *rt_rootfs_set_view(int *view_fd, int mount_fd) _must_check_;

/* mounts.c */

/* Resolves and, where missing, makes the place of a mount. *ret_existed may be NULL. */
struct rt_error *rt_rootfs_open_target(struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry, bool directory,
				       bool *ret_existed, int *ret) _must_check_;
/* Attaches a detached mount; takes care of late_readonly, of views, and of propagation that only counts once attached. */
struct rt_error *rt_rootfs_attach_entry(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry, int tree_fd,
					int target_fd) _must_check_;
/* A tree of this path of the host, in the child, with the mount's options; for file systems that cannot be mounted anew. */
struct rt_error *rt_rootfs_bind_instead(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry, const char *path,
					int target_fd) _must_check_;

/* cgroup_mount.c */
struct rt_error *rt_rootfs_mount_cgroup(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry) _must_check_;

/* devices.c: nodes and links in /dev. */
struct rt_error *rt_rootfs_make_devices(struct rt_rootfs *rootfs) _must_check_;

/* tmpcopyup.c: copies what is in the directory `from_fd` into `to_fd`, owners, modes and extended attributes too. */
struct rt_error *rt_rootfs_copy_content(int from_fd, int to_fd) _must_check_;

/* mask.c */
struct rt_error *rt_rootfs_open_null(struct rt_rootfs *rootfs) _must_check_;
struct rt_error *rt_rootfs_mask_paths(struct rt_rootfs *rootfs) _must_check_;
struct rt_error *rt_rootfs_make_readonly_paths(struct rt_rootfs *rootfs) _must_check_;
