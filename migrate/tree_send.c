#include "migrate/tree_private.h"

#include "runtime/base/str.h"
#include "runtime/bundle/unpack.h"

#include <fcntl.h>
#include <limits.h>

#define MASK (STATX_BASIC_STATS | STATX_MNT_ID)

/* One call of rt_tree_send(). */
struct walk {
	struct rt_tree *tree;
	struct rt_tree_pack pack;
	struct rt_tree_inodes sent; /* files with several names -> path of the first one */
};

struct rt_error *rt_tree_new(const char *root, unsigned flags, struct rt_tree **ret)
{
	_cleanup_(rt_tree_freep) struct rt_tree *tree = calloc(1, sizeof(*tree));
	struct statx st;

	if (!tree)
		return rt_error_oom();
	tree->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree->root_fd < 0)
		return rt_fail_errno("cannot open the root filesystem '%s'", root);
	if (statx(tree->root_fd, "", AT_EMPTY_PATH, MASK, &st) < 0)
		return rt_fail_errno("cannot look at the root filesystem '%s'", root);
	tree->mount_id = st.stx_mnt_id;
	tree->flags = flags;
	tree->root = strdup(root);
	tree->top.inside = rt_tree_directory_new(NULL, "");
	if (!tree->root || !tree->top.inside)
		return rt_error_oom();
	*ret = rt_take_ptr(tree);
	return NULL;
}

void rt_tree_free(struct rt_tree *tree)
{
	if (!tree)
		return;
	rt_closep(&tree->root_fd);
	rt_tree_directory_free(tree->top.inside);
	rt_tree_inodes_clear(&tree->mapped, false);
	free(tree->root);
	free(tree);
}

/* That the stream is broken has nothing to do with the file that was being sent. */
static struct rt_error *while_sending(const struct walk *walk, struct rt_error *err, const char *path)
{
	return err && !walk->pack.broken ? rt_while(err, "'%s'", path) : err;
}

/* ---- what is gone ---- */

static struct rt_error *path_below(const struct rt_tree_directory *directory, const char *name, char path[PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s%s%s", directory->path, *directory->path ? "/" : "", name) >= PATH_MAX)
		return rt_fail_with(ENAMETOOLONG, "cannot send what is in '%.256s...'", directory->path);
	return NULL;
}

static struct rt_error *send_removal(void *userdata, struct rt_tree_directory *directory, struct rt_tree_seen *seen)
{
	struct walk *walk = userdata;
	char path[PATH_MAX];
	struct rt_error *err;

	if (!seen->mode)
		return NULL;
	seen->mode = 0;
	err = path_below(directory, seen->name, path);
	return err ? err : rt_tree_pack_removal(&walk->pack, path);
}

/* Its place may be empty for a moment, or for good. */
static struct rt_error *drop(struct walk *walk, struct rt_tree_directory *directory, struct rt_tree_seen *seen)
{
	rt_tree_seen_clear(seen);
	return send_removal(walk, directory, seen);
}

/* ---- files ---- */

/* overlayfs makes one whiteout and links it wherever something is gone: each stands for itself. */
static bool has_links(const struct statx *st)
{
	return st->stx_nlink > 1 && !(S_ISCHR(st->stx_mode) && st->stx_rdev_major == 0 && st->stx_rdev_minor == 0);
}

/* Its further names become links to this one. */
static struct rt_error *note_link(struct walk *walk, const struct statx *st, const char *path)
{
	char *copy;
	struct rt_error *err;

	if (!has_links(st))
		return NULL;
	copy = strdup(path);
	err = copy ? rt_tree_inodes_put(&walk->sent, st->stx_ino, rt_tree_device(st), copy) : rt_error_oom();
	if (err)
		free(copy);
	return err;
}

static int open_file(int dir_fd, const char *name)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, fd = openat(dir_fd, name, flags | O_NOATIME);

	/* For owners alone. */
	return fd < 0 && errno == EPERM ? openat(dir_fd, name, flags) : fd;
}

/* *ret is -1 where it vanished. */
static struct rt_error *reopen_file(const struct rt_tree_item *item, int *ret)
{
	_cleanup_close_ int fd = open_file(item->dir_fd, item->name);
	struct statx now;

	*ret = -1;
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO || errno == ENODEV ? NULL : rt_fail_errno("cannot open it");
	if (statx(fd, "", AT_EMPTY_PATH, MASK, &now) == 0 && S_ISREG(now.stx_mode) && now.stx_ino == item->st->stx_ino)
		*ret = rt_take_fd(fd);
	return NULL;
}

/* The other side has this file; what has changed of it? *ret_sent: all that has, which may be nothing. */
static struct rt_error *send_change(struct walk *walk, struct rt_tree_seen *seen, struct rt_tree_item *item, bool *ret_sent, bool *ret_short)
{
	_cleanup_(rt_tree_difference_deinit) struct rt_tree_difference difference = { 0 };
	const struct statx *st = item->st;
	struct rt_error *err;

	*ret_short = false;
	*ret_sent = true;
	if (!seen->sums.known || !S_ISREG(seen->mode) || seen->inode != st->stx_ino || seen->device != rt_tree_device(st)) {
		*ret_sent = false;
		return NULL;
	}
	err = rt_tree_compare(item->fd, st, seen, walk->pack.chunk, &difference);
	if (err)
		return err;
	if (difference.count == 0 && seen->size == st->stx_size)
		return rt_tree_seen_same_attributes(seen, st) ? NULL : rt_tree_pack_metadata(&walk->pack, item);
	/* A new file of its own is safer to have, and no dearer, when most of it is new. */
	*ret_sent = difference.known && difference.bytes < st->stx_size / 2;
	if (!*ret_sent)
		return NULL;
	err = rt_tree_pack_patch(&walk->pack, item, difference.extents, difference.count, &difference.sums, ret_short);
	if (err)
		return err;
	rt_tree_sums_clear(&seen->sums);
	seen->sums = difference.sums;
	difference.sums = (struct rt_tree_sums){ 0 };
	return NULL;
}

static struct rt_error *send_file(struct walk *walk, struct rt_tree_seen *seen, struct rt_tree_item *item, bool *ret_gone, bool *ret_short)
{
	struct rt_tree_sums sums = { 0 };
	_cleanup_close_ int fd = -1;
	struct rt_error *err = reopen_file(item, &fd);
	bool sent;

	*ret_gone = fd < 0;
	if (err || fd < 0)
		return err;
	item->fd = fd;
	err = send_change(walk, seen, item, &sent, ret_short);
	if (err || sent)
		return err;
	err = rt_tree_pack_file(&walk->pack, item, &sums, ret_short);
	rt_tree_sums_clear(&seen->sums);
	seen->sums = sums;
	return err;
}

static struct rt_error *send_leaf(struct walk *walk, struct rt_tree_directory *directory, struct rt_tree_seen *seen, struct rt_tree_item *item)
{
	const char *target = has_links(item->st) ? rt_tree_inodes_get(&walk->sent, item->st->stx_ino, rt_tree_device(item->st)) : NULL;
	bool gone = false, shorter = false;
	struct rt_error *err;

	if (target)
		err = rt_tree_pack_link(&walk->pack, item, target);
	else if (S_ISREG(item->st->stx_mode))
		err = send_file(walk, seen, item, &gone, &shorter);
	else
		err = rt_tree_pack_node(&walk->pack, item, &gone);
	if (err)
		return while_sending(walk, err, item->path);
	if (gone)
		return drop(walk, directory, seen);
	rt_tree_directory_free(rt_take_ptr(seen->inside));
	/* Of a file with several names, the sums are kept with one. */
	if (target)
		rt_tree_sums_clear(&seen->sums);
	rt_tree_seen_note(seen, item->st);
	seen->racy |= shorter;
	return target ? NULL : note_link(walk, item->st, item->path);
}

/* ---- directories ---- */

static struct rt_error *send_directory(struct walk *walk, struct rt_tree_directory *directory, int fd, bool changed, unsigned depth);

/* What the other side has there may be no directory; what it has of an earlier one is compared, whether it is this one or not. */
static struct rt_error *send_subdirectory(struct walk *walk, struct rt_tree_directory *directory, struct rt_tree_seen *seen, struct rt_tree_item *item,
					  bool changed, unsigned depth)
{
	_cleanup_close_ int fd = openat(item->dir_fd, item->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statx now;
	bool gone;
	struct rt_error *err;

	if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		return rt_fail_errno("'%s': cannot open it", item->path);
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, MASK, &now) < 0 || now.stx_ino != item->st->stx_ino)
		return drop(walk, directory, seen);
	if (depth >= RT_TREE_DEPTH_MAX)
		return rt_fail(RT_SYSTEM, "'%.256s...' is more than %d directories deep", item->path, RT_TREE_DEPTH_MAX);
	if (changed) {
		item->fd = fd;
		err = rt_tree_pack_node(&walk->pack, item, &gone);
		if (err)
			return while_sending(walk, err, item->path);
		if (!seen->inside)
			seen->inside = rt_tree_directory_new(directory, item->name);
		if (!seen->inside)
			return rt_error_oom();
		rt_tree_seen_note(seen, item->st);
	}
	/* Of what is mounted here, only the mount point itself belongs to the tree. */
	if (walk->tree->mount_id != now.stx_mnt_id)
		return NULL;
	return send_directory(walk, seen->inside, fd, changed, depth + 1);
}

static struct rt_error *visit(struct walk *walk, struct rt_tree_directory *directory, struct rt_tree_seen *seen, int fd, unsigned depth)
{
	struct statx st;
	char path[PATH_MAX];
	struct rt_tree_item item = { .path = path, .name = seen->name, .dir_fd = fd, .fd = -1, .st = &st };
	bool same, is_dir;
	struct rt_error *err;

	if (statx(fd, seen->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, MASK, &st) < 0)
		return errno == ENOENT ? drop(walk, directory, seen) : rt_fail_errno("cannot look at '%s' in '/%s'", seen->name, directory->path);
	is_dir = S_ISDIR(st.stx_mode);
	if (S_ISSOCK(st.stx_mode) || (!is_dir && st.stx_mnt_id != walk->tree->mount_id))
		return drop(walk, directory, seen);
	same = rt_tree_seen_same(seen, &st);
	if (same && !is_dir && !(walk->tree->mapped.count > 0 && rt_tree_inodes_get(&walk->tree->mapped, st.stx_ino, rt_tree_device(&st))))
		return NULL;
	err = path_below(directory, seen->name, path);
	if (err)
		return err;
	return is_dir ? send_subdirectory(walk, directory, seen, &item, !same, depth) : send_leaf(walk, directory, seen, &item);
}

/* Where the directory itself has not changed, neither have the names in it. */
static struct rt_error *send_directory(struct walk *walk, struct rt_tree_directory *directory, int fd, bool changed, unsigned depth)
{
	struct rt_error *err = NULL;

	if (changed) {
		err = rt_tree_directory_read(directory, fd, send_removal, walk);
		if (err)
			return while_sending(walk, err, directory->path);
	}
	for (size_t i = 0; !err && i < directory->count; i++)
		err = visit(walk, directory, &directory->children[i], fd, depth);
	return err;
}

static struct rt_error *send_all(struct walk *walk)
{
	struct rt_tree *tree = walk->tree;
	struct statx st;
	struct rt_tree_item item = { .path = "", .name = ".", .dir_fd = tree->root_fd, .fd = tree->root_fd, .st = &st };
	struct rt_error *err = rt_tree_pack_begin(&walk->pack);
	bool same, gone;

	if (err)
		return err;
	if (statx(tree->root_fd, "", AT_EMPTY_PATH, MASK, &st) < 0)
		return rt_fail_errno("cannot look at it");
	same = rt_tree_seen_same(&tree->top, &st);
	if (!same) {
		err = rt_tree_pack_node(&walk->pack, &item, &gone);
		rt_tree_seen_note(&tree->top, &st);
	}
	if (!err)
		err = send_directory(walk, tree->top.inside, tree->root_fd, !same, 0);
	return err ? err : rt_tree_pack_end(&walk->pack);
}

struct rt_error *rt_tree_send(struct rt_tree *tree, rt_tree_write_fn write, void *userdata, struct rt_tree_totals *ret)
{
	struct walk walk = { .tree = tree, .pack = { .write = write, .userdata = userdata, .flags = tree->flags } };
	struct rt_error *err = tree->failed ? rt_fail(RT_SYSTEM, "sending it has failed before") : send_all(&walk);

	rt_tree_inodes_clear(&walk.sent, true);
	if (!err)
		*ret = walk.pack.totals;
	rt_tree_pack_deinit(&walk.pack);
	tree->failed = err != NULL;
	return err ? rt_while(err, "sending the root filesystem '%s'", tree->root) : NULL;
}
