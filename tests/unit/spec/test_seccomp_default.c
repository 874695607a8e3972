#include "tests/unit/spec/spec_test.h"

#include "runtime/base/str.h"
#include "runtime/spec/seccomp_default.h"

#include <linux/capability.h>
#include <seccomp.h>

/* System calls of kernels that came after the oldest libseccomp we build with: Linux 6.5 and later. */
static const char *const newer[] = {
	"cachestat", "fchmodat2", "futex_requeue", "futex_wait", "futex_wake", "listmount", "lsm_get_self_attr", "lsm_list_modules",
	"lsm_set_self_attr", "map_shadow_stack", "mseal", "statmount", "getxattrat", "setxattrat", "listxattrat", "removexattrat",
	"open_tree_attr", "file_getattr", "file_setattr", "uretprobe", "riscv_hwprobe",
};

static void check_name(void *userdata, const char *name)
{
	bool known = seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR;

	for (size_t i = 0; i < RT_ARRAY_SIZE(newer) && !known; i++)
		known = rt_str_equal(newer[i], name);
	if (!known)
		fail_msg("'%s' is no system call", name);
	++*(size_t *)userdata;
}

static void every_name_is_a_system_call(void **state)
{
	size_t count = 0;

	rt_seccomp_default_names(check_name, &count);
	assert_true(count > 350);
}

static json_t *profile(uint64_t caps)
{
	json_t *profile = NULL;

	assert_null(rt_seccomp_default(caps, &profile));
	return profile;
}

/* Allowed whatever its arguments are. */
static bool allows(const json_t *profile, const char *name)
{
	json_t *rules = json_object_get(profile, "syscalls");

	for (size_t i = 0; i < json_array_size(rules); i++) {
		json_t *rule = json_array_get(rules, i), *names = json_object_get(rule, "names");

		if (json_object_get(rule, "args") || strcmp(json_string_value(json_object_get(rule, "action")), "SCMP_ACT_ALLOW") != 0)
			continue;
		for (size_t k = 0; k < json_array_size(names); k++)
			if (rt_str_equal(json_string_value(json_array_get(names, k)), name))
				return true;
	}
	return false;
}

static void ordinary_calls_are_allowed_and_the_machines_are_not(void **state)
{
	static const char *const ordinary[] = { "read", "openat2", "execve", "futex", "connect", "ptrace", "seccomp", "chown", "statx" };
	static const char *const machines[] = { "mount",     "reboot", "init_module", "kexec_load", "bpf",    "setns",	     "unshare",
						"swapon",    "acct",   "iopl",	      "add_key",    "keyctl", "userfaultfd", "io_uring_setup",
						"pivot_root", "clone",  "clone3",      "socket",	    "personality" };
	_cleanup_json_ json_t *default_profile = profile(0);

	for (size_t i = 0; i < RT_ARRAY_SIZE(ordinary); i++)
		assert_true(allows(default_profile, ordinary[i]));
	for (size_t i = 0; i < RT_ARRAY_SIZE(machines); i++)
		assert_false(allows(default_profile, machines[i]));
}

static void a_capability_brings_what_it_is_for_and_no_more(void **state)
{
	static const struct {
		int cap;
		const char *brings;
	} cases[] = {
		{ CAP_DAC_READ_SEARCH, "open_by_handle_at" }, { CAP_SYS_ADMIN, "mount" },	{ CAP_SYS_ADMIN, "clone3" },
		{ CAP_SYS_BOOT, "reboot" },		       { CAP_SYS_CHROOT, "chroot" },	{ CAP_SYS_MODULE, "init_module" },
		{ CAP_SYS_NICE, "mbind" },		       { CAP_SYS_PACCT, "acct" },	{ CAP_SYS_PTRACE, "kcmp" },
		{ CAP_SYS_RAWIO, "iopl" },		       { CAP_SYS_TIME, "settimeofday" }, { CAP_SYS_TTY_CONFIG, "vhangup" },
		{ CAP_SYSLOG, "syslog" },		       { CAP_BPF, "bpf" },		{ CAP_PERFMON, "perf_event_open" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *with = profile(UINT64_C(1) << cases[i].cap), *without = profile(~(UINT64_C(1) << cases[i].cap));

		assert_true(allows(with, cases[i].brings));
		/* CAP_SYS_ADMIN is half of everything. */
		if (cases[i].cap != CAP_SYSLOG && cases[i].cap != CAP_BPF && cases[i].cap != CAP_PERFMON)
			assert_false(allows(without, cases[i].brings));
	}
}

static void no_name_is_there_twice(void **state)
{
	_cleanup_json_ json_t *all = profile(UINT64_MAX);
	json_t *names = json_object_get(json_array_get(json_object_get(all, "syscalls"), 0), "names");

	for (size_t i = 0; i < json_array_size(names); i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(json_string_value(json_array_get(names, i)), json_string_value(json_array_get(names, k)));
}

static void the_profile_is_one_for_the_loader(void **state)
{
	_cleanup_json_ json_t *default_profile = profile(0);
	_cleanup_free_ char *part = json_dumps(default_profile, 0);
	_cleanup_free_ char *text = NULL;
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;

	assert_true(asprintf(&text, "{\"ociVersion\":\"1.3.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":%s}}", part) > 0);
	assert_null(rt_spec_load_text(text, strlen(text), "test", &spec));
	assert_true(spec->seccomp.present && spec->seccomp.architecture_count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_name_is_a_system_call),
		cmocka_unit_test(ordinary_calls_are_allowed_and_the_machines_are_not),
		cmocka_unit_test(a_capability_brings_what_it_is_for_and_no_more),
		cmocka_unit_test(no_name_is_there_twice),
		cmocka_unit_test(the_profile_is_one_for_the_loader),
	};

	return cmocka_run_group_tests_name("spec/seccomp_default", tests, NULL, NULL);
}
