#include "runtime/bundle/source.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK ((size_t)256 << 10)
#define MEMBERS_MAX 65536
/* What may be JSON is kept from the first pass on: going back to it costs another one, in a compressed archive a whole one. */
#define KEPT_MAX ((size_t)1 << 20)
#define ALL_KEPT_MAX ((size_t)32 << 20)
#define LINKS_MAX 8

struct rt_source_member {
	char *name;
	uint64_t size;
	char *link; /* of a symlink, as a path in the archive */
	char *text; /* kept; NULL: not */
};

void rt_source_deinit(struct rt_source *source)
{
	for (size_t i = 0; i < source->member_count; i++) {
		free(source->members[i].name);
		free(source->members[i].link);
		free(source->members[i].text);
	}
	free(source->members);
	rt_archive_read_freep(&source->tar);
	rt_closep(&source->fd);
	rt_closep(&source->blob_fd);
	free(source->buffer);
	free(source->path);
	free(source->tag);
}

/* ---- archives ---- */

static struct rt_error *rewind_archive(struct rt_source *source)
{
	rt_archive_read_freep(&source->tar);
	source->tar = archive_read_new();
	source->position = 0;
	if (!source->tar)
		return rt_error_oom();
	if (lseek(source->fd, 0, SEEK_SET) < 0)
		return rt_fail_errno("cannot rewind it");
	if (archive_read_support_format_tar(source->tar) != ARCHIVE_OK || archive_read_support_format_empty(source->tar) != ARCHIVE_OK ||
	    archive_read_support_filter_gzip(source->tar) != ARCHIVE_OK || archive_read_support_filter_zstd(source->tar) != ARCHIVE_OK ||
	    archive_read_support_filter_xz(source->tar) != ARCHIVE_OK || archive_read_support_filter_bzip2(source->tar) != ARCHIVE_OK ||
	    archive_read_open_fd(source->tar, source->fd, CHUNK) != ARCHIVE_OK)
		return rt_unpack_fail(source->tar, "cannot read the archive");
	return NULL;
}

static struct rt_error *next_member(struct rt_source *source, struct archive_entry **ret)
{
	int result = archive_read_next_header(source->tar, ret);

	if (result == ARCHIVE_EOF) {
		*ret = NULL;
		return NULL;
	}
	if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
		return rt_unpack_fail(source->tar, "the archive is damaged");
	source->position++;
	return NULL;
}

/* Whether an archive of an image may have a member of this name. With the first that it can't have, it is a root filesystem. */
static bool may_be_of_image(const char *path)
{
	static const char *const names[] = { "", "oci-layout", "index.json", "manifest.json", "repositories", "blobs" };
	static const char *const endings[] = { ".json", ".tar", ".tar.gz", ".tgz" };
	size_t digits = strspn(path, "0123456789abcdef"), length = strlen(path);

	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		if (rt_str_equal(path, names[i]))
			return true;
	if (rt_str_starts(path, "blobs/") || rt_str_starts(path, "sha256:") || (digits == 64 && (!path[64] || strchr("./", path[64]))))
		return true;
	for (size_t i = 0; !strchr(path, '/') && i < RT_ARRAY_SIZE(endings); i++)
		if (length > strlen(endings[i]) && rt_str_equal(path + length - strlen(endings[i]), endings[i]))
			return true;
	return false;
}

static struct rt_error *read_member(struct rt_source *source, size_t size, char **ret)
{
	_cleanup_free_ char *text = malloc(size + 1);
	la_ssize_t got;

	if (!text)
		return rt_error_oom();
	got = archive_read_data(source->tar, text, size);
	if (got < 0)
		return rt_unpack_fail(source->tar, "the archive is damaged");
	if ((size_t)got != size)
		return rt_fail(RT_CONFIG, "the archive is damaged: a file is shorter than it says");
	text[size] = '\0';
	*ret = rt_take_ptr(text);
	return NULL;
}

/* Docker's older archives have one layer that two images share once, and a link to it. */
static char *link_target(const char *name, const char *target)
{
	const char *slash = strrchr(name, '/');
	char clean[PATH_MAX];

	/* "ID/layer.tar" -> "../OTHER/layer.tar" */
	if (slash && rt_str_starts(target, "../") && strchr(name, '/') == slash)
		target += 3;
	return rt_unpack_clean_path(target, 0, clean, sizeof(clean)) ? strdup(clean) : NULL;
}

static struct rt_error *add_member(struct rt_source *source, struct archive_entry *entry, const char *path, size_t *kept)
{
	const char *target = archive_entry_hardlink(entry) ? archive_entry_hardlink(entry) : archive_entry_symlink(entry);
	struct rt_source_member *member;

	if (source->member_count % 256 == 0) {
		struct rt_source_member *grown = reallocarray(source->members, source->member_count + 256, sizeof(*grown));

		if (!grown)
			return rt_error_oom();
		source->members = grown;
	}
	member = &source->members[source->member_count];
	*member = (struct rt_source_member){ .name = strdup(path), .size = (uint64_t)archive_entry_size(entry) };
	if (!member->name)
		return rt_error_oom();
	source->member_count++;
	if (target) {
		member->link = link_target(path, target);
		return NULL;
	}
	if (archive_entry_filetype(entry) != AE_IFREG || member->size > KEPT_MAX || *kept + member->size > ALL_KEPT_MAX)
		return NULL;
	*kept += member->size;
	return read_member(source, member->size, &member->text);
}

/* Position is as many as have been read, so members stand at their index. */
static struct rt_error *scan_archive(struct rt_source *source)
{
	struct rt_error *err = rewind_archive(source);
	bool has_index = false, has_manifest = false;
	struct archive_entry *entry = NULL;
	char path[PATH_MAX];
	size_t kept = 0;

	while (!err && !(err = next_member(source, &entry)) && entry) {
		const char *name = archive_entry_pathname(entry);

		if (!name || !rt_unpack_clean_path(name, RT_PATH_LENIENT, path, sizeof(path)) || !may_be_of_image(path) ||
		    source->member_count == MEMBERS_MAX) {
			source->kind = RT_SOURCE_TAR;
			return NULL;
		}
		err = add_member(source, entry, path, &kept);
		has_index = has_index || rt_str_equal(path, "index.json");
		has_manifest = has_manifest || rt_str_equal(path, "manifest.json");
	}
	if (!err)
		source->kind = has_index ? RT_SOURCE_LAYOUT : has_manifest ? RT_SOURCE_DOCKER : RT_SOURCE_TAR;
	return err;
}

/* Index of a member, links followed. */
static bool find_member(const struct rt_source *source, const char *path, size_t *ret)
{
	for (int links = 0; path && links < LINKS_MAX; links++) {
		size_t i = 0;

		while (i < source->member_count && !rt_str_equal(source->members[i].name, path))
			i++;
		if (i == source->member_count)
			return false;
		*ret = i;
		if (!source->members[i].link)
			return true;
		path = source->members[i].link;
	}
	return false;
}

static struct rt_error *go_to_member(struct rt_source *source, size_t index)
{
	struct archive_entry *entry = NULL;
	struct rt_error *err = source->position > index ? rewind_archive(source) : NULL;

	while (!err && source->position <= index) {
		err = next_member(source, &entry);
		if (!err && !entry)
			err = rt_fail(RT_CONFIG, "the archive changed while it was read");
	}
	if (!err && archive_entry_sparse_count(entry) > 0)
		err = rt_fail(RT_CONFIG, "it is a sparse file, as no tool makes one");
	return err;
}

/* ---- opening ---- */

static struct rt_error *find_kind(struct rt_source *source, bool bare)
{
	struct stat st;

	source->fd = open(source->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (source->fd < 0 && errno == ENOENT)
		return rt_fail(RT_NOT_FOUND, "there is no '%s'", source->path);
	if (source->fd < 0 || fstat(source->fd, &st) < 0)
		return rt_fail_errno("cannot open '%s'", source->path);
	if (S_ISDIR(st.st_mode)) {
		bool layout = faccessat(source->fd, "oci-layout", F_OK, 0) == 0 && faccessat(source->fd, "index.json", F_OK, 0) == 0;

		source->kind = layout && !bare ? RT_SOURCE_LAYOUT : RT_SOURCE_TREE;
		return NULL;
	}
	if (!S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "'%s' is neither a file nor a directory", source->path);
	source->is_archive = true;
	source->kind = RT_SOURCE_TAR;
	return bare ? NULL : scan_archive(source);
}

/* "PATH" where there is such a file, else "PATH:TAG". */
static struct rt_error *split_tag(struct rt_source *source, const char *text)
{
	const char *colon = strrchr(text, ':');
	bool whole = !colon || access(text, F_OK) == 0;

	/* Tags may have colons of their own: "localhost/a:latest". */
	if (!whole)
		for (const char *at = strchr(text, ':'); at && at <= colon; at = strchr(at + 1, ':')) {
			_cleanup_free_ char *path = strndup(text, (size_t)(at - text));

			if (path && access(path, F_OK) == 0) {
				colon = at;
				break;
			}
		}
	source->path = whole ? strdup(text) : strndup(text, (size_t)(colon - text));
	source->tag = whole ? NULL : strdup(colon + 1);
	return !source->path || (!whole && !source->tag) ? rt_error_oom() : NULL;
}

struct rt_error *rt_source_open(const char *image, struct rt_source *ret)
{
	static const struct {
		const char *prefix;
		bool directory, archive; /* what it may be */
		bool expected[4]; /* by kind; Docker's archives have been layouts, too, since 2023 */
	} prefixes[] = { { "oci:", true, false, { [RT_SOURCE_LAYOUT] = true } },
			 { "oci-archive:", false, true, { [RT_SOURCE_LAYOUT] = true } },
			 { "docker-archive:", false, true, { [RT_SOURCE_DOCKER] = true, [RT_SOURCE_LAYOUT] = true } },
			 { "rootfs:", true, true, { [RT_SOURCE_TREE] = true, [RT_SOURCE_TAR] = true } } };
	struct rt_error *err;
	size_t which = 0;

	while (which < RT_ARRAY_SIZE(prefixes) && !rt_str_starts(image, prefixes[which].prefix))
		which++;
	if (which < RT_ARRAY_SIZE(prefixes))
		image += strlen(prefixes[which].prefix);
	err = split_tag(ret, image);
	if (!err)
		err = find_kind(ret, which == RT_ARRAY_SIZE(prefixes) - 1);
	if (err)
		return err;
	if (which < RT_ARRAY_SIZE(prefixes) &&
	    (!prefixes[which].expected[ret->kind] || !(ret->is_archive ? prefixes[which].archive : prefixes[which].directory)))
		return rt_fail(RT_CONFIG, "'%s' is not what '%s' says", ret->path, prefixes[which].prefix);
	if (ret->tag && (ret->kind == RT_SOURCE_TREE || ret->kind == RT_SOURCE_TAR))
		return rt_fail(RT_USAGE, "'%s' is a root filesystem, and has no tag '%s'", ret->path, ret->tag);
	return NULL;
}

/* ---- reading ---- */

static struct rt_error *start_in_directory(struct rt_source *source, const char *path, uint64_t *ret_size)
{
	struct rt_error *err;
	struct stat st;

	rt_closep(&source->blob_fd);
	source->blob_fd = -1;
	err = rt_open_in_root(source->fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &source->blob_fd);
	if (err && err->errnum == ENOENT) {
		rt_error_free(err);
		return rt_fail(RT_NOT_FOUND, "'%s' is missing in it", path);
	}
	if (err)
		return err;
	if (fstat(source->blob_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "'%s' in it is no regular file", path);
	*ret_size = (uint64_t)st.st_size;
	source->left = (uint64_t)st.st_size;
	return NULL;
}

/* A root filesystem's tar, which the scan has looked into: its bytes as they are, from the start. */
static struct rt_error *start_whole(struct rt_source *source, uint64_t *ret_size)
{
	struct stat st;

	rt_archive_read_freep(&source->tar);
	source->tar = NULL;
	source->is_archive = false;
	source->blob_fd = fcntl(source->fd, F_DUPFD_CLOEXEC, 3);
	if (source->blob_fd < 0 || lseek(source->blob_fd, 0, SEEK_SET) < 0 || fstat(source->blob_fd, &st) < 0)
		return rt_fail_errno("cannot rewind it");
	*ret_size = (uint64_t)st.st_size;
	return NULL;
}

struct rt_error *rt_source_start(struct rt_source *source, const char *path, uint64_t *ret_size)
{
	struct rt_error *err;
	size_t index;

	if (!source->buffer && !(source->buffer = malloc(CHUNK)))
		return rt_error_oom();
	if (!path)
		return start_whole(source, ret_size);
	if (!source->is_archive)
		return start_in_directory(source, path, ret_size);
	if (!find_member(source, path, &index))
		return rt_fail(RT_NOT_FOUND, "'%s' is missing in it", path);
	err = go_to_member(source, index);
	if (err)
		return rt_while(err, "'%s' in it", path);
	*ret_size = source->left = source->members[index].size;
	return NULL;
}

static struct rt_error *next_of_archive(struct rt_source *source, const void **ret, size_t *ret_size)
{
	la_int64_t offset;
	int result = archive_read_data_block(source->tar, ret, ret_size, &offset);

	if (result == ARCHIVE_EOF) {
		*ret_size = 0;
		return source->left ? rt_fail(RT_CONFIG, "the archive is damaged: a file is shorter than it says") : NULL;
	}
	if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
		return rt_unpack_fail(source->tar, "the archive is damaged");
	if (*ret_size > source->left)
		return rt_fail(RT_CONFIG, "the archive is damaged: a file is longer than it says");
	source->left -= *ret_size;
	return NULL;
}

struct rt_error *rt_source_next(struct rt_source *source, const void **ret, size_t *ret_size)
{
	ssize_t got;

	if (source->is_archive)
		return next_of_archive(source, ret, ret_size);
	do
		got = read(source->blob_fd, source->buffer, CHUNK);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return rt_fail_errno("cannot read it");
	*ret = source->buffer;
	*ret_size = (size_t)got;
	return NULL;
}

struct rt_error *rt_source_read(struct rt_source *source, const char *path, size_t limit, char **ret, size_t *ret_size)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	size_t index, used = 0;
	uint64_t size;

	if (source->is_archive && find_member(source, path, &index) && source->members[index].text) {
		*ret_size = (size_t)source->members[index].size;
		text = malloc(*ret_size + 1);
		if (!text)
			return rt_error_oom();
		memcpy(text, source->members[index].text, *ret_size + 1);
		*ret = rt_take_ptr(text);
		return NULL;
	}
	err = rt_source_start(source, path, &size);
	if (err)
		return err;
	if (size > limit)
		return rt_fail(RT_CONFIG, "'%s' in it is larger than %zu bytes", path, limit);
	text = malloc((size_t)size + 1);
	if (!text)
		return rt_error_oom();
	for (;;) {
		const void *bytes;
		size_t here;

		err = rt_source_next(source, &bytes, &here);
		if (err)
			return rt_while(err, "'%s' in it", path);
		if (here == 0)
			break;
		if (here > (size_t)size - used)
			return rt_fail(RT_CONFIG, "'%s' in it grew while it was read", path);
		memcpy(text + used, bytes, here);
		used += here;
	}
	text[used] = '\0';
	*ret = rt_take_ptr(text);
	*ret_size = used;
	return NULL;
}
