#include "migrate/policy.h"
#include "tests/unit/spec/spec_test.h"
#include "runtime/base/str.h"

static const char *const allowed_mounts[] = { "/srv", "/data/", NULL };
static const char *const allowed_hooks[] = { "/usr/bin/rt-netns", NULL };
static const struct rt_receive_values strict = { .allow_config = true };
static const struct rt_receive_values some = { .allow_config = true, .allow_mounts = allowed_mounts, .allow_hooks = allowed_hooks };

/* NULL: it is allowed. */
static char *judge(const struct rt_receive_values *values, const char *config)
{
	_cleanup_free_ char *text = with_double_quotes(config);
	struct rt_spec *spec = NULL;
	struct rt_error *err = rt_spec_load_text(text, strlen(text), "config.json", &spec);
	char *sentence;

	assert_null(err);
	err = rt_policy_check(values, spec);
	rt_spec_free(spec);
	if (!err)
		return NULL;
	assert_int_equal(err->code, RT_PEER);
	sentence = rt_error_text(err);
	rt_error_free(err);
	assert_non_null(sentence);
	return sentence;
}

static void assert_allowed(const struct rt_receive_values *values, const char *config)
{
	_cleanup_free_ char *sentence = judge(values, config);

	if (sentence)
		fail_msg("%s: %s", config, sentence);
}

static void assert_forbidden(const struct rt_receive_values *values, const char *config, const char *part)
{
	_cleanup_free_ char *sentence = judge(values, config);

	if (!sentence || !strstr(sentence, part))
		fail_msg("%s: %s", config, sentence ? sentence : "is allowed");
}

#define ROOT(path) "{'ociVersion':'1.3.0','root':{'path':'" path "'}}"
#define MOUNT(members) CONFIG(",'mounts':[{'destination':'/x'," members "}]")
#define HOOK(path) CONFIG(",'hooks':{'createRuntime':[{'path':'/usr/bin/rt-netns'}],'poststop':[{'path':'" path "'}]}")
#define DEVICE(type, major, minor) LINUX("'devices':[{'path':'/dev/d','type':'" type "','major':" major ",'minor':" minor "}]")

static void an_ordinary_configuration_is_allowed(void **state)
{
	assert_allowed(&strict, MOUNT("'type':'proc','source':'proc'"));
	assert_allowed(&strict, MOUNT("'type':'tmpfs','source':'tmpfs','options':['nosuid']"));
	assert_allowed(&strict, MOUNT("'type':'cgroup2'"));
	assert_allowed(&strict, LINUX("'namespaces':[{'type':'pid'},{'type':'network'}]"));
	assert_allowed(&strict, DEVICE("c", "1", "3"));
}

static void the_root_is_in_the_bundle(void **state)
{
	assert_forbidden(&strict, ROOT("/"), "its root filesystem at '/'");
	assert_forbidden(&strict, ROOT("/srv/root"), "no --allow-mount");
	assert_forbidden(&strict, ROOT(".."), "outside of its bundle");
	assert_forbidden(&strict, ROOT("../other"), "outside of its bundle");
	assert_forbidden(&strict, ROOT("a/../../b"), "outside of its bundle");
	assert_forbidden(&strict, ROOT("a/.."), "outside of its bundle");
	assert_allowed(&strict, ROOT("a/b"));
	assert_allowed(&strict, ROOT("..a"));
	assert_allowed(&some, ROOT("/srv/root"));
	assert_forbidden(&some, ROOT("/srv/../etc"), "no --allow-mount");
}

static void binds_are_below_what_is_allowed(void **state)
{
	assert_forbidden(&strict, MOUNT("'type':'bind','source':'/srv/a'"), "binds '/srv/a'");
	assert_forbidden(&strict, MOUNT("'source':'/etc','options':['ro','rbind']"), "binds '/etc'");
	assert_forbidden(&strict, MOUNT("'type':'none','source':'/etc','options':['bind']"), "binds '/etc'");
	assert_forbidden(&strict, MOUNT("'type':'bind','source':'relative'"), "binds 'relative'");
	assert_allowed(&some, MOUNT("'type':'bind','source':'/srv'"));
	assert_allowed(&some, MOUNT("'type':'bind','source':'/srv/a'"));
	assert_allowed(&some, MOUNT("'type':'bind','source':'/data/a'"));
	assert_forbidden(&some, MOUNT("'type':'bind','source':'/srvx'"), "binds '/srvx'");
	assert_forbidden(&some, MOUNT("'type':'bind','source':'/srv/../etc'"), "binds");
	assert_forbidden(&some, MOUNT("'type':'bind','source':'/srv/..'"), "binds");
	assert_forbidden(&some, MOUNT("'type':'bind','source':'/'"), "binds '/'");
}

static void the_root_may_be_bound_to_the_root(void **state)
{
#define AT_ROOT(root, source) "{'ociVersion':'1.3.0','root':{'path':'" root "'},'mounts':[{'destination':'/','source':'" source "','options':['bind','idmap']}]}"
	assert_allowed(&strict, AT_ROOT("rootfs", "rootfs"));
	assert_forbidden(&strict, AT_ROOT("rootfs", "/etc"), "binds '/etc'");
	assert_forbidden(&strict, AT_ROOT("rootfs", "."), "binds '.'");
	assert_forbidden(&strict, AT_ROOT("/etc", "/etc"), "its root filesystem at '/etc'");
	assert_forbidden(&strict, MOUNT("'source':'rootfs','options':['bind']"), "binds 'rootfs'");
}

static void file_systems_of_the_host_are_refused(void **state)
{
	assert_forbidden(&some, MOUNT("'type':'ext4','source':'/dev/sda1'"), "of type 'ext4'");
	assert_forbidden(&some, MOUNT("'type':'overlay','options':['lowerdir=/etc']"), "of type 'overlay'");
	assert_forbidden(&some, MOUNT("'type':'debugfs'"), "of type 'debugfs'");
}

static void hooks_are_named_one_by_one(void **state)
{
	assert_forbidden(&strict, HOOK("/usr/bin/rt-netns"), "the hook '/usr/bin/rt-netns'");
	assert_allowed(&some, HOOK("/usr/bin/rt-netns"));
	assert_forbidden(&some, HOOK("/bin/sh"), "the hook '/bin/sh'");
	assert_forbidden(&some, HOOK("/usr/bin/rt-netns/../sh"), "the hook");
}

static void what_belongs_to_the_host_is_refused(void **state)
{
	assert_forbidden(&some, LINUX("'namespaces':[{'type':'network','path':'/proc/1/ns/net'}]"), "joins the namespace");
	assert_forbidden(&some, DEVICE("b", "8", "0"), "wants the device '/dev/d' (b 8:0)");
	assert_forbidden(&some, DEVICE("b", "1", "3"), "wants the device");
	assert_forbidden(&some, DEVICE("c", "1", "1"), "wants the device");
}

static void ids_are_shell_patterns(void **state)
{
	static const char *const patterns[] = { "web-*", "db", NULL };
	const struct rt_receive_values values = { .allow_ids = patterns };

	assert_true(rt_policy_allows_id(&strict, "anything"));
	assert_true(rt_policy_allows_id(&values, "web-1"));
	assert_true(rt_policy_allows_id(&values, "db"));
	assert_false(rt_policy_allows_id(&values, "db2"));
	assert_false(rt_policy_allows_id(&values, "web"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_configuration_is_allowed),
		cmocka_unit_test(the_root_is_in_the_bundle),
		cmocka_unit_test(binds_are_below_what_is_allowed),
		cmocka_unit_test(the_root_may_be_bound_to_the_root),
		cmocka_unit_test(file_systems_of_the_host_are_refused),
		cmocka_unit_test(hooks_are_named_one_by_one),
		cmocka_unit_test(what_belongs_to_the_host_is_refused),
		cmocka_unit_test(ids_are_shell_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
