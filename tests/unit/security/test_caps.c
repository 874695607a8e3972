#include "runtime/security/security.h"

#include "runtime/base/log.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define BIT(cap) (UINT64_C(1) << (cap))

/* Warnings of the planner go to standard error, where they would only puzzle the reader of the tests' output. */
static int silence(void **state)
{
	return rt_log_open(&(struct rt_log_options){.path = "/dev/null"}) ? -1 : 0;
}

static void an_absent_field_means_no_capability(void **state)
{
	const struct rt_spec_caps spec = {.present = false};
	struct rt_spec_caps caps = {0};

	assert_null(rt_caps_plan(&spec, &caps));
	assert_true(caps.present);
	assert_int_equal(caps.bounding | caps.permitted | caps.effective | caps.inheritable | caps.ambient, 0);
}

static void what_the_kernel_does_not_know_is_left_out(void **state)
{
	const struct rt_spec_caps spec = {
		.present = true,
		.bounding = BIT(CAP_KILL) | BIT(62),
		.permitted = BIT(CAP_KILL) | BIT(62),
		.effective = BIT(62),
	};
	struct rt_spec_caps caps;

	assert_null(rt_caps_plan(&spec, &caps));
	assert_int_equal(caps.bounding, BIT(CAP_KILL));
	assert_int_equal(caps.permitted, BIT(CAP_KILL));
	assert_int_equal(caps.effective, 0);
}

static void the_known_ones_end_at_the_kernels_last(void **state)
{
	int fd = open("/proc/sys/kernel/cap_last_cap", O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	uint64_t known;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		skip();
	close(fd);
	assert_null(rt_caps_known(&known));
	assert_int_equal(known, BIT(atoi(text) + 1) - 1);
}

static void ambient_needs_permitted_and_inheritable(void **state)
{
	const struct rt_spec_caps spec = {
		.present = true,
		.permitted = BIT(CAP_KILL) | BIT(CAP_CHOWN),
		.inheritable = BIT(CAP_KILL) | BIT(CAP_FOWNER),
		.ambient = BIT(CAP_KILL) | BIT(CAP_CHOWN) | BIT(CAP_FOWNER),
	};
	struct rt_spec_caps caps;

	assert_null(rt_caps_plan(&spec, &caps));
	assert_int_equal(caps.ambient, BIT(CAP_KILL));
}

static void effective_beyond_permitted_is_an_error_that_names_it(void **state)
{
	const struct rt_spec_caps spec = {
		.present = true, .effective = BIT(CAP_KILL) | BIT(CAP_CHOWN), .permitted = BIT(CAP_CHOWN)};
	struct rt_spec_caps caps;
	_cleanup_error_ struct rt_error *err = rt_caps_plan(&spec, &caps);

	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	assert_non_null(strstr(err->message, "CAP_KILL"));
	assert_null(strstr(err->message, "CAP_CHOWN"));
}

static uint64_t status_set(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256], format[32];
	unsigned long long set = 0;

	snprintf(format, sizeof(format), "%s: %%llx", name);
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, format, &set) == 1)
			break;
	if (file)
		fclose(file);
	return set;
}

static int give_up_nearly_all(void)
{
	const struct rt_spec_caps caps = {
		.present = true,
		.bounding = BIT(CAP_KILL) | BIT(CAP_CHOWN),
		.permitted = BIT(CAP_KILL),
		.effective = BIT(CAP_KILL),
		.inheritable = BIT(CAP_KILL),
		.ambient = BIT(CAP_KILL),
	};

	if (rt_caps_bound(&caps) || rt_caps_set(&caps, BIT(CAP_CHOWN)))
		return 1;
	if (status_set("CapBnd") != caps.bounding || status_set("CapAmb") != caps.ambient)
		return 2;
	if (status_set("CapPrm") != (BIT(CAP_KILL) | BIT(CAP_CHOWN)) || status_set("CapEff") != status_set("CapPrm"))
		return 3;
	return status_set("CapInh") == caps.inheritable ? 0 : 4;
}

static void the_sets_arrive_in_the_kernel(void **state)
{
	int status;
	pid_t pid;

	if (!(status_set("CapEff") & BIT(CAP_SETPCAP)) || !(status_set("CapPrm") & BIT(CAP_CHOWN)))
		skip();
	pid = fork();
	if (pid == 0)
		_exit(give_up_nearly_all());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int ask_for_too_much(void)
{
	const struct rt_spec_caps few = {.present = true, .permitted = BIT(CAP_KILL), .effective = BIT(CAP_KILL)};
	const struct rt_spec_caps more = {.present = true, .permitted = BIT(CAP_KILL) | BIT(CAP_SYS_TIME)};
	struct rt_error *err;
	char *text;

	if (rt_caps_set(&few, 0))
		return 1;
	err = rt_caps_set(&more, 0);
	text = err ? rt_error_text(err) : NULL;
	return text && strstr(text, "lacks CAP_SYS_TIME") ? 0 : 2;
}

static void a_capability_the_runtime_lacks_is_named(void **state)
{
	int status;
	pid_t pid;

	if (!(status_set("CapPrm") & BIT(CAP_KILL)))
		skip();
	pid = fork();
	if (pid == 0)
		_exit(ask_for_too_much());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_absent_field_means_no_capability),
		cmocka_unit_test(what_the_kernel_does_not_know_is_left_out),
		cmocka_unit_test(the_known_ones_end_at_the_kernels_last),
		cmocka_unit_test(ambient_needs_permitted_and_inheritable),
		cmocka_unit_test(effective_beyond_permitted_is_an_error_that_names_it),
		cmocka_unit_test(the_sets_arrive_in_the_kernel),
		cmocka_unit_test(a_capability_the_runtime_lacks_is_named),
	};

	return cmocka_run_group_tests(tests, silence, NULL);
}
