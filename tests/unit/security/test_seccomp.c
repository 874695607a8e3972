#include "runtime/security/seccomp_private.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/seal.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NO_SUCH_CALL 4000 /* newer than any */

static const char *const get_names[] = {"getppid"};

static int silence(void **state)
{
	return rt_log_open(&(struct rt_log_options){.path = "/dev/null"}) ? -1 : 0;
}

/* What a call gives in a process under the filter: 0 where it went through, else the errno; -1 where it was killed. */
static int try_call(const struct rt_spec_seccomp *spec, long number, long first)
{
	struct rt_filter filter;
	int status;
	pid_t pid;

	assert_null(rt_filter_compile(spec, -1, &filter));
	pid = fork();
	if (pid == 0) {
		if (rt_sys_set_no_new_privs() || rt_sys_load_filter(filter.program, filter.length, filter.flags, NULL))
			_exit(255);
		/* Not by _exit(): a sanitizer's makes calls that the filter may not allow. */
		syscall(SYS_exit_group, syscall(number, first, 0L, 0L, 0L, 0L, 0L) < 0 ? errno : 0);
	}
	rt_filter_deinit(&filter);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return -1;
	assert_int_not_equal(WEXITSTATUS(status), 255);
	return WEXITSTATUS(status);
}

static struct rt_error *compile(const struct rt_spec_seccomp *spec)
{
	struct rt_filter filter;
	struct rt_error *err = rt_filter_compile(spec, -1, &filter);

	if (!err)
		rt_filter_deinit(&filter);
	return err;
}

static void a_rule_gives_its_errno(void **state)
{
	const struct rt_seccomp_rule rules[] = {
		{.names = get_names,
		 .name_count = 1,
		 .action = RT_SECCOMP_ERRNO,
		 .has_errno = true,
		 .errno_ret = EXDEV},
	};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ALLOW,
		.rules = rules,
		.rule_count = 1,
	};

	assert_int_equal(try_call(&spec, SYS_getppid, 0), EXDEV);
	assert_int_equal(try_call(&spec, SYS_getuid, 0), 0);
}

static void without_an_errno_it_is_eperm(void **state)
{
	const struct rt_seccomp_rule rules[] = {{.names = get_names, .name_count = 1, .action = RT_SECCOMP_ERRNO}};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ALLOW,
		.rules = rules,
		.rule_count = 1,
	};

	assert_int_equal(try_call(&spec, SYS_getppid, 0), EPERM);
}

static void a_killing_rule_kills(void **state)
{
	const struct rt_seccomp_rule rules[] = {
		{.names = get_names, .name_count = 1, .action = RT_SECCOMP_KILL_PROCESS}};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ALLOW,
		.rules = rules,
		.rule_count = 1,
	};

	assert_int_equal(try_call(&spec, SYS_getppid, 0), -1);
}

static void conditions_on_different_arguments_must_all_hold(void **state)
{
	static const char *const names[] = {"getpriority"};
	const struct rt_seccomp_arg args[] = {{0, RT_SECCOMP_EQ, 7, 0}, {1, RT_SECCOMP_EQ, 1, 0}};
	const struct rt_seccomp_rule rules[] = {
		{.names = names,
		 .name_count = 1,
		 .action = RT_SECCOMP_ERRNO,
		 .has_errno = true,
		 .errno_ret = EXDEV,
		 .args = args,
		 .arg_count = 2},
	};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ALLOW,
		.rules = rules,
		.rule_count = 1,
	};

	assert_int_equal(try_call(&spec, SYS_getpriority, 7), EINVAL); /* the second argument is 0 */
}

static void conditions_on_one_argument_are_alternatives(void **state)
{
	static const char *const names[] = {"getpriority"};
	const struct rt_seccomp_arg args[] = {{0, RT_SECCOMP_EQ, 7, 0}, {0, RT_SECCOMP_EQ, 8, 0}};
	const struct rt_seccomp_rule rules[] = {
		{.names = names,
		 .name_count = 1,
		 .action = RT_SECCOMP_ERRNO,
		 .has_errno = true,
		 .errno_ret = EXDEV,
		 .args = args,
		 .arg_count = 2},
	};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ALLOW,
		.rules = rules,
		.rule_count = 1,
	};

	assert_int_equal(try_call(&spec, SYS_getpriority, 7), EXDEV);
	assert_int_equal(try_call(&spec, SYS_getpriority, 8), EXDEV);
	assert_int_equal(try_call(&spec, SYS_getpriority, 9), EINVAL);
}

static void every_operator_reaches_the_kernel(void **state)
{
	static const struct {
		enum rt_seccomp_op op;
		uint64_t value, value_two;
		long hit, miss;
	} cases[] = {
		{RT_SECCOMP_NE, 7, 0, 8, 7},	      {RT_SECCOMP_LT, 7, 0, 6, 7}, {RT_SECCOMP_LE, 7, 0, 7, 8},
		{RT_SECCOMP_EQ, 7, 0, 7, 8},	      {RT_SECCOMP_GE, 7, 0, 7, 6}, {RT_SECCOMP_GT, 7, 0, 8, 7},
		{RT_SECCOMP_MASKED_EQ, 12, 8, 11, 7},
	};
	static const char *const names[] = {"getpriority"};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		const struct rt_seccomp_arg arg = {0, cases[i].op, cases[i].value, cases[i].value_two};
		const struct rt_seccomp_rule rule = {
			.names = names,
			.name_count = 1,
			.action = RT_SECCOMP_ERRNO,
			.has_errno = true,
			.errno_ret = EXDEV,
			.args = &arg,
			.arg_count = 1,
		};
		const struct rt_spec_seccomp spec = {
			.present = true,
			.default_action = RT_SECCOMP_ALLOW,
			.rules = &rule,
			.rule_count = 1,
		};

		assert_int_equal(try_call(&spec, SYS_getpriority, cases[i].hit), EXDEV);
		assert_int_equal(try_call(&spec, SYS_getpriority, cases[i].miss), EINVAL);
	}
}

static void syscalls_newer_than_the_profile_give_enosys(void **state)
{
	static const char *const names[] = {"exit_group", "getuid", "openat2", "no_such_syscall_at_all"};
	const struct rt_seccomp_rule rules[] = {{.names = names, .name_count = 4, .action = RT_SECCOMP_ALLOW}};
	struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ERRNO,
		.rules = rules,
		.rule_count = 1,
	};

	assert_int_equal(try_call(&spec, SYS_getuid, 0), 0);
	assert_int_equal(try_call(&spec, SYS_getppid, 0), EPERM);
	assert_int_equal(try_call(&spec, NO_SUCH_CALL, 0), ENOSYS);
	assert_int_equal(try_call(&spec, SYS_openat2 + 1, 0), ENOSYS);
	spec.has_default_errno = true;
	spec.default_errno = EXDEV;
	assert_int_equal(try_call(&spec, SYS_getppid, 0), EXDEV);
	assert_int_equal(try_call(&spec, NO_SUCH_CALL, 0), ENOSYS);
	spec.default_action = RT_SECCOMP_KILL_PROCESS;
	spec.has_default_errno = false;
	assert_int_equal(try_call(&spec, SYS_getppid, 0), -1);
	assert_int_equal(try_call(&spec, NO_SUCH_CALL, 0), ENOSYS);
}

/* Runs a program as the kernel would; only what our stub and libseccomp's output are made of. */
static uint32_t interpret(const struct rt_filter *filter, uint32_t arch, uint32_t number)
{
	const struct seccomp_data data = {.nr = (int)number, .arch = arch};
	uint32_t loaded = 0;

	for (size_t at = 0; at < filter->length; at++) {
		const struct sock_filter *step = &filter->program[at];
		bool holds = false;

		switch (step->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&loaded, (const char *)&data + step->k, sizeof(loaded));
			continue;
		case BPF_RET | BPF_K:
			return step->k;
		case BPF_JMP | BPF_JA:
			at += step->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			holds = loaded == step->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			holds = loaded > step->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			holds = loaded >= step->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			holds = loaded & step->k;
			break;
		default:
			fail_msg("instruction %zu has the unexpected code %#x", at, step->code);
		}
		at += holds ? step->jt : step->jf;
	}
	fail_msg("the program has no end");
	return 0;
}

static void each_architecture_has_its_own_newest_syscall(void **state)
{
	static const char *const names[] = {"getuid", "openat2"};
	static const char *const archs[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64",
					    "SCMP_ARCH_ARM"};
	const struct rt_seccomp_rule rule = {.names = names, .name_count = 2, .action = RT_SECCOMP_ALLOW};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ERRNO,
		.rules = &rule,
		.rule_count = 1,
		.architectures = archs,
		.architecture_count = RT_ARRAY_SIZE(archs),
	};
	struct rt_filter filter;

	assert_null(rt_filter_compile(&spec, -1, &filter));
	for (size_t i = 0; i < RT_ARRAY_SIZE(archs); i++) {
		uint32_t arch = rt_seccomp_arch(archs[i]);
		uint32_t audit = arch == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : arch;
		uint32_t allowed = (uint32_t)seccomp_syscall_resolve_name_arch(arch, "openat2");
		uint32_t known = (uint32_t)seccomp_syscall_resolve_name_arch(arch, "getppid");

		assert_int_equal(interpret(&filter, audit, allowed), SECCOMP_RET_ALLOW);
		assert_int_equal(interpret(&filter, audit, known), SECCOMP_RET_ERRNO | EPERM);
		assert_int_equal(interpret(&filter, audit, allowed + 1), SECCOMP_RET_ERRNO | ENOSYS);
	}
	assert_int_equal(interpret(&filter, SCMP_ARCH_S390X, 1), SECCOMP_RET_KILL_THREAD);
	rt_filter_deinit(&filter);
}

static void a_permissive_profile_has_no_stub(void **state)
{
	static const enum rt_seccomp_action permissive[] = {RT_SECCOMP_ALLOW, RT_SECCOMP_LOG, RT_SECCOMP_TRACE};

	for (size_t i = 0; i < RT_ARRAY_SIZE(permissive); i++) {
		const struct rt_seccomp_rule rule = {.names = get_names, .name_count = 1, .action = RT_SECCOMP_ERRNO};
		const struct rt_spec_seccomp spec = {
			.present = true,
			.default_action = permissive[i],
			.rules = &rule,
			.rule_count = 1,
		};
		struct sock_filter *stub = NULL;
		size_t length = 0;

		assert_null(rt_seccomp_stub(&spec, &stub, &length));
		assert_null(stub);
	}
}

static void a_rule_that_repeats_the_default_is_skipped(void **state)
{
	const struct rt_seccomp_rule rule = {.names = get_names, .name_count = 1, .action = RT_SECCOMP_ALLOW};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ALLOW,
		.rules = &rule,
		.rule_count = 1,
	};

	assert_int_equal(try_call(&spec, SYS_getppid, 0), 0);
}

static void flags_become_those_of_the_kernel(void **state)
{
	static const char *const names[] = {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
					    "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"};
	struct rt_spec_seccomp spec = {.flags = names, .flag_count = 4};
	_cleanup_json_ json_t *empty = json_pack("{s:[]}", "flags");
	unsigned flags = 0;

	assert_null(rt_seccomp_flags(&spec, true, &flags));
	assert_int_equal(flags, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW |
					SECCOMP_FILTER_FLAG_NEW_LISTENER | 1 << 5);
	assert_null(rt_seccomp_flags(&spec, false, &flags));
	assert_int_equal(flags, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	spec.flag_count = 0;
	assert_null(rt_seccomp_flags(&spec, false, &flags));
	assert_int_equal(flags, SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	spec.json = empty;
	assert_null(rt_seccomp_flags(&spec, false, &flags));
	assert_int_equal(flags, 0);
}

static void check_refused(const struct rt_spec_seccomp *spec, const char *said)
{
	_cleanup_error_ struct rt_error *err = compile(spec);
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	assert_non_null(text);
	assert_int_equal(err->code, RT_CONFIG);
	assert_non_null(strstr(text, said));
}

static void what_cannot_work_is_refused_with_the_field(void **state)
{
	static const char *const bad_flag[] = {"SECCOMP_FILTER_FLAG_NONE"}, *const bad_arch[] = {"SCMP_ARCH_PDP11"};
	static const char *const write_name[] = {"write"};
	const struct rt_seccomp_rule notify = {.names = get_names, .name_count = 1, .action = RT_SECCOMP_NOTIFY};
	const struct rt_seccomp_rule notify_write = {.names = write_name, .name_count = 1, .action = RT_SECCOMP_NOTIFY};

	check_refused(&(struct rt_spec_seccomp){.flags = bad_flag, .flag_count = 1}, "linux.seccomp.flags");
	check_refused(&(struct rt_spec_seccomp){.architectures = bad_arch, .architecture_count = 1}, "SCMP_ARCH_PDP11");
	check_refused(&(struct rt_spec_seccomp){.default_action = RT_SECCOMP_NOTIFY}, "linux.seccomp.defaultAction");
	check_refused(&(struct rt_spec_seccomp){.rules = &notify, .rule_count = 1}, "linux.seccomp.listenerPath");
	check_refused(&(struct rt_spec_seccomp){.rules = &notify_write, .rule_count = 1, .listener_path = "/x"},
		      "'write'");
}

static void a_notifying_rule_makes_a_listener(void **state)
{
	const struct rt_seccomp_rule rule = {.names = get_names, .name_count = 1, .action = RT_SECCOMP_NOTIFY};
	const struct rt_spec_seccomp spec = {
		.present = true,
		.default_action = RT_SECCOMP_ALLOW,
		.rules = &rule,
		.rule_count = 1,
		.listener_path = "/run/agent",
	};
	struct rt_filter filter;
	int status;
	pid_t pid;

	assert_null(rt_filter_compile(&spec, -1, &filter));
	assert_true(filter.has_listener);
	pid = fork();
	if (pid == 0) {
		int listener = -1;

		if (rt_sys_set_no_new_privs() ||
		    rt_sys_load_filter(filter.program, filter.length, filter.flags, &listener))
			_exit(1);
		_exit(listener >= 0 ? 0 : 2);
	}
	rt_filter_deinit(&filter);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_gives_its_errno),
		cmocka_unit_test(without_an_errno_it_is_eperm),
		cmocka_unit_test(a_killing_rule_kills),
		cmocka_unit_test(conditions_on_different_arguments_must_all_hold),
		cmocka_unit_test(conditions_on_one_argument_are_alternatives),
		cmocka_unit_test(every_operator_reaches_the_kernel),
		cmocka_unit_test(syscalls_newer_than_the_profile_give_enosys),
		cmocka_unit_test(each_architecture_has_its_own_newest_syscall),
		cmocka_unit_test(a_permissive_profile_has_no_stub),
		cmocka_unit_test(a_rule_that_repeats_the_default_is_skipped),
		cmocka_unit_test(flags_become_those_of_the_kernel),
		cmocka_unit_test(what_cannot_work_is_refused_with_the_field),
		cmocka_unit_test(a_notifying_rule_makes_a_listener),
	};

	return cmocka_run_group_tests(tests, silence, NULL);
}
