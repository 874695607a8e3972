#include "checkpoint/netlock.h"

#include "checkpoint/nft.h"
#include "runtime/base/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRST "e9aa40c1-0705-4090-b952-a6a13950a370"
#define LAST "db4509c8-856d-4558-9d42-6b8f0858790e"

static void a_table_with_the_head_of_a_run_id_is_its_own(void **state)
{
	(void)state;
	assert_true(rt_netlock_is_of("CRIU-db4509c8-856d-4558-9d", FIRST " " LAST " "));
	assert_true(rt_netlock_is_of("CRIU-e9aa40c1-0705-4090-b9", FIRST " " LAST " "));
	assert_true(rt_netlock_is_of("CRIU-" LAST, LAST));
}

static void a_table_of_somebody_else_is_not(void **state)
{
	(void)state;
	assert_false(rt_netlock_is_of("CRIU-db4509c8-856d-4558-9e", FIRST " " LAST " "));
	assert_false(rt_netlock_is_of("CRIU-" LAST "0", LAST));
	assert_false(rt_netlock_is_of("filter", FIRST));
	assert_false(rt_netlock_is_of("db4509c8-856d", LAST));
	assert_false(rt_netlock_is_of("CRIU-db4509c8-856d-4558-9d", ""));
}

static void too_little_of_a_run_id_says_nothing(void **state)
{
	(void)state;
	assert_false(rt_netlock_is_of("CRIU-", LAST));
	assert_false(rt_netlock_is_of("CRIU-db4509", LAST));
}

static void assert_run_ids(const char *log, const char *expected)
{
	char directory[] = "/tmp/netlock-XXXXXX", path[64];
	char *ids = NULL;
	int dir_fd, fd;

	assert_non_null(mkdtemp(directory));
	dir_fd = open(directory, O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof(path), "%s/dump.log", directory);
	if (log) {
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		assert_int_equal(write(fd, log, strlen(log)), strlen(log));
		close(fd);
	}
	assert_null(rt_netlock_run_ids(dir_fd, "dump.log", &ids));
	assert_string_equal(ids, expected);
	free(ids);
	close(dir_fd);
	unlink(path);
	rmdir(directory);
}

static void run_ids_are_read_from_the_log(void **state)
{
	(void)state;
	assert_run_ids("(00.000000) CRIU run id = " FIRST "\n(00.000000) CRIU run id = " LAST "\nmore\n", FIRST " " LAST " ");
	assert_run_ids("(00.000000) CRIU run id = " LAST, LAST " ");
	assert_run_ids("CRIU run id = short\nCRIU run id = ", "");
	assert_run_ids("nothing\n", "");
	assert_run_ids("", "");
	assert_run_ids(NULL, "");
}

static void loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		_exit(77);
}

/* What becomes of a datagram to ourselves: 0, or errno. */
static int send_to_self(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1 ? 0 : errno;
}

static bool succeeds(struct rt_error *err)
{
	bool good = err == NULL;

	rt_error_free(err);
	return good;
}

/* A table as CRIU names it. */
static bool add_table(int rules, const char *name)
{
	struct rt_nft_batch batch;
	int error = 0;

	rt_nft_open(&batch);
	rt_nft_make_table(&batch, name);
	rt_nft_add_chain(&batch, name, "input", NF_INET_LOCAL_IN, NF_DROP, NLM_F_ACK);
	return succeeds(rt_nft_commit(rules, &batch, &error)) && error == 0;
}

static int take_over_and_let_go(int network, int rules)
{
	bool there;

	if (!succeeds(rt_netlock_take_over(network, LAST)) || !succeeds(rt_netlock_let_go(network, LAST)) || send_to_self() != 0)
		return 11; /* there is none */
	if (!add_table(rules, "CRIU-db4509c8-856d-4558-9d") || !succeeds(rt_netlock_is_there(network, LAST, &there)) || !there)
		return 12;
	for (int turn = 0; turn < 2; turn++)
		if (!succeeds(rt_netlock_take_over(network, LAST)) || !succeeds(rt_netlock_is_there(network, LAST, &there)) || there || send_to_self() != EPERM)
			return 13 + turn;
	if (!succeeds(rt_netlock_let_go(network, FIRST)) || send_to_self() != EPERM)
		return 15; /* another's */
	return succeeds(rt_netlock_let_go(network, LAST)) && send_to_self() == 0 ? 0 : 16;
}

/* Each step that fails has a number; 77: namespaces are not to be had. */
static int lock_and_unlock(void)
{
	_cleanup_close_ int network = -1, rules = -1;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return 77;
	loopback_up();
	network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (send_to_self() != 0)
		return 1;
	if (!succeeds(rt_netlock_add_own(network, &rules)))
		return 2;
	if (send_to_self() != EPERM)
		return 3;
	if (!succeeds(rt_netlock_add_own(network, &rules))) /* somebody was killed before he took it away */
		return 4;
	if (!succeeds(rt_netlock_remove_own(network, &rules)))
		return 5;
	if (send_to_self() != 0)
		return 6;
	if (!succeeds(rt_netlock_remove_own(network, &rules)))
		return 7;
	/* The door is for those outside: to ourselves it is open. */
	if (!succeeds(rt_netlock_close_door(network, &rules)) || !succeeds(rt_netlock_close_door(network, &rules)) || send_to_self() != 0)
		return 8;
	if (!succeeds(rt_netlock_open_door(network, &rules)) || !succeeds(rt_netlock_open_door(network, &rules)))
		return 9;
	return take_over_and_let_go(network, rules);
}

static void our_own_lock_lets_nothing_through(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(lock_and_unlock());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_with_the_head_of_a_run_id_is_its_own),
		cmocka_unit_test(a_table_of_somebody_else_is_not),
		cmocka_unit_test(too_little_of_a_run_id_says_nothing),
		cmocka_unit_test(run_ids_are_read_from_the_log),
		cmocka_unit_test(our_own_lock_lets_nothing_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
