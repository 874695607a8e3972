#include "tests/unit/spec/spec_test.h"

#define MAPS                                                                                                           \
	"'uidMappings':[{'containerID':0,'hostID':1000,'size':10}],'gidMappings':[{'containerID':0,'hostID':1000,'"    \
	"size':10}]"

static void namespaces_are_known_and_given_once(void **state)
{
	static const struct refusal list[] = {
		{LINUX("'namespaces':[{}]"), "'linux.namespaces[0].type' is required"},
		{LINUX("'namespaces':[{'type':'x'}]"),
		 "'linux.namespaces[0].type' must be pid, network, mount, ipc, uts, user, cgroup or time"},
		{LINUX("'namespaces':[{'type':'pid'},{'type':'pid'}]"),
		 "'linux.namespaces[1].type' is given twice, 'pid'"},
		{LINUX("'namespaces':[{'type':'pid','path':'x'}]"),
		 "'linux.namespaces[0].path' must be an absolute path"},
	};

	assert_all_refused(list);
}

static void names_need_a_uts_namespace(void **state)
{
	assert_refused(CONFIG(",'hostname':'a'"), "'hostname' needs a uts namespace");
	assert_refused(CONFIG(",'domainname':'a'"), "'domainname' needs a uts namespace");
	assert_refused(CONFIG(",'hostname':'0123456789012345678901234567890123456789012345678901234567890123x',"
			      "'linux':{'namespaces':[{'type':'uts'}]}"),
		       "'hostname' must be at most 64 bytes long");
	rt_spec_free(load(CONFIG(",'hostname':'a','domainname':'b','linux':{'namespaces':[{'type':'uts'}]}")));
	rt_spec_free(load(CONFIG(",'hostname':''")));
}

static void the_ids_of_the_process_have_a_mapping(void **state)
{
#define AS(user) CONFIG(",'process':{'cwd':'/','args':['sh'],'user':{" user "}},'linux':{'namespaces':[{'type':'user'}]," MAPS "}")
	static const struct refusal list[] = {
		{AS("'uid':10"), "'process.user.uid' isn't among the ids of 'linux.uidMappings'"},
		{AS("'gid':10"), "'process.user.gid' isn't among the ids of 'linux.gidMappings'"},
		{AS("'additionalGids':[9,4294967294]"),
		 "'process.user.additionalGids' has an id that isn't in 'linux.gidMappings'"},
	};

	assert_all_refused(list);
	rt_spec_free(load(AS("'uid':9,'gid':9,'additionalGids':[0,9]")));
}

static void maps_go_with_a_user_namespace(void **state)
{
	static const struct refusal list[] = {
		{LINUX(MAPS), "'linux.uidMappings' needs a user namespace"},
		{LINUX("'namespaces':[{'type':'user'}]"), "'linux.uidMappings' is required for a new user namespace"},
		{LINUX("'namespaces':[{'type':'user'}],'uidMappings':[{'containerID':0,'hostID':0,'size':1}]"),
		 "'linux.gidMappings' is required for a new user namespace"},
	};

	assert_all_refused(list);
	rt_spec_free(load(LINUX("'namespaces':[{'type':'user','path':'/proc/1/ns/user'}]")));
	/* As containerd and CRI-O write it; whether the maps are those of the namespace is for whoever joins it. */
	rt_spec_free(load(LINUX("'namespaces':[{'type':'user','path':'/proc/1/ns/user'}]," MAPS)));
}

static void masks_need_a_mount_namespace(void **state)
{
	static const struct refusal list[] = {
		{LINUX("'maskedPaths':['/proc/kcore']"), "'linux.maskedPaths' needs a mount namespace"},
		{LINUX("'readonlyPaths':['/proc/sys']"), "'linux.readonlyPaths' needs a mount namespace"},
		{LINUX("'namespaces':[{'type':'mount'}],'maskedPaths':['proc']"),
		 "'linux.maskedPaths[0]' must be an absolute path"},
		{LINUX("'rootfsPropagation':'odd'"),
		 "'linux.rootfsPropagation' must be shared, slave, private, unbindable, "},
	};

	assert_all_refused(list);
	rt_spec_free(load(LINUX("'maskedPaths':[],'readonlyPaths':[]")));
}

static void sysctls_belong_to_a_namespace_of_the_container(void **state)
{
	static const char *const good[] = {
		"kernel.msgmax",
		"kernel/msgmax",
		"kernel.sem",
		"kernel.shm_rmid_forced",
		"fs.mqueue.msg_max",
		"fs/mqueue/msg_max",
		"net.ipv4.ip_forward",
		"net/ipv4/conf/eth0.100/rp_filter",
		"net.ipv4.conf.eth0/100.rp_filter",
		"kernel.domainname",
	};
	static const struct {
		const char *key, *message;
	} bad[] = {
		{"vm.swappiness", "doesn't belong to a namespace"},
		{"kernel.panic", "doesn't belong to a namespace"},
		{"kernel.hostname", "conflicts with the field 'hostname'"},
		{"net", "doesn't belong to a namespace"},
		{"network.x", "doesn't belong to a namespace"},
		{"fs.mqueue", "doesn't belong to a namespace"},
		{"net/../kernel/panic", "isn't the name of a sysctl"},
		{"net.//.kernel.panic", "isn't the name of a sysctl"},
		{"net..x", "isn't the name of a sysctl"},
		{"net./.x", "isn't the name of a sysctl"},
		{".net.x", "isn't the name of a sysctl"},
		{"net.x.", "isn't the name of a sysctl"},
		{"", "isn't the name of a sysctl"},
	};
	char config[512];

	for (size_t i = 0; i < RT_ARRAY_SIZE(good); i++) {
		snprintf(config, sizeof(config),
			 LINUX("'namespaces':[{'type':'ipc'},{'type':'network'},{'type':'uts'}],'sysctl':{'%s':'1'}"),
			 good[i]);
		rt_spec_free(load(config));
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		snprintf(config, sizeof(config),
			 LINUX("'namespaces':[{'type':'ipc'},{'type':'network'},{'type':'uts'}],'sysctl':{'%s':'1'}"),
			 bad[i].key);
		assert_refused(config, bad[i].message);
	}
	assert_refused(LINUX("'sysctl':{'kernel.sem':'1'}"), "'linux.sysctl.kernel.sem' needs an ipc namespace");
	assert_refused(LINUX("'sysctl':{'net.a':'1'}"), "'linux.sysctl.net.a' needs a network namespace");
	assert_refused(LINUX("'sysctl':{'kernel.domainname':'1'}"),
		       "'linux.sysctl.kernel.domainname' needs a uts namespace");
	assert_refused(LINUX("'sysctl':{'net.a':1}"), "'linux.sysctl.net.a' must be a string");
}

struct findings {
	char paths[32][64];
	char sections[32][64];
	int violations, warnings;
};

static void collect(void *userdata, const struct rt_spec_finding *finding)
{
	struct findings *all = userdata;
	int at = all->violations + all->warnings;

	assert_true(at < 32);
	snprintf(all->paths[at], sizeof(all->paths[at]), "%s", finding->path);
	snprintf(all->sections[at], sizeof(all->sections[at]), "%s", finding->section);
	if (finding->severity == RT_SPEC_VIOLATION)
		all->violations++;
	else
		all->warnings++;
}

static void audit(const char *config, struct findings *all)
{
	_cleanup_free_ char *text = with_double_quotes(config);
	const struct rt_spec_visitor visitor = {collect, all};

	assert_null(rt_spec_audit(text, strlen(text), "test", &visitor));
}

static void an_audit_finds_everything_at_once(void **state)
{
	struct findings all = {.violations = 0};

	audit("{'ociVersion':'1.0.0','process':{'cwd':'x','user':{'uid':0,'gid':0},'rlimits':[{'type':'RLIMIT_X','soft'"
	      ":1,'hard':1}]},"
	      "'root':{},'hostname':'h','mounts':[{'destination':'rel'}],'linux':{'resources':{'memory':{'limit':-9},"
	      "'pids':{'limit':'x'}},'sysctl':{'vm.x':'1'}}}",
	      &all);
	assert_int_equal(all.violations, 7);
	assert_int_equal(all.warnings, 1);
	assert_string_equal(all.paths[0], "process.cwd");
	assert_string_equal(all.sections[0], "config.md#process");
	assert_string_equal(all.paths[1], "process.rlimits[0].type");
	assert_string_equal(all.paths[2], "root.path");
	assert_string_equal(all.paths[3], "mounts[0].destination");
	assert_string_equal(all.paths[4], "linux.resources.memory.limit");
	assert_string_equal(all.sections[5], "config-linux.md#pids");
	assert_string_equal(all.paths[6], "hostname");
	assert_string_equal(all.paths[7], "linux.sysctl.vm.x");
	assert_string_equal(all.sections[7], "config-linux.md#sysctl");
}

static void an_audit_of_a_good_config_finds_nothing(void **state)
{
	struct findings all = {.violations = 0};

	audit(CONFIG(",'process':{'cwd':'/','args':['a'],'user':{'uid':0,'gid':0}}"), &all);
	assert_int_equal(all.violations + all.warnings, 0);
}

static void an_audit_of_no_document_fails(void **state)
{
	struct findings all = {.violations = 0};
	const struct rt_spec_visitor visitor = {collect, &all};
	_cleanup_error_ struct rt_error *err = rt_spec_audit("{", 1, "test", &visitor);

	assert_non_null(err);
	assert_int_equal(all.violations, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(namespaces_are_known_and_given_once),
		cmocka_unit_test(names_need_a_uts_namespace),
		cmocka_unit_test(the_ids_of_the_process_have_a_mapping),
		cmocka_unit_test(maps_go_with_a_user_namespace),
		cmocka_unit_test(masks_need_a_mount_namespace),
		cmocka_unit_test(sysctls_belong_to_a_namespace_of_the_container),
		cmocka_unit_test(an_audit_finds_everything_at_once),
		cmocka_unit_test(an_audit_of_a_good_config_finds_nothing),
		cmocka_unit_test(an_audit_of_no_document_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
