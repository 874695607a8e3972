#include "runtime/security/security.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

static int silence(void **state)
{
	return rt_log_open(&(struct rt_log_options){.path = "/dev/null"}) ? -1 : 0;
}

/* Attributes stay with a process: each is tried in one of its own. */
static void check_in_child(int (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int lower_a_limit(void)
{
	const struct rt_spec_rlimit limits[] = {{RLIMIT_NOFILE, "RLIMIT_NOFILE", 100, 200}};
	struct rlimit now;

	if (rt_rlimits_apply(limits, 1) || getrlimit(RLIMIT_NOFILE, &now) < 0)
		return 1;
	return now.rlim_cur == 100 && now.rlim_max == 200 ? 0 : 2;
}

static void a_limit_arrives(void **state)
{
	check_in_child(lower_a_limit);
}

static void a_refused_limit_is_named(void **state)
{
	const struct rt_spec_rlimit limits[] = {{RLIMIT_NOFILE, "RLIMIT_NOFILE", 200, 100}};
	_cleanup_error_ struct rt_error *err = rt_rlimits_apply(limits, 1);

	assert_non_null(err);
	assert_int_equal(err->errnum, EINVAL);
	assert_non_null(strstr(err->message, "RLIMIT_NOFILE"));
}

static int become_a_batch_job(void)
{
	const struct rt_spec_scheduler scheduler = {.present = true, .policy = SCHED_BATCH, .nice = 5};

	if (rt_scheduler_apply(&scheduler))
		return 1;
	return sched_getscheduler(0) == SCHED_BATCH && getpriority(PRIO_PROCESS, 0) == 5 ? 0 : 2;
}

static void the_scheduler_arrives(void **state)
{
	check_in_child(become_a_batch_job);
}

static int become_idle_in_io(void)
{
	if (rt_io_priority_apply(2, 6))
		return 1;
	return syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 6) ? 0 : 2;
}

static void the_io_priority_arrives(void **state)
{
	check_in_child(become_idle_in_io);
}

static int stay_on_one_cpu(void)
{
	cpu_set_t set;
	char text[16];
	int first = 0;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	while (!CPU_ISSET(first, &set))
		first++;
	snprintf(text, sizeof(text), "%d", first);
	if (rt_cpu_affinity_apply(text, 0) || sched_getaffinity(0, sizeof(set), &set) < 0)
		return 2;
	return CPU_COUNT(&set) == 1 && CPU_ISSET(first, &set) ? 0 : 3;
}

static void the_affinity_arrives(void **state)
{
	check_in_child(stay_on_one_cpu);
}

static int look_32_bits_wide(void)
{
	const struct rt_spec_personality execution = {.present = true, .domain = PER_LINUX32};

	return rt_personality_apply(&execution) || personality(0xffffffff) != PER_LINUX32;
}

static void the_personality_arrives(void **state)
{
	check_in_child(look_32_bits_wide);
}

static int bind_to_node_0(void)
{
	const struct rt_spec_memory_policy policy = {.present = true, .mode = 2 /* MPOL_BIND */, .nodes = "0"};
	int mode = -1;
	struct rt_error *err = rt_memory_policy_apply(&policy);

	if (err)
		return err->errnum == ENOSYS ? 0 : 1; /* a kernel without NUMA */
	return syscall(SYS_get_mempolicy, &mode, NULL, 0UL, NULL, 0UL) == 0 && mode == 2 ? 0 : 2;
}

static void the_memory_policy_arrives(void **state)
{
	check_in_child(bind_to_node_0);
}

static int raise_oom_score(void)
{
	int own = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *text;

	if (rt_oom_score_adj_apply(1000, own, false) ||
	    rt_read_file_at(AT_FDCWD, "/proc/self/oom_score_adj", 16, &text, NULL))
		return 1;
	return atoi(text) == 1000 ? 0 : 2;
}

static void the_oom_score_arrives(void **state)
{
	check_in_child(raise_oom_score);
}

static void an_oom_score_is_written_to_procfs_only(void **state)
{
	char path[] = "/tmp/rt-oom-XXXXXX";
	_cleanup_error_ struct rt_error *err = NULL;
	_cleanup_close_ int dir = -1;

	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(openat(dir, "oom_score_adj", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	err = rt_oom_score_adj_apply(1000, dir, true);
	unlinkat(dir, "oom_score_adj", 0);
	rmdir(path);
	assert_non_null(err);
}

static void a_label_without_its_lsm_is_refused_with_the_field(void **state)
{
	assert_null(rt_lsm_check(NULL, NULL));
	assert_null(rt_lsm_check("", ""));
	if (!rt_lsm_apparmor_enabled()) {
		_cleanup_error_ struct rt_error *err = rt_lsm_check("docker-default", NULL);

		assert_non_null(strstr(err->message, "process.apparmorProfile"));
	}
	if (!rt_lsm_selinux_enabled()) {
		_cleanup_error_ struct rt_error *err = rt_lsm_check(NULL, "system_u:object_r:x_t:s0");

		assert_non_null(strstr(err->message, "process.selinuxLabel"));
	}
}

static void an_agent_gets_the_state_and_the_listener(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct rt_spec_seccomp spec = {.listener_path = address.sun_path, .listener_metadata = "meta"};
	_cleanup_close_ int agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int peer = -1, received = -1;
	_cleanup_json_ json_t *container = json_pack("{s:s}", "id", "web");
	_cleanup_json_ json_t *message = NULL;
	char text[4096];
	size_t size, count;

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/rt-agent-%d", getpid());
	assert_int_equal(bind(agent, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(agent, 1), 0);
	assert_null(rt_filter_send_listener(&spec, agent, 42, container));
	unlink(address.sun_path);
	peer = accept4(agent, NULL, NULL, SOCK_CLOEXEC);
	assert_null(rt_receive_message(peer, text, sizeof(text), &size, &received, 1, &count));
	assert_int_equal(count, 1);
	message = json_loadb(text, size, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(message, "pid")), 42);
	assert_string_equal(json_string_value(json_object_get(message, "metadata")), "meta");
	assert_string_equal(json_string_value(json_object_get(message, "ociVersion")), RT_SPEC_VERSION);
	assert_string_equal(json_string_value(json_array_get(json_object_get(message, "fds"), 0)), "seccompFd");
	assert_true(json_equal(json_object_get(message, "state"), container));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_limit_arrives),
		cmocka_unit_test(a_refused_limit_is_named),
		cmocka_unit_test(the_scheduler_arrives),
		cmocka_unit_test(the_io_priority_arrives),
		cmocka_unit_test(the_affinity_arrives),
		cmocka_unit_test(the_personality_arrives),
		cmocka_unit_test(the_memory_policy_arrives),
		cmocka_unit_test(the_oom_score_arrives),
		cmocka_unit_test(an_oom_score_is_written_to_procfs_only),
		cmocka_unit_test(a_label_without_its_lsm_is_refused_with_the_field),
		cmocka_unit_test(an_agent_gets_the_state_and_the_listener),
	};

	return cmocka_run_group_tests(tests, silence, NULL);
}
