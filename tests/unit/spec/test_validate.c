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
	char paths[128][80];
	char sections[128][64];
	int violations, warnings;
};

static void collect(void *userdata, const struct rt_spec_finding *finding)
{
	struct findings *all = userdata;
	int at = all->violations + all->warnings;

	assert_true(at < 128);
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

/* One violation of every kind that the loader knows, in one document. */
static const char every_violation[] =
	"{'ociVersion':'x','root':5,'hostname':'h','domainname':7,"
	"'process':{'terminal':1,'cwd':'rel','args':[],'env':['A','B=1'],'user':{'uid':'x','gid':-1,'umask':512,'additionalGids':[1,'y']},"
	"'consoleSize':{'height':70000,'width':1},'rlimits':[{'type':'RLIMIT_X','soft':1,'hard':1},{'type':'RLIMIT_CORE','soft':2,'hard':1},"
	"{'type':'RLIMIT_CPU','hard':1},{'type':'RLIMIT_AS','soft':1,'hard':1},{'type':'RLIMIT_AS','soft':1,'hard':1}],"
	"'noNewPrivileges':'x','apparmorProfile':1,'selinuxLabel':1,'oomScoreAdj':5000,'capabilities':{'bounding':'x','ambient':[1]},"
	"'scheduler':{'policy':'SCHED_X'},'ioPriority':{'class':'IOPRIO_CLASS_X','priority':9},'execCPUAffinity':{'initial':'a-b'}},"
	"'mounts':[{},{'destination':'/a','options':[1]},{'destination':'/b','uidMappings':[{'containerID':0,'hostID':0,'size':1}]},3],"
	"'hooks':{'prestart':[{'path':'rel'}],'poststop':[{'path':'/a','timeout':0}],'poststart':[{}]},'annotations':{'a':1},"
	"'linux':{'namespaces':[{'type':'x'},{'type':'ipc'},{'type':'ipc'},{'type':'network','path':'rel'},{'type':'mount'}],"
	"'uidMappings':[{'containerID':0,'hostID':0,'size':0}],'gidMappings':[{'containerID':0,'hostID':0,'size':1}],"
	"'timeOffsets':{'realtime':{},'monotonic':{'nanosecs':2000000000}},'devices':[{'type':'z','path':'/x'},{'type':'c','path':'rel','major':1,"
	"'minor':1},{'type':'c','path':'/x','major':9999,'minor':1,'fileMode':9999999}],'netDevices':{'a/b':{},'eth0':{'name':'c d'}},"
	"'cgroupsPath':1,'sysctl':{'vm.x':'1','..':'2'},'rootfsPropagation':'sideways','maskedPaths':['rel'],'readonlyPaths':['rel'],"
	"'mountLabel':1,'intelRdt':{'closID':'a/b'},'memoryPolicy':{'mode':'MPOL_X','nodes':'z'},'personality':{'domain':'X'},"
	"'resources':{'devices':[{'allow':true,'access':'x'},{'access':'r'}],'memory':{'limit':-9,'swappiness':200},'cpu':{'shares':-1,"
	"'idle':7,'cpus':'x'},'pids':{'limit':'x'},'blockIO':{'weight':5,'weightDevice':[{'major':1,'minor':1}],'throttleReadBpsDevice':[{"
	"'major':1,'minor':1}]},'hugepageLimits':[{'pageSize':'x','limit':1}],'network':{'classID':-1,'priorities':[{'name':'a'}]},"
	"'rdma':{'a':{}},'unified':{'a/b':'1'}},"
	"'seccomp':{'defaultAction':'SCMP_ACT_X','architectures':['X'],'flags':['X'],'listenerMetadata':'m','syscalls':[{'names':[],"
	"'action':'SCMP_ACT_ALLOW'},{'names':['a'],'action':'SCMP_ACT_ALLOW','errnoRet':1},{'names':['a'],'action':'X'},{'names':['a'],'action':"
	"'SCMP_ACT_ERRNO','errnoRet':9999,'args':[{'index':6,'value':1,'op':'SCMP_CMP_EQ'},{'index':0,'value':1,'op':'X'},{'op':'SCMP_CMP_EQ'}]},"
	"{'names':['write'],'action':'SCMP_ACT_NOTIFY'}]}}}";

static void an_audit_tells_every_violation_with_its_section(void **state)
{
	static const char *const expected[][2] = {
		{"ociVersion", "config.md#specification-version"},
		{"root", "config.md#root"},
		{"hostname", "config.md#hostname"},
		{"domainname", "config.md#domainname"},
		{"process.terminal", "config.md#process"},
		{"process.cwd", "config.md#process"},
		{"process.args", "config.md#process"},
		{"process.env[0]", "config.md#process"},
		{"process.consoleSize", "config.md#process"},
		{"process.user.uid", "config.md#user"},
		{"process.user.gid", "config.md#user"},
		{"process.user.umask", "config.md#user"},
		{"process.user.additionalGids[1]", "config.md#user"},
		{"process.rlimits[0].type", "config.md#posix-process"},
		{"process.rlimits[1].soft", "config.md#posix-process"},
		{"process.rlimits[2].soft", "config.md#posix-process"},
		{"process.rlimits[4].type", "config.md#posix-process"},
		{"process.noNewPrivileges", "config.md#linux-process"},
		{"process.apparmorProfile", "config.md#linux-process"},
		{"process.selinuxLabel", "config.md#linux-process"},
		{"process.oomScoreAdj", "config.md#linux-process"},
		{"process.capabilities.bounding", "config.md#linux-process"},
		{"process.capabilities.ambient[0]", "config.md#linux-process"},
		{"process.scheduler.policy", "config.md#linux-process"},
		{"process.ioPriority.class", "config.md#linux-process"},
		{"process.ioPriority.priority", "config.md#linux-process"},
		{"process.execCPUAffinity.initial", "config.md#linux-process"},
		{"mounts[0].destination", "config.md#mounts"},
		{"mounts[1].options[0]", "config.md#mounts"},
		{"mounts[2].gidMappings", "config.md#mounts"},
		{"mounts[3]", "config.md#mounts"},
		{"hooks.prestart[0].path", "config.md#posix-platform-hooks"},
		{"hooks.poststop[0].timeout", "config.md#posix-platform-hooks"},
		{"hooks.poststart[0].path", "config.md#posix-platform-hooks"},
		{"annotations.a", "config.md#annotations"},
		{"linux.namespaces[0].type", "config-linux.md#namespaces"},
		{"linux.namespaces[2].type", "config-linux.md#namespaces"},
		{"linux.namespaces[3].path", "config-linux.md#namespaces"},
		{"linux.uidMappings[0].size", "config-linux.md#user-namespace-mappings"},
		{"linux.gidMappings", "config-linux.md#user-namespace-mappings"},
		{"linux.timeOffsets.realtime", "config-linux.md#offset-for-time-namespace"},
		{"linux.timeOffsets.monotonic.nanosecs", "config-linux.md#offset-for-time-namespace"},
		{"linux.timeOffsets", "config-linux.md#offset-for-time-namespace"},
		{"linux.devices[0].type", "config-linux.md#devices"},
		{"linux.devices[1].path", "config-linux.md#devices"},
		{"linux.devices[2].major", "config-linux.md#devices"},
		{"linux.devices[2].fileMode", "config-linux.md#devices"},
		{"linux.netDevices.a/b", "config-linux.md#network-devices"},
		{"linux.netDevices.eth0.name", "config-linux.md#network-devices"},
		{"linux.cgroupsPath", "config-linux.md#cgroups-path"},
		{"linux.sysctl.vm.x", "config-linux.md#sysctl"},
		{"linux.sysctl...", "config-linux.md#sysctl"},
		{"linux.rootfsPropagation", "config-linux.md#rootfs-mount-propagation"},
		{"linux.maskedPaths[0]", "config-linux.md#masked-paths"},
		{"linux.readonlyPaths[0]", "config-linux.md#readonly-paths"},
		{"linux.mountLabel", "config-linux.md#mount-label"},
		{"linux.intelRdt.closID", "config-linux.md#intelrdt"},
		{"linux.memoryPolicy.mode", "config-linux.md#memory-policy"},
		{"linux.memoryPolicy.nodes", "config-linux.md#memory-policy"},
		{"linux.personality.domain", "config-linux.md#personality"},
		{"linux.resources.devices[0].access", "config-linux.md#allowed-device-list"},
		{"linux.resources.devices[1].allow", "config-linux.md#allowed-device-list"},
		{"linux.resources.memory.limit", "config-linux.md#memory"},
		{"linux.resources.memory.swappiness", "config-linux.md#memory"},
		{"linux.resources.cpu.shares", "config-linux.md#cpu"},
		{"linux.resources.cpu.idle", "config-linux.md#cpu"},
		{"linux.resources.cpu.cpus", "config-linux.md#cpu"},
		{"linux.resources.pids.limit", "config-linux.md#pids"},
		{"linux.resources.blockIO.weight", "config-linux.md#block-io"},
		{"linux.resources.blockIO.weightDevice[0]", "config-linux.md#block-io"},
		{"linux.resources.blockIO.throttleReadBpsDevice[0].rate", "config-linux.md#block-io"},
		{"linux.resources.hugepageLimits[0].pageSize", "config-linux.md#huge-page-limits"},
		{"linux.resources.network.classID", "config-linux.md#network"},
		{"linux.resources.network.priorities[0].priority", "config-linux.md#network"},
		{"linux.resources.rdma.a", "config-linux.md#rdma"},
		{"linux.resources.unified.a/b", "config-linux.md#unified"},
		{"linux.seccomp.defaultAction", "config-linux.md#seccomp"},
		{"linux.seccomp.architectures[0]", "config-linux.md#seccomp"},
		{"linux.seccomp.flags[0]", "config-linux.md#seccomp"},
		{"linux.seccomp.listenerMetadata", "config-linux.md#seccomp"},
		{"linux.seccomp.listenerPath", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[0].names", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[1].errnoRet", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[2].action", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[3].errnoRet", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[3].args[0].index", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[3].args[1].op", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[3].args[2].index", "config-linux.md#seccomp"},
		{"linux.seccomp.syscalls[4].action", "config-linux.md#seccomp"},
	};
	struct findings *all = calloc(1, sizeof(*all));

	audit(every_violation, all);
	for (size_t i = 0; i < RT_ARRAY_SIZE(expected); i++) {
		int at = 0;

		while (at < all->violations + all->warnings && strcmp(all->paths[at], expected[i][0]) != 0)
			at++;
		if (at == all->violations + all->warnings)
			fail_msg("'%s' isn't told", expected[i][0]);
		assert_string_equal(all->sections[at], expected[i][1]);
	}
	/* None is told twice but for what one word brings about. */
	assert_in_range(all->violations, RT_ARRAY_SIZE(expected), RT_ARRAY_SIZE(expected) + 8);
	free(all);
}

static size_t mounts_seen;

static void note_mounts(void *userdata, const struct rt_spec *spec)
{
	mounts_seen = spec->mount_count;
}

static void an_audit_hands_over_what_could_be_read(void **state)
{
	_cleanup_free_ char *text = with_double_quotes(CONFIG(",'hostname':'x','mounts':[{'destination':'/a'}]"));
	struct findings *all = calloc(1, sizeof(*all));
	const struct rt_spec_visitor visitor = {.found = collect, .userdata = all, .read = note_mounts};

	assert_null(rt_spec_audit(text, strlen(text), "test", &visitor));
	assert_int_equal(all->violations, 1);
	assert_int_equal(mounts_seen, 1);
	free(all);
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
		cmocka_unit_test(an_audit_tells_every_violation_with_its_section),
		cmocka_unit_test(an_audit_hands_over_what_could_be_read),
		cmocka_unit_test(an_audit_of_a_good_config_finds_nothing),
		cmocka_unit_test(an_audit_of_no_document_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
