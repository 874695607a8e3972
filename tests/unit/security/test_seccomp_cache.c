#include "runtime/security/seccomp_private.h"

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
	int fd;
};

static int make_directory(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->path, "/tmp/rt-cache-XXXXXX");
	if (!mkdtemp(fixture->path))
		return -1;
	fixture->fd = open(fixture->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*state = fixture;
	return fixture->fd < 0 ? -1 : 0;
}

static int remove_directory(void **state)
{
	struct fixture *fixture = *state;

	rt_error_free(rt_remove_tree_at(AT_FDCWD, fixture->path));
	close(fixture->fd);
	free(fixture);
	return 0;
}

static const struct sock_filter sample[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
	BPF_STMT(BPF_RET | BPF_K, 0x7fff0000),
};

static bool is_there(const struct fixture *fixture, const char *key)
{
	_cleanup_free_ struct sock_filter *program = NULL;
	uint16_t length = 0;

	assert_null(rt_seccomp_cache_load(fixture->fd, key, &program, &length));
	if (!program)
		return false;
	assert_int_equal(length, RT_ARRAY_SIZE(sample));
	assert_memory_equal(program, sample, sizeof(sample));
	return true;
}

static unsigned count_files(const struct fixture *fixture)
{
	DIR *dir = opendir(fixture->path);
	unsigned count = 0;

	for (struct dirent *at; (at = readdir(dir));)
		count += at->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void what_is_stored_comes_back(void **state)
{
	assert_false(is_there(*state, "key"));
	assert_null(rt_seccomp_cache_store(((struct fixture *)*state)->fd, "key", sample, RT_ARRAY_SIZE(sample)));
	assert_true(is_there(*state, "key"));
	assert_int_equal(count_files(*state), 1);
}

static void a_damaged_entry_is_removed(void **state)
{
	const struct fixture *fixture = *state;
	int fd;

	for (off_t at = 0; at < 48; at += 8) {
		assert_null(rt_seccomp_cache_store(fixture->fd, "key", sample, RT_ARRAY_SIZE(sample)));
		fd = openat(fixture->fd, "key", O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, "damaged", 7, at), 7);
		close(fd);
		assert_false(is_there(fixture, "key"));
		assert_int_equal(count_files(fixture), 0);
	}
}

static void a_short_entry_is_removed(void **state)
{
	const struct fixture *fixture = *state;

	for (off_t size = 0; size < 48; size++) {
		int fd;

		assert_null(rt_seccomp_cache_store(fixture->fd, "key", sample, RT_ARRAY_SIZE(sample)));
		fd = openat(fixture->fd, "key", O_WRONLY | O_CLOEXEC);
		assert_int_equal(ftruncate(fd, size), 0);
		close(fd);
		assert_false(is_there(fixture, "key"));
	}
}

static void an_entry_that_others_could_write_is_not_trusted(void **state)
{
	const struct fixture *fixture = *state;

	assert_null(rt_seccomp_cache_store(fixture->fd, "key", sample, RT_ARRAY_SIZE(sample)));
	assert_int_equal(fchmodat(fixture->fd, "key", 0620, 0), 0);
	assert_false(is_there(fixture, "key"));
	assert_null(rt_seccomp_cache_store(fixture->fd, "real", sample, RT_ARRAY_SIZE(sample)));
	assert_int_equal(symlinkat("real", fixture->fd, "link"), 0);
	assert_false(is_there(fixture, "link"));
}

static void it_never_holds_more_than_64_and_the_oldest_goes(void **state)
{
	const struct fixture *fixture = *state;
	char name[64];

	for (int i = 0; i < 70; i++) {
		const struct timespec when[2] = {{1000 + i, 0}, {1000 + i, 0}};

		snprintf(name, sizeof(name), "key-%d", i);
		assert_null(rt_seccomp_cache_store(fixture->fd, name, sample, RT_ARRAY_SIZE(sample)));
		assert_int_equal(utimensat(fixture->fd, name, when, 0), 0);
	}
	assert_int_equal(count_files(fixture), 64);
	assert_false(is_there(fixture, "key-5"));
	assert_true(is_there(fixture, "key-6"));
	assert_true(is_there(fixture, "key-69"));
}

static void a_key_follows_the_configuration(void **state)
{
	_cleanup_json_ json_t *one = json_pack("{s:s}", "defaultAction", "SCMP_ACT_ALLOW");
	_cleanup_json_ json_t *same = json_pack("{s:s}", "defaultAction", "SCMP_ACT_ALLOW");
	_cleanup_json_ json_t *other = json_pack("{s:s}", "defaultAction", "SCMP_ACT_ERRNO");
	char first[RT_SECCOMP_KEY_ROOM], second[RT_SECCOMP_KEY_ROOM], third[RT_SECCOMP_KEY_ROOM];

	assert_null(rt_seccomp_cache_key(&(struct rt_spec_seccomp){.json = one}, first));
	assert_null(rt_seccomp_cache_key(&(struct rt_spec_seccomp){.json = same}, second));
	assert_null(rt_seccomp_cache_key(&(struct rt_spec_seccomp){.json = other}, third));
	assert_int_equal(strlen(first), 64);
	assert_string_equal(first, second);
	assert_string_not_equal(first, third);
}

/* The same program, flags included, whether compiled or read. */
static void a_second_start_takes_the_program_from_the_cache(void **state)
{
	static const char *const archs[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
	static const char *const names[] = {"read", "write", "openat", "close", "execve", "exit_group"};
	const struct rt_seccomp_rule rule = {
		.names = names, .name_count = RT_ARRAY_SIZE(names), .action = RT_SECCOMP_ALLOW};
	_cleanup_json_ json_t *json = json_pack("{s:s}", "defaultAction", "SCMP_ACT_ERRNO");
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ERRNO,
		.rules = &rule,
		.rule_count = 1,
		.architectures = archs,
		.architecture_count = 3,
		.json = json,
	};
	const struct fixture *fixture = *state;
	struct rt_filter first, second, third;

	assert_null(rt_filter_compile(&spec, -1, &first));
	assert_null(rt_filter_compile(&spec, fixture->fd, &second));
	assert_int_equal(count_files(fixture), 1);
	assert_null(rt_filter_compile(&spec, fixture->fd, &third));
	assert_int_equal(first.length, third.length);
	assert_memory_equal(first.program, second.program, first.length * sizeof(struct sock_filter));
	assert_memory_equal(first.program, third.program, first.length * sizeof(struct sock_filter));
	assert_int_equal(first.flags, third.flags);
	rt_filter_deinit(&first);
	rt_filter_deinit(&second);
	rt_filter_deinit(&third);
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIRECTORY(what_is_stored_comes_back),
		WITH_DIRECTORY(a_damaged_entry_is_removed),
		WITH_DIRECTORY(a_short_entry_is_removed),
		WITH_DIRECTORY(an_entry_that_others_could_write_is_not_trusted),
		WITH_DIRECTORY(it_never_holds_more_than_64_and_the_oldest_goes),
		WITH_DIRECTORY(a_second_start_takes_the_program_from_the_cache),
		cmocka_unit_test(a_key_follows_the_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
