#include "runtime/security/intel_rdt_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* An ordinary directory stands in for resctrl: a new group has no files there, so that only groups made beforehand can
 * be filled. */
struct fixture {
	char path[32];
	int fd;
};

static int make_root(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->path, "/tmp/rt-rdt-XXXXXX");
	if (!mkdtemp(fixture->path))
		return -1;
	fixture->fd = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = fixture;
	return fixture->fd < 0 ? -1 : 0;
}

static int remove_root(void **state)
{
	struct fixture *fixture = *state;

	rt_error_free(rt_remove_tree_at(AT_FDCWD, fixture->path));
	close(fixture->fd);
	free(fixture);
	return 0;
}

static void make_group(const struct fixture *fixture, const char *name, const char *schemata)
{
	int group, file;

	mkdirat(fixture->fd, name, 0755);
	group = openat(fixture->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	file = openat(group, "schemata", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_null(rt_write_all(file, schemata, strlen(schemata)));
	close(file);
	close(openat(group, "tasks", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	close(group);
}

static void schemata_are_joined_and_mb_of_l3_gives_way(void **state)
{
	const char *const lines[] = {"L2:0=f"};
	const struct rt_spec_intel_rdt rdt = {
		.present = true,
		.l3_schema = "MB:0=10\nL3:0=ff",
		.mem_bw_schema = "MB:0=20",
		.schemata = lines,
		.schema_count = 1,
	};
	_cleanup_free_ char *text = NULL;

	assert_null(rt_intel_rdt_schemata(&rdt, &text));
	assert_string_equal(text, "L3:0=ff\nMB:0=20\nL2:0=f\n");
}

static void schemata_match_without_regard_to_zeros_and_blanks(void **state)
{
	assert_true(rt_intel_rdt_matches("L3:0=ff", "    L3:0=000ff;1=00f\n    MB:0= 100;1= 100\n"));
	assert_true(rt_intel_rdt_matches("MB:1=100;0=100\n", "L3:0=ff\nMB:0= 100;1= 100\n"));
	assert_true(rt_intel_rdt_matches("L3:0=0", "L3:0=00000\n"));
	assert_false(rt_intel_rdt_matches("L3:0=fe", "L3:0=ff\n"));
	assert_false(rt_intel_rdt_matches("L3:2=ff", "L3:0=ff;1=ff\n"));
	assert_false(rt_intel_rdt_matches("L2:0=ff", "L3:0=ff\n"));
	assert_false(rt_intel_rdt_matches("nonsense", "L3:0=ff\n"));
	assert_false(rt_intel_rdt_matches("L3:0", "L3:0=ff\n"));
}

static void a_group_without_schema_must_exist(void **state)
{
	const struct rt_spec_intel_rdt rdt = {.present = true, .clos_id = "gold"};
	const struct fixture *fixture = *state;
	bool created = true;
	_cleanup_error_ struct rt_error *err = rt_intel_rdt_apply_at(fixture->fd, &rdt, "web", 42, 0, &created);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "gold"));
	make_group(fixture, "gold", "L3:0=ff\n");
	assert_null(rt_intel_rdt_apply_at(fixture->fd, &rdt, "web", 42, 0, &created));
	assert_false(created);
}

static void an_existing_group_with_another_schema_is_refused_but_can_be_updated(void **state)
{
	const struct rt_spec_intel_rdt rdt = {.present = true, .clos_id = "gold", .l3_schema = "L3:0=f"};
	const struct fixture *fixture = *state;
	_cleanup_free_ char *text = NULL;
	bool created = true;
	struct rt_error *err;

	make_group(fixture, "gold", "L3:0=ff\n");
	err = rt_intel_rdt_apply_at(fixture->fd, &rdt, "web", 42, 0, &created);
	assert_non_null(err);
	rt_error_free(err);
	assert_null(rt_intel_rdt_apply_at(fixture->fd, &rdt, "web", 42, RT_INTEL_RDT_WRITE, &created));
	assert_false(created);
	assert_null(rt_read_file_at(fixture->fd, "gold/schemata", 100, &text, NULL));
	assert_memory_equal(text, "L3:0=f\n", 7);
}

static void a_new_group_that_cannot_be_filled_is_removed(void **state)
{
	const struct rt_spec_intel_rdt rdt = {.present = true, .l3_schema = "L3:0=f"};
	const struct fixture *fixture = *state;
	bool created = false;
	_cleanup_error_ struct rt_error *err = rt_intel_rdt_apply_at(fixture->fd, &rdt, "web", 42, 0, &created);

	assert_non_null(err);
	assert_int_equal(faccessat(fixture->fd, "web", F_OK, 0), -1);
}

static void a_name_that_leads_elsewhere_is_refused(void **state)
{
	static const char *const bad[] = {"..", ".", "a/b", "../x"};
	const struct fixture *fixture = *state;
	bool created;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		const struct rt_spec_intel_rdt rdt = {.present = true, .clos_id = bad[i]};
		_cleanup_error_ struct rt_error *err = rt_intel_rdt_apply_at(fixture->fd, &rdt, "web", 42, 0, &created);

		assert_non_null(err);
		assert_int_equal(err->code, RT_CONFIG);
	}
}

static void destroying_takes_away_only_what_was_made(void **state)
{
	const struct rt_spec_intel_rdt rdt = {.present = true, .clos_id = "gold", .enable_monitoring = true};
	const struct fixture *fixture = *state;

	mkdirat(fixture->fd, "gold", 0755);
	mkdirat(fixture->fd, "gold/mon_groups", 0755);
	mkdirat(fixture->fd, "gold/mon_groups/web", 0755);
	assert_null(rt_intel_rdt_destroy_at(fixture->fd, &rdt, "web", false));
	assert_int_equal(faccessat(fixture->fd, "gold/mon_groups/web", F_OK, 0), -1);
	assert_int_equal(faccessat(fixture->fd, "gold", F_OK, 0), 0);
	assert_null(rt_intel_rdt_destroy_at(fixture->fd, &rdt, "web", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schemata_are_joined_and_mb_of_l3_gives_way),
		cmocka_unit_test(schemata_match_without_regard_to_zeros_and_blanks),
		cmocka_unit_test_setup_teardown(a_group_without_schema_must_exist, make_root, remove_root),
		cmocka_unit_test_setup_teardown(an_existing_group_with_another_schema_is_refused_but_can_be_updated,
						make_root, remove_root),
		cmocka_unit_test_setup_teardown(a_new_group_that_cannot_be_filled_is_removed, make_root, remove_root),
		cmocka_unit_test_setup_teardown(a_name_that_leads_elsewhere_is_refused, make_root, remove_root),
		cmocka_unit_test_setup_teardown(destroying_takes_away_only_what_was_made, make_root, remove_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
