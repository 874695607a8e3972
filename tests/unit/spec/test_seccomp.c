#include "tests/unit/spec/spec_test.h"

#define SECCOMP(members) LINUX("'seccomp':{" members "}")
#define RULE(members) SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{" members "}]")

static void a_filter_is_read(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(SECCOMP(
		"'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':38,'architectures':['SCMP_ARCH_X86_64','SCMP_ARCH_"
		"RISCV64'],"
		"'flags':['SECCOMP_FILTER_FLAG_LOG'],'listenerPath':'/run/s','listenerMetadata':'m','syscalls':["
		"{'names':['a','b'],'action':'SCMP_ACT_KILL'},{'names':['c'],'action':'SCMP_ACT_NOTIFY','args':["
		"{'index':5,'value':18446744073709551516,'valueTwo':1,'op':'SCMP_CMP_MASKED_EQ'}]},"
		"{'names':['d'],'action':'SCMP_ACT_TRACE','errnoRet':9}]"));
	const struct rt_spec_seccomp *seccomp = &spec->seccomp;

	assert_true(seccomp->present && seccomp->json);
	assert_int_equal(seccomp->default_action, RT_SECCOMP_ERRNO);
	assert_true(seccomp->has_default_errno);
	assert_int_equal(seccomp->default_errno, 38);
	assert_string_equal(seccomp->architectures[1], "SCMP_ARCH_RISCV64");
	assert_int_equal(seccomp->flag_count, 1);
	assert_string_equal(seccomp->listener_path, "/run/s");
	assert_int_equal(seccomp->rule_count, 3);
	assert_int_equal(seccomp->rules[0].action, RT_SECCOMP_KILL_THREAD);
	assert_int_equal(seccomp->rules[0].name_count, 2);
	assert_false(seccomp->rules[0].has_errno);
	assert_true(seccomp->rules[1].args[0].value == (uint64_t)-100);
	assert_int_equal(seccomp->rules[1].args[0].op, RT_SECCOMP_MASKED_EQ);
	assert_int_equal(seccomp->rules[2].errno_ret, 9);
}

static void no_flags_differ_from_absent_flags(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *absent = load(SECCOMP("'defaultAction':'SCMP_ACT_ALLOW'"));
	_cleanup_(rt_spec_freep) struct rt_spec *none = load(SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','flags':[]"));

	assert_null(absent->seccomp.flags);
	assert_non_null(none->seccomp.flags);
	assert_int_equal(none->seccomp.flag_count, 0);
}

static void an_empty_filter_is_none(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(SECCOMP("'architectures':[]"));

	assert_false(spec->seccomp.present);
}

static void wrong_filters_are_refused(void **state)
{
	static const struct refusal list[] = {
		{SECCOMP("'syscalls':[{'names':['a'],'action':'SCMP_ACT_LOG'}]"),
		 "'linux.seccomp.defaultAction' is required"},
		{SECCOMP("'defaultAction':'ALLOW'"), "'linux.seccomp.defaultAction' must be SCMP_ACT_ALLOW, "},
		{SECCOMP("'defaultAction':'SCMP_ACT_NOTIFY','listenerPath':'/a'"),
		 "defaultAction' must not be SCMP_ACT_NOTIFY"},
		{SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':1"),
		 "defaultErrnoRet' is only for SCMP_ACT_ERRNO"},
		{SECCOMP("'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':4096"),
		 "defaultErrnoRet' must be at most 4095"},
		{SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','architectures':['X']"),
		 "architectures[0]' has an unknown value 'X'"},
		{SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','flags':['X']"),
		 "'linux.seccomp.flags[0]' has an unknown value 'X'"},
		{SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','listenerMetadata':'x'"),
		 "listenerMetadata' must not be given without"},
		{RULE("'action':'SCMP_ACT_LOG'"), "'linux.seccomp.syscalls[0].names' is required"},
		{RULE("'names':[],'action':'SCMP_ACT_LOG'"), "'linux.seccomp.syscalls[0].names' must not be empty"},
		{RULE("'names':['a']"), "'linux.seccomp.syscalls[0].action' is required"},
		{RULE("'names':['a'],'action':'X'"), "'linux.seccomp.syscalls[0].action' must be SCMP_ACT_ALLOW, "},
		{RULE("'names':['a'],'action':'SCMP_ACT_NOTIFY'"),
		 "'linux.seccomp.listenerPath' is required for SCMP_ACT_NOTIFY"},
		{RULE("'names':['read','write'],'action':'SCMP_ACT_NOTIFY'"),
		 "syscalls[0].action' must not be SCMP_ACT_NOTIFY for"},
		{RULE("'names':['a'],'action':'SCMP_ACT_KILL','errnoRet':1"), "errnoRet' is only for SCMP_ACT_ERRNO"},
		{RULE("'names':['a'],'action':'SCMP_ACT_LOG','args':[{'index':6,'value':1,'op':'SCMP_CMP_EQ'}]"),
		 "'linux.seccomp.syscalls[0].args[0].index' must be between 0 and 5"},
		{RULE("'names':['a'],'action':'SCMP_ACT_LOG','args':[{'index':0,'value':1,'op':'=='}]"),
		 "args[0].op' must be SCMP_CMP_EQ, "},
		{RULE("'names':['a'],'action':'SCMP_ACT_LOG','args':[{'index':0,'op':'SCMP_CMP_EQ'}]"),
		 "args[0].value' is required"},
		{RULE("'names':['a'],'action':'SCMP_ACT_LOG','args':[{'value':0,'op':'SCMP_CMP_EQ'}]"),
		 "args[0].index' is required"},
	};

	assert_all_refused(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_filter_is_read),
		cmocka_unit_test(no_flags_differ_from_absent_flags),
		cmocka_unit_test(an_empty_filter_is_none),
		cmocka_unit_test(wrong_filters_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
