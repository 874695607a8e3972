#include "checkpoint/tmpfs_tar.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/bundle/archive_data.h"
#include "runtime/bundle/unpack.h"

#include <fcntl.h>
#include <search.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK ((size_t)256 << 10)
/* A file of nothing takes a container no time and no memory to make; libarchive takes its holes in pieces, and so large a one would keep it frozen for minutes. */
#define SIZE_LIMIT ((off_t)1 << 50)
/* More extents of a file than this are not told apart: the map is in memory on both sides. */
#define EXTENTS_MAX 65536
/* What unpacking takes (unpack_entry.c); what can't be restored must fail while the container still runs. */
#define DEPTH_MAX 400

struct pack {
	struct archive *archive;
	int out_fd;
	bool failed; /* nothing more is written */
	struct rt_error *err; /* owned; why the image can't be written: libarchive knows only that it can't */
	dev_t device;
	void *links; /* tree of struct link */
	char path[PATH_MAX]; /* of the entry at hand, from "." on */
	size_t length; /* of path */
	unsigned depth;
	uint8_t *chunk;
	struct rt_archive_zeroes zeroes;
};

/* A file with more than one name, by the first of them. */
struct link {
	dev_t device;
	ino_t inode;
	nlink_t left; /* names that were not seen yet */
	char path[];
};

static struct rt_error *walk(struct pack *pack, int fd);

void rt_tmpfs_tar_tell(const char *format, ...)
{
	char line[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	for (char *at = line; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	fprintf(stderr, "%s\n", line);
}

static int compare_links(const void *a, const void *b)
{
	const struct link *one = a, *two = b;

	if (one->device != two->device)
		return one->device < two->device ? -1 : 1;
	return one->inode < two->inode ? -1 : one->inode > two->inode;
}

static void tell_missing(const void *node, VISIT visit, int depth)
{
	const struct link *link = *(struct link *const *)node;

	if ((visit == postorder || visit == leaf) && link->left > 0)
		rt_tmpfs_tar_tell("tar: %lu of the links to '%.200s' are elsewhere", (unsigned long)link->left, link->path);
}

static struct rt_error *fail(struct pack *pack)
{
	return pack->err ? rt_take_ptr(pack->err) : rt_unpack_fail(pack->archive, "cannot write the image");
}

static la_ssize_t write_out(struct archive *archive, void *userdata, const void *bytes, size_t size)
{
	struct pack *pack = userdata;

	if (!pack->err && !pack->failed)
		pack->err = rt_write_all(pack->out_fd, bytes, size);
	if (!pack->err && !pack->failed)
		return (la_ssize_t)size;
	archive_set_error(archive, EIO, "the image is broken");
	return -1;
}

/* ---- content ---- */

/* Where there is data, for the entry's map; a file without holes needs none. */
static void add_extents(struct archive_entry *entry, int fd, const struct stat *st)
{
	off_t at = 0;
	size_t count = 0;

	if (st->st_blocks * 512 >= st->st_size)
		return;
	while (at < st->st_size) {
		off_t data = lseek(fd, at, SEEK_DATA), end;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0) /* the file system can't tell */
			data = at;
		end = ++count < EXTENTS_MAX ? lseek(fd, data, SEEK_HOLE) : st->st_size;
		if (end < 0 || end > st->st_size)
			end = st->st_size;
		if (data >= end)
			break;
		archive_entry_sparse_add_entry(entry, data, end - data);
		at = end;
	}
	if (count == 0)
		archive_entry_sparse_add_entry(entry, 0, 0);
}

static struct rt_error *write_bytes(struct pack *pack, const uint8_t *bytes, size_t size)
{
	return rt_archive_write(pack->archive, bytes, size) ? NULL : fail(pack);
}

static struct rt_error *write_range(struct pack *pack, int fd, off_t at, off_t end)
{
	while (at < end) {
		ssize_t got = pread(fd, pack->chunk, end - at < (off_t)CHUNK ? (size_t)(end - at) : CHUNK, at);
		struct rt_error *err;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot read it");
		if (got == 0)
			return rt_fail(RT_SYSTEM, "it became shorter while it was read");
		err = write_bytes(pack, pack->chunk, (size_t)got);
		if (err)
			return err;
		at += got;
	}
	return NULL;
}

static struct rt_error *write_hole(struct pack *pack, off_t size)
{
	return rt_archive_write_zeroes(pack->archive, &pack->zeroes, size > 0 ? (uint64_t)size : 0) ? NULL : fail(pack);
}

static struct rt_error *put(struct pack *pack, struct archive_entry *entry)
{
	return archive_write_header(pack->archive, entry) == ARCHIVE_OK ? NULL : fail(pack);
}

static struct rt_error *put_file(struct pack *pack, struct archive_entry *entry, int fd, const struct stat *st)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *map = NULL;
	la_int64_t offset, length;
	struct rt_error *err;
	off_t at = 0;

	if (st->st_size > SIZE_LIMIT)
		return rt_fail_with(EFBIG, "it says that it has %lld bytes", (long long)st->st_size);
	archive_entry_set_size(entry, st->st_size);
	add_extents(entry, fd, st);
	if (archive_entry_sparse_count(entry) == 0) {
		err = put(pack, entry);
		return err ? err : write_range(pack, fd, 0, st->st_size);
	}
	/* Writing the header goes through the map, and leaves it anywhere. */
	map = archive_entry_clone(entry);
	if (!map)
		return rt_error_oom();
	err = put(pack, entry);
	archive_entry_sparse_reset(map);
	while (!err && archive_entry_sparse_next(map, &offset, &length) == ARCHIVE_OK) {
		err = write_hole(pack, offset - at);
		if (!err)
			err = write_range(pack, fd, offset, offset + length);
		at = offset + length;
	}
	return err ? err : write_hole(pack, st->st_size - at);
}

/* ---- entries ---- */

static struct rt_error *new_entry(const struct pack *pack, const struct stat *st, struct archive_entry **ret)
{
	struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return rt_error_oom();
	archive_entry_copy_pathname(entry, pack->path);
	archive_entry_set_mode(entry, st->st_mode);
	archive_entry_set_uid(entry, st->st_uid);
	archive_entry_set_gid(entry, st->st_gid);
	archive_entry_set_mtime(entry, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	archive_entry_set_size(entry, 0);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		archive_entry_set_rdev(entry, st->st_rdev);
	*ret = entry;
	return NULL;
}

/* The name of a file that has several: of all but the first it is a link to that. */
static struct rt_error *note_link(struct pack *pack, struct archive_entry *entry, const struct stat *st, bool *ret_linked)
{
	struct link *made = malloc(sizeof(*made) + pack->length + 1), **found;

	if (!made)
		return rt_error_oom();
	*made = (struct link){ .device = st->st_dev, .inode = st->st_ino, .left = st->st_nlink };
	memcpy(made->path, pack->path, pack->length + 1);
	found = tsearch(made, &pack->links, compare_links);
	if (!found) {
		free(made);
		return rt_error_oom();
	}
	*ret_linked = *found != made;
	if (*ret_linked) {
		archive_entry_copy_hardlink(entry, (*found)->path);
		free(made);
	}
	(*found)->left--;
	return NULL;
}

static struct rt_error *put_symlink(struct pack *pack, struct archive_entry *entry, int dir_fd, const char *name)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);

	if (length < 0)
		return rt_fail_errno("cannot read the link");
	target[length] = '\0';
	archive_entry_copy_symlink(entry, target);
	return put(pack, entry);
}

static struct rt_error *put_directory(struct pack *pack, struct archive_entry *entry, int dir_fd, const char *name, const struct stat *st)
{
	struct rt_error *err = put(pack, entry);
	int fd;

	if (err)
		return err;
	if (st->st_dev != pack->device) {
		rt_tmpfs_tar_tell("tar: '%.200s' is another file system, which is left out", pack->path);
		return NULL;
	}
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? rt_fail_errno("cannot open the directory") : walk(pack, fd);
}

static struct rt_error *put_entry(struct pack *pack, int dir_fd, const char *name)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	bool linked = false;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot look at it");
	if (S_ISSOCK(st.st_mode)) {
		rt_tmpfs_tar_tell("tar: '%.200s' is a socket, which is left out", pack->path);
		return NULL;
	}
	err = new_entry(pack, &st, &entry);
	if (!err && st.st_nlink > 1 && !S_ISDIR(st.st_mode))
		err = note_link(pack, entry, &st, &linked);
	if (err)
		return err;
	if (linked)
		return put(pack, entry);
	if (S_ISLNK(st.st_mode))
		return put_symlink(pack, entry, dir_fd, name);
	if (S_ISDIR(st.st_mode))
		return put_directory(pack, entry, dir_fd, name, &st);
	if (!S_ISREG(st.st_mode))
		return put(pack, entry);
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open it");
	return put_file(pack, entry, fd, &st);
}

static struct rt_error *put_named(struct pack *pack, int dir_fd, const char *name)
{
	size_t before = pack->length, length = strlen(name);
	struct rt_error *err;

	/* Without the "./" it begins with, and with an end, it must fit into PATH_MAX again. */
	if (before + 1 + length >= sizeof(pack->path))
		return rt_fail_with(ENAMETOOLONG, "'%s'", name);
	pack->path[before] = '/';
	memcpy(pack->path + before + 1, name, length + 1);
	pack->length += length + 1;
	err = put_entry(pack, dir_fd, name);
	/* For the message. */
	if (err)
		return err;
	pack->length = before;
	pack->path[before] = '\0';
	return NULL;
}

/* Takes over `fd`. */
static struct rt_error *walk(struct pack *pack, int fd)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	struct rt_error *err = NULL;

	if (!dir) {
		err = rt_fail_errno("cannot read the directory");
		close(fd);
		return err;
	}
	if (++pack->depth > DEPTH_MAX + 1)
		return rt_fail(RT_CONFIG, "it is more than %d directories deep", DEPTH_MAX);
	while (!err) {
		const struct dirent *found;

		errno = 0;
		found = readdir(dir);
		if (!found && errno)
			err = rt_fail_errno("cannot read the directory");
		if (!found)
			break;
		if (!rt_str_equal(found->d_name, ".") && !rt_str_equal(found->d_name, ".."))
			err = put_named(pack, dirfd(dir), found->d_name);
	}
	pack->depth--;
	return err;
}

static struct rt_error *begin(struct pack *pack)
{
	pack->archive = archive_write_new();
	pack->chunk = malloc(CHUNK);
	if (!pack->archive || !pack->chunk)
		return rt_error_oom();
	/* Names are bytes, of no character set. The container is frozen meanwhile: level 1. */
	if (archive_write_set_format_pax(pack->archive) != ARCHIVE_OK || archive_write_add_filter_gzip(pack->archive) != ARCHIVE_OK ||
	    archive_write_set_options(pack->archive, "pax:hdrcharset=BINARY,gzip:compression-level=1,gzip:!timestamp") != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(pack->archive, 1) != ARCHIVE_OK || archive_write_open(pack->archive, pack, NULL, write_out, NULL) != ARCHIVE_OK)
		return fail(pack);
	return NULL;
}

static struct rt_error *put_root(struct pack *pack, int dir_fd)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = NULL;
	struct rt_error *err;
	struct stat st;
	int fd;

	if (fstat(dir_fd, &st) < 0)
		return rt_fail_errno("cannot look at it");
	pack->device = st.st_dev;
	err = new_entry(pack, &st, &entry);
	if (!err)
		err = put(pack, entry);
	if (err)
		return err;
	/* Opened again, as the caller's may be in the middle of its entries. */
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? rt_fail_errno("cannot open the directory") : walk(pack, fd);
}

struct rt_error *rt_tmpfs_tar_pack(int dir_fd, int out_fd)
{
	struct pack pack = { .out_fd = out_fd, .path = ".", .length = 1 };
	struct rt_error *err = begin(&pack);

	if (!err) {
		err = put_root(&pack, dir_fd);
		if (err)
			err = rt_while(err, "packing '%.200s'", pack.path);
	}
	if (!err && archive_write_close(pack.archive) != ARCHIVE_OK)
		err = fail(&pack);
	if (!err)
		twalk(pack.links, tell_missing);
	/* After a failure it would write an end as if all were well. */
	pack.failed = err;
	if (pack.archive)
		archive_write_free(pack.archive);
	tdestroy(pack.links, free);
	rt_error_free(pack.err);
	rt_archive_zeroes_deinit(&pack.zeroes);
	free(pack.chunk);
	return err;
}
