#include "checkpoint/archive_helper.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define CHUNK ((size_t)256 << 10)
#define DEPTH_MAX 1000
#define LOWERS_MAX 512
#define XATTR_MAX 65536

/* An overlay, seen three ways: the upper directory tells what changed, the merged view what it is now (also where the
 * upper file holds only metadata, or a directory was only renamed), the lower ones what an opaque directory hides. */
struct overlay {
	int merged_fd, upper_fd;
	int lower_fds[LOWERS_MAX];
	size_t lower_count;
	struct archive *tar;
	struct archive_entry_linkresolver *links;
	json_t *deleted;
	bool empty; /* nothing written yet */
	uint8_t *chunk;
};

static void overlay_deinit(struct overlay *overlay)
{
	rt_closep(&overlay->merged_fd);
	rt_closep(&overlay->upper_fd);
	for (size_t i = 0; i < overlay->lower_count; i++)
		rt_closep(&overlay->lower_fds[i]);
	rt_archive_write_freep(&overlay->tar);
	if (overlay->links)
		archive_entry_linkresolver_free(overlay->links);
	json_decref(overlay->deleted);
	free(overlay->chunk);
}

/* ---- finding the layers ---- */

/* mountinfo writes white space and backslashes as three octal digits; overlayfs puts a backslash before commas and
 * colons. */
static void unescape_octal(char *text)
{
	char *to = text;

	for (char *at = text; *at; at++) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' &&
		    at[3] <= '7') {
			*to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 3;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
}

/* Copy of an option's value: up to a comma that has no backslash before it. NULL: not there, or no memory. */
static char *option_value(const char *options, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = options; *at;) {
		const char *end = at;

		while (*end && *end != ',')
			end += end[0] == '\\' && end[1] ? 2 : 1;
		if (strncmp(at, name, length) == 0 && at[length] == '=')
			return strndup(at + length + 1, (size_t)(end - at) - length - 1);
		at = end + (*end == ',');
	}
	return NULL;
}

/* Super block options of the last mount on `path`, where that is an overlay; *ret is NULL where it is none. */
static struct rt_error *find_overlay(const char *path, char **ret)
{
	_cleanup_fclose_ FILE *stream = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL, *found = NULL;
	size_t room = 0;

	if (!stream)
		return rt_fail_errno("cannot open '/proc/self/mountinfo'");
	while (getline(&line, &room, stream) > 0) {
		char point[PATH_MAX], type[64];
		int options = 0;
		char *separator = strstr(line, " - ");

		if (!separator || sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1 ||
		    sscanf(separator, " - %63s %*s %n", type, &options) != 1 || options == 0)
			continue;
		unescape_octal(point);
		if (!rt_str_equal(point, path))
			continue;
		free(found);
		found = NULL;
		if (!rt_str_equal(type, "overlay"))
			continue;
		separator[options + strcspn(separator + options, "\n")] = '\0';
		found = strdup(separator + options);
		if (!found)
			return rt_error_oom();
		unescape_octal(found);
	}
	*ret = rt_take_ptr(found);
	return NULL;
}

static void unescape_backslashes(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1])
			text++;
		*to++ = *text;
	}
	*to = '\0';
}

/* Layers are best effort where they are relative or gone (an engine's short names, unmounted since): without them an
 * opaque directory is an error later, and only then. */
static void open_lowers(struct overlay *overlay, char *list)
{
	char *at = list;

	while (*at && overlay->lower_count < LOWERS_MAX) {
		char *end = at, *next;
		int fd;

		while (*end && *end != ':')
			end += end[0] == '\\' && end[1] ? 2 : 1;
		next = end + (*end == ':');
		*end = '\0';
		unescape_backslashes(at);
		fd = *at ? open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		if (fd >= 0)
			overlay->lower_fds[overlay->lower_count++] = fd;
		at = next;
	}
}

static struct rt_error *open_layers(struct overlay *overlay, const char *rootfs, const char *upper, bool *ret_found)
{
	_cleanup_free_ char *real = NULL, *options = NULL, *found_upper = NULL, *lowers = NULL;
	struct rt_error *err;

	*ret_found = false;
	err = rt_real_path(rootfs, &real);
	if (!err)
		err = find_overlay(real, &options);
	if (err)
		return err;
	if (options) {
		found_upper = option_value(options, "upperdir");
		lowers = option_value(options, "lowerdir");
		if (found_upper)
			unescape_backslashes(found_upper);
	}
	if (!upper)
		upper = found_upper;
	if (!upper)
		return NULL;
	overlay->upper_fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (overlay->upper_fd < 0)
		return rt_fail_errno("cannot open the overlay's upper directory '%s'", upper);
	overlay->merged_fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (overlay->merged_fd < 0)
		return rt_fail_errno("cannot open '%s'", real);
	if (lowers)
		open_lowers(overlay, lowers);
	*ret_found = true;
	return NULL;
}

/* ---- writing entries ---- */

static struct rt_error *add_xattrs(struct archive_entry *entry, int fd)
{
	_cleanup_free_ char *names = malloc(XATTR_MAX), *value = malloc(XATTR_MAX);
	ssize_t size;

	if (!names || !value)
		return rt_error_oom();
	size = flistxattr(fd, names, XATTR_MAX);
	if (size < 0)
		return errno == ENOTSUP ? NULL : rt_fail_errno("cannot list extended attributes");
	for (char *name = names; name < names + size; name += strlen(name) + 1) {
		ssize_t length;

		/* The overlay's own attributes, and labels of this host, mean nothing elsewhere. */
		if (!rt_str_starts(name, "user.") && !rt_str_equal(name, "security.capability"))
			continue;
		length = fgetxattr(fd, name, value, XATTR_MAX);
		if (length >= 0)
			archive_entry_xattr_add_entry(entry, name, value, (size_t)length);
	}
	return NULL;
}

static struct rt_error *write_content(struct overlay *overlay, int fd, uint64_t size)
{
	while (size > 0) {
		size_t want = size < CHUNK ? (size_t)size : CHUNK;
		struct rt_error *err = rt_read_exact(fd, overlay->chunk, want);

		if (err)
			return err;
		if (archive_write_data(overlay->tar, overlay->chunk, want) != (la_ssize_t)want)
			return rt_unpack_fail(overlay->tar, "cannot write the changes");
		size -= want;
	}
	return NULL;
}

static struct rt_error *write_entry(struct overlay *overlay, struct archive_entry *entry, int fd)
{
	struct archive_entry *spare = NULL;

	/* For tar: a further name of a file becomes a link to the first, without content. */
	archive_entry_linkify(overlay->links, &entry, &spare);
	if (archive_write_header(overlay->tar, entry) != ARCHIVE_OK)
		return rt_unpack_fail(overlay->tar, "cannot write the changes");
	overlay->empty = false;
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
		return NULL;
	return write_content(overlay, fd, (uint64_t)archive_entry_size(entry));
}

/* One file of the merged view. `fd` is -1 for what is not opened. */
static struct rt_error *add_entry(struct overlay *overlay, int dir_fd, const char *name, const char *path,
				  const struct stat *st, int fd)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = archive_entry_new();
	char target[PATH_MAX];
	struct rt_error *err;

	if (!entry)
		return rt_error_oom();
	archive_entry_copy_stat(entry, st);
	archive_entry_copy_pathname(entry, path);
	if (S_ISLNK(st->st_mode)) {
		ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);

		if (length < 0)
			return rt_fail_errno("cannot read the link '%s'", path);
		target[length] = '\0';
		archive_entry_copy_symlink(entry, target);
	}
	if (fd >= 0) {
		err = add_xattrs(entry, fd);
		if (err)
			return err;
	}
	err = write_entry(overlay, entry, fd);
	return err ? rt_while(err, "'%s'", path) : NULL;
}

static struct rt_error *note_deleted(struct overlay *overlay, const char *path)
{
	_cleanup_free_ char *absolute = NULL;
	struct rt_error *err = rt_format(&absolute, "/%s", path);

	if (err)
		return err;
	/* JSON has no way to name a file that is not UTF-8. */
	if (json_array_append_new(overlay->deleted, json_string(absolute)) < 0)
		return rt_fail(RT_SYSTEM, "the deleted file '%s' has a name no archive can hold", path);
	return NULL;
}

/* ---- walking ---- */

enum {
	WALK_WHOLE = 1 << 0, /* all of the merged directory, not only what the upper one has: it was renamed */
	WALK_HIDES =
		1 << 1, /* what lower layers have under this path does not shine through: it was replaced, or renamed */
};

static struct rt_error *walk(struct overlay *overlay, int merged_fd, int upper_fd, const char *path, unsigned flags,
			     unsigned depth);

static bool xattr_is(int fd, const char *name, char first)
{
	char value[8];

	return fgetxattr(fd, name, value, sizeof(value)) >= 1 && value[0] == first;
}

static bool has_xattr(int fd, const char *name)
{
	return fgetxattr(fd, name, NULL, 0) >= 0;
}

/* What lower layers have in a directory that the merged view lacks, for an opaque directory: its whiteouts are not
 * spelled out. */
static struct rt_error *note_hidden(struct overlay *overlay, int merged_fd, const char *path)
{
	struct rt_error *err = NULL;

	if (overlay->lower_count == 0)
		return rt_fail(RT_SYSTEM, "'%s' was replaced, and the layers below that tell what it was are unknown",
			       path);
	for (size_t i = 0; !err && i < overlay->lower_count; i++) {
		_cleanup_closedir_ DIR *dir = NULL;
		const struct dirent *entry;
		_cleanup_close_ int fd = -1;

		err = rt_unpack_open_below(overlay->lower_fds[i], path, &fd);
		if (err) {
			/* This layer does not have it, or not as a directory. */
			err = rt_error_free(err);
			continue;
		}
		dir = fdopendir(fd);
		if (!dir)
			return rt_fail_errno("cannot list '%s'", path);
		fd = -1; /* the stream's now */
		while (!err && (entry = readdir(dir))) {
			_cleanup_free_ char *inner = NULL;

			if (rt_str_equal(entry->d_name, ".") || rt_str_equal(entry->d_name, "..") ||
			    faccessat(merged_fd, entry->d_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
				continue;
			err = rt_format(&inner, "%s/%s", path, entry->d_name);
			if (!err)
				err = note_deleted(overlay, inner);
		}
	}
	return err;
}

static struct rt_error *walk_directory(struct overlay *overlay, int merged_fd, int upper_fd, const char *name,
				       const char *path, const struct stat *st, unsigned flags, unsigned depth)
{
	_cleanup_close_ int merged = openat(merged_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int upper = -1;
	struct rt_error *err;

	if (merged < 0)
		return rt_fail_errno("cannot open '%s'", path);
	if (!(flags & WALK_WHOLE)) {
		upper = openat(upper_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (upper < 0)
			return rt_fail_errno("cannot open '%s' in the upper directory", path);
	}
	err = add_entry(overlay, merged_fd, name, path, st, merged);
	if (upper >= 0 && (has_xattr(upper, "trusted.overlay.redirect") || has_xattr(upper, "user.overlay.redirect")))
		flags |= WALK_WHOLE | WALK_HIDES;
	if (upper >= 0 &&
	    (xattr_is(upper, "trusted.overlay.opaque", 'y') || xattr_is(upper, "user.overlay.opaque", 'y')))
		flags |= WALK_HIDES;
	if (!err && (flags & WALK_HIDES))
		err = note_hidden(overlay, merged, path);
	return err ? err : walk(overlay, merged, flags & WALK_WHOLE ? -1 : upper, path, flags, depth + 1);
}

static struct rt_error *visit(struct overlay *overlay, int merged_fd, int upper_fd, const char *name, const char *path,
			      unsigned flags, unsigned depth)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	struct stat st;

	/* What the merged view does not have is a whiteout, of whichever kind. */
	if (fstatat(merged_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? note_deleted(overlay, path) : rt_fail_errno("cannot look at '%s'", path);
	if (S_ISDIR(st.st_mode))
		return walk_directory(overlay, merged_fd, upper_fd, name, path, &st, flags, depth);
	if (S_ISSOCK(st.st_mode)) /* a tar cannot hold one, and CRIU makes those that are bound */
		return NULL;
	if (S_ISREG(st.st_mode)) {
		fd = openat(merged_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			return rt_fail_errno("cannot open '%s'", path);
		if (!S_ISREG(st.st_mode))
			return rt_fail(RT_SYSTEM, "'%s' changed while it was read", path);
	}
	err = add_entry(overlay, merged_fd, name, path, &st, fd);
	return err;
}

static int no_dot_entries(const struct dirent *entry)
{
	return !rt_str_equal(entry->d_name, ".") && !rt_str_equal(entry->d_name, "..");
}

static struct rt_error *walk(struct overlay *overlay, int merged_fd, int upper_fd, const char *path, unsigned flags,
			     unsigned depth)
{
	struct rt_error *err = NULL;
	struct dirent **names;
	int count;

	if (depth > DEPTH_MAX)
		return rt_fail(RT_SYSTEM, "'%s' is more than %d levels deep", path, DEPTH_MAX);
	count = scandirat(upper_fd >= 0 ? upper_fd : merged_fd, ".", &names, no_dot_entries, alphasort);
	if (count < 0)
		return rt_fail_errno("cannot list '%s'", path);
	for (int i = 0; i < count; i++) {
		_cleanup_free_ char *inner = NULL;

		if (!err)
			err = rt_format(&inner, "%s%s%s", path, *path ? "/" : "", names[i]->d_name);
		if (!err)
			err = visit(overlay, merged_fd, upper_fd, names[i]->d_name, inner, flags, depth);
		free(names[i]);
	}
	free(names);
	return err;
}

/* ---- the whole ---- */

static struct rt_error *open_spool(const char *directory, int *ret)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		_cleanup_free_ char *name = NULL;
		struct rt_error *err = rt_format(&name, "%s/.rt-spool.XXXXXX", directory);

		if (err)
			return err;
		fd = mkostemp(name, O_CLOEXEC);
		if (fd < 0)
			return rt_fail_errno("cannot create a file in '%s'", directory);
		unlink(name);
	}
	*ret = fd;
	return NULL;
}

static struct rt_error *start_tar(struct overlay *overlay, int fd)
{
	overlay->tar = archive_write_new();
	overlay->links = archive_entry_linkresolver_new();
	overlay->deleted = json_array();
	overlay->chunk = malloc(CHUNK);
	overlay->empty = true;
	if (!overlay->tar || !overlay->links || !overlay->deleted || !overlay->chunk)
		return rt_error_oom();
	archive_entry_linkresolver_set_strategy(overlay->links, ARCHIVE_FORMAT_TAR);
	if (archive_write_set_format_pax_restricted(overlay->tar) != ARCHIVE_OK ||
	    archive_write_open_fd(overlay->tar, fd) != ARCHIVE_OK)
		return rt_unpack_fail(overlay->tar, "cannot begin the changes");
	return NULL;
}

struct rt_error *rt_archive_rootfs_changes(const char *rootfs, const char *upper, const char *spool_dir,
					   struct rt_rootfs_changes *ret, bool *ret_found)
{
	_cleanup_(overlay_deinit) struct overlay overlay = { .merged_fd = -1, .upper_fd = -1 };
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	err = open_layers(&overlay, rootfs, upper, ret_found);
	if (err || !*ret_found)
		return err;
	err = open_spool(spool_dir, &fd);
	if (!err)
		err = start_tar(&overlay, fd);
	if (!err)
		err = walk(&overlay, overlay.merged_fd, overlay.upper_fd, "", 0, 0);
	if (!err && archive_write_close(overlay.tar) != ARCHIVE_OK)
		err = rt_unpack_fail(overlay.tar, "cannot finish the changes");
	if (err)
		return err;
	if (json_array_size(overlay.deleted) > 0) {
		ret->deleted = json_dumps(overlay.deleted, JSON_INDENT(2));
		if (!ret->deleted)
			return rt_error_oom();
	}
	if (!overlay.empty) {
		if (lseek(fd, 0, SEEK_SET) < 0)
			return rt_fail_errno("cannot rewind the changes");
		ret->tar_fd = rt_take_fd(fd);
	}
	return NULL;
}
