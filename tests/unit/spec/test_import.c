/* What inspect says -> config.json. The documents in tests/unit/spec/inspect were printed by Docker 20.10 and podman 4.3 of
 * containers with some thirty options, and one with none; only fields that nobody reads were taken out. */
#include "tests/unit/spec/spec_test.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/spec/import_private.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>

static const char passwd[] = "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/var/www:/bin/sh\nbroken\nuser:x:1000:1001::/:\n";
static const char group[] = "root:x:0:\nweb:x:44:\nclub:x:500:web,user\nother:x:501:user\nempty:x:502\nbroken:x:y:web\n";

static struct rt_error *read_file(void *userdata, const char *path, char **ret)
{
	if (!rt_str_equal(path, "/run/profile.json"))
		return rt_fail(RT_SYSTEM, "cannot open '%s'", path);
	*ret = with_double_quotes("{'defaultAction':'SCMP_ACT_KILL','syscalls':[{'names':['read'],'action':'SCMP_ACT_ALLOW'}]}");
	return NULL;
}

static struct rt_error *find_devices(void *userdata, const char *path,
				     void (*visit)(void *visitor, const struct rt_import_device *device), void *visitor)
{
	struct rt_import_device device = { path, 'c', 10, 229, 0600, 0, 7 };

	if (rt_str_equal(path, "/dev/none"))
		return rt_fail(RT_SYSTEM, "cannot find device '%s'", path);
	if (rt_str_starts(path, "/dev/sd"))
		device.type = 'b', device.major = 8, device.minor = 16;
	if (rt_str_equal(path, "/dev") || rt_str_equal(path, "/dev/snd")) {
		device.path = rt_str_equal(path, "/dev") ? "/dev/null" : "/dev/snd/seq";
		visit(visitor, &device);
		device.path = rt_str_equal(path, "/dev") ? "/dev/snd/seq" : "/dev/snd/timer";
	}
	visit(visitor, &device);
	return NULL;
}

static const struct rt_import_options usual = {
	.rootfs = "rootfs",
	.passwd = passwd,
	.group = group,
	.host = { .read_file = read_file, .find_devices = find_devices },
};

static json_t *document_of(const char *text)
{
	_cleanup_free_ char *quoted = with_double_quotes(text);
	json_t *document = NULL;
	_cleanup_error_ struct rt_error *err = rt_json_parse(quoted, strlen(quoted), "test", &document);

	if (err)
		fail_msg("%s\n%s", err->message, text);
	return document;
}

static struct rt_spec *loaded(const json_t *config)
{
	_cleanup_free_ char *text = rt_json_dump(config, 0);
	struct rt_spec *spec = NULL;
	_cleanup_error_ struct rt_error *err = rt_spec_load_text(text, strlen(text), "test", &spec);
	_cleanup_free_ char *why = err ? rt_error_text(err) : NULL;

	if (err)
		fail_msg("%s\n%s", why, text);
	return spec;
}

/* Takes over the document. */
static struct rt_spec *imported(json_t *document, const struct rt_import_options *options)
{
	_cleanup_json_ json_t *config = NULL;
	_cleanup_error_ struct rt_error *err = rt_spec_import(document, options, &config);
	_cleanup_free_ char *why = err ? rt_error_text(err) : NULL;

	json_decref(document);
	if (err)
		fail_msg("%s", why);
	return loaded(config);
}

/* A container with nothing but these members of Config, HostConfig and its own. */
#define CONTAINER(own, config, host)                                                                                   \
	"{'Id':'abc','Name':'/web','Path':'sh','Args':['-c','x']" own ",'Config':{'Hostname':'abc'" config "},'HostConfig':{'x':1" host "}}"
#define DOCKER(config, host) CONTAINER("", config, host)
#define PODMAN(own, config, host) CONTAINER(",'OCIRuntime':'crun'" own, config, host)

static struct rt_spec *import_text(const char *text)
{
	return imported(document_of(text), &usual);
}

static void assert_import_fails(const char *text, const struct rt_import_options *options, const char *message)
{
	_cleanup_json_ json_t *document = document_of(text), *config = NULL;
	_cleanup_error_ struct rt_error *err = rt_spec_import(document, options, &config);
	_cleanup_free_ char *why = err ? rt_error_text(err) : NULL;

	if (!err || !strstr(why, message))
		fail_msg("%s\nsays \"%s\"\nnot  \"%s\"", text, why ? why : "nothing", message);
	assert_null(config);
}

/* ---- the real documents ---- */

static json_t *real(const char *name)
{
	const char *directory = getenv("RT_TEST_INSPECT");
	_cleanup_free_ char *path = NULL, *text = NULL;
	json_t *document = NULL;
	size_t size = 0;

	assert_true(asprintf(&path, "%s/%s.json", directory ? directory : "tests/unit/spec/inspect", name) > 0);
	assert_null(rt_read_file_at(AT_FDCWD, path, 1 << 20, &text, &size));
	assert_null(rt_json_parse(text, size, name, &document));
	return document;
}

static const struct rt_spec_mount *mount_at(const struct rt_spec *spec, const char *destination)
{
	for (size_t i = 0; i < spec->mount_count; i++)
		if (rt_str_equal(spec->mounts[i].destination, destination))
			return &spec->mounts[i];
	fail_msg("nothing is mounted at '%s'", destination);
	return NULL;
}

static bool has_option(const struct rt_spec_mount *mount, const char *option)
{
	for (size_t i = 0; i < mount->option_count; i++)
		if (rt_str_equal(mount->options[i], option))
			return true;
	return false;
}

static bool has_env(const struct rt_spec *spec, const char *text)
{
	for (size_t i = 0; i < spec->process.env_count; i++)
		if (rt_str_equal(spec->process.env[i], text))
			return true;
	return false;
}

static void assert_rich(const struct rt_spec *spec)
{
	const struct rt_spec_process *process = &spec->process;

	assert_string_equal(process->args[0], "sleep");
	assert_string_equal(process->args[1], "1000");
	assert_true(process->terminal && process->no_new_privileges);
	assert_string_equal(process->cwd, "/tmp");
	assert_true(has_env(spec, "GREETING=hi") && has_env(spec, "HOSTNAME=named") && has_env(spec, "TERM=xterm"));
	assert_int_equal(process->user.uid, 1000);
	assert_int_equal(process->user.gid, 1000);
	assert_int_equal(process->user.additional_gid_count, 2);
	assert_int_equal(process->user.additional_gids[1], 500);
	assert_int_equal(process->capabilities.bounding, 1ULL << CAP_SETUID | 1ULL << CAP_NET_ADMIN);
	assert_int_equal(process->rlimit_count, 2);
	assert_int_equal(process->rlimits[1].resource, RLIMIT_NPROC);
	assert_int_equal(process->rlimits[1].soft, 200);
	assert_int_equal(process->rlimits[1].hard, 300);
	assert_int_equal(*process->oom_score_adj, 100);
	assert_true(spec->root_readonly);
	assert_string_equal(spec->hostname, "named");
	assert_string_equal(rt_spec_annotation(spec, "a"), "b");
	assert_int_equal(*spec->resources.memory.limit, 64 << 20);
	assert_int_equal(*spec->resources.memory.swap, 128 << 20);
	assert_int_equal(*spec->resources.memory.reservation, 32 << 20);
	assert_null(spec->resources.memory.swappiness);
	assert_int_equal(*spec->resources.cpu.quota, 50000);
	assert_int_equal(*spec->resources.cpu.period, 100000);
	assert_int_equal(*spec->resources.cpu.shares, 512);
	assert_string_equal(spec->resources.cpu.cpus, "0");
	assert_int_equal(*spec->resources.pids_limit, 50);
	assert_int_equal(spec->device_count, 1);
	assert_string_equal(spec->devices[0].path, "/dev/myfuse");
	assert_int_equal(spec->devices[0].gid, 7);
	assert_int_equal(spec->resources.device_count, 2);
	assert_true(spec->resources.devices[1].allow && spec->resources.devices[1].read && !spec->resources.devices[1].write);
	assert_string_equal(spec->sysctl[0].key, "net.ipv4.ip_unprivileged_port_start");
	assert_string_equal(spec->sysctl[0].value, "80");
	assert_true(has_option(mount_at(spec, "/dev/shm"), "size=8388608"));
	assert_true(has_option(mount_at(spec, "/hostfile"), "ro") && has_option(mount_at(spec, "/hostfile"), "rbind"));
	assert_false(has_option(mount_at(spec, "/vol"), "ro"));
	assert_non_null(strstr(mount_at(spec, "/vol")->source, "volumes/vol/_data"));
	assert_true(has_option(mount_at(spec, "/scratch"), "mode=1777"));
	assert_true(spec->seccomp.present && spec->namespaces[RT_NS_NETWORK].wanted && spec->namespaces[RT_NS_PID].wanted);
	assert_false(spec->namespaces[RT_NS_USER].wanted || spec->namespaces[RT_NS_CGROUP].wanted);
	assert_true(spec->masked_path_count >= 10 && spec->readonly_path_count >= 5);
}

static void a_docker_container_with_many_options(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = imported(real("docker"), &usual);

	assert_rich(spec);
	assert_true(has_option(mount_at(spec, "/m"), "size=2097152") && has_option(mount_at(spec, "/m"), "noexec"));
	/* A user who is not root has none. */
	assert_int_equal(spec->process.capabilities.effective | spec->process.capabilities.permitted, 0);
}

static void a_podman_container_with_many_options(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = imported(real("podman"), &usual);

	assert_rich(spec);
	assert_true(has_option(mount_at(spec, "/m"), "size=2m") && has_option(mount_at(spec, "/run"), "tmpcopyup"));
	/* Those that were added for a user are his. */
	assert_int_equal(spec->process.capabilities.effective, spec->process.capabilities.bounding);
	assert_int_equal(spec->process.capabilities.ambient, spec->process.capabilities.bounding);
	assert_int_equal(spec->process.user.umask, 022);
	assert_null(rt_spec_annotation(spec, "io.podman.annotations.init"));
}

static void containers_without_options(void **state)
{
	struct rt_import_options options = usual;

	options.container = "plain";
	for (size_t i = 0; i < 2; i++) {
		_cleanup_(rt_spec_freep) struct rt_spec *spec = imported(real(i == 0 ? "docker" : "podman"), &options);

		assert_int_equal(spec->process.capabilities.bounding, 0xa80425fb);
		assert_int_equal(spec->process.capabilities.effective, 0xa80425fb);
		assert_int_equal(spec->process.capabilities.ambient | spec->process.capabilities.inheritable, 0);
		assert_int_equal(spec->process.user.uid, 0);
		assert_false(spec->process.terminal || spec->root_readonly || spec->process.no_new_privileges);
		assert_string_equal(spec->process.cwd, "/");
		assert_true(has_env(spec, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
		assert_null(spec->resources.memory.limit);
		assert_null(spec->resources.memory.swappiness);
		assert_null(spec->resources.cpu.quota);
		assert_null(spec->process.oom_score_adj);
	}
}

/* ---- what riddler got wrong ---- */

static void capabilities_are_not_lost(void **state)
{
	static const struct {
		const char *host;
		uint64_t caps;
	} cases[] = {
		{ "", 0xa80425fb },
		{ ",'CapAdd':['SYS_ADMIN']", 0xa80425fb | 1ULL << CAP_SYS_ADMIN },
		{ ",'CapAdd':['cap_bpf'],'CapDrop':['CAP_CHOWN','kill']",
		  (0xa80425fb | 1ULL << CAP_BPF) & ~(1ULL << CAP_CHOWN | 1ULL << CAP_KILL) },
		{ ",'CapAdd':['kill'],'CapDrop':['ALL']", 1ULL << CAP_KILL },
		{ ",'CapAdd':['all'],'CapDrop':['MKNOD']", ((1ULL << 41) - 1) & ~(1ULL << CAP_MKNOD) },
		{ ",'Privileged':true", (1ULL << 41) - 1 },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;

		assert_true(asprintf(&text, DOCKER("", "%s"), cases[i].host) > 0);
		spec = import_text(text);
		assert_int_equal(spec->process.capabilities.bounding, cases[i].caps);
		assert_int_equal(spec->process.capabilities.effective, cases[i].caps);
		assert_int_equal(spec->process.capabilities.permitted, cases[i].caps);
	}
}

static void limits_of_the_process_are_not_ignored(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec =
		import_text(DOCKER("", ",'Ulimits':[{'Name':'nofile','Soft':5,'Hard':6},{'Name':'core','Soft':-1,'Hard':-1}]"));

	assert_int_equal(spec->process.rlimit_count, 2);
	assert_int_equal(spec->process.rlimits[0].resource, RLIMIT_NOFILE);
	assert_int_equal(spec->process.rlimits[0].soft, 5);
	assert_true(spec->process.rlimits[1].hard == RLIM_INFINITY);
}

static void users_are_those_of_the_container(void **state)
{
	static const struct {
		const char *text;
		uint32_t uid, gid;
		size_t groups;
	} cases[] = {
		{ NULL, 0, 0, 0 },	  { "", 0, 0, 0 },	    { "web", 33, 44, 1 },    { "33", 33, 44, 1 },   { "user", 1000, 1001, 2 },
		{ "web:club", 33, 500, 0 }, { "web:7", 33, 7, 0 }, { "5:6", 5, 6, 0 }, { "77", 77, 0, 0 }, { "user:other", 1000, 501, 0 },
		{ ":club", 0, 500, 0 },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct rt_import_user user;

		assert_null(rt_import_find_user(cases[i].text, passwd, group, &user));
		assert_int_equal(user.uid, cases[i].uid);
		assert_int_equal(user.gid, cases[i].gid);
		assert_int_equal(user.group_count, cases[i].groups);
	}
}

static void an_unknown_user_is_an_error_and_never_the_hosts(void **state)
{
	struct rt_import_options blind = usual;
	_cleanup_error_ struct rt_error *err = NULL;
	struct rt_import_user user;

	blind.passwd = blind.group = NULL;
	/* Both are on every machine. */
	assert_import_fails(DOCKER(",'User':'daemon'", ""), &usual, "reading 'Config.User': the container's /etc/passwd has no user 'daemon'");
	assert_import_fails(DOCKER(",'User':'1:daemon'", ""), &usual, "the container's /etc/group has no group 'daemon'");
	assert_import_fails(DOCKER(",'User':'daemon'", ""), &blind, "(--rootfs)");
	assert_import_fails(DOCKER("", ",'GroupAdd':['daemon']"), &blind, "reading 'HostConfig.GroupAdd'");
	assert_null(rt_import_find_user("5:6", NULL, NULL, &user));
	assert_int_equal(user.uid, 5);
	err = rt_import_find_user("4294967295", passwd, group, &user);
	assert_non_null(err);
}

/* ---- field by field ---- */

static void the_command_without_a_path_is_entry_point_and_command(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *lists =
		import_text("{'Config':{'Entrypoint':['a','b c'],'Cmd':['d']},'HostConfig':{}}");
	_cleanup_(rt_spec_freep) struct rt_spec *text = import_text("{'Config':{'Entrypoint':'a b','Cmd':['d e']},'HostConfig':{}}");

	/* What podman says of "sh", and of "sh sh". */
	_cleanup_(rt_spec_freep) struct rt_spec *alone =
		import_text("{'OCIRuntime':'x','Path':'sh','Args':['sh'],'Config':{'Entrypoint':'','Cmd':['sh']},'HostConfig':{}}");
	_cleanup_(rt_spec_freep) struct rt_spec *twice =
		import_text("{'OCIRuntime':'x','Path':'sh','Args':['sh'],'Config':{'Entrypoint':'sh','Cmd':['sh']},'HostConfig':{}}");

	assert_int_equal(alone->process.arg_count, 1);
	assert_int_equal(twice->process.arg_count, 2);
	assert_int_equal(lists->process.arg_count, 3);
	assert_string_equal(lists->process.args[1], "b c");
	assert_int_equal(text->process.arg_count, 3);
	assert_string_equal(text->process.args[2], "d e");
	assert_import_fails("{'Config':{},'HostConfig':{}}", &usual, "the container has no command");
}

static void security_options(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *file = import_text(
		PODMAN("", "", ",'SecurityOpt':['seccomp=/run/profile.json','no-new-privileges:true','apparmor=mine','mask=/a:/b',"
			       "'unmask=/proc/acpi:/proc/sys*','label=disable']"));
	_cleanup_(rt_spec_freep) struct rt_spec *none = import_text(
		CONTAINER(",'AppArmorProfile':'docker-default','ProcessLabel':'p','MountLabel':'m'", "",
			  ",'SecurityOpt':['seccomp:unconfined'],'MaskedPaths':['/x'],'ReadonlyPaths':[]"));

	assert_int_equal(file->seccomp.default_action, RT_SECCOMP_KILL_THREAD);
	assert_true(file->process.no_new_privileges);
	assert_string_equal(file->process.apparmor_profile, "mine");
	assert_string_equal(file->masked_paths[file->masked_path_count - 1], "/b");
	for (size_t i = 0; i < file->masked_path_count; i++)
		assert_string_not_equal(file->masked_paths[i], "/proc/acpi");
	for (size_t i = 0; i < file->readonly_path_count; i++)
		assert_int_not_equal(strncmp(file->readonly_paths[i], "/proc/sys", 9), 0);
	assert_false(none->seccomp.present);
	assert_string_equal(none->process.apparmor_profile, "docker-default");
	assert_string_equal(none->process.selinux_label, "p");
	assert_string_equal(none->mount_label, "m");
	assert_int_equal(none->masked_path_count, 1);
	assert_int_equal(none->readonly_path_count, 0);
	assert_import_fails(DOCKER("", ",'SecurityOpt':['seccomp=/none']"), &usual, "reading the seccomp profile");
}

static void a_profile_in_dockers_form_is_decided_here(void **state)
{
	static const char profile[] =
		"{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':1,'archMap':[{'architecture':'SCMP_ARCH_X86_64','subArchitectures':["
		"'SCMP_ARCH_X86']},{'architecture':'SCMP_ARCH_AARCH64','subArchitectures':['SCMP_ARCH_ARM']}],'syscalls':["
		"{'names':['read'],'action':'SCMP_ACT_ALLOW','args':[],'comment':'','includes':{},'excludes':{}},"
		"{'name':'old','action':'SCMP_ACT_ALLOW'},"
		"{'names':['mount'],'action':'SCMP_ACT_ALLOW','includes':{'caps':['CAP_SYS_ADMIN']}},"
		"{'names':['kill'],'action':'SCMP_ACT_ALLOW','includes':{'caps':['CAP_KILL','CAP_SYS_ADMIN']}},"
		"{'names':['clone'],'action':'SCMP_ACT_ALLOW','excludes':{'caps':['CAP_SYS_ADMIN']}},"
		"{'names':['chown'],'action':'SCMP_ACT_ALLOW','excludes':{'caps':['CAP_CHOWN']}},"
		"{'names':['s390'],'action':'SCMP_ACT_ALLOW','includes':{'arches':['s390']}},"
		"{'names':['mine'],'action':'SCMP_ACT_ALLOW','includes':{'arches':['amd64','arm64','riscv64','s390x','ppc64le']}},"
		"{'names':['ptrace'],'action':'SCMP_ACT_ALLOW','includes':{'minKernel':'4.8'}},"
		"{'names':['future'],'action':'SCMP_ACT_ALLOW','includes':{'minKernel':'99.0'}}]}";
	_cleanup_json_ json_t *document = document_of(DOCKER("", ",'SecurityOpt':[]"));
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	static const char *const left[] = { "read", "old", "kill", "clone", "mine", "ptrace" };
	_cleanup_free_ char *quoted = with_double_quotes(profile), *option = NULL;

	assert_true(asprintf(&option, "seccomp=%s", quoted) > 0);
	json_array_append_new(json_object_get(json_object_get(document, "HostConfig"), "SecurityOpt"), json_string(option));
	spec = imported(json_incref(document), &usual);
	assert_int_equal(spec->seccomp.rule_count, RT_ARRAY_SIZE(left));
	for (size_t i = 0; i < RT_ARRAY_SIZE(left); i++)
		assert_string_equal(spec->seccomp.rules[i].names[0], left[i]);
#if defined(__x86_64__) || defined(__aarch64__)
	assert_int_equal(spec->seccomp.architecture_count, 2);
#endif
}

static void namespaces_are_new_shared_or_the_hosts(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *host = import_text(DOCKER(
		"", ",'NetworkMode':'host','PidMode':'host','IpcMode':'host','UTSMode':'host','CgroupnsMode':'host','UsernsMode':'host'"));
	_cleanup_(rt_spec_freep) struct rt_spec *own =
		import_text(DOCKER(",'Domainname':'d'", ",'NetworkMode':'bridge','IpcMode':'none','CgroupnsMode':'private'"));
	_cleanup_(rt_spec_freep) struct rt_spec *path = import_text(PODMAN("", "", ",'NetworkMode':'ns:/run/netns/x'"));

	assert_false(host->namespaces[RT_NS_NETWORK].wanted || host->namespaces[RT_NS_PID].wanted || host->namespaces[RT_NS_IPC].wanted ||
		     host->namespaces[RT_NS_UTS].wanted || host->namespaces[RT_NS_CGROUP].wanted);
	assert_null(host->hostname);
	assert_string_equal(mount_at(host, "/dev/shm")->source, "/dev/shm");
	assert_true(own->namespaces[RT_NS_NETWORK].wanted && own->namespaces[RT_NS_CGROUP].wanted && own->namespaces[RT_NS_UTS].wanted);
	assert_string_equal(own->domainname, "d");
	for (size_t i = 0; i < own->mount_count; i++)
		assert_string_not_equal(own->mounts[i].destination, "/dev/shm");
	assert_string_equal(path->namespaces[RT_NS_NETWORK].path, "/run/netns/x");
}

#define OTHER(pid) "{'Id':'def0','Name':'/db','HostsPath':'/d/hosts','State':{'Pid':" pid "},'Config':{},'HostConfig':{}}"
#define JOINER DOCKER("", ",'NetworkMode':'container:def','IpcMode':'container:db'")

static void namespaces_of_another_container_are_joined_by_its_pid(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = import_text("[" JOINER "," OTHER("77") "]");
	_cleanup_json_ json_t *alone = document_of(JOINER), *both = document_of("[" JOINER "," OTHER("77") "]");

	assert_string_equal(spec->namespaces[RT_NS_NETWORK].path, "/proc/77/ns/net");
	assert_string_equal(spec->namespaces[RT_NS_IPC].path, "/proc/77/ns/ipc");
	assert_string_equal(mount_at(spec, "/dev/shm")->source, "/d/mounts/shm");
	assert_import_fails("[" JOINER "," OTHER("0") "]", &usual, "which doesn't run");
	assert_import_fails(JOINER, &usual, "inspect both");
	assert_string_equal(rt_spec_import_missing(alone, &usual), "def");
	assert_null(rt_spec_import_missing(both, &usual));
}

static void ids_can_be_shifted_and_podmans_maps_are_kept(void **state)
{
	struct rt_import_options options = usual;
	_cleanup_(rt_spec_freep) struct rt_spec *maps =
		import_text(PODMAN("", "", ",'IDMappings':{'UidMap':['0:200000:1000','1000:7:1'],'GidMap':['0:1:65536']}"));
	_cleanup_(rt_spec_freep) struct rt_spec *shifted = NULL;

	options.shift_ids = true;
	options.id_root = 100000;
	options.id_length = 3;
	shifted = imported(document_of(DOCKER("", ",'NetworkMode':'host'")), &options);
	assert_int_equal(maps->uid_mappings.count, 2);
	assert_int_equal(maps->uid_mappings.entries[1].host_id, 7);
	assert_int_equal(maps->gid_mappings.entries[0].host_id, 1);
	assert_int_equal(shifted->uid_mappings.entries[0].host_id, 100000);
	assert_int_equal(shifted->gid_mappings.entries[0].size, 3);
	assert_true(shifted->namespaces[RT_NS_USER].wanted);
	/* Neither may be mounted there. */
	assert_string_equal(mount_at(shifted, "/sys")->source, "/sys");
	assert_false(has_option(mount_at(shifted, "/dev/pts"), "gid=5"));
	assert_import_fails(PODMAN("", "", ",'IDMappings':{'UidMap':['x']}"), &usual, "which is no map of ids");
}

static void mounts_stand_below_what_they_are_in(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = import_text(CONTAINER(
		",'Mounts':[{'Type':'bind','Source':'/s','Destination':'/a/b/c','RW':true,'Propagation':'rshared'},"
		"{'Type':'volume','Source':'/v','Destination':'/a','RW':false},{'Type':'npipe','Source':'/v','Destination':'/n'},"
		"{'Type':'bind','Source':'/shm','Destination':'/dev/shm','RW':true}]",
		"", ",'Tmpfs':{'/a/b':''}"));

	assert_string_equal(spec->mounts[spec->mount_count - 3].destination, "/a");
	assert_string_equal(spec->mounts[spec->mount_count - 2].destination, "/a/b");
	assert_string_equal(spec->mounts[spec->mount_count - 1].destination, "/a/b/c");
	assert_string_equal(spec->rootfs_propagation, "shared");
	assert_true(has_option(mount_at(spec, "/a"), "ro") && has_option(mount_at(spec, "/a"), "rprivate"));
	assert_string_equal(mount_at(spec, "/dev/shm")->source, "/shm");
	assert_import_fails(CONTAINER(",'Mounts':[{'Type':'bind','Destination':'/a'}]", "", ""), &usual, "has no 'Source'");
	assert_import_fails(CONTAINER(",'Mounts':[{'Type':'bind','Source':'/a'}]", "", ""), &usual, "has no 'Destination'");
}

static void devices_rules_and_block_devices(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = import_text(
		DOCKER("", ",'Devices':[{'PathOnHost':'/dev/snd','PathInContainer':'/dev/sound','CgroupPermissions':'rw'}],'DeviceCgroupRules':["
			   "'c 10:* rwm','a *:* r'],'BlkioWeight':20,'BlkioWeightDevice':[{'Path':'/dev/sdb','Weight':30}],"
			   "'BlkioDeviceReadBps':[{'Path':'/dev/sdb','Rate':1000}],'BlkioDeviceWriteIOps':[{'Path':'/dev/sdb','Rate':7}]"));
	_cleanup_(rt_spec_freep) struct rt_spec *privileged = import_text(DOCKER("", ",'Privileged':true"));

	assert_int_equal(spec->device_count, 2);
	assert_string_equal(spec->devices[1].path, "/dev/sound/timer");
	assert_int_equal(spec->resources.device_count, 5);
	assert_int_equal(spec->resources.devices[3].minor, -1);
	assert_int_equal(spec->resources.devices[4].type, 'a');
	assert_int_equal(*spec->resources.block_io.weight, 20);
	assert_int_equal(spec->resources.block_io.weight_devices[0].minor, 16);
	assert_int_equal(spec->resources.block_io.read_bps.entries[0].rate, 1000);
	assert_int_equal(spec->resources.block_io.write_iops.entries[0].rate, 7);
	assert_true(privileged->resources.devices[0].allow);
	assert_int_equal(privileged->device_count, 2);
	assert_false(privileged->seccomp.present);
	assert_int_equal(privileged->masked_path_count + privileged->readonly_path_count, 0);
	assert_import_fails(DOCKER("", ",'Devices':[{'PathOnHost':'/dev/none'}]"), &usual, "reading 'HostConfig.Devices': cannot find device");
	assert_import_fails(DOCKER("", ",'DeviceCgroupRules':['c 10']"), &usual, "which is no rule");
	assert_import_fails(DOCKER("", ",'BlkioDeviceReadBps':[{'Path':'/dev/none'}]"), &usual, "reading 'HostConfig.BlkioDeviceReadBps'");
}

static void other_limits(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = import_text(
		DOCKER("", ",'MemorySwappiness':0,'OomKillDisable':true,'KernelMemoryTCP':5,'CpuRealtimePeriod':6,'CpuRealtimeRuntime':5,"
			   "'CpusetMems':'0','PidsLimit':-1,'MemorySwap':-1,'CpuQuota':-1,'CpuPeriod':5000,'OomScoreAdj':-5"));

	assert_int_equal(*spec->resources.memory.swappiness, 0);
	assert_true(*spec->resources.memory.disable_oom_killer);
	assert_int_equal(*spec->resources.memory.kernel_tcp, 5);
	assert_int_equal(*spec->resources.cpu.realtime_period, 6);
	assert_int_equal(*spec->resources.cpu.realtime_runtime, 5);
	assert_string_equal(spec->resources.cpu.mems, "0");
	assert_int_equal(*spec->resources.pids_limit, -1);
	assert_int_equal(*spec->resources.memory.swap, -1);
	assert_int_equal(*spec->resources.cpu.quota, -1);
	assert_int_equal(*spec->process.oom_score_adj, -5);
}

static void podmans_command_line_tells_the_rest(void **state)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = import_text(
		PODMAN("", ",'Image':'img','CreateCommand':['podman','run','--sysctl=net.core.somaxconn=5','--device','/dev/fuse:/dev/fuse:rw',"
			   "'--device-cgroup-rule','c 1:2 r','--ipc=host','img','--sysctl','net.core.somaxconn=6']",
		       ",'IpcMode':'shareable','Devices':[{'PathOnHost':'/dev/fuse','PathInContainer':'/dev/fuse','CgroupPermissions':''}]"));

	assert_int_equal(spec->sysctl_count, 1);
	assert_string_equal(spec->sysctl[0].value, "5");
	assert_true(spec->resources.devices[1].write && !spec->resources.devices[1].mknod);
	assert_int_equal(spec->resources.devices[2].minor, 2);
	assert_false(spec->namespaces[RT_NS_IPC].wanted);
}

static void hooks_and_the_network(void **state)
{
	const char *const hooks[] = { "poststop:/bin/a:b:c", "createContainer:/bin/d", NULL }, *const wrong[] = { "never:/bin/a", NULL };
	struct rt_import_options options = usual;
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;

	options.hooks = hooks;
	options.netns_hook = "/opt/rt-netns";
	spec = imported(document_of(DOCKER("", ",'NetworkMode':'host'")), &options);
	assert_true(spec->namespaces[RT_NS_NETWORK].wanted);
	assert_int_equal(spec->hooks[RT_HOOK_CREATE_RUNTIME].count, 1);
	assert_int_equal(spec->hooks[RT_HOOK_POSTSTOP].count, 2);
	assert_string_equal(spec->hooks[RT_HOOK_POSTSTOP].entries[0].args[1], "hook");
	assert_string_equal(spec->hooks[RT_HOOK_POSTSTOP].entries[1].path, "/bin/a");
	assert_string_equal(spec->hooks[RT_HOOK_POSTSTOP].entries[1].args[2], "c");
	assert_string_equal(spec->hooks[RT_HOOK_CREATE_CONTAINER].entries[0].path, "/bin/d");
	options.hooks = wrong;
	assert_import_fails(DOCKER("", ""), &options, "option '--hook' takes KIND:PATH");
}

static void the_engines_files_only_on_request(void **state)
{
	struct rt_import_options options = usual;
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;

	options.engine_files = true;
	spec = imported(document_of(CONTAINER(",'HostsPath':'/d/hosts','ResolvConfPath':''", "", "")), &options);
	assert_string_equal(mount_at(spec, "/etc/hosts")->source, "/d/hosts");
}

static void what_is_no_container_is_said_to_be_none(void **state)
{
	struct rt_import_options options = usual;

	options.container = "nobody";
	assert_import_fails("[]", &usual, "no container in it");
	assert_import_fails("[1]", &usual, "must be an object");
	assert_import_fails("{}", &usual, "not of a container: it has no 'Config'");
	assert_import_fails("{'Config':{}}", &usual, "it has no 'HostConfig'");
	assert_import_fails(DOCKER("", ""), &options, "has no container 'nobody'");
	assert_import_fails("{'Config':[],'HostConfig':{}}", &usual, "'Config' must be an object");
	assert_import_fails(DOCKER("", ",'Memory':'x'"), &usual, "'HostConfig.Memory' must be a whole number");
	assert_import_fails(DOCKER(",'Env':[1]", ""), &usual, "'Config.Env[0]' must be a string");
}

int main(void)
{
	const struct rt_log_options quiet = { .path = "/dev/null" };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_docker_container_with_many_options),
		cmocka_unit_test(a_podman_container_with_many_options),
		cmocka_unit_test(containers_without_options),
		cmocka_unit_test(capabilities_are_not_lost),
		cmocka_unit_test(limits_of_the_process_are_not_ignored),
		cmocka_unit_test(users_are_those_of_the_container),
		cmocka_unit_test(an_unknown_user_is_an_error_and_never_the_hosts),
		cmocka_unit_test(the_command_without_a_path_is_entry_point_and_command),
		cmocka_unit_test(security_options),
		cmocka_unit_test(a_profile_in_dockers_form_is_decided_here),
		cmocka_unit_test(namespaces_are_new_shared_or_the_hosts),
		cmocka_unit_test(namespaces_of_another_container_are_joined_by_its_pid),
		cmocka_unit_test(ids_can_be_shifted_and_podmans_maps_are_kept),
		cmocka_unit_test(mounts_stand_below_what_they_are_in),
		cmocka_unit_test(devices_rules_and_block_devices),
		cmocka_unit_test(other_limits),
		cmocka_unit_test(podmans_command_line_tells_the_rest),
		cmocka_unit_test(hooks_and_the_network),
		cmocka_unit_test(the_engines_files_only_on_request),
		cmocka_unit_test(what_is_no_container_is_said_to_be_none),
	};

	rt_error_free(rt_log_open(&quiet));
	return cmocka_run_group_tests_name("spec/import", tests, NULL, NULL);
}
