/* Streams of trees, whoever sent them. The first byte says what the rest is: a stream as it would come, or the entries of one: tar's own sums would stop most
 * changes of the former. Each run has a directory in $TMPDIR, with a file beside it that must stay as it is.
 *
 * A built entry: kind, mark, length of its path, length of its content or target, then both. Run by root, what is received is received as nobody: what escapes
 * from the root can't do harm. */
#include "migrate/tree_apply.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "tests/fuzz/victim.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define NOBODY 65534

struct source {
	const uint8_t *bytes;
	size_t size, at, piece;
};

static ssize_t read_some(void *userdata, const void **bytes)
{
	struct source *source = userdata;
	size_t size = source->size - source->at < source->piece ? source->size - source->at : source->piece;

	*bytes = source->bytes + source->at;
	source->at += size;
	return (ssize_t)size;
}

static uint8_t next(struct source *source)
{
	return source->at < source->size ? source->bytes[source->at++] : 0;
}

static void text(struct source *source, size_t length, char *to)
{
	size_t size = source->size - source->at < length ? source->size - source->at : length;

	memcpy(to, source->bytes + source->at, size);
	to[size] = '\0';
	source->at += size;
}

static void add_entry(struct archive *archive, struct source *source)
{
	static const mode_t kinds[] = { AE_IFREG, AE_IFDIR, AE_IFLNK, AE_IFIFO, AE_IFCHR, AE_IFREG /* a hard link */, AE_IFREG /* sparse */ };
	static const char *const marks[] = { NULL, "rt.removed", "rt.metadata", "rt.patch", "rt.end", "user.x", "system.posix_acl_access" };
	uint8_t kind = next(source) % RT_ARRAY_SIZE(kinds), mark = next(source) % RT_ARRAY_SIZE(marks), path_length = next(source), length = next(source);
	struct archive_entry *entry = archive_entry_new();
	char path[256], content[256];

	text(source, path_length, path);
	text(source, length, content);
	/* Of a name that is nothing but these libarchive 3.6 reads the byte in front, when it makes one for extended attributes of it. */
	archive_entry_set_pathname(entry, path[strspn(path, "./")] ? path : "x");
	archive_entry_set_mode(entry, kinds[kind] | 0755);
	archive_entry_set_size(entry, kinds[kind] == AE_IFREG && kind != 5 ? (la_int64_t)strlen(content) : 0);
	if (kind == 2)
		archive_entry_set_symlink(entry, content);
	if (kind == 5)
		archive_entry_set_hardlink(entry, content);
	if (kind == 6 && strlen(content) > 2)
		archive_entry_sparse_add_entry(entry, 1, (la_int64_t)strlen(content) - 2);
	if (marks[mark])
		archive_entry_xattr_add_entry(entry, marks[mark], content, strlen(content));
	if (archive_write_header(archive, entry) == ARCHIVE_OK)
		archive_write_data(archive, content, strlen(content));
	archive_entry_free(entry);
}

/* The stream of the entries; the caller's to free. */
static uint8_t *build(struct source *source, size_t *ret_size)
{
	size_t room = 4 << 20, used = 0;
	uint8_t *bytes = malloc(room);
	struct archive *archive = archive_write_new();

	archive_write_set_format_pax(archive);
	archive_write_set_options(archive, "pax:hdrcharset=BINARY");
	archive_write_set_bytes_in_last_block(archive, 1);
	archive_write_open_memory(archive, bytes, room, &used);
	for (int i = 0; i < 100 && source->at < source->size; i++)
		add_entry(archive, source);
	archive_write_close(archive);
	archive_write_free(archive);
	*ret_size = used;
	return bytes;
}

static void receive(const char *root, struct source *source)
{
	struct rt_tree_receive_options options = { .root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .max_bytes = 1 << 20, .max_files = 200 };
	struct rt_tree_apply *apply;
	struct rt_error *err;

	if (options.root_fd < 0)
		abort();
	err = rt_tree_apply_new(&options, &apply);
	if (!err) {
		err = rt_tree_apply_run(apply, read_some, source);
		rt_tree_apply_free(apply);
	}
	rt_error_free(err);
	close(options.root_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *temporary = getenv("TMPDIR");
	char path[256], root[300], victim[300];
	struct source given = { .bytes = bytes, .size = size, .at = 1 }, source = { .piece = 1000 };
	_cleanup_free_ uint8_t *built = NULL;
	bool is_root = geteuid() == 0;

	if (size < 1)
		return 0;
	snprintf(path, sizeof(path), "%.200s/rt-fuzz-tree.XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(path))
		abort();
	snprintf(root, sizeof(root), "%s/root", path);
	snprintf(victim, sizeof(victim), "%s/victim", path);
	if (mkdir(root, 0700) < 0 || rt_replace_file_at(AT_FDCWD, victim, "safe", 4, 0666) || chmod(victim, 0666) < 0 || chmod(path, 0755) < 0)
		abort();
	if (bytes[0] & 1) {
		built = build(&given, &source.size);
		source.bytes = built;
	} else {
		source.bytes = bytes + 1;
		source.size = size - 1;
	}
	if (is_root && (chown(root, NOBODY, NOBODY) < 0 || setegid(NOBODY) < 0 || seteuid(NOBODY) < 0))
		abort();
	receive(root, &source);
	if (is_root && (seteuid(0) < 0 || setegid(0) < 0))
		abort();
	check_victim(victim);
	if (rt_remove_tree_at(AT_FDCWD, path))
		abort();
	return 0;
}
