#include "migrate/tree_merge.h"

#include "migrate/tree_private.h"
#include "runtime/base/fs.h"
#include "runtime/base/str.h"
#include "runtime/bundle/unpack.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

/* An opaque directory hides what lower layers have there when it is new; but it is sent again whenever something in it changes, and then most of what is in
 * it stays. So it must be known which names came from the upper directory, for as long as streams of it come. */
struct rt_tree_merged {
	struct rt_unpack_marks names;
};

struct rt_error *rt_tree_merged_new(struct rt_tree_merged **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? NULL : rt_error_oom();
}

void rt_tree_merged_free(struct rt_tree_merged *merged)
{
	if (!merged)
		return;
	rt_unpack_marks_clear(&merged->names);
	free(merged);
}

/* A mount with "userxattr" has its marks in user., all others in trusted.; NULL: it is none. */
static const char *mark_of(const char *name)
{
	if (rt_str_starts(name, "trusted.overlay."))
		return name + strlen("trusted.overlay.");
	return rt_str_starts(name, "user.overlay.") ? name + strlen("user.overlay.") : NULL;
}

struct rt_error *rt_tree_merge_look(struct archive_entry *entry, enum rt_tree_meaning *ret)
{
	mode_t type = archive_entry_filetype(entry);
	const char *name, *mark;
	const void *value;
	size_t size;

	*ret = RT_TREE_AS_IT_IS;
	if (archive_entry_hardlink(entry))
		return NULL;
	if (type == AE_IFCHR && archive_entry_rdev(entry) == 0)
		*ret = RT_TREE_WHITEOUT;
	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		mark = mark_of(name);
		if (!mark)
			continue;
		if (rt_str_equal(mark, "redirect") || rt_str_equal(mark, "metacopy"))
			return rt_fail(RT_CONFIG, "the overlay keeps it in a lower layer and has only a '%s' of it on top, which --rootfs diff can't move: "
				       "use --rootfs copy", mark);
		if (rt_str_equal(mark, "whiteout") && type == AE_IFREG)
			*ret = RT_TREE_WHITEOUT;
		if (rt_str_equal(mark, "opaque") && type == AE_IFDIR && size >= 1 && *(const char *)value == 'y')
			*ret = RT_TREE_OPAQUE;
	}
	return NULL;
}

struct rt_error *rt_tree_merge_note(struct rt_tree_merged *merged, const char *path)
{
	return *path ? rt_unpack_mark(&merged->names, "", path) : NULL;
}

static struct rt_error *hide_in(const struct rt_tree_merged *merged, int dir_fd, const char *path, unsigned depth);

static struct rt_error *hide(const struct rt_tree_merged *merged, int dir_fd, const char *path, const struct dirent *entry, unsigned depth)
{
	char below[PATH_MAX];
	int fd;

	if (snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", entry->d_name) >= (int)sizeof(below))
		return rt_fail_with(ENAMETOOLONG, "cannot look below '%.256s'", path);
	if (!rt_unpack_marked(&merged->names, "", below))
		return rt_remove_tree_at(dir_fd, entry->d_name);
	if (entry->d_type != DT_DIR)
		return NULL;
	if (depth >= RT_TREE_DEPTH_MAX)
		return rt_fail(RT_CONFIG, "it is more than %d directories deep", RT_TREE_DEPTH_MAX);
	fd = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? rt_fail_errno("cannot open '%s'", below) : hide_in(merged, fd, below, depth + 1);
}

/* Takes the descriptor over. */
static struct rt_error *hide_in(const struct rt_tree_merged *merged, int dir_fd, const char *path, unsigned depth)
{
	_cleanup_closedir_ DIR *dir = fdopendir(dir_fd);
	struct rt_error *err = NULL;
	struct dirent *entry;

	if (!dir) {
		err = rt_fail_errno("cannot read '%s'", path);
		close(dir_fd);
		return err;
	}
	while (!err && (entry = readdir(dir)))
		if (!rt_str_equal(entry->d_name, ".") && !rt_str_equal(entry->d_name, ".."))
			err = hide(merged, dirfd(dir), path, entry, depth);
	return err;
}

struct rt_error *rt_tree_merge_hide(const struct rt_tree_merged *merged, int root_fd, const char *path)
{
	struct rt_error *err;
	int fd;

	err = rt_unpack_open_below(root_fd, path, &fd);
	return err ? err : hide_in(merged, fd, path, 0);
}
