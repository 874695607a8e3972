#include "checkpoint/rpc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct rt_criu *start(const char *mode)
{
	const struct rt_criu_options options = { .path = FAKE_CRIU_PATH, .flags = RT_CRIU_QUIET };
	struct rt_criu *criu = NULL;

	setenv("FAKE_CRIU", mode, 1);
	assert_null(rt_criu_start(&options, &criu));
	return criu;
}

static void assert_fails(struct rt_error *err, enum rt_code code, const char *part)
{
	_cleanup_free_ char *text = NULL;

	assert_non_null(err);
	text = rt_error_text(err);
	assert_int_equal(err->code, code);
	if (!strstr(text, part))
		fail_msg("'%s' lacks '%s'", text, part);
	rt_error_free(err);
}

/* What the handler saw, and what it does. */
struct witness {
	char scripts[200];
	const char *refused;
	pid_t pid;
	int fd;
	bool rolled_back;
};

static struct rt_error *see(void *userdata, struct rt_criu_notification *notification)
{
	static const char *const external[] = { "mnt[a]:b" };
	struct witness *witness = userdata;

	strcat(witness->scripts, notification->script);
	strcat(witness->scripts, " ");
	if (notification->pid)
		witness->pid = notification->pid;
	if (notification->fd >= 0)
		witness->fd = rt_take_fd(notification->fd);
	if (notification->rolling_back)
		witness->rolled_back = true;
	notification->external = external;
	notification->external_count = 1;
	if (witness->refused && strcmp(witness->refused, notification->script) == 0)
		return rt_fail(RT_PEER, "the other host has no room");
	return NULL;
}

static struct rt_error *ask(struct rt_criu *criu, Criu__RequestKind type, struct witness *witness, Criu__Response **response,
			    struct rt_criu_failure *failure)
{
	const struct rt_criu_handler handler = { .notify = see, .userdata = witness };
	Criu__Request request = CRIU__REQUEST__INIT;

	request.type = type;
	return rt_criu_request(criu, &request, witness ? &handler : NULL, response, failure);
}

static void a_version_and_a_dump_need_only_one_worker(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("");
	struct witness witness = { .fd = -1 };
	struct rt_criu_features features;
	uint32_t version = 0;

	assert_null(rt_criu_require_version(criu, &version));
	assert_int_equal(version, 40101);
	assert_null(rt_criu_features(criu, &features));
	assert_true(features.lazy_pages);
	assert_false(features.mem_track);
	assert_null(ask(criu, CRIU__REQUEST_KIND__DUMP, &witness, NULL, NULL));
	assert_string_equal(witness.scripts, "pre-dump query-ext-files post-dump ");
}

static void a_version_from_git_counts_as_the_next(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("git");
	uint32_t version = 0;

	assert_null(rt_criu_version(criu, &version));
	assert_int_equal(version, 40200);
}

static void an_old_version_is_refused_by_number(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("old");

	assert_fails(rt_criu_require_version(criu, NULL), RT_CRIU, "this is 3.1.1, at least 4.0 is needed");
}

static void a_version_out_of_bounds_is_not_believed(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("odd");
	uint32_t version;

	assert_fails(rt_criu_version(criu, &version), RT_CRIU, "cannot understand");
}

static void a_restore_hands_over_pid_and_terminal(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("");
	struct witness witness = { .fd = -1 };
	Criu__Response *response = NULL;
	struct stat st;

	assert_null(ask(criu, CRIU__REQUEST_KIND__RESTORE, &witness, &response, NULL));
	assert_int_equal(response->restore->pid, 4321);
	assert_int_equal(witness.pid, 4321);
	assert_int_equal(fstat(witness.fd, &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(fcntl(witness.fd, F_GETFD), FD_CLOEXEC);
	close(witness.fd);
	criu__response__free_unpacked(response, NULL);
}

static void a_refusal_is_the_error_and_criu_rolls_back(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("");
	struct witness witness = { .fd = -1, .refused = "post-dump" };
	struct rt_criu_failure failure = { 0 };

	assert_fails(ask(criu, CRIU__REQUEST_KIND__DUMP, &witness, NULL, &failure), RT_PEER,
		     "at criu's 'post-dump': the other host has no room");
	assert_true(failure.refused);
	assert_true(witness.rolled_back);
	assert_string_equal(witness.scripts, "pre-dump query-ext-files post-dump network-unlock ");
}

static void criu_s_own_failure_carries_its_text_and_number(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("fail");
	struct rt_criu_failure failure = { 0 };

	assert_fails(ask(criu, CRIU__REQUEST_KIND__DUMP, NULL, NULL, &failure), RT_CRIU, "criu failed: mnt: something is wrong: file exists");
	assert_int_equal(failure.cr_errno, EEXIST);
	assert_false(failure.refused);
}

static void a_criu_that_ends_early_is_told_by_its_status(void **state)
{
	_cleanup_criu_ struct rt_criu *first = start("exit"), *second = start("killed");
	struct rt_criu_failure failure = { 0 };

	setenv("FAKE_CRIU", "", 1);
	assert_fails(ask(first, CRIU__REQUEST_KIND__DUMP, NULL, NULL, &failure), RT_CRIU, "criu exited with 3");
	assert_true(failure.died);
	assert_fails(ask(second, CRIU__REQUEST_KIND__DUMP, NULL, NULL, NULL), RT_CRIU, "criu died of signal 9");
	assert_fails(ask(second, CRIU__REQUEST_KIND__DUMP, NULL, NULL, NULL), RT_CRIU, "criu died of signal 9");
}

static void nonsense_is_an_error(void **state)
{
	_cleanup_criu_ struct rt_criu *garbage = start("garbage"), *wrong = start("wrong");

	assert_fails(ask(garbage, CRIU__REQUEST_KIND__DUMP, NULL, NULL, NULL), RT_CRIU, "cannot understand criu's answer");
	assert_fails(ask(wrong, CRIU__REQUEST_KIND__DUMP, NULL, NULL, NULL), RT_CRIU, "with a response to 9");
}

static void a_request_may_be_longer_than_a_socket_s_buffer(void **state)
{
	_cleanup_criu_ struct rt_criu *criu = start("");
	struct witness witness = { .fd = -1 };
	const struct rt_criu_handler handler = { .notify = see, .userdata = &witness };
	Criu__Request request = CRIU__REQUEST__INIT;
	Criu__Opts opts = CRIU__OPTS__INIT;
	char *external[5000];

	for (size_t i = 0; i < RT_ARRAY_SIZE(external); i++)
		external[i] = (char *)"mnt[/a/rather/long/path/to/some/mount/point]:/another/long/path";
	request.type = CRIU__REQUEST_KIND__DUMP;
	request.opts = &opts;
	opts.external = external;
	opts.n_external = RT_ARRAY_SIZE(external);
	assert_null(rt_criu_request(criu, &request, &handler, NULL, NULL));
}

static void only_what_is_passed_stays_open(void **state)
{
	_cleanup_close_ int passed = open("/dev/null", O_RDONLY | O_CLOEXEC), kept = dup(passed);
	const struct rt_criu_options options = { .path = FAKE_CRIU_PATH, .fds = &passed, .fd_count = 1 };
	_cleanup_criu_ struct rt_criu *criu = NULL;
	uint32_t version = 0;

	setenv("FAKE_CRIU", "descriptors", 1);
	assert_null(rt_criu_start(&options, &criu));
	assert_null(rt_criu_version(criu, &version));
	assert_int_equal(version, 40100 + 5); /* three streams, the socket, the one passed */
	close(kept);
}

static void a_criu_that_cannot_run_is_an_error_at_the_start(void **state)
{
	struct rt_criu_options options = { .path = "/nowhere/criu" };
	struct rt_criu *criu = NULL;

	assert_fails(rt_criu_start(&options, &criu), RT_CRIU, "/nowhere/criu");
	options.path = "/dev/null";
	assert_fails(rt_criu_start(&options, &criu), RT_CRIU, "/dev/null");
	assert_null(criu);
}

static void criu_is_found_in_the_path(void **state)
{
	char directory[] = "/tmp/rt-test-XXXXXX", program[64];
	_cleanup_free_ char *found = NULL, *kept = strdup(getenv("PATH"));

	assert_non_null(mkdtemp(directory));
	snprintf(program, sizeof(program), "%s/criu", directory);
	assert_int_equal(symlink(FAKE_CRIU_PATH, program), 0);
	setenv("PATH", directory, 1);
	assert_null(rt_criu_find(NULL, &found));
	assert_string_equal(found, program);
	setenv("PATH", kept, 1);
	unlink(program);
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_version_and_a_dump_need_only_one_worker),
		cmocka_unit_test(a_version_from_git_counts_as_the_next),
		cmocka_unit_test(an_old_version_is_refused_by_number),
		cmocka_unit_test(a_version_out_of_bounds_is_not_believed),
		cmocka_unit_test(a_restore_hands_over_pid_and_terminal),
		cmocka_unit_test(a_refusal_is_the_error_and_criu_rolls_back),
		cmocka_unit_test(criu_s_own_failure_carries_its_text_and_number),
		cmocka_unit_test(a_criu_that_ends_early_is_told_by_its_status),
		cmocka_unit_test(nonsense_is_an_error),
		cmocka_unit_test(a_request_may_be_longer_than_a_socket_s_buffer),
		cmocka_unit_test(only_what_is_passed_stays_open),
		cmocka_unit_test(a_criu_that_cannot_run_is_an_error_at_the_start),
		cmocka_unit_test(criu_is_found_in_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
