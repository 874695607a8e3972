/* An upper directory, made by hand with the marks of a "userxattr" mount, which anybody may set, onto a base. */
#include "tree_made.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

struct moving {
	struct made made;
	struct rt_tree *tree;
	struct rt_tree_merged *merged;
};

static struct moving begin(void)
{
	struct moving moving = { .made = make_both() };

	assert_works(rt_tree_new(moving.made.from, RT_TREE_UPPER, &moving.tree));
	assert_works(rt_tree_merged_new(&moving.merged));
	return moving;
}

static void end(struct moving *moving)
{
	rt_tree_free(moving->tree);
	rt_tree_merged_free(moving->merged);
	remove_both(&moving->made);
}

static struct rt_error *pass_on(void *userdata, const void *bytes, size_t size)
{
	return rt_tree_receive(userdata, bytes, size);
}

static struct rt_error *try_send(struct moving *moving)
{
	const struct rt_tree_receive_options options = { .root_fd = moving->made.to_fd, .flags = RT_TREE_MERGED, .merged = moving->merged };
	_cleanup_(rt_tree_receiver_freep) struct rt_tree_receiver *receiver = NULL;
	struct rt_tree_totals totals, received;
	struct rt_error *err;

	assert_works(rt_tree_receiver_new(&options, &receiver));
	err = rt_tree_send(moving->tree, pass_on, receiver, &totals);
	if (!err)
		err = rt_tree_receiver_finish(receiver, &received);
	if (!err)
		assert_memory_equal(&totals, &received, sizeof(totals));
	return err;
}

static void make_directory(int dir_fd, const char *name)
{
	assert_return_code(mkdirat(dir_fd, name, 0755), errno);
}

static void mark(const struct made *made, const char *name, const char *attribute, const char *value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", made->from, name);
	if (setxattr(path, attribute, value, strlen(value), 0) < 0 && errno == ENOTSUP)
		skip();
}

static void put_whiteout(int dir_fd, const char *name)
{
	if (mknodat(dir_fd, name, S_IFCHR | 0600, makedev(0, 0)) < 0 && errno == EPERM)
		skip();
}

static void assert_there(const struct made *made, const char *name)
{
	if (faccessat(made->to_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("'%s' is not there", name);
}

static void assert_gone(const struct made *made, const char *name)
{
	if (faccessat(made->to_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		fail_msg("'%s' is there", name);
}

static void assert_reads(const struct made *made, const char *name, const char *text)
{
	_cleanup_free_ char *content = NULL;

	assert_works(rt_read_file_at(made->to_fd, name, 4096, &content, NULL));
	assert_string_equal(content, text);
}

static void a_whiteout_removes_what_the_base_has(void **state)
{
	struct moving moving = begin();

	put_text(moving.made.to_fd, "file", "base");
	put_text(moving.made.to_fd, "kept", "base");
	make_directory(moving.made.to_fd, "tree");
	put_text(moving.made.to_fd, "tree/inside", "base");
	put_whiteout(moving.made.from_fd, "file");
	put_whiteout(moving.made.from_fd, "tree");
	put_whiteout(moving.made.from_fd, "never-was");
	put_text(moving.made.from_fd, "new", "upper");
	assert_works(try_send(&moving));
	assert_gone(&moving.made, "file");
	assert_gone(&moving.made, "tree");
	assert_gone(&moving.made, "never-was");
	assert_reads(&moving.made, "kept", "base");
	assert_reads(&moving.made, "new", "upper");
	end(&moving);
}

/* overlayfs links one whiteout to all places. */
static void whiteouts_with_many_names_are_all_removals(void **state)
{
	struct moving moving = begin();

	put_text(moving.made.to_fd, "a", "base");
	put_text(moving.made.to_fd, "b", "base");
	put_whiteout(moving.made.from_fd, "a");
	assert_return_code(linkat(moving.made.from_fd, "a", moving.made.from_fd, "b", 0), errno);
	assert_works(try_send(&moving));
	assert_gone(&moving.made, "a");
	assert_gone(&moving.made, "b");
	end(&moving);
}

static void a_whiteout_may_be_an_attribute(void **state)
{
	struct moving moving = begin();

	put_text(moving.made.to_fd, "a", "base");
	put_text(moving.made.from_fd, "a", "");
	mark(&moving.made, "a", "user.overlay.whiteout", "y");
	assert_works(try_send(&moving));
	assert_gone(&moving.made, "a");
	end(&moving);
}

static void what_lies_in_the_way_is_replaced(void **state)
{
	struct moving moving = begin();

	put_text(moving.made.to_fd, "was-file", "base");
	make_directory(moving.made.to_fd, "was-directory");
	put_text(moving.made.to_fd, "was-directory/inside", "base");
	make_directory(moving.made.from_fd, "was-file");
	put_text(moving.made.from_fd, "was-file/inside", "upper");
	put_text(moving.made.from_fd, "was-directory", "upper");
	assert_works(try_send(&moving));
	assert_reads(&moving.made, "was-file/inside", "upper");
	assert_reads(&moving.made, "was-directory", "upper");
	end(&moving);
}

static void an_opaque_directory_hides_the_base_and_writes_no_mark(void **state)
{
	struct moving moving = begin();
	char path[PATH_MAX];

	make_directory(moving.made.to_fd, "d");
	put_text(moving.made.to_fd, "d/base", "base");
	make_directory(moving.made.to_fd, "merged");
	put_text(moving.made.to_fd, "merged/base", "base");
	make_directory(moving.made.from_fd, "d");
	put_text(moving.made.from_fd, "d/upper", "upper");
	mark(&moving.made, "d", "user.overlay.opaque", "y");
	make_directory(moving.made.from_fd, "merged");
	put_text(moving.made.from_fd, "merged/upper", "upper");
	assert_works(try_send(&moving));
	assert_gone(&moving.made, "d/base");
	assert_reads(&moving.made, "d/upper", "upper");
	assert_there(&moving.made, "merged/base");
	assert_there(&moving.made, "merged/upper");
	snprintf(path, sizeof(path), "%s/d", moving.made.to);
	assert_int_equal(listxattr(path, NULL, 0), 0);
	end(&moving);
}

/* It is sent again because of its new file; the rest of it is not. */
static void an_opaque_directory_that_changes_keeps_what_came_before(void **state)
{
	struct moving moving = begin();

	make_directory(moving.made.from_fd, "d");
	make_directory(moving.made.from_fd, "d/sub");
	put_text(moving.made.from_fd, "d/one", "upper");
	put_text(moving.made.from_fd, "d/sub/two", "upper");
	mark(&moving.made, "d", "user.overlay.opaque", "y");
	assert_works(try_send(&moving));
	let_time_pass();
	put_text(moving.made.from_fd, "d/three", "upper");
	assert_return_code(unlinkat(moving.made.from_fd, "d/one", 0), errno);
	assert_works(try_send(&moving));
	assert_gone(&moving.made, "d/one");
	assert_reads(&moving.made, "d/sub/two", "upper");
	assert_reads(&moving.made, "d/three", "upper");
	end(&moving);
}

/* Removed and made again between two streams: what the base has in it, and below, must go now; a file that was put aside meanwhile stays. */
static void a_directory_that_becomes_opaque_hides_the_base_in_all_of_it(void **state)
{
	struct moving moving = begin();

	make_directory(moving.made.to_fd, "d");
	make_directory(moving.made.to_fd, "d/sub");
	put_text(moving.made.to_fd, "d/base", "base");
	put_text(moving.made.to_fd, "d/sub/base", "base");
	make_directory(moving.made.from_fd, "d");
	make_directory(moving.made.from_fd, "d/sub");
	put_text(moving.made.from_fd, "d/sub/upper", "upper");
	put_text(moving.made.from_fd, "d/moved", "upper");
	assert_works(try_send(&moving));
	assert_there(&moving.made, "d/sub/base");
	let_time_pass();
	assert_return_code(renameat(moving.made.from_fd, "d/moved", moving.made.from_fd, "aside"), errno);
	assert_works(rt_remove_tree_at(moving.made.from_fd, "d"));
	make_directory(moving.made.from_fd, "d");
	mark(&moving.made, "d", "user.overlay.opaque", "y");
	make_directory(moving.made.from_fd, "d/sub");
	put_text(moving.made.from_fd, "d/sub/upper", "again");
	assert_return_code(renameat(moving.made.from_fd, "aside", moving.made.from_fd, "d/moved"), errno);
	assert_works(try_send(&moving));
	assert_gone(&moving.made, "d/base");
	assert_gone(&moving.made, "d/sub/base");
	assert_reads(&moving.made, "d/sub/upper", "again");
	assert_reads(&moving.made, "d/moved", "upper");
	end(&moving);
}

static void references_to_lower_layers_are_refused(void **state)
{
	static const char *const marks[] = { "user.overlay.redirect", "user.overlay.metacopy" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(marks); i++) {
		struct moving moving = begin();

		make_directory(moving.made.from_fd, "d");
		mark(&moving.made, "d", marks[i], "/elsewhere");
		assert_says(try_send(&moving), "'d': the overlay keeps it in a lower layer");
		end(&moving);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whiteout_removes_what_the_base_has),
		cmocka_unit_test(whiteouts_with_many_names_are_all_removals),
		cmocka_unit_test(a_whiteout_may_be_an_attribute),
		cmocka_unit_test(what_lies_in_the_way_is_replaced),
		cmocka_unit_test(an_opaque_directory_hides_the_base_and_writes_no_mark),
		cmocka_unit_test(an_opaque_directory_that_changes_keeps_what_came_before),
		cmocka_unit_test(a_directory_that_becomes_opaque_hides_the_base_in_all_of_it),
		cmocka_unit_test(references_to_lower_layers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
