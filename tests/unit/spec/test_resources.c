#include "tests/unit/spec/spec_test.h"

#define RESOURCES(members) LINUX("'resources':{" members "}")

static void absent_limits_stay_absent(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(RESOURCES("'memory':{},'cpu':{},'pids':{},'blockIO':{'weight':0}"));
	const struct rt_spec_resources *resources = &spec->resources;

	assert_null(resources->memory.limit);
	assert_null(resources->memory.swappiness);
	assert_null(resources->cpu.shares);
	assert_null(resources->cpu.idle);
	assert_null(resources->pids_limit);
	assert_null(resources->block_io.weight);
	assert_null(resources->network_class_id);
}

static void memory_and_cpu_are_read(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = load(
		RESOURCES("'memory':{'limit':0,'reservation':1,'swap':-1,'kernel':2,'kernelTCP':3,'swappiness':0,"
			  "'disableOOMKiller':false,'useHierarchy':true,'checkBeforeUpdate':true},"
			  "'cpu':{'shares':18446744073709551615,'quota':-20,'period':5,'burst':6,'realtimeRuntime':7,"
			  "'realtimePeriod':8,'idle':1,'cpus':'0-3','mems':'0'},'pids':{'limit':0}"));
	const struct rt_spec_memory *memory = &spec->resources.memory;
	const struct rt_spec_cpu *cpu = &spec->resources.cpu;

	assert_int_equal(*memory->limit, 0);
	assert_int_equal(*memory->swap, -1);
	assert_int_equal(*memory->kernel_tcp, 3);
	assert_int_equal(*memory->swappiness, 0);
	assert_false(*memory->disable_oom_killer);
	assert_true(*memory->use_hierarchy && memory->check_before_update);
	assert_true(*cpu->shares == UINT64_MAX);
	assert_int_equal(*cpu->quota, -1);
	assert_int_equal(*cpu->burst, 6);
	assert_int_equal(*cpu->idle, 1);
	assert_string_equal(cpu->cpus, "0-3");
	assert_int_equal(*spec->resources.pids_limit, 0);
}

static void the_rest_is_read(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(RESOURCES("'blockIO':{'weight':10,'weightDevice':[{'major':8,'minor':0,'leafWeight':300}],"
			       "'throttleReadBpsDevice':[{'major':8,'minor':16,'rate':600}],'throttleWriteIOPSDevice':["
			       "{'major':1,'minor':2,'rate':0}]},"
			       "'hugepageLimits':[{'pageSize':'2MB','limit':4096}],'network':{'classID':7,'priorities':"
			       "[{'name':'eth0','priority':5}]},"
			       "'rdma':{'mlx5':{'hcaHandles':3}},'unified':{'memory.high':'max'},"
			       "'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':1,'minor':-"
			       "1,'access':'r'}]"));
	const struct rt_spec_resources *resources = &spec->resources;

	assert_int_equal(*resources->block_io.weight, 10);
	assert_int_equal(*resources->block_io.weight_devices[0].leaf_weight, 300);
	assert_null(resources->block_io.weight_devices[0].weight);
	assert_int_equal(resources->block_io.read_bps.entries[0].rate, 600);
	assert_int_equal(resources->block_io.write_bps.count, 0);
	assert_int_equal(resources->block_io.write_iops.count, 1);
	assert_string_equal(resources->hugepage_limits[0].page_size, "2MB");
	assert_int_equal(*resources->network_class_id, 7);
	assert_string_equal(resources->network_priorities[0].name, "eth0");
	assert_string_equal(resources->rdma[0].device, "mlx5");
	assert_null(resources->rdma[0].objects);
	assert_string_equal(resources->unified[0].value, "max");
	assert_int_equal(resources->devices[0].type, 'a');
	assert_int_equal(resources->devices[0].major, -1);
	assert_true(resources->devices[1].read && !resources->devices[1].write);
}

static void wrong_resources_are_refused(void **state)
{
	static const struct refusal list[] = {
		{RESOURCES("'memory':{'limit':-2}"), "'linux.resources.memory.limit' must be a number of bytes, or -1"},
		{RESOURCES("'memory':{'limit':'1G'}"), "'linux.resources.memory.limit' must be a whole number"},
		{RESOURCES("'memory':{'limit':1.5}"), "'linux.resources.memory.limit' must be a whole number"},
		{RESOURCES("'memory':{'limit':9223372036854775808}"), "'linux.resources.memory.limit' must be between"},
		{RESOURCES("'memory':{'swappiness':101}"),
		 "'linux.resources.memory.swappiness' must be between 0 and 100"},
		{RESOURCES("'memory':{'limit':10,'swap':9}"),
		 "'linux.resources.memory.swap' is memory and swap together"},
		{RESOURCES("'cpu':{'idle':2}"), "'linux.resources.cpu.idle' must be 0 or 1"},
		{RESOURCES("'cpu':{'shares':-1}"), "'linux.resources.cpu.shares' must not be negative"},
		{RESOURCES("'cpu':{'cpus':'0\\n1'}"), "'linux.resources.cpu.cpus' must be a list"},
		{RESOURCES("'blockIO':{'weight':9}"), "'linux.resources.blockIO.weight' must be between 10 and 1000"},
		{RESOURCES("'blockIO':{'weightDevice':[{'major':1,'minor':1}]}"),
		 "weightDevice[0]' must have a weight or a leafWeight"},
		{RESOURCES("'blockIO':{'throttleReadBpsDevice':[{'major':1,'minor':1}]}"),
		 "throttleReadBpsDevice[0].rate' is required"},
		{RESOURCES("'blockIO':{'throttleReadBpsDevice':[{'minor':1,'rate':1}]}"),
		 "throttleReadBpsDevice[0].major' is required"},
		{RESOURCES("'hugepageLimits':[{'pageSize':'2mb','limit':1}]"),
		 "pageSize' must be a size such as '2MB', not '2mb'"},
		{RESOURCES("'hugepageLimits':[{'pageSize':'../2MB','limit':1}]"), "pageSize' must be a size"},
		{RESOURCES("'hugepageLimits':[{'pageSize':'2MB'}]"),
		 "'linux.resources.hugepageLimits[0].limit' is required"},
		{RESOURCES("'network':{'priorities':[{'priority':1}]}"),
		 "'linux.resources.network.priorities[0].name' is required"},
		{RESOURCES("'rdma':{'a':{}}"), "'linux.resources.rdma.a' must have hcaHandles or hcaObjects"},
		{RESOURCES("'unified':{'../x.y':'1'}"), "must be the name of a cgroup file"},
		{RESOURCES("'unified':{'memory':'1'}"),
		 "'linux.resources.unified.memory' must be the name of a cgroup file"},
		{RESOURCES("'unified':{'a.b':1}"), "'linux.resources.unified.a.b' must be a string"},
		{RESOURCES("'devices':[{'access':'r'}]"), "'linux.resources.devices[0].allow' is required"},
		{RESOURCES("'devices':[{'allow':true}]"), "'linux.resources.devices[0].access' is required"},
		{RESOURCES("'devices':[{'allow':true,'access':'rx'}]"),
		 "'linux.resources.devices[0].access' must be made of r, w and m"},
		{RESOURCES("'devices':[{'allow':true,'access':'r','type':'p'}]"),
		 "devices[0].type' must be a, b or c, not 'p'"},
		{RESOURCES("'devices':[{'allow':true,'access':'r','major':-2}]"),
		 "devices[0].major' must be a device number"},
		{RESOURCES("'pids':{'limit':1e400}"), "'test' is not valid JSON"},
	};

	assert_all_refused(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_limits_stay_absent),
		cmocka_unit_test(memory_and_cpu_are_read),
		cmocka_unit_test(the_rest_is_read),
		cmocka_unit_test(wrong_resources_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
