#include "runtime/base/fs.h"

#include "runtime/base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A directory of its own for each test: `root` is the root filesystem, and 'outside' beside it what must stay as it is.
 */
struct place {
	char path[64];
	int dir, root;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return -1;
	snprintf(place->path, sizeof(place->path), "/tmp/rt-test-fs-XXXXXX");
	if (!mkdtemp(place->path))
		return -1;
	place->dir = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(place->dir, "root", 0755) < 0 || mkdirat(place->dir, "outside", 0755) < 0)
		return -1;
	place->root = openat(place->dir, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	*state = place;
	return place->root < 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	close(place->root);
	close(place->dir);
	rt_error_free(rt_remove_tree_at(AT_FDCWD, place->path));
	free(place);
	return 0;
}

static bool there(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void assert_nothing_outside(const struct place *place)
{
	DIR *dir = fdopendir(openat(place->dir, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	assert_int_equal(count, 2);
}

static void directories_are_made_below_the_root(void **state)
{
	struct place *place = *state;
	_cleanup_close_ int fd = -1;
	struct stat st;

	assert_null(rt_make_dirs_in_root(place->root, "/a//b/./c/../d/", 0711, &fd));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_true(there(place->root, "a/b/c"));
	assert_true(there(place->root, "a/b/d"));
}

static void links_do_not_lead_out_of_the_root(void **state)
{
	static const char *const ways[] = {"up/made", "abs/made", "a/b/made", "dangling/made"};
	struct place *place = *state;
	char outside[PATH_MAX];

	snprintf(outside, sizeof(outside), "%s/outside", place->path);
	assert_int_equal(symlinkat("../outside", place->root, "up"), 0);
	assert_int_equal(symlinkat(outside, place->root, "abs"), 0);
	assert_int_equal(symlinkat("../../../../../../..", place->root, "a"), 0);
	assert_int_equal(symlinkat("../../../outside/x/y", place->root, "dangling"), 0);
	for (size_t i = 0; i < RT_ARRAY_SIZE(ways); i++) {
		_cleanup_close_ int dir = -1, file = -1;

		assert_null(rt_make_dirs_in_root(place->root, ways[i], 0755, &dir));
		assert_null(rt_make_file_in_root(place->root, ways[i], 0644, &file));
	}
	assert_nothing_outside(place);
	assert_true(there(place->root, "outside/made"));
}

static void a_file_is_made_with_its_parents(void **state)
{
	struct place *place = *state;
	_cleanup_close_ int fd = -1, again = -1;
	struct stat st, same;

	assert_null(rt_make_file_in_root(place->root, "/etc/deep/file", 0600, &fd));
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_null(rt_make_file_in_root(place->root, "etc/deep/file", 0644, &again));
	assert_int_equal(fstat(again, &same), 0);
	assert_int_equal(same.st_ino, st.st_ino);
}

static void a_dangling_link_has_its_target_made_inside(void **state)
{
	struct place *place = *state;
	_cleanup_close_ int fd = -1;

	assert_int_equal(symlinkat("/run/target", place->root, "link"), 0);
	assert_int_equal(mkdirat(place->root, "run", 0755), 0);
	assert_null(rt_make_file_in_root(place->root, "link", 0644, &fd));
	assert_true(there(place->root, "run/target"));
}

static void a_circle_of_links_ends(void **state)
{
	struct place *place = *state;
	struct rt_error *err;
	int fd = -1;

	assert_int_equal(symlinkat("two", place->root, "one"), 0);
	assert_int_equal(symlinkat("one", place->root, "two"), 0);
	err = rt_make_dirs_in_root(place->root, "one/x", 0755, &fd);
	assert_non_null(err);
	assert_int_equal(fd, -1);
	rt_error_free(err);
}

static void a_file_in_the_way_is_an_error(void **state)
{
	struct place *place = *state;
	_cleanup_close_ int file = -1;
	struct rt_error *err;
	int fd = -1;

	assert_null(rt_make_file_in_root(place->root, "file", 0644, &file));
	err = rt_make_dirs_in_root(place->root, "file/below", 0755, &fd);
	assert_non_null(err);
	assert_int_equal(err->errnum, ENOTDIR);
	rt_error_free(err);
}

static void opening_tells_what_is_not_there(void **state)
{
	struct place *place = *state;
	int fd = -1;
	struct rt_error *err = rt_open_in_root(place->root, "nothing", O_RDONLY, 0, &fd);

	assert_non_null(err);
	assert_int_equal(err->errnum, ENOENT);
	rt_error_free(err);
}

static void replacing_leaves_only_the_new_content(void **state)
{
	struct place *place = *state;
	_cleanup_free_ char *text = NULL;

	assert_null(rt_replace_file_at(place->dir, "state", "a longer one", 12, 0600));
	assert_null(rt_replace_file_at(place->dir, "state", "short", 5, 0600));
	assert_null(rt_read_file_at(place->dir, "state", 100, &text, NULL));
	assert_string_equal(text, "short");
	assert_false(there(place->dir, "state.new"));
}

static void a_tree_goes_without_what_its_links_point_to(void **state)
{
	struct place *place = *state;
	_cleanup_close_ int dir = -1, file = -1;

	assert_null(rt_make_dirs_in_root(place->root, "tree/a/b", 0755, &dir));
	assert_null(rt_make_file_in_root(place->root, "tree/a/file", 0644, &file));
	assert_int_equal(symlinkat("../../outside", place->root, "tree/out"), 0);
	assert_null(rt_replace_file_at(place->dir, "outside/kept", "x", 1, 0644));
	assert_null(rt_remove_tree_at(place->dir, "root/tree"));
	assert_false(there(place->root, "tree"));
	assert_true(there(place->dir, "outside/kept"));
	assert_null(rt_remove_tree_at(place->dir, "root/tree"));
	assert_int_equal(symlinkat("outside", place->dir, "link"), 0);
	assert_null(rt_remove_tree_at(place->dir, "link"));
	assert_false(there(place->dir, "link"));
	assert_true(there(place->dir, "outside/kept"));
}

static void host_directories_are_made_like_mkdir_p(void **state)
{
	struct place *place = *state;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/x/y/z", place->path);
	assert_null(rt_make_dirs(path, 0700));
	assert_null(rt_make_dirs(path, 0700));
	assert_true(there(place->dir, "x/y/z"));
}

static void a_path_descriptor_can_be_reopened(void **state)
{
	struct place *place = *state;
	_cleanup_close_ int file = -1, writable = -1;

	assert_null(rt_make_file_in_root(place->root, "file", 0644, &file));
	assert_null(rt_reopen(file, O_WRONLY, &writable));
	assert_null(rt_write_all(writable, "x", 1));
	assert_true(fcntl(writable, F_GETFD) & FD_CLOEXEC);
}

static void only_procfs_is_procfs(void **state)
{
	struct place *place = *state;
	_cleanup_close_ int proc = open("/proc/self", O_PATH | O_CLOEXEC);

	assert_true(rt_is_procfs(proc));
	assert_false(rt_is_procfs(place->root));
	assert_false(rt_is_procfs(-1));
}

#define in_place(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_place(directories_are_made_below_the_root),
		in_place(links_do_not_lead_out_of_the_root),
		in_place(a_file_is_made_with_its_parents),
		in_place(a_dangling_link_has_its_target_made_inside),
		in_place(a_circle_of_links_ends),
		in_place(a_file_in_the_way_is_an_error),
		in_place(opening_tells_what_is_not_there),
		in_place(replacing_leaves_only_the_new_content),
		in_place(a_tree_goes_without_what_its_links_point_to),
		in_place(host_directories_are_made_like_mkdir_p),
		in_place(a_path_descriptor_can_be_reopened),
		in_place(only_procfs_is_procfs),
	};

	umask(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
