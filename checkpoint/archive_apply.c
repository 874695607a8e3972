#include "checkpoint/archive_helper.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#define DELETED_MAX ((size_t)64 << 20)
#define ENTRIES_MAX 10000000

static struct rt_error *apply_tar(struct rt_unpack *unpack, int tar_fd)
{
	_cleanup_(rt_archive_read_freep) struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	char path[PATH_MAX];
	size_t count = 0;

	if (!archive)
		return rt_error_oom();
	if (archive_read_support_format_tar(archive) != ARCHIVE_OK ||
	    archive_read_open_fd(archive, tar_fd, 65536) != ARCHIVE_OK)
		return rt_unpack_fail(archive, "cannot read the changes");
	for (;;) {
		int result = archive_read_next_header(archive, &entry);
		struct rt_error *err;

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return rt_unpack_fail(archive, "cannot read the changes");
		if (++count > ENTRIES_MAX)
			return rt_fail(RT_CONFIG, "the changes are more than %d files", ENTRIES_MAX);
		if (!archive_entry_pathname(entry) ||
		    !rt_unpack_clean_path(archive_entry_pathname(entry), 0, path, sizeof(path)))
			return rt_fail(RT_CONFIG, "the changes name '%.256s', which lies outside",
				       archive_entry_pathname(entry) ? archive_entry_pathname(entry) : "");
		err = rt_unpack_entry(unpack, archive, entry, path);
		if (err)
			return rt_while(err, "'%s'", path);
	}
}

static struct rt_error *delete_one(struct rt_unpack *unpack, const char *absolute)
{
	char path[PATH_MAX];

	if (!rt_unpack_clean_path(absolute + strspn(absolute, "/"), 0, path, sizeof(path)) || !*path)
		return rt_fail(RT_CONFIG, "the list of deleted files names '%.256s', which lies outside", absolute);
	return rt_unpack_remove(unpack, path);
}

static struct rt_error *apply_deleted(struct rt_unpack *unpack, int deleted_fd)
{
	_cleanup_json_ json_t *list = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	json_t *path;
	size_t index, size;

	err = rt_read_all(deleted_fd, DELETED_MAX, &text, &size);
	if (err)
		return err;
	list = json_loadb(text, size, 0, NULL);
	if (!json_is_array(list))
		return rt_fail(RT_CONFIG, "the list of deleted files is no JSON array");
	json_array_foreach(list, index, path)
	{
		if (!json_is_string(path))
			return rt_fail(RT_CONFIG, "the list of deleted files has something else than paths");
		err = delete_one(unpack, json_string_value(path));
		if (err)
			return err;
	}
	return NULL;
}

struct rt_error *rt_archive_apply(const char *rootfs, int tar_fd, int deleted_fd)
{
	_cleanup_close_ int root_fd = open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct rt_unpack unpack = { .root_fd = root_fd, .flags = RT_UNPACK_REAL_PARENTS };
	struct rt_error *err;

	if (root_fd < 0)
		return rt_fail_errno("cannot open the root filesystem '%s'", rootfs);
	err = rt_unpack_init(&unpack);
	if (!err && tar_fd >= 0)
		err = apply_tar(&unpack, tar_fd);
	if (!err && deleted_fd >= 0)
		err = apply_deleted(&unpack, deleted_fd);
	if (!err)
		err = rt_unpack_finish(&unpack);
	rt_unpack_deinit(&unpack);
	return err ? rt_while(err, "changing the root filesystem '%s'", rootfs) : NULL;
}
