#include "tree_made.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

#define BLOCK (128 * 1024)

/* ---- sending to a receiver of ours ---- */

struct pipeline {
	struct rt_tree_receiver *receiver;
	size_t piece; /* 0: as it comes */
};

static struct rt_error *pass_on(void *userdata, const void *bytes, size_t size)
{
	struct pipeline *pipeline = userdata;
	struct rt_error *err = NULL;

	while (!err && size > 0) {
		size_t piece = pipeline->piece && pipeline->piece < size ? pipeline->piece : size;

		err = rt_tree_receive(pipeline->receiver, bytes, piece);
		bytes = (const char *)bytes + piece;
		size -= piece;
	}
	return err;
}

static struct rt_tree_totals transfer_in(const struct made *made, struct rt_tree *tree, size_t piece)
{
	const struct rt_tree_receive_options options = { .root_fd = made->to_fd };
	struct pipeline pipeline = { .piece = piece };
	struct rt_tree_totals sent, received;

	assert_works(rt_tree_receiver_new(&options, &pipeline.receiver));
	assert_works(rt_tree_send(tree, pass_on, &pipeline, &sent));
	assert_works(rt_tree_receiver_finish(pipeline.receiver, &received));
	rt_tree_receiver_free(pipeline.receiver);
	assert_memory_equal(&sent, &received, sizeof(sent));
	return sent;
}

static struct rt_tree_totals transfer(const struct made *made, struct rt_tree *tree)
{
	return transfer_in(made, tree, 0);
}

static struct rt_tree *tree_of(const struct made *made)
{
	struct rt_tree *tree;

	assert_works(rt_tree_new(made->from, 0, &tree));
	return tree;
}

/* ---- comparing ---- */

static void assert_same_content(int a_fd, int b_fd, const char *name, const struct stat *st)
{
	_cleanup_close_ int a = openat(a_fd, name, O_RDONLY | O_CLOEXEC), b = openat(b_fd, name, O_RDONLY | O_CLOEXEC);
	static char left[65536], right[65536];

	assert_true(a >= 0 && b >= 0);
	for (off_t at = 0; at < st->st_size; at += (off_t)sizeof(left)) {
		ssize_t size = pread(a, left, sizeof(left), at);

		assert_int_equal(pread(b, right, sizeof(right), at), size);
		if (memcmp(left, right, (size_t)size) != 0)
			fail_msg("'%s' differs behind %lld", name, (long long)at);
	}
}

static void assert_same_attributes(int a_fd, int b_fd, const char *name)
{
	char path[2][64 + NAME_MAX], value[2][256], list[2][256], *next;
	ssize_t size[2];

	snprintf(path[0], sizeof(path[0]), "%s/%s", rt_fd_path(a_fd).text, name);
	snprintf(path[1], sizeof(path[1]), "%s/%s", rt_fd_path(b_fd).text, name);
	size[0] = llistxattr(path[0], list[0], sizeof(list[0]));
	size[1] = llistxattr(path[1], list[1], sizeof(list[1]));
	assert_int_equal(size[0], size[1]);
	for (next = list[0]; next < list[0] + size[0]; next += strlen(next) + 1) {
		ssize_t length = lgetxattr(path[0], next, value[0], sizeof(value[0]));

		assert_int_equal(lgetxattr(path[1], next, value[1], sizeof(value[1])), length);
		assert_memory_equal(value[0], value[1], (size_t)length);
	}
}

static void assert_same_tree(int a_fd, int b_fd);

static void assert_same(int a_fd, int b_fd, const char *name)
{
	char targets[2][PATH_MAX] = { 0 };
	struct stat a, b;

	if (fstatat(a_fd, name, &a, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(b_fd, name, &b, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("'%s' is on one side only", name);
	if (a.st_mode != b.st_mode || a.st_uid != b.st_uid || a.st_gid != b.st_gid || a.st_rdev != b.st_rdev || a.st_mtim.tv_sec != b.st_mtim.tv_sec ||
	    a.st_mtim.tv_nsec != b.st_mtim.tv_nsec || (!S_ISDIR(a.st_mode) && (a.st_nlink != b.st_nlink || a.st_size != b.st_size)))
		fail_msg("'%s': mode %o and %o, size %lld and %lld, mtime %lld.%09ld and %lld.%09ld, %d and %d links", name, a.st_mode, b.st_mode,
			 (long long)a.st_size, (long long)b.st_size, (long long)a.st_mtim.tv_sec, a.st_mtim.tv_nsec, (long long)b.st_mtim.tv_sec,
			 b.st_mtim.tv_nsec, (int)a.st_nlink, (int)b.st_nlink);
	assert_same_attributes(a_fd, b_fd, name);
	if (S_ISREG(a.st_mode))
		assert_same_content(a_fd, b_fd, name, &a);
	if (S_ISLNK(a.st_mode)) {
		assert_true(readlinkat(a_fd, name, targets[0], PATH_MAX) > 0 && readlinkat(b_fd, name, targets[1], PATH_MAX) > 0);
		assert_string_equal(targets[0], targets[1]);
	}
	if (S_ISDIR(a.st_mode)) {
		_cleanup_close_ int inside_a = openat(a_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		_cleanup_close_ int inside_b = openat(b_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_same_tree(inside_a, inside_b);
	}
}

static size_t compare_names(int a_fd, int b_fd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir = fdopendir(openat(a_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
	while ((entry = readdir(dir))) {
		struct stat st;

		assert_return_code(fstatat(a_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW), errno);
		if (rt_str_equal(entry->d_name, ".") || rt_str_equal(entry->d_name, "..") || S_ISSOCK(st.st_mode))
			continue;
		count++;
		if (b_fd >= 0)
			assert_same(a_fd, b_fd, entry->d_name);
	}
	return count;
}

static void assert_same_tree(int a_fd, int b_fd)
{
	assert_int_equal(compare_names(a_fd, b_fd), compare_names(b_fd, -1));
}

/* ---- what there is to send ---- */

static void fill(const struct made *made)
{
	const struct timespec old[2] = { { 0, UTIME_OMIT }, { -86400, 123456789 } };
	_cleanup_close_ int sparse = openat(made->from_fd, "sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_return_code(mkdirat(made->from_fd, "d", 0750), errno);
	assert_return_code(mkdirat(made->from_fd, "d/empty", 01777), errno);
	put_text(made->from_fd, "d/file", "content");
	put_text(made->from_fd, "d/nothing", "");
	put_text(made->from_fd, "a\nname", "1");
	put_text(made->from_fd, "\xff\xfe", "2");
	put_text(made->from_fd, "\xc3\xbc", "3");
	assert_return_code(fchmodat(made->from_fd, "d/file", 04751, 0), errno);
	assert_return_code(linkat(made->from_fd, "d/file", made->from_fd, "link", 0), errno);
	assert_return_code(symlinkat("/no/where", made->from_fd, "d/symlink"), errno);
	assert_return_code(mkfifoat(made->from_fd, "fifo", 0620), errno);
	assert_return_code(ftruncate(sparse, 1 << 30), errno);
	assert_int_equal(pwrite(sparse, "x", 1, 500000000), 1);
	assert_return_code(utimensat(made->from_fd, "d/symlink", old, AT_SYMLINK_NOFOLLOW), errno);
	assert_return_code(utimensat(made->from_fd, "d", old, 0), errno);
}

static void a_tree_arrives_as_it_is(void **state)
{
	struct made made = make_both();
	struct rt_tree *tree;
	struct stat st;

	fill(&made);
	let_time_pass();
	tree = tree_of(&made);
	assert_int_equal(transfer(&made, tree).files, 12);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_return_code(fstatat(made.to_fd, "sparse", &st, 0), errno);
	assert_true(st.st_blocks < 1000);
	rt_tree_free(tree);
	remove_both(&made);
}

static void bytes_may_come_one_at_a_time(void **state)
{
	struct made made = make_both();
	struct rt_tree *tree;

	fill(&made);
	tree = tree_of(&made);
	transfer_in(&made, tree, 1);
	assert_same_tree(made.from_fd, made.to_fd);
	rt_tree_free(tree);
	remove_both(&made);
}

static void nothing_changed_is_nothing_sent(void **state)
{
	struct made made = make_both();
	struct rt_tree_totals totals;
	struct rt_tree *tree;

	fill(&made);
	let_time_pass();
	tree = tree_of(&made);
	transfer(&made, tree);
	totals = transfer(&made, tree);
	assert_int_equal(totals.files + totals.bytes + totals.removed, 0);
	rt_tree_free(tree);
	remove_both(&made);
}

static void extended_attributes_come_change_and_go(void **state)
{
	struct made made = make_both();
	struct rt_tree *tree;
	_cleanup_close_ int fd = -1;

	put_text(made.from_fd, "f", "x");
	fd = openat(made.from_fd, "f", O_RDONLY | O_CLOEXEC);
	if (fsetxattr(fd, "user.one", "1", 1, 0) < 0) {
		remove_both(&made);
		skip(); /* no such attributes here */
	}
	assert_return_code(fsetxattr(fd, "user.two\n", "\0\1", 2, 0), errno);
	assert_return_code(fsetxattr(made.from_fd, "user.dir", "", 0, 0), errno);
	tree = tree_of(&made);
	transfer(&made, tree);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_same_attributes(made.from_fd, made.to_fd, ".");
	assert_return_code(fremovexattr(fd, "user.one"), errno);
	assert_return_code(fsetxattr(fd, "user.two\n", "changed", 7, 0), errno);
	assert_return_code(fremovexattr(made.from_fd, "user.dir"), errno);
	assert_int_equal(transfer(&made, tree).bytes, 0);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_same_attributes(made.from_fd, made.to_fd, ".");
	rt_tree_free(tree);
	remove_both(&made);
}

static void changed_attributes_are_sent_without_content(void **state)
{
	const struct timespec old[2] = { { 0, UTIME_OMIT }, { 7, 8 } };
	struct made made = make_both();
	struct rt_tree_totals totals;
	struct rt_tree *tree;

	fill(&made);
	tree = tree_of(&made);
	transfer(&made, tree);
	assert_return_code(fchmodat(made.from_fd, "d/file", 0600, 0), errno);
	assert_return_code(utimensat(made.from_fd, "sparse", old, 0), errno);
	assert_return_code(fchmodat(made.from_fd, "d/empty", 0700, 0), errno);
	let_time_pass();
	totals = transfer(&made, tree);
	assert_int_equal(totals.bytes, 0);
	assert_same_tree(made.from_fd, made.to_fd);
	rt_tree_free(tree);
	remove_both(&made);
}

static void what_is_removed_or_of_another_kind_is_so_there(void **state)
{
	struct made made = make_both();
	struct rt_tree *tree;

	fill(&made);
	assert_return_code(mkdirat(made.from_fd, "d/becomes-file", 0700), errno);
	put_text(made.from_fd, "d/becomes-file/inside", "x");
	assert_return_code(mkdirat(made.from_fd, "becomes-link", 0700), errno);
	put_text(made.from_fd, "becomes-link/inside", "x");
	put_text(made.from_fd, "becomes-directory", "x");
	tree = tree_of(&made);
	transfer(&made, tree);

	assert_works(rt_remove_tree_at(made.from_fd, "d/becomes-file"));
	put_text(made.from_fd, "d/becomes-file", "y");
	assert_works(rt_remove_tree_at(made.from_fd, "becomes-link"));
	assert_return_code(symlinkat("d", made.from_fd, "becomes-link"), errno);
	assert_works(rt_remove_tree_at(made.from_fd, "becomes-directory"));
	assert_return_code(mkdirat(made.from_fd, "becomes-directory", 0700), errno);
	put_text(made.from_fd, "becomes-directory/inside", "x");
	assert_works(rt_remove_tree_at(made.from_fd, "fifo"));
	assert_works(rt_remove_tree_at(made.from_fd, "d/empty"));
	assert_works(rt_remove_tree_at(made.from_fd, "a\nname"));
	assert_int_equal(transfer(&made, tree).removed, 3);
	assert_same_tree(made.from_fd, made.to_fd);
	rt_tree_free(tree);
	remove_both(&made);
}

static void of_a_large_file_only_changed_blocks_are_sent(void **state)
{
	_cleanup_free_ char *bytes = malloc(10 * BLOCK + 1000);
	struct made made = make_both();
	struct rt_tree *tree;
	_cleanup_close_ int fd = -1;

	memset(bytes, 'x', 10 * BLOCK + 1000);
	put_file(made.from_fd, "f", bytes, 10 * BLOCK + 1000);
	tree = tree_of(&made);
	transfer(&made, tree);
	fd = openat(made.from_fd, "f", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "yy", 2, 3 * BLOCK - 1), 2);
	assert_int_equal(transfer(&made, tree).bytes, 2 * BLOCK);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_int_equal(pwrite(fd, "longer", 6, 10 * BLOCK + 1000), 6);
	assert_int_equal(transfer(&made, tree).bytes, 1006);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_return_code(ftruncate(fd, 9 * BLOCK + 5), errno);
	assert_int_equal(transfer(&made, tree).bytes, 5);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_return_code(ftruncate(fd, 8 * BLOCK), errno);
	assert_int_equal(transfer(&made, tree).bytes, 0);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_return_code(ftruncate(fd, 100 * BLOCK), errno); /* a hole */
	assert_int_equal(transfer(&made, tree).bytes, 0);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_return_code(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * BLOCK), errno);
	assert_int_equal(transfer(&made, tree).bytes, 2 * BLOCK);
	assert_same_tree(made.from_fd, made.to_fd);
	rt_tree_free(tree);
	remove_both(&made);
}

static void pages_that_change_without_a_fault_are_found(void **state)
{
	struct made made = make_both();
	const pid_t pids[] = { getpid(), 0x7ffffffe /* is gone */ };
	_cleanup_close_ int fd = -1;
	struct rt_tree *tree;
	char *page;

	put_text(made.from_fd, "mapped\nfile", "long ago");
	fd = openat(made.from_fd, "mapped\nfile", O_RDWR | O_CLOEXEC);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	page[0] = 'L';
	let_time_pass();
	tree = tree_of(&made);
	assert_works(rt_tree_note_mapped(tree, pids, 2));
	transfer(&made, tree);
	page[1] = 'O'; /* the page is dirty: nobody is told */
	munmap(page, 4096);
	assert_int_equal(transfer(&made, tree).bytes, 8);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_int_equal(transfer(&made, tree).files, 0);
	rt_tree_free(tree);
	remove_both(&made);
}

static void a_change_within_one_tick_is_found(void **state)
{
	struct made made = make_both();
	struct rt_tree *tree = tree_of(&made);

	for (int i = 0; i < 20; i++) {
		const struct timespec old[2] = { { 0, UTIME_OMIT }, { 1, 1 } };
		char text[16];

		snprintf(text, sizeof(text), "%06d", i);
		put_text(made.from_fd, "f", text);
		assert_return_code(utimensat(made.from_fd, "f", old, 0), errno);
		put_text(made.from_fd, text, "");
		transfer(&made, tree);
		assert_same_tree(made.from_fd, made.to_fd);
	}
	rt_tree_free(tree);
	remove_both(&made);
}

static void links_come_and_go(void **state)
{
	struct made made = make_both();
	struct rt_tree *tree;
	struct stat a, b;

	put_text(made.from_fd, "b", "content");
	put_text(made.from_fd, "e", "other");
	assert_return_code(linkat(made.from_fd, "e", made.from_fd, "f", 0), errno);
	assert_return_code(linkat(made.from_fd, "e", made.from_fd, "g", 0), errno);
	tree = tree_of(&made);
	transfer(&made, tree);
	assert_return_code(linkat(made.from_fd, "b", made.from_fd, "a", 0), errno); /* before it and behind it */
	assert_return_code(linkat(made.from_fd, "b", made.from_fd, "c", 0), errno);
	assert_return_code(unlinkat(made.from_fd, "e", 0), errno);
	put_text(made.from_fd, "e", "on its own");
	transfer(&made, tree);
	assert_same_tree(made.from_fd, made.to_fd);
	assert_true(fstatat(made.to_fd, "a", &a, 0) == 0 && fstatat(made.to_fd, "c", &b, 0) == 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_true(fstatat(made.to_fd, "f", &a, 0) == 0 && fstatat(made.to_fd, "g", &b, 0) == 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_return_code(unlinkat(made.from_fd, "a", 0), errno);
	put_text(made.from_fd, "b", "content"); /* the same file */
	assert_return_code(renameat(made.from_fd, "f", made.from_fd, "0"), errno);
	transfer(&made, tree);
	assert_same_tree(made.from_fd, made.to_fd);
	rt_tree_free(tree);
	remove_both(&made);
}

static void sockets_are_left_out(void **state)
{
	struct made made = make_both();
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rt_tree *tree;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", made.from);
	assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
	put_text(made.from_fd, "f", "");
	tree = tree_of(&made);
	assert_int_equal(transfer(&made, tree).files, 2);
	assert_same_tree(made.from_fd, made.to_fd);
	rt_tree_free(tree);
	remove_both(&made);
}

/* ---- when it goes wrong ---- */

static struct rt_error *fail_at_once(void *userdata, const void *bytes, size_t size)
{
	++*(int *)userdata;
	return rt_fail(RT_PEER, "the other side is gone");
}

static void a_broken_stream_stops_the_walk(void **state)
{
	struct made made = make_both();
	struct rt_tree *tree;
	struct rt_tree_totals totals;
	int calls = 0;

	fill(&made);
	tree = tree_of(&made);
	assert_says(rt_tree_send(tree, fail_at_once, &calls, &totals), "the other side is gone");
	assert_int_equal(calls, 1);
	assert_says(rt_tree_send(tree, fail_at_once, &calls, &totals), "has failed before");
	assert_int_equal(calls, 1);
	rt_tree_free(tree);
	remove_both(&made);
}

static void what_is_no_directory_is_refused(void **state)
{
	struct rt_tree *tree;

	assert_says(rt_tree_new("/proc/self/maps", 0, &tree), "cannot open the root filesystem '/proc/self/maps'");
}

static void what_is_no_overlay_has_no_upper(void **state)
{
	struct made made = make_both();
	char *upper = made.path;

	assert_works(rt_tree_upper_of(made.from, &upper));
	assert_null(upper);
	remove_both(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_arrives_as_it_is),
		cmocka_unit_test(bytes_may_come_one_at_a_time),
		cmocka_unit_test(nothing_changed_is_nothing_sent),
		cmocka_unit_test(extended_attributes_come_change_and_go),
		cmocka_unit_test(changed_attributes_are_sent_without_content),
		cmocka_unit_test(what_is_removed_or_of_another_kind_is_so_there),
		cmocka_unit_test(of_a_large_file_only_changed_blocks_are_sent),
		cmocka_unit_test(pages_that_change_without_a_fault_are_found),
		cmocka_unit_test(a_change_within_one_tick_is_found),
		cmocka_unit_test(links_come_and_go),
		cmocka_unit_test(sockets_are_left_out),
		cmocka_unit_test(a_broken_stream_stops_the_walk),
		cmocka_unit_test(what_is_no_directory_is_refused),
		cmocka_unit_test(what_is_no_overlay_has_no_upper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
