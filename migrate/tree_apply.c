#include "migrate/tree_apply.h"

#include "migrate/tree_merge.h"
#include "migrate/tree_private.h"
#include "runtime/base/str.h"
#include "runtime/bundle/unpack.h"

#include <assert.h>
#include <sys/statvfs.h>

#define FILES_MAX 10000000
/* What libarchive keeps of one entry's headers grows with them. */
#define HEADERS_MAX ((size_t)4 << 20)

struct rt_tree_apply {
	struct rt_unpack unpack;
	struct rt_tree_totals totals;
	uint64_t max_files;
	struct rt_tree_merged *merged; /* borrowed; NULL: entries are what they are */
	struct archive *archive;
	rt_tree_read_fn read;
	void *userdata;
	uint64_t given; /* bytes, to libarchive */
	bool in_headers;
	size_t headers; /* bytes of the entry's, about */
	char *end; /* what the end's record says; owned */
};

struct rt_error *rt_tree_apply_new(const struct rt_tree_receive_options *options, struct rt_tree_apply **ret)
{
	_cleanup_free_ struct rt_tree_apply *apply = calloc(1, sizeof(*apply));
	struct statvfs fs;
	struct rt_error *err;

	if (!apply)
		return rt_error_oom();
	if (fstatvfs(options->root_fd, &fs) < 0)
		return rt_fail_errno("cannot look at the file system that the root filesystem goes to");
	apply->unpack.root_fd = options->root_fd;
	apply->unpack.flags = RT_UNPACK_REAL_PARENTS | RT_UNPACK_XATTRS | RT_UNPACK_EXACT | RT_UNPACK_WHITEOUTS | RT_UNPACK_NO_NEW_HOLES;
	if (options->privileged_nodes)
		apply->unpack.flags |= RT_UNPACK_DEVICES;
	if (options->flags & RT_TREE_UPPER)
		apply->unpack.flags |= RT_UNPACK_OVERLAY;
	if (options->flags & RT_TREE_MERGED) {
		assert(options->merged);
		apply->merged = options->merged;
		apply->unpack.flags |= RT_UNPACK_NO_MARKS;
	}
	if (geteuid() != 0)
		apply->unpack.flags |= RT_UNPACK_AS_USER;
	apply->unpack.limit = options->max_bytes ? options->max_bytes : (uint64_t)fs.f_bavail * fs.f_frsize;
	if (apply->unpack.limit == 0) /* a full disk is not one without limits */
		apply->unpack.limit = 1;
	apply->max_files = options->max_files ? options->max_files : FILES_MAX;
	err = rt_unpack_init(&apply->unpack);
	if (!err)
		*ret = rt_take_ptr(apply);
	return err;
}

struct rt_tree_totals rt_tree_apply_totals(const struct rt_tree_apply *apply)
{
	return apply->totals;
}

void rt_tree_apply_free(struct rt_tree_apply *apply)
{
	if (!apply)
		return;
	rt_unpack_deinit(&apply->unpack);
	free(apply->end);
	free(apply);
}

static la_ssize_t read_more(struct archive *archive, void *data, const void **bytes)
{
	struct rt_tree_apply *apply = data;
	ssize_t size = apply->read(apply->userdata, bytes);

	if (size > 0)
		apply->given += (uint64_t)size;
	if (!apply->in_headers || size <= 0)
		return size;
	apply->headers += (size_t)size;
	if (apply->headers <= HEADERS_MAX)
		return size;
	archive_set_error(archive, EFBIG, "the headers of one file are more than %zu bytes", HEADERS_MAX);
	return -1;
}

/* ---- entries ---- */

static bool has_mark(struct archive_entry *entry, const char *mark, char *value, size_t room)
{
	const char *name;
	const void *bytes;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &bytes, &size) == ARCHIVE_OK) {
		if (!rt_str_equal(name, mark))
			continue;
		snprintf(value, room, "%.*s", (int)(size < room ? size : room - 1), (const char *)bytes);
		return true;
	}
	return false;
}

static struct rt_error *count_entry(struct rt_tree_apply *apply)
{
	if (apply->totals.files + apply->totals.removed >= apply->max_files)
		return rt_fail(RT_CONFIG, "there are more than %llu files, the most that is allowed here", (unsigned long long)apply->max_files);
	return NULL;
}

/* It is there now; under what is there otherwise. */
static struct rt_error *merge(struct rt_tree_apply *apply, enum rt_tree_meaning meaning, const char *path)
{
	struct rt_error *err = rt_tree_merge_note(apply->merged, path);

	return err || meaning != RT_TREE_OPAQUE ? err : rt_tree_merge_hide(apply->merged, apply->unpack.root_fd, path);
}

static struct rt_error *apply_entry(struct rt_tree_apply *apply, struct archive_entry *entry, char *path)
{
	enum rt_tree_meaning meaning = RT_TREE_AS_IT_IS;
	char value[96];
	struct rt_error *err = count_entry(apply);

	if (err)
		return err;
	if (has_mark(entry, RT_TREE_REMOVED, value, sizeof(value))) {
		apply->totals.removed++;
		return *path ? rt_unpack_remove(&apply->unpack, path) : rt_fail(RT_CONFIG, "the root itself cannot be removed");
	}
	apply->totals.files++;
	if (apply->merged)
		err = rt_tree_merge_look(entry, &meaning);
	if (err)
		return err;
	if (meaning == RT_TREE_WHITEOUT)
		return *path ? rt_unpack_remove(&apply->unpack, path) : rt_fail(RT_CONFIG, "the root itself cannot be removed");
	if (has_mark(entry, RT_TREE_METADATA, value, sizeof(value)))
		return rt_unpack_change(&apply->unpack, entry, path);
	if (has_mark(entry, RT_TREE_PATCH, value, sizeof(value)))
		return rt_unpack_patch(&apply->unpack, apply->archive, entry, path);
	err = rt_unpack_entry(&apply->unpack, apply->archive, entry, path);
	return err || !apply->merged ? err : merge(apply, meaning, path);
}

/* *ret_end: it was the record of the end. */
static struct rt_error *take_entry(struct rt_tree_apply *apply, struct archive_entry *entry, bool *ret_end)
{
	const char *name = archive_entry_pathname(entry);
	char path[PATH_MAX], value[96];
	struct rt_error *err;

	*ret_end = has_mark(entry, RT_TREE_END, value, sizeof(value));
	if (*ret_end) {
		apply->end = strdup(value);
		return apply->end ? NULL : rt_error_oom();
	}
	if (!name || !rt_unpack_clean_path(name, 0, path, sizeof(path)))
		return rt_fail(RT_CONFIG, "the stream names '%.256s', which lies outside", name ? name : "");
	err = apply_entry(apply, entry, path);
	return err ? rt_while(err, "'%s'", path) : NULL;
}

/* What an entry has beside what was read of it must not count as the headers of the next. */
static struct rt_error *next_entry(struct rt_tree_apply *apply, struct archive_entry **ret)
{
	int result = apply->totals.files + apply->totals.removed > 0 ? archive_read_data_skip(apply->archive) : ARCHIVE_OK;

	apply->in_headers = true;
	apply->headers = 0;
	if (result == ARCHIVE_OK || result == ARCHIVE_WARN || result == ARCHIVE_EOF)
		result = archive_read_next_header(apply->archive, ret);
	apply->in_headers = false;
	if (result == ARCHIVE_EOF)
		return rt_fail(RT_PEER, "the stream was cut");
	return result == ARCHIVE_OK || result == ARCHIVE_WARN ? NULL : rt_unpack_fail(apply->archive, "cannot read the stream");
}

/* Nothing comes behind the end. */
static struct rt_error *check_rest(struct rt_tree_apply *apply)
{
	struct archive_entry *entry;
	const void *more;

	if (archive_read_next_header(apply->archive, &entry) != ARCHIVE_EOF || archive_filter_bytes(apply->archive, 0) != (la_int64_t)apply->given ||
	    apply->read(apply->userdata, &more) != 0)
		return rt_fail(RT_PEER, "the stream is damaged at its end");
	return NULL;
}

static struct rt_error *check_counts(const struct rt_tree_apply *apply)
{
	char counts[96];

	snprintf(counts, sizeof(counts), "%llu %llu %llu", (unsigned long long)apply->totals.files, (unsigned long long)apply->totals.bytes,
		 (unsigned long long)apply->totals.removed);
	return rt_str_equal(counts, apply->end) ? NULL : rt_fail(RT_PEER, "%s files, bytes and removals came, but the stream says %s", counts, apply->end);
}

static struct rt_error *run(struct rt_tree_apply *apply)
{
	struct archive_entry *entry;
	bool end = false;
	struct rt_error *err = NULL;

	if (archive_read_support_format_tar(apply->archive) != ARCHIVE_OK ||
	    archive_read_open(apply->archive, apply, NULL, read_more, NULL) != ARCHIVE_OK)
		return rt_unpack_fail(apply->archive, "cannot read the stream");
	while (!err && !end) {
		err = next_entry(apply, &entry);
		if (!err)
			err = take_entry(apply, entry, &end);
	}
	apply->totals.bytes = apply->unpack.written;
	if (!err)
		err = check_rest(apply);
	if (!err)
		err = check_counts(apply);
	return err ? err : rt_unpack_finish(&apply->unpack);
}

struct rt_error *rt_tree_apply_run(struct rt_tree_apply *apply, rt_tree_read_fn read, void *userdata)
{
	_cleanup_(rt_archive_read_freep) struct archive *archive = archive_read_new();

	if (!archive)
		return rt_error_oom();
	apply->archive = archive;
	apply->read = read;
	apply->userdata = userdata;
	return run(apply);
}
