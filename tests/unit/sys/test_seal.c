#include "runtime/sys/seal.h"

#include "runtime/base/fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char path[32];
	char variable[160]; /* PATH of two directories below it */
};

static void make_file(const char *directory, const char *name, mode_t mode)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode));
}

static int make_tree(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char one[64], two[64];

	strcpy(fixture->path, "/tmp/rt-exec-XXXXXX");
	if (!mkdtemp(fixture->path))
		return -1;
	snprintf(one, sizeof(one), "%s/one", fixture->path);
	snprintf(two, sizeof(two), "%s/two", fixture->path);
	snprintf(fixture->variable, sizeof(fixture->variable), "PATH=%s:%s", one, two);
	mkdir(one, 0755);
	mkdir(two, 0755);
	make_file(one, "plain", 0644);
	make_file(one, "both", 0644);
	make_file(two, "both", 0755);
	make_file(two, "second", 0755);
	*state = fixture;
	return 0;
}

static int remove_tree(void **state)
{
	struct fixture *fixture = *state;

	rt_error_free(rt_remove_tree_at(AT_FDCWD, fixture->path));
	free(fixture);
	return 0;
}

static char *find(const char *name, const char *variable, struct rt_error **ret_err)
{
	const char *const env[] = {"HOME=/", variable, NULL};
	char *path = NULL;

	*ret_err = rt_sys_find_executable(name, env, &path);
	return path;
}

static void a_name_is_found_in_the_path_of_the_process(void **state)
{
	const struct fixture *fixture = *state;
	struct rt_error *err;
	_cleanup_free_ char *path = find("second", fixture->variable, &err);

	assert_null(err);
	assert_int_equal(strncmp(path, fixture->path, strlen(fixture->path)), 0);
	assert_non_null(strstr(path, "/two/second"));
}

static void what_cannot_be_executed_is_passed_over(void **state)
{
	const struct fixture *fixture = *state;
	struct rt_error *err;
	_cleanup_free_ char *path = find("both", fixture->variable, &err);

	assert_null(err);
	assert_non_null(strstr(path, "/two/both"));
}

static void check_failure(const char *name, const char *variable, int errnum, const char *said)
{
	struct rt_error *err;
	char *path = find(name, variable, &err);
	_cleanup_free_ char *text = NULL;

	assert_null(path);
	assert_non_null(err);
	text = rt_error_text(err);
	assert_int_equal(err->errnum, errnum);
	assert_non_null(strstr(text, said));
	rt_error_free(err);
}

static void failures_have_the_texts_engines_look_for(void **state)
{
	const struct fixture *fixture = *state;

	check_failure("none", fixture->variable, ENOENT, "exec: \"none\": executable file not found in $PATH");
	check_failure("", fixture->variable, ENOENT, "executable file not found in $PATH");
	check_failure("second", "NOPATH=", ENOENT, "executable file not found in $PATH");
	check_failure("plain", fixture->variable, EACCES, "exec: \"plain\": permission denied");
	check_failure("/none/at/all", fixture->variable, ENOENT, "exec: \"/none/at/all\": no such file or directory");
	check_failure("/tmp", fixture->variable, EACCES, "exec: \"/tmp\": permission denied");
}

static void a_missing_program_leaves_the_caller_alive(void **state)
{
	const char *const args[] = {"x", NULL}, *const env[] = {NULL};
	_cleanup_error_ struct rt_error *err = rt_sys_exec("/none/at/all", args, env);

	assert_int_equal(err->errnum, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_found_in_the_path_of_the_process),
		cmocka_unit_test(what_cannot_be_executed_is_passed_over),
		cmocka_unit_test(failures_have_the_texts_engines_look_for),
		cmocka_unit_test(a_missing_program_leaves_the_caller_alive),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
