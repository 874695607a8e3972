#include "tree_made.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/sysmacros.h>

/* Streams that no sender of ours would make. */
struct stream {
	char *bytes;
	size_t size, room;
	struct archive *archive;
	unsigned files, removed;
	unsigned long long content;
};

static la_ssize_t collect(struct archive *archive, void *data, const void *bytes, size_t size)
{
	struct stream *stream = data;

	if (stream->size + size > stream->room) {
		stream->room = (stream->size + size) * 2;
		stream->bytes = realloc(stream->bytes, stream->room);
		assert_non_null(stream->bytes);
	}
	memcpy(stream->bytes + stream->size, bytes, size);
	stream->size += size;
	return (la_ssize_t)size;
}

static void begin(struct stream *stream)
{
	*stream = (struct stream){ .archive = archive_write_new() };
	archive_write_set_format_pax(stream->archive);
	archive_write_set_options(stream->archive, "pax:xattrheader=SCHILY");
	archive_write_set_bytes_in_last_block(stream->archive, 1);
	assert_int_equal(archive_write_open(stream->archive, stream, NULL, collect, NULL), ARCHIVE_OK);
}

struct item {
	const char *path;
	mode_t mode;
	const char *content; /* or the target of a link */
	const char *mark; /* an extended attribute */
	enum { NO_LINK, HARD_LINK } link;
	dev_t device;
};

static void add(struct stream *stream, const struct item *item)
{
	struct archive_entry *entry = archive_entry_new();
	size_t size = S_ISREG(item->mode) && item->content && item->link == NO_LINK ? strlen(item->content) : 0;

	archive_entry_set_pathname(entry, item->path);
	archive_entry_set_mode(entry, item->mode);
	archive_entry_set_uid(entry, getuid());
	archive_entry_set_gid(entry, getgid());
	archive_entry_set_size(entry, (la_int64_t)size);
	archive_entry_set_rdev(entry, item->device);
	if (item->link == HARD_LINK)
		archive_entry_set_hardlink(entry, item->content);
	else if (S_ISLNK(item->mode))
		archive_entry_set_symlink(entry, item->content);
	if (item->mark)
		archive_entry_xattr_add_entry(entry, item->mark, "1", 1);
	assert_int_equal(archive_write_header(stream->archive, entry), ARCHIVE_OK);
	if (size)
		assert_int_equal(archive_write_data(stream->archive, item->content, size), size);
	archive_entry_free(entry);
	stream->content += size;
	if (item->mark && rt_str_equal(item->mark, "rt.removed"))
		stream->removed++;
	else
		stream->files++;
}

static void end_with(struct stream *stream, const char *counts)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, ".");
	archive_entry_set_mode(entry, S_IFREG | 0600);
	archive_entry_set_size(entry, 0);
	archive_entry_xattr_add_entry(entry, "rt.end", counts, strlen(counts));
	assert_int_equal(archive_write_header(stream->archive, entry), ARCHIVE_OK);
	archive_entry_free(entry);
	assert_int_equal(archive_write_close(stream->archive), ARCHIVE_OK);
	archive_write_free(stream->archive);
}

static void end(struct stream *stream)
{
	char counts[96];

	snprintf(counts, sizeof(counts), "%u %llu %u", stream->files, stream->content, stream->removed);
	end_with(stream, counts);
}

static struct rt_error *receive_bytes(const struct rt_tree_receive_options *options, const void *bytes, size_t size)
{
	struct rt_tree_receiver *receiver;
	struct rt_tree_totals totals;
	struct rt_error *err;

	assert_works(rt_tree_receiver_new(options, &receiver));
	err = rt_tree_receive(receiver, bytes, size);
	if (!err)
		err = rt_tree_receiver_finish(receiver, &totals);
	rt_tree_receiver_free(receiver);
	return err;
}

static struct rt_error *receive_with(const struct rt_tree_receive_options *options, const struct item *items, size_t count)
{
	struct stream stream;
	struct rt_error *err;

	begin(&stream);
	for (size_t i = 0; i < count && items[i].path; i++)
		add(&stream, &items[i]);
	end(&stream);
	err = receive_bytes(options, stream.bytes, stream.size);
	free(stream.bytes);
	return err;
}

static struct rt_error *receive(const struct made *made, const struct item *items, size_t count)
{
	const struct rt_tree_receive_options options = { .root_fd = made->to_fd };

	return receive_with(&options, items, count);
}

/* A file beside the root that nothing may touch. */
static struct made make_with_victim(void)
{
	struct made made = make_both();

	put_text(made.from_fd, "../victim", "safe");
	assert_return_code(fchmodat(made.from_fd, "../victim", 0640, 0), errno);
	return made;
}

static void remove_with_victim(struct made *made)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;

	assert_works(rt_read_file_at(made->from_fd, "../victim", 100, &text, NULL));
	assert_string_equal(text, "safe");
	assert_return_code(fstatat(made->from_fd, "../victim", &st, 0), errno);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_nlink, 1);
	assert_true(faccessat(made->from_fd, "../new", F_OK, 0) < 0);
	remove_both(made);
}

static void names_that_lead_outside_are_refused(void **state)
{
	static const char *const names[] = { "../victim", "/victim", "a/../../victim", "..", "a/..", "a//b", "a/./b", "/", "./../victim" };
	static const char *const marks[] = { NULL, "rt.removed", "rt.metadata", "rt.patch" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(names) * RT_ARRAY_SIZE(marks); i++) {
		struct made made = make_with_victim();
		const struct item item = { names[i / RT_ARRAY_SIZE(marks)], S_IFREG | 0777, "evil", marks[i % RT_ARRAY_SIZE(marks)] };

		assert_says(receive(&made, &item, 1), "lies outside");
		remove_with_victim(&made);
	}
}

static void symlinks_on_the_way_are_refused(void **state)
{
	static const struct item cases[][3] = {
		{ { "l", S_IFLNK | 0777, ".." }, { "l/victim", S_IFREG | 0600, "evil" } },
		{ { "l", S_IFLNK | 0777, ".." }, { "l/new", S_IFDIR | 0700 } },
		{ { "l", S_IFLNK | 0777, ".." }, { "l/victim", S_IFREG | 0600, NULL, "rt.removed" } },
		{ { "l", S_IFLNK | 0777, ".." }, { "l/victim", S_IFREG | 0600, NULL, "rt.metadata" } },
		{ { "l", S_IFLNK | 0777, ".." }, { "l/victim", S_IFREG | 0600, "evil", "rt.patch" } },
		{ { "l", S_IFLNK | 0777, "/proc/self/root" }, { "l/tmp/new", S_IFREG | 0600, "evil" } },
		{ { "d", S_IFDIR | 0700 }, { "d/l", S_IFLNK | 0777, "../.." }, { "d/l/victim", S_IFREG | 0600, "evil" } },
		{ { "l", S_IFLNK | 0777, ".." }, { "h", S_IFREG | 0600, "l/victim", NULL, HARD_LINK } },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct made made = make_with_victim();

		assert_says(receive(&made, cases[i], 3), "cannot enter");
		remove_with_victim(&made);
	}
}

static void symlinks_in_place_of_files_are_not_followed(void **state)
{
	static const struct item replaced[] = { { "l", S_IFLNK | 0777, "../victim" }, { "l", S_IFREG | 0777, "evil" } };
	static const struct item changed[][2] = {
		{ { "l", S_IFLNK | 0777, "../victim" }, { "l", S_IFREG | 0777, NULL, "rt.metadata" } },
		{ { "l", S_IFLNK | 0777, "../victim" }, { "l", S_IFREG | 0777, "evil", "rt.patch" } },
		{ { "d", S_IFDIR | 0700 }, { "d", S_IFREG | 0777, "evil", "rt.patch" } },
		{ { "p", S_IFIFO | 0700 }, { "p", S_IFREG | 0777, "evil", "rt.patch" } },
		{ { "f", S_IFREG | 0700 }, { "g", S_IFREG | 0777, "evil", "rt.metadata" } },
	};
	struct made made = make_with_victim();

	assert_works(receive(&made, replaced, 2));
	remove_with_victim(&made);
	for (size_t i = 0; i < RT_ARRAY_SIZE(changed); i++) {
		made = make_with_victim();
		assert_says(receive(&made, changed[i], 2), "there is no such file");
		remove_with_victim(&made);
	}
}

static void hard_links_outside_are_refused(void **state)
{
	static const char *const targets[] = { "../victim", "/etc/passwd", "a/../../victim", "", "." };

	for (size_t i = 0; i < RT_ARRAY_SIZE(targets); i++) {
		struct made made = make_with_victim();
		const struct item item = { "h", S_IFREG | 0600, targets[i], NULL, HARD_LINK };
		struct rt_error *err = receive(&made, &item, 1);

		/* With an empty target libarchive sees a file. */
		if (*targets[i])
			assert_says(err, "lies outside");
		else
			rt_error_free(err);
		remove_with_victim(&made);
	}
}

static void the_root_cannot_be_removed_or_replaced(void **state)
{
	static const struct item removed = { ".", S_IFREG | 0600, NULL, "rt.removed" }, replaced = { ".", S_IFREG | 0600, "x" },
				 link = { ".", S_IFLNK | 0777, "x" };
	struct made made = make_with_victim();

	assert_says(receive(&made, &removed, 1), "the root itself cannot be removed");
	assert_says(receive(&made, &replaced, 1), "the root is no directory");
	assert_says(receive(&made, &link, 1), "the root is no directory");
	remove_with_victim(&made);
}

static void devices_need_permission_but_whiteouts_do_not(void **state)
{
	static const struct item whiteout = { "w", S_IFCHR | 0600 };
	const struct item device = { "n", S_IFCHR | 0600, NULL, NULL, NO_LINK, makedev(1, 3) }, block = { "n", S_IFBLK | 0600, NULL, NULL, NO_LINK, 0 };
	struct made made = make_with_victim();
	struct stat st;

	assert_says(receive(&made, &device, 1), "is a device or a socket");
	assert_says(receive(&made, &block, 1), "is a device or a socket");
	assert_works(receive(&made, &whiteout, 1));
	assert_return_code(fstatat(made.to_fd, "w", &st, 0), errno);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	remove_with_victim(&made);
}

static void set_user_id_bits_are_kept(void **state)
{
	static const struct item item = { "f", S_IFREG | 06755, "x" };
	struct made made = make_with_victim();
	struct stat st;

	assert_works(receive(&made, &item, 1));
	assert_return_code(fstatat(made.to_fd, "f", &st, 0), errno);
	assert_int_equal(st.st_mode, S_IFREG | 06755);
	remove_with_victim(&made);
}

static void of_one_name_with_many_kinds_the_last_one_stays(void **state)
{
	static const struct item items[] = { { "x", S_IFDIR | 0700 }, { "x/y", S_IFREG | 0600, "1" }, { "x", S_IFREG | 0600, "2" },
					     { "x", S_IFLNK | 0777, ".." }, { "x", S_IFIFO | 0600 }, { "x", S_IFDIR | 0700 },
					     { "x/z", S_IFREG | 0600, "3" } };
	struct made made = make_with_victim();

	assert_works(receive(&made, items, RT_ARRAY_SIZE(items)));
	assert_return_code(faccessat(made.to_fd, "x/z", F_OK, 0), errno);
	assert_true(faccessat(made.to_fd, "x/y", F_OK, 0) < 0);
	remove_with_victim(&made);
}

static void there_are_limits(void **state)
{
	static const struct item items[] = { { "a", S_IFREG | 0600, "12345" }, { "b", S_IFREG | 0600, "12345" }, { "a", S_IFREG | 0600, NULL, "rt.removed" } };
	struct made made = make_with_victim();
	struct rt_tree_receive_options options = { .root_fd = made.to_fd, .max_bytes = 10, .max_files = 3 };

	assert_works(receive_with(&options, items, 3));
	options.max_bytes = 9;
	assert_says(receive_with(&options, items, 3), "'b': with it there are more than 9 bytes, the most that is allowed here");
	options.max_bytes = 10;
	options.max_files = 2;
	assert_says(receive_with(&options, items, 3), "there are more than 2 files, the most that is allowed here");
	remove_with_victim(&made);
}

/* A file of `size` bytes, of which every 1000th of the first ones is no hole. */
static void add_sparse(struct stream *stream, long long size, int extents)
{
	static const char bytes[1000] = "x";
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, "sparse");
	archive_entry_set_mode(entry, S_IFREG | 0600);
	archive_entry_set_uid(entry, getuid());
	archive_entry_set_gid(entry, getgid());
	archive_entry_set_size(entry, size);
	for (int i = 0; i < extents; i++)
		archive_entry_sparse_add_entry(entry, 1000LL * i, 1);
	assert_int_equal(archive_write_header(stream->archive, entry), ARCHIVE_OK);
	archive_entry_free(entry);
	for (int i = 0; i < extents; i++)
		assert_int_equal(archive_write_data(stream->archive, bytes, sizeof(bytes)), sizeof(bytes));
	stream->files++;
	stream->content += (unsigned long long)extents;
}

static void holes_are_free(void **state)
{
	struct made made = make_with_victim();
	const struct rt_tree_receive_options options = { .root_fd = made.to_fd, .max_bytes = 100 };
	struct stream stream;
	struct stat st;

	begin(&stream);
	add_sparse(&stream, 1LL << 40, 2);
	end(&stream);
	assert_works(receive_bytes(&options, stream.bytes, stream.size));
	free(stream.bytes);
	assert_return_code(fstatat(made.to_fd, "sparse", &st, 0), errno);
	assert_int_equal(st.st_size, 1LL << 40);
	assert_true(st.st_blocks < 100);
	remove_with_victim(&made);
}

/* libarchive keeps it in memory. */
static void maps_of_holes_have_a_limit(void **state)
{
	struct made made = make_with_victim();
	const struct rt_tree_receive_options options = { .root_fd = made.to_fd };
	struct stream stream;

	begin(&stream);
	add_sparse(&stream, 1000LL * 600000, 600000);
	end(&stream);
	assert_says(receive_bytes(&options, stream.bytes, stream.size), "the headers of one file are more than");
	free(stream.bytes);
	remove_with_victim(&made);
}

static void a_cut_stream_is_told_wherever_it_is_cut(void **state)
{
	static const struct item items[] = { { "d", S_IFDIR | 0700 }, { "d/f", S_IFREG | 0600, "some content" }, { "h", S_IFREG | 0600, "d/f", NULL, HARD_LINK } };
	struct made made = make_with_victim();
	const struct rt_tree_receive_options options = { .root_fd = made.to_fd };
	struct stream stream;

	begin(&stream);
	for (size_t i = 0; i < RT_ARRAY_SIZE(items); i++)
		add(&stream, &items[i]);
	end(&stream);
	assert_works(receive_bytes(&options, stream.bytes, stream.size));
	for (size_t size = 0; size < stream.size; size += size % 512 == 511 ? 1 : 37) {
		struct rt_error *err = receive_bytes(&options, stream.bytes, size);

		if (!err)
			fail_msg("cut at %zu of %zu, and nobody noticed", size, stream.size);
		rt_error_free(err);
	}
	free(stream.bytes);
	remove_with_victim(&made);
}

static void what_is_no_stream_is_refused(void **state)
{
	struct made made = make_with_victim();
	const struct rt_tree_receive_options options = { .root_fd = made.to_fd };
	static char garbage[3 << 20];
	struct stream stream;
	uint32_t seed = 1;

	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
	assert_says(receive_bytes(&options, garbage, sizeof(garbage)), "cannot read the stream");
	assert_says(receive_bytes(&options, garbage, 100), "cannot read the stream");
	assert_says(receive_bytes(&options, "", 0), "the stream");
	memset(garbage, 0, sizeof(garbage));
	assert_says(receive_bytes(&options, garbage, sizeof(garbage)), "the stream was cut");

	begin(&stream);
	end(&stream);
	memcpy(garbage, stream.bytes, stream.size);
	assert_works(receive_bytes(&options, garbage, stream.size));
	assert_says(receive_bytes(&options, garbage, stream.size + 1), "damaged at its end");
	assert_says(receive_bytes(&options, garbage, sizeof(garbage)), "damaged at its end");
	free(stream.bytes);
	begin(&stream);
	end_with(&stream, "1 0 0");
	assert_says(receive_bytes(&options, stream.bytes, stream.size), "0 0 0 files, bytes and removals came, but the stream says 1 0 0");
	free(stream.bytes);
	remove_with_victim(&made);
}

static void after_a_failure_nothing_more_is_taken(void **state)
{
	struct made made = make_with_victim();
	const struct rt_tree_receive_options options = { .root_fd = made.to_fd };
	static const char zeroes[65536];
	struct rt_tree_receiver *receiver;
	struct rt_tree_totals totals;
	struct rt_error *err = NULL;

	assert_works(rt_tree_receiver_new(&options, &receiver));
	for (int i = 0; !err && i < 1000; i++)
		err = rt_tree_receive(receiver, zeroes, sizeof(zeroes));
	assert_says(err, "the stream was cut");
	assert_says(rt_tree_receive(receiver, zeroes, 1), "has failed before");
	assert_says(rt_tree_receiver_finish(receiver, &totals), "has failed before");
	rt_tree_receiver_free(receiver);
	/* Nor does one that nobody waits for keep anybody waiting. */
	assert_works(rt_tree_receiver_new(&options, &receiver));
	rt_tree_receiver_free(receiver);
	remove_with_victim(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_lead_outside_are_refused),
		cmocka_unit_test(symlinks_on_the_way_are_refused),
		cmocka_unit_test(symlinks_in_place_of_files_are_not_followed),
		cmocka_unit_test(hard_links_outside_are_refused),
		cmocka_unit_test(the_root_cannot_be_removed_or_replaced),
		cmocka_unit_test(devices_need_permission_but_whiteouts_do_not),
		cmocka_unit_test(set_user_id_bits_are_kept),
		cmocka_unit_test(of_one_name_with_many_kinds_the_last_one_stays),
		cmocka_unit_test(there_are_limits),
		cmocka_unit_test(holes_are_free),
		cmocka_unit_test(maps_of_holes_have_a_limit),
		cmocka_unit_test(a_cut_stream_is_told_wherever_it_is_cut),
		cmocka_unit_test(what_is_no_stream_is_refused),
		cmocka_unit_test(after_a_failure_nothing_more_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
