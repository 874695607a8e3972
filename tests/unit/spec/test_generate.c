/* Each flag of `rt spec generate` changes exactly its field: the document before, with that field as expected, is the document
 * after. */
#include "tests/unit/spec/spec_test.h"

#include "runtime/spec/edit.h"
#include "runtime/spec/generate.h"

static const char *const names[] = {
#define FLAG(stage, kind, name, argument, function, data, help) name,
#include "runtime/spec/generate_flags.h"
};

/* A valid config with something in every array, and fields nobody knows. */
static const char before[] =
	"{'ociVersion':'1.3.0','future':{'kept':[1,2.5,null]},'root':{'path':'rootfs','future':1},"
	"'process':{'cwd':'/','args':['sh','-c','x'],'env':['A=1','AB=2'],'user':{'uid':0,'gid':0,'future':2},'future':3,"
	"'capabilities':{'bounding':['CAP_KILL','CAP_FUTURE'],'effective':['CAP_KILL'],'permitted':['CAP_KILL'],"
	"'inheritable':['CAP_KILL'],'ambient':['CAP_KILL']},"
	"'rlimits':[{'type':'RLIMIT_CORE','hard':18446744073709551615,'soft':1,'future':4}]},"
	"'mounts':[{'destination':'/proc','type':'proc','source':'proc','future':5},{'destination':'/sys/fs/cgroup','type':'cgroup'}],"
	"'hooks':{'future':[],'prestart':[{'path':'/a','args':['a']}],'createRuntime':[{'path':'/a'}],'createContainer':[{'path':'/a'}],"
	"'startContainer':[{'path':'/a'}],'poststart':[{'path':'/a'}],'poststop':[{'path':'/a'}]},"
	"'annotations':{'x.y':'z'},"
	"'linux':{'future':6,'namespaces':[{'type':'pid'},{'type':'uts'},{'type':'mount'},{'type':'network','path':'/n'},{'type':'user'},"
	"{'type':'time'}],"
	"'uidMappings':[{'containerID':0,'hostID':1000,'size':10}],'gidMappings':[{'containerID':0,'hostID':1000,'size':10}],"
	"'devices':[{'type':'c','path':'/dev/x','major':1,'minor':3,'future':7}],"
	"'resources':{'future':8,'devices':[{'allow':false,'access':'rwm'}],'hugepageLimits':[{'pageSize':'2MB','limit':1}],"
	"'network':{'priorities':[{'name':'lo','priority':1}]},"
	"'blockIO':{'weightDevice':[{'major':8,'minor':0,'weight':10}],'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':1}]}},"
	"'seccomp':{'defaultAction':'SCMP_ACT_ERRNO','architectures':['SCMP_ARCH_X86_64'],'syscalls':[{'names':['read','write'],"
	"'action':'SCMP_ACT_ALLOW'},{'names':['mount'],'action':'SCMP_ACT_KILL'},{'names':['clone3'],'action':'SCMP_ACT_ERRNO',"
	"'errnoRet':38},{'names':['umount2'],'action':'SCMP_ACT_ERRNO'}]},"
	"'maskedPaths':['/proc/kcore'],'readonlyPaths':['/proc/sys']}}";

struct change {
	const char *path, *value; /* value NULL: gone */
};

struct flag_case {
	const char *flag, *argument;
	struct change changes[4];
};

#define CAP(set)                                                                                                       \
	{ "process-cap-add-" set, "sys_admin", { { "process.capabilities." set, "['CAP_KILL','CAP_SYS_ADMIN']" } } },        \
		{ "process-cap-drop-" set, "CAP_KILL", { { "process.capabilities." set, "[]" } } }
#define SECCOMP_RULES(more)                                                                                            \
	"[{'names':['read','write'],'action':'SCMP_ACT_ALLOW'},{'names':['mount'],'action':'SCMP_ACT_KILL'},"            \
	"{'names':['clone3'],'action':'SCMP_ACT_ERRNO','errnoRet':38},{'names':['umount2'],'action':'SCMP_ACT_ERRNO'}" more "]"
#define RULES "linux.seccomp.syscalls"
#define BLOCK_IO "linux.resources.blockIO."

static const struct flag_case cases[] = {
	{ "args", "ls", { { "process.args", "['ls']" } } },
	{ "domainname", "d", { { "domainname", "'d'" } } },
	{ "env", "A=3=4", { { "process.env", "['A=3=4','AB=2']" } } },
	{ "env", "C=", { { "process.env", "['A=1','AB=2','C=']" } } },
	{ "env-file", "# no\n\n  A=7\r\nD=8", { { "process.env", "['A=7','AB=2','D=8']" } } },
	{ "hostname", "h", { { "hostname", "'h'" } } },
	{ "label", "a.b=c=d", { { "annotations", "{'x.y':'z','a.b':'c=d'}" } } },
	{ "linux-apparmor", "p", { { "process.apparmorProfile", "'p'" } } },
	{ "linux-blkio-leaf-weight", "20", { { BLOCK_IO "leafWeight", "20" } } },
	{ "linux-blkio-leaf-weight-device", "8:0:30",
	  { { BLOCK_IO "weightDevice", "[{'major':8,'minor':0,'weight':10,'leafWeight':30}]" } } },
	{ "linux-blkio-read-bps-device", "8:0:-1", { { BLOCK_IO "throttleReadBpsDevice", "[]" } } },
	{ "linux-blkio-read-bps-device", "8:0:7", { { BLOCK_IO "throttleReadBpsDevice", "[{'major':8,'minor':0,'rate':7}]" } } },
	{ "linux-blkio-read-iops-device", "8:1:7", { { BLOCK_IO "throttleReadIOPSDevice", "[{'major':8,'minor':1,'rate':7}]" } } },
	{ "linux-blkio-weight", "20", { { BLOCK_IO "weight", "20" } } },
	{ "linux-blkio-weight-device", "8:0:-1", { { BLOCK_IO "weightDevice", "[]" } } },
	{ "linux-blkio-write-bps-device", "8:1:7", { { BLOCK_IO "throttleWriteBpsDevice", "[{'major':8,'minor':1,'rate':7}]" } } },
	{ "linux-blkio-write-iops-device", "8:1:7", { { BLOCK_IO "throttleWriteIOPSDevice", "[{'major':8,'minor':1,'rate':7}]" } } },
	{ "linux-cgroups-path", "/a/b", { { "linux.cgroupsPath", "'/a/b'" } } },
	{ "linux-cpu-burst", "9", { { "linux.resources.cpu.burst", "9" } } },
	{ "linux-cpu-idle", "1", { { "linux.resources.cpu.idle", "1" } } },
	{ "linux-cpu-period", "100000", { { "linux.resources.cpu.period", "100000" } } },
	{ "linux-cpu-quota", "-1", { { "linux.resources.cpu.quota", "-1" } } },
	{ "linux-cpu-shares", "512", { { "linux.resources.cpu.shares", "512" } } },
	{ "linux-cpus", "0-1", { { "linux.resources.cpu.cpus", "'0-1'" } } },
	{ "linux-device-add", "c:10:229:/dev/fuse:fileMode=438:uid=1:gid=2",
	  { { "linux.devices", "[{'type':'c','path':'/dev/x','major':1,'minor':3,'future':7},"
			       "{'type':'c','path':'/dev/fuse','major':10,'minor':229,'fileMode':438,'uid':1,'gid':2}]" } } },
	{ "linux-device-cgroup-add", "allow,type=c,major=10,minor=-1",
	  { { "linux.resources.devices",
	      "[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':10,'minor':-1,'access':'rwm'}]" } } },
	{ "linux-device-cgroup-remove", "deny,access=rwm", { { "linux.resources.devices", "[]" } } },
	{ "linux-device-remove", "/dev/x", { { "linux.devices", "[]" } } },
	{ "linux-device-remove-all", "true", { { "linux.devices", NULL } } },
	{ "linux-disable-oom-kill", "true", { { "linux.resources.memory.disableOOMKiller", "true" } } },
	{ "linux-gidmappings", "5:0:20", { { "linux.gidMappings", "[{'containerID':0,'hostID':5,'size':20}]" } } },
	{ "linux-hugepage-limits-add", "2MB:5", { { "linux.resources.hugepageLimits", "[{'pageSize':'2MB','limit':5}]" } } },
	{ "linux-hugepage-limits-drop", "2MB", { { "linux.resources.hugepageLimits", "[]" } } },
	{ "linux-intelRdt-closid", "c", { { "linux.intelRdt", "{'closID':'c'}" } } },
	{ "linux-intelRdt-l3CacheSchema", "L3:0=f", { { "linux.intelRdt", "{'l3CacheSchema':'L3:0=f'}" } } },
	{ "linux-intelRdt-memBwSchema", "MB:0=5", { { "linux.intelRdt", "{'memBwSchema':'MB:0=5'}" } } },
	{ "linux-masked-paths", "/x", { { "linux.maskedPaths", "['/proc/kcore','/x']" } } },
	{ "linux-masked-paths-remove-all", "true", { { "linux.maskedPaths", NULL } } },
	{ "linux-mem-kernel-limit", "5", { { "linux.resources.memory.kernel", "5" } } },
	{ "linux-mem-kernel-tcp", "5", { { "linux.resources.memory.kernelTCP", "5" } } },
	{ "linux-mem-limit", "512m", { { "linux.resources.memory.limit", "536870912" } } },
	{ "linux-mem-reservation", "3K", { { "linux.resources.memory.reservation", "3072" } } },
	{ "linux-mem-swap", "-1", { { "linux.resources.memory.swap", "-1" } } },
	{ "linux-mem-swappiness", "0", { { "linux.resources.memory.swappiness", "0" } } },
	{ "linux-mems", "0", { { "linux.resources.cpu.mems", "'0'" } } },
	{ "linux-mount-label", "l", { { "linux.mountLabel", "'l'" } } },
	{ "linux-namespace-add", "net",
	  { { "linux.namespaces",
	      "[{'type':'pid'},{'type':'uts'},{'type':'mount'},{'type':'network'},{'type':'user'},{'type':'time'}]" } } },
	{ "linux-namespace-add", "ipc:/proc/1/ns/ipc",
	  { { "linux.namespaces", "[{'type':'pid'},{'type':'uts'},{'type':'mount'},{'type':'network','path':'/n'},{'type':'user'},"
				  "{'type':'time'},{'type':'ipc','path':'/proc/1/ns/ipc'}]" } } },
	{ "linux-namespace-remove", "pid",
	  { { "linux.namespaces",
	      "[{'type':'uts'},{'type':'mount'},{'type':'network','path':'/n'},{'type':'user'},{'type':'time'}]" } } },
	{ "linux-namespace-remove-all", "true", { { "linux.namespaces", NULL } } },
	{ "linux-network-classid", "7", { { "linux.resources.network.classID", "7" } } },
	{ "linux-network-priorities", "eth0:3",
	  { { "linux.resources.network.priorities", "[{'name':'lo','priority':1},{'name':'eth0','priority':3}]" } } },
	{ "linux-network-priorities", "lo:-1", { { "linux.resources.network.priorities", "[]" } } },
	{ "linux-oom-score-adj", "-5", { { "process.oomScoreAdj", "-5" } } },
	{ "linux-personality", "LINUX32", { { "linux.personality", "{'domain':'LINUX32'}" } } },
	{ "linux-pids-limit", "-1", { { "linux.resources.pids", "{'limit':-1}" } } },
	{ "linux-rdma", "mlx5:2:", { { "linux.resources.rdma", "{'mlx5':{'hcaHandles':2}}" } } },
	{ "linux-readonly-paths", "/x", { { "linux.readonlyPaths", "['/proc/sys','/x']" } } },
	{ "linux-readonly-paths-remove-all", "true", { { "linux.readonlyPaths", NULL } } },
	{ "linux-realtime-period", "5", { { "linux.resources.cpu.realtimePeriod", "5" } } },
	{ "linux-realtime-runtime", "4", { { "linux.resources.cpu.realtimeRuntime", "4" } } },
	{ "linux-rootfs-propagation", "rslave", { { "linux.rootfsPropagation", "'rslave'" } } },
	{ "linux-seccomp-allow", "mount,open",
	  { { RULES, "[{'names':['read','write','mount','open'],'action':'SCMP_ACT_ALLOW'},{'names':['clone3'],'action':"
		     "'SCMP_ACT_ERRNO','errnoRet':38},{'names':['umount2'],'action':'SCMP_ACT_ERRNO'}]" } } },
	{ "linux-seccomp-allow", "socket:0:18446744073709551615:2:NE",
	  { { RULES, SECCOMP_RULES(",{'names':['socket'],'action':'SCMP_ACT_ALLOW','args':[{'index':0,'value':18446744073709551615,"
				   "'valueTwo':2,'op':'SCMP_CMP_NE'}]}") } } },
	{ "linux-seccomp-arch", "x86", { { "linux.seccomp.architectures", "['SCMP_ARCH_X86_64','SCMP_ARCH_X86']" } } },
	{ "linux-seccomp-default", "errno",
	  { { RULES, "[{'names':['read','write'],'action':'SCMP_ACT_ALLOW'},{'names':['mount'],'action':'SCMP_ACT_KILL'},"
		     "{'names':['clone3'],'action':'SCMP_ACT_ERRNO','errnoRet':38}]" } } },
	{ "linux-seccomp-default-force", "kill-process", { { "linux.seccomp.defaultAction", "'SCMP_ACT_KILL_PROCESS'" } } },
	{ "linux-seccomp-errno", "read",
	  { { RULES, "[{'names':['write'],'action':'SCMP_ACT_ALLOW'},{'names':['mount'],'action':'SCMP_ACT_KILL'},"
		     "{'names':['clone3'],'action':'SCMP_ACT_ERRNO','errnoRet':38},{'names':['umount2'],'action':'SCMP_ACT_ERRNO'}]" } } },
	{ "linux-seccomp-kill", "acct",
	  { { RULES, "[{'names':['read','write'],'action':'SCMP_ACT_ALLOW'},{'names':['mount','acct'],'action':'SCMP_ACT_KILL'},"
		     "{'names':['clone3'],'action':'SCMP_ACT_ERRNO','errnoRet':38},{'names':['umount2'],'action':'SCMP_ACT_ERRNO'}]" } } },
	{ "linux-seccomp-kill-process", "acct",
	  { { RULES, SECCOMP_RULES(",{'names':['acct'],'action':'SCMP_ACT_KILL_PROCESS'}") } } },
	{ "linux-seccomp-log", "acct", { { RULES, SECCOMP_RULES(",{'names':['acct'],'action':'SCMP_ACT_LOG'}") } } },
	{ "linux-seccomp-profile", "unconfined", { { "linux.seccomp", NULL } } },
	{ "linux-seccomp-remove", "mount,clone3",
	  { { RULES, "[{'names':['read','write'],'action':'SCMP_ACT_ALLOW'},{'names':['umount2'],'action':'SCMP_ACT_ERRNO'}]" } } },
	{ "linux-seccomp-remove-all", "true", { { RULES, NULL } } },
	{ "linux-seccomp-trace", "acct", { { RULES, SECCOMP_RULES(",{'names':['acct'],'action':'SCMP_ACT_TRACE'}") } } },
	{ "linux-seccomp-trap", "acct", { { RULES, SECCOMP_RULES(",{'names':['acct'],'action':'SCMP_ACT_TRAP'}") } } },
	{ "linux-selinux-label", "l", { { "process.selinuxLabel", "'l'" } } },
	{ "linux-sysctl", "net.core.somaxconn=5", { { "linux.sysctl", "{'net.core.somaxconn':'5'}" } } },
	{ "linux-time-offset", "boottime:-9:5", { { "linux.timeOffsets", "{'boottime':{'secs':-9,'nanosecs':5}}" } } },
	{ "linux-uidmappings", "5:10:20",
	  { { "linux.uidMappings", "[{'containerID':0,'hostID':1000,'size':10},{'containerID':10,'hostID':5,'size':20}]" } } },
	{ "linux-unified", "memory.high=1G", { { "linux.resources.unified", "{'memory.high':'1G'}" } } },
	{ "mount-bind", "/s:/d:ro",
	  { { "mounts", "[{'destination':'/proc','type':'proc','source':'proc','future':5},{'destination':'/sys/fs/cgroup','type':"
			"'cgroup'},{'destination':'/d','type':'bind','source':'/s','options':['ro','rbind']}]" } } },
	{ "mount-cgroups", "no", { { "mounts", "[{'destination':'/proc','type':'proc','source':'proc','future':5}]" } } },
	{ "mount-cgroups", "rw",
	  { { "mounts", "[{'destination':'/proc','type':'proc','source':'proc','future':5},{'destination':'/sys/fs/cgroup','type':"
			"'cgroup','source':'cgroup','options':['nosuid','noexec','nodev','relatime']}]" } } },
	{ "mounts-add", "{\"destination\":\"/proc\",\"type\":\"tmpfs\"}",
	  { { "mounts", "[{'destination':'/proc','type':'tmpfs'},{'destination':'/sys/fs/cgroup','type':'cgroup'}]" } } },
	{ "mounts-remove", "/proc", { { "mounts", "[{'destination':'/sys/fs/cgroup','type':'cgroup'}]" } } },
	{ "mounts-remove-all", "true", { { "mounts", NULL } } },
	{ "oci-version", "1.0.0", { { "ociVersion", "'1.0.0'" } } },
	{ "privileged", "false", { { NULL, NULL } } },
	{ "process-cap-add", "bpf",
	  { { "process.capabilities.bounding", "['CAP_KILL','CAP_FUTURE','CAP_BPF']" },
	    { "process.capabilities.effective", "['CAP_KILL','CAP_BPF']" },
	    { "process.capabilities.permitted", "['CAP_KILL','CAP_BPF']" } } },
	CAP("effective"),
	CAP("permitted"),
	CAP("inheritable"),
	CAP("ambient"),
	{ "process-cap-add-bounding", "CAP_KILL", { { NULL, NULL } } },
	{ "process-cap-drop-bounding", "CAP_KILL", { { "process.capabilities.bounding", "['CAP_FUTURE']" } } },
	{ "process-cap-drop", "CAP_KILL",
	  { { "process.capabilities", "{'bounding':['CAP_FUTURE'],'effective':[],'permitted':[],'inheritable':[],'ambient':[]}" } } },
	{ "process-cap-drop-all", "true", { { "process.capabilities", "{}" } } },
	{ "process-consolesize", "80:25", { { "process.consoleSize", "{'width':80,'height':25}" } } },
	{ "process-cwd", "/tmp", { { "process.cwd", "'/tmp'" } } },
	{ "process-gid", "5", { { "process.user.gid", "5" } } },
	{ "process-groups", "5", { { "process.user.additionalGids", "[5]" } } },
	{ "process-no-new-privileges", "true", { { "process.noNewPrivileges", "true" } } },
	{ "process-rlimits-add", "core:unlimited:2",
	  { { "process.rlimits", "[{'type':'RLIMIT_CORE','hard':18446744073709551615,'soft':2}]" } } },
	{ "process-rlimits-remove", "RLIMIT_CORE", { { "process.rlimits", "[]" } } },
	{ "process-rlimits-remove-all", "true", { { "process.rlimits", NULL } } },
	{ "process-terminal", "true", { { "process.terminal", "true" } } },
	{ "process-tty", "false", { { "process.terminal", "false" } } },
	{ "process-uid", "5", { { "process.user.uid", "5" } } },
	{ "process-umask", "022", { { "process.user.umask", "18" } } },
	{ "rootfs-path", "/r", { { "root.path", "'/r'" } } },
	{ "rootfs-readonly", "true", { { "root.readonly", "true" } } },
	{ "tmpfs", "/tmp:size=1m,mode=1777",
	  { { "mounts", "[{'destination':'/proc','type':'proc','source':'proc','future':5},{'destination':'/sys/fs/cgroup','type':"
			"'cgroup'},{'destination':'/tmp','type':'tmpfs','source':'tmpfs','options':['size=1m','mode=1777']}]" } } },
};

static json_t *parsed(const char *single_quoted)
{
	_cleanup_free_ char *text = with_double_quotes(single_quoted);
	json_t *value = NULL;
	_cleanup_error_ struct rt_error *err = rt_json_parse(text, strlen(text), "test", &value);

	if (err)
		fail_msg("%s\n%s", err->message, single_quoted);
	return value;
}

static size_t flag_index(const char *name)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		if (rt_str_equal(names[i], name))
			return i;
	fail_msg("no flag '%s'", name);
	return 0;
}

static struct rt_error *apply(json_t *config, bool fresh, const char *const *words)
{
	struct rt_generate_flag flags[16];
	size_t count = 0;

	for (; words[2 * count]; count++)
		flags[count] = (struct rt_generate_flag){ flag_index(words[2 * count]), words[2 * count + 1] };
	return rt_generate(config, fresh, flags, count);
}

static void assert_valid(const json_t *config, const char *flag)
{
	_cleanup_free_ char *text = rt_json_dump(config, 0);
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	_cleanup_error_ struct rt_error *err = rt_spec_load_text(text, strlen(text), flag, &spec);
	_cleanup_free_ char *why = err ? rt_error_text(err) : NULL;

	if (err)
		fail_msg("%s: %s", flag, why);
}

static void assert_change(const struct flag_case *one)
{
	_cleanup_json_ json_t *config = parsed(before), *expected = parsed(before);
	struct rt_edit edit = { .config = expected };
	_cleanup_error_ struct rt_error *err = apply(config, false, (const char *const[]){ one->flag, one->argument, NULL });

	if (err)
		fail_msg("%s: %s", one->flag, err->message);
	for (const struct change *change = one->changes; change->path; change++) {
		if (change->value)
			rt_edit_set(&edit, change->path, parsed(change->value));
		else
			rt_edit_remove(&edit, change->path);
	}
	assert_null(edit.err);
	rt_edit_deinit(&edit);
	if (!json_equal(config, expected)) {
		_cleanup_free_ char *is = rt_json_dump(config, JSON_SORT_KEYS), *should = rt_json_dump(expected, JSON_SORT_KEYS);

		fail_msg("%s %s makes\n%s\nnot\n%s", one->flag, one->argument, is, should);
	}
}

static void each_flag_changes_exactly_its_field(void **state)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++)
		assert_change(&cases[i]);
}

static const char *const kinds[][2] = {
	{ "prestart", "prestart" },	      { "create-runtime", "createRuntime" },   { "create-container", "createContainer" },
	{ "start-container", "startContainer" }, { "poststart", "poststart" }, { "poststop", "poststop" },
};

static void hooks_of_each_kind_are_added_changed_and_removed(void **state)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(kinds); i++) {
		char flags[5][64], path[64];
		_cleanup_json_ json_t *config = parsed(before), *expected = parsed(before);
		struct rt_edit edit = { .config = expected };
		static const char *const suffixes[] = { "", "-add", "-env", "-timeout", "-remove-all" };

		for (size_t k = 0; k < 5; k++)
			snprintf(flags[k], sizeof(flags[k]), "hooks-%s%s", kinds[i][0], suffixes[k]);
		snprintf(path, sizeof(path), "hooks.%s", kinds[i][1]);
		assert_null(apply(config, false,
				  (const char *const[]){ flags[0], "/b:x:y", flags[2], "/b:A=1:2", flags[3], "/b:5", flags[2], "/b:C=3",
							 flags[1], "{\"path\":\"/a\",\"args\":[\"a\",\"z\"]}", NULL }));
		rt_edit_set(&edit, path,
			    parsed("[{'path':'/a','args':['a','z']},{'path':'/b','args':['/b','x','y'],'env':['A=1:2','C=3'],'timeout':5}]"));
		assert_true(json_equal(config, expected));
		assert_valid(config, flags[0]);
		/* Whatever its place, it comes first. */
		assert_null(apply(config, false, (const char *const[]){ flags[0], "/c", flags[4], "true", NULL }));
		rt_edit_set(&edit, path, parsed("[{'path':'/c','args':['/c']}]"));
		assert_true(json_equal(config, expected));
		rt_edit_deinit(&edit);
	}
}

static void every_flag_has_a_case(void **state)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++) {
		bool found = rt_str_starts(names[i], "hooks-");

		for (size_t k = 0; k < RT_ARRAY_SIZE(cases) && !found; k++)
			found = rt_str_equal(cases[k].flag, names[i]);
		if (!found)
			fail_msg("no test of '%s'", names[i]);
	}
}

static void no_flag_is_there_twice(void **state)
{
	for (size_t i = 1; i < RT_ARRAY_SIZE(names); i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(names[i], names[k]);
}

static void what_is_no_argument_of_a_flag_is_refused_and_named(void **state)
{
	static const char *const wrong[][2] = {
		{ "env", "A" },
		{ "env", "=1" },
		{ "env-file", "A=1\nB" },
		{ "label", "a" },
		{ "label", "=a" },
		{ "linux-blkio-weight-device", "8:0" },
		{ "linux-blkio-weight-device", "8:x:1" },
		{ "linux-cpu-quota", "much" },
		{ "linux-device-add", "c:1:3" },
		{ "linux-device-add", "c:1:3:/dev/x:mode=1" },
		{ "linux-device-cgroup-add", "perhaps" },
		{ "linux-device-cgroup-add", "allow,kind=c" },
		{ "linux-gidmappings", "1:2" },
		{ "linux-hugepage-limits-add", "2MB" },
		{ "linux-mem-limit", "512x" },
		{ "linux-mem-limit", "99999999999t" },
		{ "linux-mem-limit", "" },
		{ "linux-namespace-add", "" },
		{ "linux-network-priorities", "lo" },
		{ "linux-rdma", "a:1" },
		{ "linux-seccomp-allow", "" },
		{ "linux-seccomp-allow", "Read" },
		{ "linux-seccomp-allow", "read:0:1:2" },
		{ "linux-seccomp-allow", "read:0:1:2:XX" },
		{ "linux-seccomp-allow", "read:x:1:2:EQ" },
		{ "linux-seccomp-arch", "z80" },
		{ "linux-seccomp-default", "perhaps" },
		{ "linux-seccomp-profile", "perhaps" },
		{ "linux-seccomp-remove", "a b" },
		{ "linux-time-offset", "boottime" },
		{ "mount-bind", "/a" },
		{ "mount-cgroups", "perhaps" },
		{ "mounts-add", "[]" },
		{ "mounts-add", "{" },
		{ "hooks-prestart-add", "1" },
		{ "hooks-prestart-env", "/none:A=1" },
		{ "hooks-prestart-env", "/a" },
		{ "hooks-prestart-timeout", "/a" },
		{ "hooks-prestart-timeout", "/a:x" },
		{ "process-cap-add", "CAP_NOPE" },
		{ "process-cap-drop-ambient", "CAP_NOPE" },
		{ "process-consolesize", "80" },
		{ "process-groups", "wheel" },
		{ "process-rlimits-add", "RLIMIT_CORE:1" },
		{ "process-uid", "root" },
		{ "process-umask", "9" },
		{ "tmpfs", "tmp" },
		{ "args", "\xff" },
		{ "hostname", "\xff" },
		{ "label", "\xff=1" },
		{ "env", "\xff=1" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(wrong); i++) {
		_cleanup_json_ json_t *config = parsed(before);
		_cleanup_error_ struct rt_error *err = apply(config, false, (const char *const[]){ wrong[i][0], wrong[i][1], NULL });

		if (!err)
			fail_msg("--%s '%s' is taken", wrong[i][0], wrong[i][1]);
		assert_true(err->code == RT_USAGE || err->code == RT_CONFIG);
		assert_true(strstr(err->message, wrong[i][0]) || strstr(err->message, "UTF-8"));
	}
}

static void a_template_that_stands_in_the_way_is_named(void **state)
{
	_cleanup_json_ json_t *config = parsed("{'process':[1],'mounts':{}}");
	_cleanup_error_ struct rt_error *err = apply(config, false, (const char *const[]){ "process-cwd", "/", NULL });
	_cleanup_error_ struct rt_error *other = apply(config, false, (const char *const[]){ "tmpfs", "/x", NULL });

	assert_string_equal(err->message, "'process' must be an object");
	assert_string_equal(other->message, "'mounts' must be an array");
	assert_int_equal(err->code, RT_CONFIG);
}

static void an_empty_template_is_filled(void **state)
{
	_cleanup_json_ json_t *config = json_object();

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++)
		assert_null(apply(config, false, (const char *const[]){ cases[i].flag, cases[i].argument, NULL }));
}

static void a_fresh_config_is_valid_and_has_the_default_profile(void **state)
{
	_cleanup_json_ json_t *config = NULL;

	assert_null(rt_generate_base(&config));
	assert_null(apply(config, true, (const char *const[]){ NULL }));
	assert_valid(config, "base");
	assert_true(json_array_size(json_object_get(json_object_get(json_object_get(config, "linux"), "seccomp"), "syscalls")) > 1);
}

static json_t *first_names(const json_t *config)
{
	json_t *rules = json_object_get(json_object_get(json_object_get(config, "linux"), "seccomp"), "syscalls");

	return json_object_get(json_array_get(rules, 0), "names");
}

static bool has_word(const json_t *list, const char *word)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (rt_str_equal(json_string_value(json_array_get(list, i)), word))
			return true;
	return false;
}

static void a_capability_brings_its_system_calls(void **state)
{
	_cleanup_json_ json_t *plain = NULL, *admin = NULL;

	assert_null(rt_generate_base(&plain));
	assert_null(rt_generate_base(&admin));
	assert_null(apply(plain, true, (const char *const[]){ NULL }));
	assert_null(apply(admin, true,
			  (const char *const[]){ "linux-seccomp-kill", "sethostname", "process-cap-add", "CAP_SYS_ADMIN", NULL }));
	assert_false(has_word(first_names(plain), "mount"));
	assert_true(has_word(first_names(admin), "mount"));
	/* A rule of one's own comes after the profile, and takes the call out of it. */
	assert_false(has_word(first_names(admin), "sethostname"));
	assert_valid(admin, "admin");
}

static void privileged_lifts_every_fence(void **state)
{
	_cleanup_json_ json_t *config = NULL;
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	_cleanup_free_ char *text = NULL;

	assert_null(rt_generate_base(&config));
	/* Given last, it still comes first. */
	assert_null(apply(config, true, (const char *const[]){ "process-cap-drop", "CAP_KILL", "privileged", "true", NULL }));
	text = rt_json_dump(config, 0);
	assert_null(rt_spec_load_text(text, strlen(text), "test", &spec));
	assert_false(spec->seccomp.present);
	assert_int_equal(spec->masked_path_count + spec->readonly_path_count, 0);
	assert_false(spec->process.no_new_privileges);
	assert_true(spec->process.capabilities.bounding >> 21 & 1);
	assert_false(spec->process.capabilities.bounding >> 5 & 1);
	assert_int_equal(spec->resources.device_count, 1);
	assert_true(spec->resources.devices[0].allow && spec->resources.devices[0].type == 'a');
	for (size_t i = 0; i < spec->mount_count; i++)
		for (size_t k = 0; k < spec->mounts[i].option_count; k++)
			assert_string_not_equal(spec->mounts[i].options[k], "ro");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_flag_changes_exactly_its_field),
		cmocka_unit_test(hooks_of_each_kind_are_added_changed_and_removed),
		cmocka_unit_test(every_flag_has_a_case),
		cmocka_unit_test(no_flag_is_there_twice),
		cmocka_unit_test(what_is_no_argument_of_a_flag_is_refused_and_named),
		cmocka_unit_test(a_template_that_stands_in_the_way_is_named),
		cmocka_unit_test(an_empty_template_is_filled),
		cmocka_unit_test(a_fresh_config_is_valid_and_has_the_default_profile),
		cmocka_unit_test(a_capability_brings_its_system_calls),
		cmocka_unit_test(privileged_lifts_every_fence),
	};

	return cmocka_run_group_tests_name("spec/generate", tests, NULL, NULL);
}
