#include "tests/unit/spec/spec_test.h"

static void mounts_keep_their_order_and_words(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(CONFIG(",'mounts':[{'destination':'/proc','type':'proc','source':'proc'},"
			    "{'destination':'/d','source':'data','options':['rbind','ro']},{'destination':'/"
			    "e','type':'','options':[]}]"));

	assert_int_equal(spec->mount_count, 3);
	assert_string_equal(spec->mounts[0].type, "proc");
	assert_null(spec->mounts[1].type);
	assert_int_equal(spec->mounts[1].option_count, 2);
	assert_string_equal(spec->mounts[1].options[1], "ro");
	assert_string_equal(spec->mounts[2].destination, "/e");
	assert_null(spec->mounts[2].type);
	assert_int_equal(spec->mounts[2].option_count, 0);
}

static void maps_of_a_mount_come_in_pairs(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		load(CONFIG(",'mounts':[{'destination':'/d','source':'/s','options':['bind'],"
			    "'uidMappings':[{'containerID':0,'hostID':1,'size':2}],'gidMappings':[{'containerID':3,'"
			    "hostID':4,'size':5}]}]"));

	assert_int_equal(spec->mounts[0].uid_mappings.entries[0].size, 2);
	assert_int_equal(spec->mounts[0].gid_mappings.entries[0].container_id, 3);
	assert_refused(CONFIG(",'mounts':[{'destination':'/d','uidMappings':[{'containerID':0,'hostID':1,'size':2}]}]"),
		       "'mounts[0].gidMappings' is required where there are uidMappings");
	assert_refused(CONFIG(",'mounts':[{'destination':'/d','gidMappings':[{'containerID':0,'hostID':1,'size':2}]}]"),
		       "'mounts[0].uidMappings' is required where there are gidMappings");
}

static void wrong_mounts_are_refused(void **state)
{
	static const struct refusal list[] = {
		{CONFIG(",'mounts':{}"), "'mounts' must be an array"},
		{CONFIG(",'mounts':['/a']"), "'mounts[0]' must be an object"},
		{CONFIG(",'mounts':[{'destination':'/a'},{'source':'x'}]"), "'mounts[1].destination' is required"},
		{CONFIG(",'mounts':[{'destination':''}]"), "'mounts[0].destination' is required"},
		{CONFIG(",'mounts':[{'destination':'/a\\u0000'}]"), "u0000 is not allowed"},
		{CONFIG(",'mounts':[{'destination':'/a','options':['ro',null]}]"),
		 "'mounts[0].options[1]' must be a string"},
	};

	assert_all_refused(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mounts_keep_their_order_and_words),
		cmocka_unit_test(maps_of_a_mount_come_in_pairs),
		cmocka_unit_test(wrong_mounts_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
