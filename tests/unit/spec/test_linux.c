#include "tests/unit/spec/spec_test.h"

#include <linux/mempolicy.h>
#include <sys/personality.h>

#define MAPS                                                                                                           \
	"'uidMappings':[{'containerID':0,'hostID':1000,'size':10}],'gidMappings':[{'containerID':0,'hostID':1000,'"    \
	"size':10}]"

static void namespaces_are_made_or_joined(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(LINUX(
		"'namespaces':[{'type':'pid'},{'type':'network','path':'/run/netns/a'},{'type':'ipc','path':''}]"));

	assert_true(spec->namespaces[RT_NS_PID].wanted);
	assert_null(spec->namespaces[RT_NS_PID].path);
	assert_string_equal(spec->namespaces[RT_NS_NETWORK].path, "/run/netns/a");
	assert_null(spec->namespaces[RT_NS_IPC].path);
	assert_false(spec->namespaces[RT_NS_UTS].wanted);
}

static void devices_have_defaults_and_bounds(void **state)
{
	static const struct refusal list[] = {
		{LINUX("'devices':[{'path':'/dev/a','major':1,'minor':1}]"), "'linux.devices[0].type' is required"},
		{LINUX("'devices':[{'type':'x','path':'/dev/a'}]"),
		 "'linux.devices[0].type' must be c, b, u or p, not 'x'"},
		{LINUX("'devices':[{'type':'c','major':1,'minor':1}]"), "'linux.devices[0].path' is required"},
		{LINUX("'devices':[{'type':'c','path':'dev/a','major':1,'minor':1}]"),
		 "path' must be an absolute path"},
		{LINUX("'devices':[{'type':'c','path':'/a','major':1}]"), "'linux.devices[0].minor' is required"},
		{LINUX("'devices':[{'type':'b','path':'/a','major':4096,'minor':1}]"),
		 "major' must be between 0 and 4095"},
		{LINUX("'devices':[{'type':'b','path':'/a','major':1,'minor':-1}]"),
		 "minor' must be between 0 and 1048575"},
		{LINUX("'devices':[{'type':'p','path':'/a','fileMode':65536}]"), "fileMode' must be a file mode"},
	};
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(
		LINUX("'devices':[{'type':'p','path':'/p'},{'type':'u','path':'/u','major':1,'minor':3,'fileMode':8608,"
		      "'uid':5,'gid':6}]"));

	assert_int_equal(spec->devices[0].type, 'p');
	assert_int_equal(spec->devices[0].mode, 0666);
	assert_false(spec->devices[0].has_mode);
	assert_int_equal(spec->devices[1].type, 'c');
	assert_int_equal(spec->devices[1].mode, 0640);
	assert_int_equal(spec->devices[1].gid, 6);
	assert_all_refused(list);
}

static void offsets_belong_to_a_new_time_namespace(void **state)
{
	static const struct refusal list[] = {
		{LINUX("'timeOffsets':{'boottime':{'secs':1}}"), "'linux.timeOffsets' needs a time namespace"},
		{LINUX("'namespaces':[{'type':'time','path':'/x'}],'timeOffsets':{'boottime':{'secs':1}}"),
		 "'linux.timeOffsets' can't be given for a time namespace that is joined"},
		{LINUX("'namespaces':[{'type':'time'}],'timeOffsets':{'realtime':{}}"),
		 "'linux.timeOffsets.realtime' is no clock"},
		{LINUX("'namespaces':[{'type':'time'}],'timeOffsets':{'boottime':{'nanosecs':1000000000}}"),
		 "'linux.timeOffsets.boottime.nanosecs' must be below one second"},
	};
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(LINUX(
		"'namespaces':[{'type':'time'}],'timeOffsets':{'monotonic':{'secs':-5,'nanosecs':7},'boottime':{}}"));

	assert_int_equal(spec->offset_monotonic.secs, -5);
	assert_int_equal(spec->offset_monotonic.nanosecs, 7);
	assert_true(spec->offset_boottime.present);
	assert_all_refused(list);
}

static void network_devices_move_under_valid_names(void **state)
{
	static const struct refusal list[] = {
		{LINUX("'netDevices':{'eth0':{}}"), "'linux.netDevices' needs a network namespace"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'a b':{}}"),
		 "'linux.netDevices.a b' isn't a valid name"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'':{}}"), "isn't a valid name"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'eth0':{'name':'sixteen-letters-'}}"),
		 "'linux.netDevices.eth0.name' isn't a valid name"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'eth0':{'name':'eth%s'}}"),
		 "isn't a valid name"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'eth0':{'name':'%d'}}"), "isn't a valid name"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'eth0':{'name':'eth%d%d'}}"),
		 "isn't a valid name"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'eth%d':{}}"), "isn't a valid name"},
		{LINUX("'namespaces':[{'type':'network'}],'netDevices':{'eth0':{},'eth1':{'name':'eth0'}}"),
		 "'linux.netDevices.eth1' would have the same name, 'eth0', as 'eth0'"},
	};
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(LINUX("'namespaces':[{'type':'network'}],'netDevices':{'eth0':{'name':'net0'},'eth1':{}}"));

	assert_int_equal(spec->net_device_count, 2);
	assert_string_equal(spec->net_devices[0].host_name, "eth0");
	assert_string_equal(spec->net_devices[0].name, "net0");
	assert_null(spec->net_devices[1].name);
	assert_all_refused(list);
}

static void templates_of_network_devices_may_be_the_same(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(
		LINUX("'namespaces':[{'type':'network'}],'netDevices':{'a':{'name':'eth%d'},'b':{'name':'eth%d'}}"));

	assert_string_equal(spec->net_devices[0].name, "eth%d");
	assert_string_equal(spec->net_devices[1].name, "eth%d");
}

static void paths_and_labels_are_read(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(LINUX("'namespaces':[{'type':'mount'}],'maskedPaths':['/proc/kcore'],'readonlyPaths':['/proc/"
			   "sys','/proc/bus'],"
			   "'mountLabel':'l','rootfsPropagation':'rslave','cgroupsPath':'/a/b'"));

	assert_string_equal(spec->masked_paths[0], "/proc/kcore");
	assert_int_equal(spec->readonly_path_count, 2);
	assert_string_equal(spec->mount_label, "l");
	assert_string_equal(spec->rootfs_propagation, "rslave");
	assert_string_equal(spec->cgroups_path, "/a/b");
}

static void intel_rdt_is_read(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(
		LINUX("'intelRdt':{'closID':'g','l3CacheSchema':'L3:0=f','memBwSchema':'MB:0=20','schemata':['L2:0=f'],"
		      "'enableMBM':true}"));

	assert_string_equal(spec->intel_rdt.clos_id, "g");
	assert_int_equal(spec->intel_rdt.schema_count, 1);
	assert_true(spec->intel_rdt.enable_monitoring);
	assert_refused(LINUX("'intelRdt':{'closID':'..'}"), "'linux.intelRdt.closID' must be the name of a directory");
	assert_refused(LINUX("'intelRdt':{'closID':'a/b'}"), "'linux.intelRdt.closID' must be the name of a directory");
}

static void memory_policies_follow_the_kernels_rules(void **state)
{
	static const struct refusal list[] = {
		{LINUX("'memoryPolicy':{}"), "'linux.memoryPolicy.mode' is required"},
		{LINUX("'memoryPolicy':{'mode':'MPOL_X'}"), "'linux.memoryPolicy.mode' must be MPOL_BIND, "},
		{LINUX("'memoryPolicy':{'mode':'MPOL_BIND'}"), "'linux.memoryPolicy.nodes' is required"},
		{LINUX("'memoryPolicy':{'mode':'MPOL_LOCAL','nodes':'0'}"),
		 "'linux.memoryPolicy.nodes' must not be given"},
		{LINUX("'memoryPolicy':{'mode':'MPOL_BIND','nodes':'a'}"),
		 "'linux.memoryPolicy.nodes' must be a list of nodes"},
		{LINUX("'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0','flags':['MPOL_F_STATIC_NODES','MPOL_F_RELATIVE_"
		       "NODES']}"),
		 "'linux.memoryPolicy.flags' must not have both"},
		{LINUX("'memoryPolicy':{'mode':'MPOL_INTERLEAVE','nodes':'0','flags':['MPOL_F_NUMA_BALANCING']}"),
		 "'linux.memoryPolicy.flags' has MPOL_F_NUMA_BALANCING"},
		{LINUX("'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0','flags':['MPOL_F_X']}"),
		 "flags[0]' must be MPOL_F_"},
	};
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(LINUX("'memoryPolicy':{'mode':'MPOL_PREFERRED','nodes':'0-1','flags':['MPOL_F_STATIC_NODES']}"));

	assert_int_equal(spec->memory_policy.mode, MPOL_PREFERRED);
	assert_int_equal(spec->memory_policy.flags, MPOL_F_STATIC_NODES);
	assert_string_equal(spec->memory_policy.nodes, "0-1");
	rt_spec_free(load(LINUX("'memoryPolicy':{'mode':'MPOL_LOCAL','nodes':''}")));
	assert_all_refused(list);
}

static void personalities_are_linux_or_linux32(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(LINUX("'personality':{'domain':'LINUX32'}"));

	assert_int_equal(spec->personality.domain, PER_LINUX32);
	assert_refused(LINUX("'personality':{}"), "'linux.personality.domain' is required");
	assert_refused(LINUX("'personality':{'domain':'BSD'}"),
		       "'linux.personality.domain' must be LINUX or LINUX32, not 'BSD'");
}

static void id_maps_stay_within_the_ids(void **state)
{
	static const struct refusal list[] = {
		{LINUX("'namespaces':[{'type':'user'}],'uidMappings':[{'containerID':0,'hostID':0}]"),
		 "'linux.uidMappings[0].size' is required"},
		{LINUX("'namespaces':[{'type':'user'}],'uidMappings':[{'containerID':0,'hostID':0,'size':0}]"),
		 "'linux.uidMappings[0].size' must not be 0"},
		{LINUX("'namespaces':[{'type':'user'}],'gidMappings':[{'containerID':1,'hostID':0,'size':4294967295}]"),
		 "'linux.gidMappings[0].size' goes beyond the last id"},
		{LINUX("'namespaces':[{'type':'user'}],'gidMappings':[7]"), "'linux.gidMappings[0]' must be an object"},
	};
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(LINUX("'namespaces':[{'type':'user'}]," MAPS));

	assert_int_equal(spec->uid_mappings.count, 1);
	assert_int_equal(spec->gid_mappings.entries[0].host_id, 1000);
	assert_all_refused(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(namespaces_are_made_or_joined),
		cmocka_unit_test(devices_have_defaults_and_bounds),
		cmocka_unit_test(offsets_belong_to_a_new_time_namespace),
		cmocka_unit_test(network_devices_move_under_valid_names),
		cmocka_unit_test(templates_of_network_devices_may_be_the_same),
		cmocka_unit_test(paths_and_labels_are_read),
		cmocka_unit_test(intel_rdt_is_read),
		cmocka_unit_test(memory_policies_follow_the_kernels_rules),
		cmocka_unit_test(personalities_are_linux_or_linux32),
		cmocka_unit_test(id_maps_stay_within_the_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
