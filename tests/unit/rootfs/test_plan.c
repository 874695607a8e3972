/* From the spec's mounts to the ordered list, and what may be mounted where. No root, no mounts. */
#include "runtime/rootfs/private.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <cmocka.h>

static void assert_clean(const char *path, const char *expected)
{
	struct rt_arena arena = RT_ARENA_NULL;

	assert_string_equal(rt_rootfs_clean_path(&arena, path), expected);
	rt_arena_deinit(&arena);
}

static void paths_become_absolute_and_short(void **state)
{
	assert_clean("/data", "/data");
	assert_clean("data", "/data");
	assert_clean("", "/");
	assert_clean("/", "/");
	assert_clean("//a///b/", "/a/b");
	assert_clean("/a/./b/.", "/a/b");
	assert_clean("/a/b/../c", "/a/c");
	assert_clean("../../etc", "/etc");
	assert_clean("/a/../..", "/");
	assert_clean("/a..b/...", "/a..b/...");
}

static void below_goes_by_components(void **state)
{
	assert_true(rt_rootfs_path_is_below("/proc/sys", "/proc"));
	assert_true(rt_rootfs_path_is_below("/proc", "/proc"));
	assert_false(rt_rootfs_path_is_below("/process", "/proc"));
	assert_false(rt_rootfs_path_is_below("/pro", "/proc"));
	assert_true(rt_rootfs_path_is_below("/anything", "/"));
}

static bool destination_is_allowed(enum rt_rootfs_entry_kind kind, const char *type, const char *destination)
{
	const struct rt_rootfs_entry entry = { .kind = kind, .type = type, .destination = destination };
	struct rt_error *err = rt_rootfs_check_destination(&entry);
	bool allowed = !err;

	rt_error_free(err);
	return allowed;
}

static void only_imitated_files_go_inside_proc(void **state)
{
	assert_true(destination_is_allowed(RT_ENTRY_BIND, NULL, "/proc/cpuinfo"));
	assert_true(destination_is_allowed(RT_ENTRY_BIND, NULL, "/proc/net/dev"));
	assert_false(destination_is_allowed(RT_ENTRY_BIND, NULL, "/proc/self/attr/exec"));
	assert_false(destination_is_allowed(RT_ENTRY_BIND, NULL, "/proc/sys"));
	assert_false(destination_is_allowed(RT_ENTRY_FILESYSTEM, "proc", "/proc/1"));
	assert_false(destination_is_allowed(RT_ENTRY_BIND, NULL, "/proc/cpuinfo/x"));
}

static void only_procfs_goes_on_proc_and_nothing_on_the_root(void **state)
{
	assert_true(destination_is_allowed(RT_ENTRY_FILESYSTEM, "proc", "/proc"));
	assert_true(destination_is_allowed(RT_ENTRY_BIND, NULL, "/proc"));
	assert_false(destination_is_allowed(RT_ENTRY_FILESYSTEM, "tmpfs", "/proc"));
	assert_false(destination_is_allowed(RT_ENTRY_FILESYSTEM, "tmpfs", "/"));
	assert_true(destination_is_allowed(RT_ENTRY_FILESYSTEM, "tmpfs", "/processes"));
}

static void propagation_words_are_understood(void **state)
{
	struct rt_propagation propagation;
	struct rt_error *err;

	assert_null(rt_rootfs_plan_propagation(NULL, &propagation));
	assert_int_equal(propagation.type, 0);
	assert_null(rt_rootfs_plan_propagation("rshared", &propagation));
	assert_int_equal(propagation.type, MS_SHARED);
	assert_true(propagation.recursive);
	assert_null(rt_rootfs_plan_propagation("unbindable", &propagation));
	assert_int_equal(propagation.type, MS_UNBINDABLE);
	assert_false(propagation.recursive);
	err = rt_rootfs_plan_propagation("sideways", &propagation);
	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	rt_error_free(err);
}

struct planned {
	struct rt_spec spec;
	struct rt_rootfs rootfs;
};

static struct rt_error *plan(struct planned *planned, const struct rt_spec_mount *mounts, size_t count)
{
	*planned = (struct planned){ .spec = { .mounts = mounts, .mount_count = count } };
	planned->rootfs.spec = &planned->spec;
	planned->rootfs.request.bundle = "/bundle";
	return rt_rootfs_plan_entries(&planned->rootfs);
}

static void binds_take_their_source_from_the_bundle(void **state)
{
	static const char *const bind[] = { "rbind", "ro" };
	const struct rt_spec_mount mounts[] = {
		{ .destination = "data", .source = "volumes/a", .type = "none", .options = bind, .option_count = 2 },
		{ .destination = "/etc//hosts", .source = "/run/hosts", .type = "bind" },
	};
	struct planned planned;
	const struct rt_rootfs_mount_info *infos;
	size_t count;

	assert_null(plan(&planned, mounts, 2));
	infos = rt_rootfs_mounts(&planned.rootfs, &count);
	assert_int_equal(count, 2);
	assert_int_equal(planned.rootfs.entries[0].kind, RT_ENTRY_BIND);
	assert_string_equal(infos[0].source, "/bundle/volumes/a");
	assert_string_equal(infos[0].destination, "/data");
	assert_true(infos[0].is_bind && infos[1].is_bind);
	assert_string_equal(infos[1].source, "/run/hosts");
	assert_string_equal(infos[1].destination, "/etc/hosts");
	rt_arena_deinit(&planned.rootfs.arena);
}

static void kinds_follow_from_type_and_options(void **state)
{
	static const char *const remount[] = { "bind", "remount", "ro" };
	static const char *const read_only[] = { "ro" };
	const struct rt_spec_mount mounts[] = {
		{ .destination = "/sys/fs/cgroup", .type = "cgroup", .source = "cgroup" },
		{ .destination = "/data", .options = remount, .option_count = 3 },
		{ .destination = "/run", .type = "tmpfs", .options = read_only, .option_count = 1 },
		{ .destination = "/sys", .type = "sysfs", .options = read_only, .option_count = 1 },
	};
	struct planned planned;

	assert_null(plan(&planned, mounts, 4));
	assert_int_equal(planned.rootfs.entries[0].kind, RT_ENTRY_CGROUP);
	assert_true(planned.rootfs.infos[0].is_cgroup);
	assert_int_equal(planned.rootfs.entries[1].kind, RT_ENTRY_REMOUNT);
	assert_int_equal(planned.rootfs.entries[2].kind, RT_ENTRY_FILESYSTEM);
	assert_true(planned.rootfs.entries[2].late_readonly);
	assert_false(planned.rootfs.entries[3].late_readonly);
	rt_arena_deinit(&planned.rootfs.arena);
}

static void assert_refused(const struct rt_spec_mount *mount)
{
	struct planned planned;
	struct rt_error *err = plan(&planned, mount, 1);

	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	assert_non_null(strstr(err->message, mount->destination));
	rt_error_free(err);
	rt_arena_deinit(&planned.rootfs.arena);
}

static void what_cannot_be_mounted_is_refused_by_name(void **state)
{
	static const char *const bind[] = { "bind" }, *const copy_up[] = { "tmpcopyup" }, *const idmap[] = { "idmap" };
	static const struct rt_id_map map = { .size = 1 };
	const struct rt_spec_mount mounts[] = {
		{ .destination = "/data", .options = bind, .option_count = 1 },
		{ .destination = "/data", .source = "x" },
		{ .destination = "/data", .type = "proc", .options = copy_up, .option_count = 1 },
		{ .destination = "/data", .type = "tmpfs", .options = idmap, .option_count = 1 },
		{ .destination = "/data", .type = "bind", .source = "x", .uid_mappings = { &map, 1 } },
		{ .destination = "/proc/sys", .type = "bind", .source = "x" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(mounts); i++)
		assert_refused(&mounts[i]);
}

/* The root filesystem is "/bundle/...", or this test's own directory: it must be there to be told from others. */
static struct rt_error *plan_on(struct planned *planned, const char *root, const struct rt_spec_mount *mounts, size_t count)
{
	*planned = (struct planned){ .spec = { .mounts = mounts, .mount_count = count } };
	planned->rootfs.spec = &planned->spec;
	planned->rootfs.request.bundle = "/bundle";
	planned->rootfs.path = (char *)root;
	return rt_rootfs_plan_entries(&planned->rootfs);
}

static void the_root_itself_may_be_mounted_with_other_ids(void **state)
{
	static const char *const idmap[] = { "rbind", "idmap", "ro", "nosuid" };
	const struct rt_spec_mount mounts[] = {
		{ .destination = "/", .type = "bind", .source = "/usr", .options = idmap, .option_count = 4 },
		{ .destination = "/data", .type = "bind", .source = "/" },
	};
	struct planned planned;

	assert_null(plan_on(&planned, "/usr", mounts, 2));
	assert_int_equal(planned.rootfs.entries[0].kind, RT_ENTRY_ROOT);
	assert_ptr_equal(planned.rootfs.root_entry, &planned.rootfs.entries[0]);
	assert_true(planned.rootfs.entries[0].late_readonly);
	rt_arena_deinit(&planned.rootfs.arena);
}

static void but_only_as_the_first_mount_and_nothing_else_in_its_place(void **state)
{
	static const char *const idmap[] = { "bind", "idmap" }, *const plain[] = { "bind" }, *const slave[] = { "bind", "idmap", "rslave" };
	const struct rt_spec_mount first = { .destination = "/data", .type = "bind", .source = "/" };
	const struct rt_spec_mount good = { .destination = "/", .source = "/usr", .options = idmap, .option_count = 2 };
	const struct {
		const char *root;
		struct rt_spec_mount mounts[2];
		const char *words;
	} cases[] = {
		{ "/usr", { first, good }, "must come first" },
		{ "/etc", { good, first }, "only the root filesystem itself" },
		{ "/usr", { { .destination = "/", .source = "/usr", .options = plain, .option_count = 1 }, first }, "with id mappings" },
		{ "/usr", { { .destination = "/", .source = "/usr", .options = slave, .option_count = 3 }, first }, "rootfsPropagation" },
		{ "/usr", { { .destination = "/", .source = "/not/there", .options = idmap, .option_count = 2 }, first }, "'/not/there'" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct planned planned;
		struct rt_error *err = plan_on(&planned, cases[i].root, cases[i].mounts, 2);
		bool found = false;

		for (const struct rt_error *link = err; link; link = link->cause)
			found = found || strstr(link->message, cases[i].words);
		assert_true(found);
		rt_error_free(err);
		rt_arena_deinit(&planned.rootfs.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_become_absolute_and_short),
		cmocka_unit_test(below_goes_by_components),
		cmocka_unit_test(only_imitated_files_go_inside_proc),
		cmocka_unit_test(only_procfs_goes_on_proc_and_nothing_on_the_root),
		cmocka_unit_test(propagation_words_are_understood),
		cmocka_unit_test(binds_take_their_source_from_the_bundle),
		cmocka_unit_test(kinds_follow_from_type_and_options),
		cmocka_unit_test(what_cannot_be_mounted_is_refused_by_name),
		cmocka_unit_test(the_root_itself_may_be_mounted_with_other_ids),
		cmocka_unit_test(but_only_as_the_first_mount_and_nothing_else_in_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
