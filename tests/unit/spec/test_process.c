#include "tests/unit/spec/spec_test.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>

static void a_process_has_what_its_config_says(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(CONFIG(
		",'process':{'terminal':true,'consoleSize':{'height':25,'width':80},'cwd':'/work','args':['sh','-c'],"
		"'env':['A=1','B='],'user':{'uid':1,'gid':2,'umask':63,'additionalGids':[5,4294967294]},"
		"'noNewPrivileges':true,'apparmorProfile':'p','selinuxLabel':'l','oomScoreAdj':-500,"
		"'execCPUAffinity':{'initial':'0-3,7','final':'1'}}"));
	const struct rt_spec_process *process = &spec->process;

	assert_true(spec->has_process && process->terminal);
	assert_int_equal(process->console_size.height, 25);
	assert_int_equal(process->console_size.width, 80);
	assert_string_equal(process->cwd, "/work");
	assert_int_equal(process->arg_count, 2);
	assert_null(process->args[2]);
	assert_string_equal(process->env[1], "B=");
	assert_int_equal(process->user.gid, 2);
	assert_true(process->user.has_umask);
	assert_int_equal(process->user.umask, 077);
	assert_int_equal(process->user.additional_gid_count, 2);
	assert_int_equal(process->user.additional_gids[1], 4294967294);
	assert_true(process->no_new_privileges);
	assert_string_equal(process->apparmor_profile, "p");
	assert_string_equal(process->selinux_label, "l");
	assert_int_equal(*process->oom_score_adj, -500);
	assert_string_equal(process->cpu_affinity_initial, "0-3,7");
	assert_string_equal(process->cpu_affinity_final, "1");
}

static void what_a_process_leaves_out_has_a_meaning(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(CONFIG(",'process':{'cwd':'/','apparmorProfile':''}"));

	assert_null(spec->process.args);
	assert_non_null(spec->process.env);
	assert_null(spec->process.env[0]);
	assert_null(spec->process.oom_score_adj);
	assert_null(spec->process.apparmor_profile);
	assert_false(spec->process.capabilities.present);
	assert_false(spec->process.scheduler.present);
	assert_false(spec->process.has_io_priority);
	assert_false(spec->process.user.has_umask);
}

static void wrong_processes_are_refused(void **state)
{
	static const struct refusal list[] = {
		{CONFIG(",'process':[]"), "'process' must be an object"},
		{CONFIG(",'process':{'args':['a']}"), "'process.cwd' is required"},
		{CONFIG(",'process':{'cwd':'a'}"), "'process.cwd' must be an absolute path, not 'a'"},
		{CONFIG(",'process':{'cwd':'/','args':[]}"), "'process.args' must not be empty"},
		{CONFIG(",'process':{'cwd':'/','args':'sh'}"), "'process.args' must be an array"},
		{CONFIG(",'process':{'cwd':'/','args':['a',1]}"), "'process.args[1]' must be a string"},
		{CONFIG(",'process':{'cwd':'/','args':['a\\u0000']}"), "u0000 is not allowed"},
		{PROCESS(",'env':['A']"), "'process.env[0]' must be of the form NAME=value"},
		{PROCESS(",'env':['A=1','=x']"), "'process.env[1]' must be of the form NAME=value"},
		{PROCESS(",'user':{'uid':'root'}"), "'process.user.uid' must be a whole number"},
		{PROCESS(",'user':{'uid':-1}"), "'process.user.uid' must not be negative"},
		{PROCESS(",'user':{'gid':4294967296}"), "'process.user.gid' must be at most 4294967295"},
		/* -1, which setresuid(2) takes for "stay who you are". */
		{PROCESS(",'user':{'uid':4294967295}"), "'process.user.uid' must be at most 4294967294"},
		{PROCESS(",'user':{'gid':4294967295}"), "'process.user.gid' must be at most 4294967294"},
		{PROCESS(",'user':{'additionalGids':[4294967295]}"),
		 "'process.user.additionalGids[0]' must be at most 4294967294"},
		{PROCESS(",'user':{'umask':512}"), "'process.user.umask' must be at most 0777"},
		{PROCESS(",'user':{'additionalGids':[1,'x']}"),
		 "'process.user.additionalGids[1]' must be a whole number"},
		{PROCESS(",'user':{'additionalGids':[4294967296]}"),
		 "'process.user.additionalGids[0]' must be at most"},
		{PROCESS(",'consoleSize':{'height':1}"), "'process.consoleSize.width' is required"},
		{PROCESS(",'consoleSize':{'height':1,'width':70000}"), "'process.consoleSize' must be at most 65535"},
		{PROCESS(",'oomScoreAdj':1001"), "'process.oomScoreAdj' must be between -1000 and 1000"},
		{PROCESS(",'execCPUAffinity':{'initial':'3-1'}"),
		 "'process.execCPUAffinity.initial' must be a list of CPUs"},
		{PROCESS(",'execCPUAffinity':{'final':'1,'}"),
		 "'process.execCPUAffinity.final' must be a list of CPUs"},
		{PROCESS(",'execCPUAffinity':{'final':'99999999999999999999'}"), "must be a list of CPUs"},
		{PROCESS(",'ioPriority':{'class':'IOPRIO_CLASS_BE'}"), "'process.ioPriority.priority' is required"},
		{PROCESS(",'ioPriority':{'class':'X','priority':1}"),
		 "'process.ioPriority.class' must be IOPRIO_CLASS_RT, "},
		{PROCESS(",'ioPriority':{'class':'IOPRIO_CLASS_RT','priority':8}"),
		 "priority' must be between 0 and 7"},
	};

	assert_all_refused(list);
}

static void capabilities_are_sets(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(PROCESS(",'capabilities':{'bounding':['CAP_KILL','CAP_SYS_ADMIN'],'ambient':['CAP_CHOWN']}"));

	assert_true(spec->process.capabilities.present);
	assert_int_equal(spec->process.capabilities.bounding, 1 << CAP_KILL | 1 << CAP_SYS_ADMIN);
	assert_int_equal(spec->process.capabilities.ambient, 1 << CAP_CHOWN);
	assert_int_equal(spec->process.capabilities.effective, 0);
	assert_refused(PROCESS(",'capabilities':{'bounding':[7]}"),
		       "'process.capabilities.bounding[0]' must be a string");
}

static void rlimits_reach_up_to_infinity(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(PROCESS(",'rlimits':[{'type':'RLIMIT_CORE','soft':0,'hard':18446744073709551615},"
			     "{'type':'RLIMIT_NOFILE','soft':9223372036854775808,'hard':18446744073709551614}]"));

	assert_int_equal(spec->process.rlimit_count, 2);
	assert_int_equal(spec->process.rlimits[0].resource, RLIMIT_CORE);
	assert_true(spec->process.rlimits[0].hard == RLIM_INFINITY);
	assert_string_equal(spec->process.rlimits[1].name, "RLIMIT_NOFILE");
	assert_true(spec->process.rlimits[1].soft == UINT64_C(9223372036854775808));
	assert_true(spec->process.rlimits[1].hard == UINT64_C(18446744073709551614));
}

static void wrong_rlimits_are_refused(void **state)
{
	static const struct refusal list[] = {
		{PROCESS(",'rlimits':[{'type':'RLIMIT_NOPE','soft':1,'hard':1}]"),
		 "'process.rlimits[0].type' must be RLIMIT_AS"},
		{PROCESS(",'rlimits':[{'type':'RLIMIT_AS','hard':1}]"), "'process.rlimits[0].soft' is required"},
		{PROCESS(",'rlimits':[{'type':'RLIMIT_AS','soft':2,'hard':1}]"),
		 "'process.rlimits[0].soft' must not be above"},
		{PROCESS(",'rlimits':[{'type':'RLIMIT_AS','soft':-1,'hard':1}]"), "soft' must not be negative"},
		{PROCESS(",'rlimits':[{'type':'RLIMIT_AS','soft':1,'hard':18446744073709551616}]"),
		 "'process.rlimits[0].hard' must be at most 18446744073709551615"},
		{PROCESS(",'rlimits':[{'type':'RLIMIT_AS','soft':1,'hard':1},{'type':'RLIMIT_AS','soft':1,'hard':1}]"),
		 "'process.rlimits[1].type' is given twice, RLIMIT_AS"},
	};

	assert_all_refused(list);
}

static void schedulers_follow_the_kernels_rules(void **state)
{
	static const struct refusal list[] = {
		{PROCESS(",'scheduler':{}"), "'process.scheduler.policy' is required"},
		{PROCESS(",'scheduler':{'policy':'SCHED_X'}"), "'process.scheduler.policy' must be SCHED_OTHER, "},
		{PROCESS(",'scheduler':{'policy':'SCHED_OTHER','nice':20}"),
		 "'process.scheduler.nice' must be between"},
		{PROCESS(",'scheduler':{'policy':'SCHED_OTHER','priority':1}"), "priority' is only for SCHED_FIFO"},
		{PROCESS(",'scheduler':{'policy':'SCHED_RR','priority':100}"), "priority' must be between 1 and 99"},
		{PROCESS(",'scheduler':{'policy':'SCHED_FIFO'}"), "priority' must be between 1 and 99 for SCHED_FIFO"},
		{PROCESS(",'scheduler':{'policy':'SCHED_BATCH','runtime':1}"), "only for SCHED_DEADLINE"},
		{PROCESS(",'scheduler':{'policy':'SCHED_DEADLINE','runtime':3,'deadline':2}"),
		 "runtime' must not be above"},
		{PROCESS(",'scheduler':{'policy':'SCHED_DEADLINE','runtime':1,'deadline':3,'period':2}"),
		 "deadline' must not be above the period"},
		{PROCESS(",'scheduler':{'policy':'SCHED_IDLE','flags':['X']}"), "'process.scheduler.flags[0]' must be"},
	};
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(PROCESS(",'scheduler':{'policy':'SCHED_FIFO','priority':7,'flags':['SCHED_FLAG_RECLAIM',"
			     "'SCHED_FLAG_RESET_ON_FORK']},'ioPriority':{'class':'IOPRIO_CLASS_IDLE','priority':0}"));

	assert_int_equal(spec->process.scheduler.policy, SCHED_FIFO);
	assert_int_equal(spec->process.scheduler.priority, 7);
	assert_int_equal(spec->process.scheduler.flags, 3);
	assert_true(spec->process.has_io_priority);
	assert_int_equal(spec->process.io_priority_class, 3);
	assert_all_refused(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_has_what_its_config_says),
		cmocka_unit_test(what_a_process_leaves_out_has_a_meaning),
		cmocka_unit_test(wrong_processes_are_refused),
		cmocka_unit_test(capabilities_are_sets),
		cmocka_unit_test(rlimits_reach_up_to_infinity),
		cmocka_unit_test(wrong_rlimits_are_refused),
		cmocka_unit_test(schedulers_follow_the_kernels_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
