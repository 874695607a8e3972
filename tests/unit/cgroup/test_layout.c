#include "runtime/cgroup/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct rt_arena));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	rt_arena_deinit(*state);
	free(*state);
	return 0;
}

static struct rt_layout parse(void **state, const char *mountinfo, const char *own)
{
	struct rt_layout layout = { 0 };

	assert_null(rt_layout_parse(mountinfo, own, *state, &layout));
	return layout;
}

static const struct rt_cgroup_mount *find(const struct rt_layout *layout, const char *controllers)
{
	for (size_t i = 0; i < layout->count; i++)
		if (strcmp(layout->mounts[i].controllers, controllers) == 0)
			return &layout->mounts[i];
	return NULL;
}

#define TMPFS "31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs rw,mode=755\n"
#define ROOTFS "23 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"

static void v1_with_joint_controllers(void **state)
{
	struct rt_layout layout = parse(state,
		ROOTFS TMPFS
		"32 31 0:29 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,release_agent=/lib/a,name=systemd\n"
		"33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct\n",
		"2:cpuacct,cpu:/user.slice\n1:name=systemd:/user.slice/s-1.scope\n");

	assert_int_equal(layout.kind, RT_CGROUP_V1);
	assert_int_equal(layout.count, 2);
	assert_string_equal(find(&layout, "cpu,cpuacct")->mount_point, "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(find(&layout, "cpu,cpuacct")->own, "/user.slice");
	assert_string_equal(find(&layout, "name=systemd")->own, "/user.slice/s-1.scope");
	assert_string_equal(find(&layout, "cpu,cpuacct")->spelling, "cpuacct,cpu");
	assert_true(layout.whole);
}

static void a_hierarchy_that_is_not_mounted_or_not_from_its_top_is_missed(void **state)
{
	static const char cpu[] = TMPFS "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
	struct rt_layout layout = parse(state, cpu, "1:cpu:/a\n");

	assert_true(layout.whole);
	layout = parse(state, cpu, "2:memory:/a\n1:cpu:/a\n");
	assert_false(layout.whole);
	layout = parse(state, cpu, "");
	assert_false(layout.whole);
	assert_null(layout.mounts[0].spelling);
	layout = parse(state, TMPFS "33 31 0:30 /a /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1:cpu:/a\n");
	assert_false(layout.whole);
	assert_false(layout.mounts[0].whole);
}

static void every_controller_apart_and_an_extra_v2_is_hybrid(void **state)
{
	struct rt_layout layout = parse(state,
		ROOTFS TMPFS
		"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
		"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
		"33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n",
		"2:cpuacct:/a\n1:cpu:/b\n0::/c\n");

	assert_int_equal(layout.kind, RT_CGROUP_HYBRID);
	assert_int_equal(layout.count, 3);
	assert_true(layout.mounts[2].v2);
	assert_string_equal(find(&layout, "cpu")->own, "/b");
	assert_string_equal(find(&layout, "cpuacct")->own, "/a");
	assert_string_equal(find(&layout, "")->own, "/c");
}

static void cgroup2_alone_is_v2(void **state)
{
	struct rt_layout layout = parse(state, ROOTFS "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
					"0::/user.slice/user-1000.slice\n");

	assert_int_equal(layout.kind, RT_CGROUP_V2);
	assert_int_equal(layout.count, 1);
	assert_string_equal(layout.mounts[0].own, "/user.slice/user-1000.slice");
}

static void no_cgroup_mount_is_none(void **state)
{
	struct rt_layout layout = parse(state, ROOTFS TMPFS, "0::/\n");

	assert_int_equal(layout.kind, RT_CGROUP_NONE);
	assert_int_equal(layout.count, 0);
}

static void in_a_container_our_path_counts_from_the_part_that_is_mounted(void **state)
{
	struct rt_layout layout = parse(state,
		ROOTFS TMPFS
		"32 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
		"33 31 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
		"34 31 0:31 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n",
		"3:cpu:/docker/abc/inner\n2:memory:/docker/abc\n1:pids:/docker/abcdef\n");

	assert_string_equal(find(&layout, "cpu")->own, "/inner");
	assert_string_equal(find(&layout, "memory")->own, "/");
	assert_string_equal(find(&layout, "pids")->own, "/");
}

static void what_another_mount_hides_is_left_out(void **state)
{
	struct rt_layout layout = parse(state,
		ROOTFS TMPFS
		"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
		"50 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"1:cpu:/\n0::/\n");

	assert_int_equal(layout.kind, RT_CGROUP_V2);
	assert_int_equal(layout.count, 1);
}

static void of_two_mounts_of_one_hierarchy_the_usual_place_wins(void **state)
{
	struct rt_layout layout = parse(state,
		ROOTFS
		"30 23 0:29 / /mnt/cpu rw - cgroup cgroup rw,cpu\n" TMPFS
		"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
		"33 23 0:29 / /other/cpu rw - cgroup cgroup rw,cpu\n",
		"1:cpu:/\n");

	assert_int_equal(layout.count, 1);
	assert_string_equal(layout.mounts[0].mount_point, "/sys/fs/cgroup/cpu");
}

static void escaped_white_space_is_undone(void **state)
{
	struct rt_layout layout = parse(state, ROOTFS "30 23 0:29 / /mnt/a\\040b\\134c rw - cgroup cgroup rw,cpu\n", "1:cpu:/\n");

	assert_string_equal(layout.mounts[0].mount_point, "/mnt/a b\\c");
}

static void broken_lines_are_passed_over(void **state)
{
	struct rt_layout layout = parse(state,
		"nonsense\n\n31 23\n32 23 0:1 / /a rw\n33 23 0:1 / /a rw - cgroup\n" ROOTFS
		"34 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "x\n0:\n");

	assert_int_equal(layout.kind, RT_CGROUP_V2);
	assert_string_equal(layout.mounts[0].own, "/");
}

static void the_path_of_a_process_is_found_by_controllers_in_any_order(void **state)
{
	const char *text = "5:net_cls,net_prio:/a\n4:cpu:/b\n1:name=systemd:/c:d\n0::/e\n";

	assert_string_equal(rt_layout_path_of(text, "net_prio,net_cls", *state), "/a");
	assert_string_equal(rt_layout_path_of(text, "name=systemd", *state), "/c:d");
	assert_string_equal(rt_layout_path_of(text, "", *state), "/e");
	assert_null(rt_layout_path_of(text, "cpuset", *state));
	assert_null(rt_layout_path_of(text, "net_cls", *state));
	assert_null(rt_layout_path_of("", "", *state));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(v1_with_joint_controllers),
		TEST(a_hierarchy_that_is_not_mounted_or_not_from_its_top_is_missed),
		TEST(every_controller_apart_and_an_extra_v2_is_hybrid),
		TEST(cgroup2_alone_is_v2),
		TEST(no_cgroup_mount_is_none),
		TEST(in_a_container_our_path_counts_from_the_part_that_is_mounted),
		TEST(what_another_mount_hides_is_left_out),
		TEST(of_two_mounts_of_one_hierarchy_the_usual_place_wins),
		TEST(escaped_white_space_is_undone),
		TEST(broken_lines_are_passed_over),
		TEST(the_path_of_a_process_is_found_by_controllers_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
