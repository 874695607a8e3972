/* runc's default configuration, field for field and in its order, so that tools and habits made for `runc spec` fit. */
#include "runtime/spec/spec.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

/* runc sets no ambient set since 1.2: without inheritable ones it had no effect. */
static const char common[] =
	"{"
	"'ociVersion': '" RT_SPEC_VERSION "',"
	"'process': {"
	"  'terminal': true,"
	"  'user': { 'uid': 0, 'gid': 0 },"
	"  'args': [ 'sh' ],"
	"  'env': [ 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm' ],"
	"  'cwd': '/',"
	"  'capabilities': {"
	"    'bounding': [ 'CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE' ],"
	"    'effective': [ 'CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE' ],"
	"    'permitted': [ 'CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE' ]"
	"  },"
	"  'rlimits': [ { 'type': 'RLIMIT_NOFILE', 'hard': 1024, 'soft': 1024 } ],"
	"  'noNewPrivileges': true"
	"},"
	"'root': { 'path': 'rootfs', 'readonly': true },"
	"'hostname': 'runc',"
	"'mounts': ["
	"  { 'destination': '/proc', 'type': 'proc', 'source': 'proc' },"
	"  { 'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs',"
	"    'options': [ 'nosuid', 'strictatime', 'mode=755', 'size=65536k' ] },"
	"  { 'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts',"
	"    'options': [ 'nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5' ] },"
	"  { 'destination': '/dev/shm', 'type': 'tmpfs', 'source': 'shm',"
	"    'options': [ 'nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k' ] },"
	"  { 'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue',"
	"    'options': [ 'nosuid', 'noexec', 'nodev' ] },"
	"  { 'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs',"
	"    'options': [ 'nosuid', 'noexec', 'nodev', 'ro' ] },"
	"  { 'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup',"
	"    'options': [ 'nosuid', 'noexec', 'nodev', 'relatime', 'ro' ] }"
	"]"
	"}";

static const char linux_of_root[] =
	"{"
	"'resources': { 'devices': [ { 'allow': false, 'access': 'rwm' } ] },"
	"'namespaces': [ { 'type': 'pid' }, { 'type': 'network' }, { 'type': 'ipc' }, { 'type': 'uts' },"
	"  { 'type': 'mount' } ]"
	"}";

static const char linux_of_user[] =
	"{"
	"'uidMappings': [ { 'containerID': 0, 'hostID': 0, 'size': 1 } ],"
	"'gidMappings': [ { 'containerID': 0, 'hostID': 0, 'size': 1 } ],"
	"'namespaces': [ { 'type': 'pid' }, { 'type': 'ipc' }, { 'type': 'uts' }, { 'type': 'mount' } ]"
	"}";

static const char paths[] =
	"{"
	"'maskedPaths': [ '/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats',"
	"  '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/sys/firmware', '/proc/scsi' ],"
	"'readonlyPaths': [ '/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger' ]"
	"}";

/* The texts above spell JSON with single quotes; NULL only without memory. */
static json_t *parse(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);

	if (!copy)
		return NULL;
	for (char *at = copy; *at; at++) {
		if (*at == '\'')
			*at = '"';
	}
	return json_loads(copy, 0, NULL);
}

static bool on_cgroup2(void)
{
	struct statfs fs;

	return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static int add_namespace(json_t *linux_object, const char *type)
{
	return json_array_append_new(json_object_get(linux_object, "namespaces"), json_pack("{s:s}", "type", type));
}

static int set_host_id(json_t *linux_object, const char *mappings, json_int_t id)
{
	json_t *entry = json_array_get(json_object_get(linux_object, mappings), 0);

	return json_object_set_new(entry, "hostID", json_integer(id));
}

/* An ordinary user can neither mount sysfs over the host's network nor map the group of terminals. */
static int make_mounts_rootless(json_t *mounts)
{
	json_t *mount;
	size_t i, j;

	json_array_foreach(mounts, i, mount)
	{
		json_t *options = json_object_get(mount, "options"), *option;

		json_array_foreach(options, j, option)
		{
			if (strncmp(json_string_value(option), "gid=", 4) == 0)
				json_array_remove(options, j--);
		}
		if (strcmp(json_string_value(json_object_get(mount, "destination")), "/sys") != 0)
			continue;
		if (json_object_set_new(mount, "type", json_string("none")) < 0 ||
		    json_object_set_new(mount, "source", json_string("/sys")) < 0 ||
		    json_array_insert_new(options, 0, json_string("rbind")) < 0)
			return -1;
	}
	return 0;
}

struct rt_error *rt_spec_template(bool rootless, uid_t uid, gid_t gid, json_t **ret)
{
	_cleanup_json_ json_t *config = parse(common), *linux_object = parse(rootless ? linux_of_user : linux_of_root);
	_cleanup_json_ json_t *rest = parse(paths);

	if (!config || !linux_object || !rest)
		return rt_error_oom();
	if (on_cgroup2() && add_namespace(linux_object, "cgroup") < 0)
		return rt_error_oom();
	if (rootless && (add_namespace(linux_object, "user") < 0 || set_host_id(linux_object, "uidMappings", uid) < 0 ||
			 set_host_id(linux_object, "gidMappings", gid) < 0 ||
			 make_mounts_rootless(json_object_get(config, "mounts")) < 0))
		return rt_error_oom();
	if (json_object_update(linux_object, rest) < 0 || json_object_set(config, "linux", linux_object) < 0)
		return rt_error_oom();
	*ret = rt_take_ptr(config);
	return NULL;
}
