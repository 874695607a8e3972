#include "checkpoint/criulog.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static void assert_explained(const char *text, const char *line, int pid, const char *words)
{
	struct rt_criulog log = RT_CRIULOG_NULL;

	assert_null(rt_criulog_parse(text, strlen(text), &log));
	if (line)
		assert_string_equal(log.line, line);
	else
		assert_null(log.line);
	assert_int_equal(log.pid, pid);
	if (words) {
		assert_non_null(log.words);
		if (!strstr(log.words, words))
			fail_msg("'%s' lacks '%s'", log.words, words);
	} else {
		assert_null(log.words);
	}
	rt_criulog_deinit(&log);
}

/* From a dump by criu 4.1.1 without CAP_SYS_RESOURCE. */
static void the_cause_is_found_behind_a_tolerated_error(void **state)
{
	assert_explained("(00.001300) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
			 "(00.011470) sockets: No filter for socket\n"
			 "(00.011487) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.\n"
			 "(00.011495) Error (criu/cr-dump.c:1681): Dump files (pid: 5022) failed with -1\n"
			 "(00.023673) Error (criu/cr-dump.c:2111): Dumping FAILED.\n",
			 "inet: Connected TCP socket, consider using --tcp-established option.", 5022, "--tcp-established");
}

static void a_restore_tells_the_process_in_front(void **state)
{
	assert_explained("(00.004000)      1: mnt: Mounting\n"
			 "(00.005000)     13: Error (criu/files-reg.c:2175): File etc/x has bad size 4 (expect 3)\n"
			 "(00.006000) Error (criu/cr-restore.c:2500): Restoring FAILED.\n",
			 "File etc/x has bad size 4 (expect 3)", 13, "size differs");
}

static void a_tolerated_error_is_better_than_none(void **state)
{
	assert_explained("(00.001300) Error (criu/cr-service.c:235): RPC client reported script error\n",
			 "RPC client reported script error", 0, NULL);
}

static void a_line_nobody_knows_is_given_as_it_is(void **state)
{
	assert_explained("Error (criu/new.c:1): new: never heard of\n", "new: never heard of", 0, NULL);
}

static void a_log_without_errors_explains_nothing(void **state)
{
	assert_explained("(00.001300) all is well\nWarn  (criu/x.c:3): hm\nError without a place\n", NULL, 0, NULL);
	assert_explained("", NULL, 0, NULL);
	assert_explained("(", NULL, 0, NULL);
	assert_explained("Error (", NULL, 0, NULL);
}

static void bytes_of_the_container_are_made_harmless(void **state)
{
	assert_explained("Error (a.c:1): Can't lookup mount=9 for fd=3 path=/x\x1b[31m\n", "Can't lookup mount=9 for fd=3 path=/x?[31m",
			 0, "outside the container's mounts");
}

static void what_users_meet_has_words(void **state)
{
	static const struct {
		const char *line, *words;
	} cases[] = {
		{ "Can't dump file 5 of that type [20777] (anon anon_inode:[io_uring])", "io_uring" },
		{ "Can't dump ghost file /tmp/g of 3002368 size, increase limit", "--ghost-limit" },
		{ "Some file locks are hold by dumping tasks! You can try --file-locks to dump them.", "--file-locks" },
		{ "unix: External socket is used. Consider using --ext-unix-sk option.", "--ext-unix-sk" },
		{ "mnt: FS mnt ./x dev 0x3 root / unsupported id 12", "file system" },
		{ "mnt: Mount 7 ./x (master_id: 1 shared_id: 2) has unreachable sharing. Try --enable-external-masters.", "propagation" },
		{ "Can't get rlimit 7: Operation not permitted", "CAP_SYS_RESOURCE" },
		{ "Can't fork for 17: File exists", "new PID namespace" },
		{ "cpu: CPU capabilities do not match run time", "processor" },
		{ "vdso: Unexpected rt vDSO area bounds", "newer criu" },
		{ "sockets: Can't get 1:16 opt: Operation not supported", "criu 4.2" },
		{ "net: Locking network failed: iptables-restore returned 1. This may be connected to disabled", "nftables" },
		{ "page-pipe: splice: -1: Bad file descriptor", "fs.pipe-max-size" },
		{ "Can't write to pages: No space left on device", "disk is full" },
		{ "Tracking memory is not available. Consider omitting --track-mem option.", "CONFIG_MEM_SOFT_DIRTY" },
		{ "inet: Can't bind inet socket (id 5): Cannot assign requested address", "address of the container does not exist" },
		{ "tty: Found dangling tty with sid 5 pgid 5 (pts) on peer fd 0. Consider using --shell-job option", "--shell-job" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		const char *words = rt_criulog_words(cases[i].line);

		if (!words || !strstr(words, cases[i].words))
			fail_msg("'%s' gives '%s'", cases[i].line, words ? words : "nothing");
	}
}

static void an_error_is_replaced_by_its_explanation(void **state)
{
	char directory[] = "/tmp/rt-test-XXXXXX", path[64];
	const char *log = "Error (criu/a.c:1): Can't dump ghost file /tmp/g of 9 size, increase limit\nError (b.c:2): (pid: 3)\n";
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	int fd, dir_fd;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/dump.log", directory);
	dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = rt_criulog_explain(rt_fail(RT_CRIU, "criu failed"), dir_fd, "dump.log", true);
	assert_string_equal(err->message, "criu failed");
	rt_error_free(err);

	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, log, strlen(log)), strlen(log));
	err = rt_criulog_explain(rt_fail(RT_CRIU, "criu failed"), dir_fd, "dump.log", true);
	assert_int_equal(err->code, RT_CRIU);
	text = rt_error_text(err);
	assert_string_equal(text, "process 3: a deleted file that is still open is larger than the limit: raise it with --ghost-limit "
				  "(criu: 'Can't dump ghost file /tmp/g of 9 size, increase limit'; see 'dump.log')");
	rt_error_free(err);
	err = rt_criulog_explain(rt_fail(RT_CRIU, "criu failed"), dir_fd, "dump.log", false);
	assert_non_null(strstr(err->message, "; --work-path keeps its log, 'dump.log')"));
	rt_error_free(err);
	err = rt_criulog_explain(rt_fail(RT_PEER, "refused by us"), dir_fd, "dump.log", true);
	assert_string_equal(err->message, "refused by us");
	rt_error_free(err);
	unlink(path);
	rmdir(directory);
	close(fd);
	close(dir_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cause_is_found_behind_a_tolerated_error),
		cmocka_unit_test(a_restore_tells_the_process_in_front),
		cmocka_unit_test(a_tolerated_error_is_better_than_none),
		cmocka_unit_test(a_line_nobody_knows_is_given_as_it_is),
		cmocka_unit_test(a_log_without_errors_explains_nothing),
		cmocka_unit_test(bytes_of_the_container_are_made_harmless),
		cmocka_unit_test(what_users_meet_has_words),
		cmocka_unit_test(an_error_is_replaced_by_its_explanation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
