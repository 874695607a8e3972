/* Files, file systems and names of the machine that a configuration speaks of. */
#include "runtime/container/host_audit_private.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* Relative ones start at the bundle. */
static bool find(const struct rt_host *host, const char *path, struct stat *ret)
{
	_cleanup_free_ char *full = NULL;
	struct rt_error *err = *path == '/' ? rt_format(&full, "%s", path) : rt_format(&full, "%s/%s", host->bundle, path);

	rt_error_free(err);
	errno = ENOMEM;
	return full && stat(full, ret) == 0;
}

static void audit_root(const struct rt_host *host)
{
	const char *path = host->spec->root_path;
	struct stat st;

	if (!path)
		return;
	if (!find(host, path, &st))
		rt_host_tell(host, "root.path", "is '%s': %s", path, rt_host_reason(errno));
	else if (!S_ISDIR(st.st_mode))
		rt_host_tell(host, "root.path", "is '%s', which is no directory", path);
}

static bool is_bind(const struct rt_spec_mount *mount)
{
	for (size_t i = 0; i < mount->option_count; i++)
		if (rt_str_equal(mount->options[i], "bind") || rt_str_equal(mount->options[i], "rbind"))
			return true;
	return mount->type && rt_str_equal(mount->type, "bind");
}

/* Mounts with ids of their own came with Linux 5.12. */
static bool kernel_maps_mounts(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 12));
}

/* Tried on a copy of the mount that nobody sees; for the rights of others there is no trying. */
static void audit_mapping(const struct rt_host *host, const struct rt_spec_mount *mount, size_t index)
{
	bool own = mount->uid_mappings.count > 0 && mount->gid_mappings.count > 0;
	const struct rt_id_maps *uids = own ? &mount->uid_mappings : &host->spec->uid_mappings;
	const struct rt_id_maps *gids = own ? &mount->gid_mappings : &host->spec->gid_mappings;
	_cleanup_close_ int tree_fd = -1, namespace_fd = -1;
	_cleanup_free_ char *source = NULL;
	struct rt_error *err;
	char path[64];

	if (!host->all_powerful || !mount->source || uids->count == 0 || gids->count == 0)
		return;
	err = *mount->source == '/' ? rt_format(&source, "%s", mount->source) : rt_format(&source, "%s/%s", host->bundle, mount->source);
	if (!err)
		err = rt_sys_clone_tree(AT_FDCWD, source, 0, &tree_fd);
	if (!err)
		err = rt_sys_make_user_namespace(uids, gids, &namespace_fd);
	if (!err)
		err = rt_sys_map_owners(tree_fd, 0, namespace_fd);
	snprintf(path, sizeof(path), "mounts[%zu].source", index);
	/* What else can go wrong is told elsewhere, or not the file system's fault. */
	if (err && err->errnum == EINVAL)
		rt_host_tell(host, path, "is '%s', on a file system that can't be mounted with other ids", mount->source);
	rt_error_free(err);
}

static void audit_mount(const struct rt_host *host, const struct rt_spec_mount *mount, size_t index)
{
	const char *type = mount->type && rt_str_equal(mount->type, "cgroup2") ? "cgroup2" : mount->type;
	char path[64];
	struct stat st;

	if (is_bind(mount)) {
		snprintf(path, sizeof(path), "mounts[%zu].source", index);
		if (mount->source && !find(host, mount->source, &st))
			rt_host_tell(host, path, "is '%s': %s", mount->source, rt_host_reason(errno));
	} else if (type && !rt_str_equal(type, "cgroup") && !rt_str_equal(type, "none")) {
		snprintf(path, sizeof(path), "mounts[%zu].type", index);
		if (!rt_host_file_has("/proc/filesystems", type))
			rt_host_tell(host, path, "is '%s', a file system that this kernel doesn't have, or hasn't loaded", type);
	}
	snprintf(path, sizeof(path), "mounts[%zu].uidMappings", index);
	if (mount->uid_mappings.count > 0 && !kernel_maps_mounts())
		rt_host_tell(host, path, "needs Linux 5.12");
	else if (is_bind(mount) && rt_spec_mount_is_mapped(mount))
		audit_mapping(host, mount, index);
}

static void audit_hooks(const struct rt_host *host)
{
	for (int kind = 0; kind < RT_HOOK_KINDS; kind++) {
		const struct rt_spec_hooks *hooks = &host->spec->hooks[kind];
		/* Those that run in the container are looked up there. */
		bool inside = kind == RT_HOOK_START_CONTAINER;

		for (size_t i = 0; i < hooks->count && !inside; i++) {
			char path[64];

			snprintf(path, sizeof(path), "hooks.%s[%zu].path", rt_hook_kind_name((enum rt_hook_kind)kind), i);
			if (hooks->entries[i].path && access(hooks->entries[i].path, X_OK) < 0)
				rt_host_tell(host, path, "is '%s': %s", hooks->entries[i].path, rt_host_reason(errno));
		}
	}
}

/* "net.ipv4.conf.eth0/1.x" or with slashes: the first separator decides, and a dot in a name is the other one. Interfaces come
 * later than this; their directories are not looked for. */
static void audit_sysctl(const struct rt_host *host, const char *key)
{
	char path[300], field[300];
	bool slashes = key && key[strcspn(key, "./")] == '/';
	size_t length = key ? (size_t)snprintf(path, sizeof(path), "/proc/sys/%s", key) : 0;

	if (length == 0 || length >= sizeof(path) || strstr(key, ".conf.") || strstr(key, ".neigh.") || strstr(key, "/conf/") || strstr(key, "/neigh/"))
		return;
	for (char *at = path + strlen("/proc/sys/"); *at && !slashes; at++)
		*at = *at == '.' ? '/' : *at == '/' ? '.' : *at;
	snprintf(field, sizeof(field), "linux.sysctl.%s", key);
	if (access(path, F_OK) < 0)
		rt_host_tell(host, field, "is a parameter that this kernel doesn't have");
}

void rt_host_audit_files(const struct rt_host *host)
{
	const struct rt_spec *spec = host->spec;

	audit_root(host);
	for (size_t i = 0; i < spec->mount_count; i++)
		audit_mount(host, &spec->mounts[i], i);
	audit_hooks(host);
	for (size_t i = 0; i < spec->sysctl_count; i++)
		audit_sysctl(host, spec->sysctl[i].key);
	for (size_t i = 0; i < spec->net_device_count; i++)
		if (if_nametoindex(spec->net_devices[i].host_name) == 0)
			rt_host_tell(host, "linux.netDevices", "has '%s', an interface that isn't here", spec->net_devices[i].host_name);
	if (spec->device_count > 0 && !host->all_powerful)
		rt_host_tell(host, "linux.devices", "has devices, which only root can make");
}
