/* Rules that join several fields, and the map from fields to sections of the specification.
 *
 * What one field alone can get wrong is told where it is read. A rule here runs on whatever was read: in an audit a
 * required field may be missing, and has been reported by then. */
#include "runtime/spec/loader.h"

#include <linux/mempolicy.h>

/* Errors by path; the paths of rt_json_fail() need cursors, so rules build the ones they name. */
static void reject(struct rt_loader *loader, const char *parent, const char *key, const char *what)
{
	struct rt_json root = {.key = NULL}, part = {.parent = &root, .key = parent};

	rt_load_fail(loader, *parent ? &part : &root, key, "%s", what);
}

static bool wants(const struct rt_loader *loader, enum rt_namespace_kind kind)
{
	return loader->spec->namespaces[kind].wanted;
}

static void check_names(struct rt_loader *loader)
{
	const struct rt_spec *spec = loader->spec;

	if (spec->hostname && !wants(loader, RT_NS_UTS))
		reject(loader, "", "hostname", "needs a uts namespace");
	if (spec->domainname && !wants(loader, RT_NS_UTS))
		reject(loader, "", "domainname", "needs a uts namespace");
	/* __NEW_UTS_LEN of the kernel. */
	if (spec->hostname && strlen(spec->hostname) > 64)
		reject(loader, "", "hostname", "must be at most 64 bytes long");
	if (spec->domainname && strlen(spec->domainname) > 64)
		reject(loader, "", "domainname", "must be at most 64 bytes long");
}

static void check_mappings(struct rt_loader *loader)
{
	const struct rt_spec *spec = loader->spec;
	const struct rt_spec_namespace *user = &spec->namespaces[RT_NS_USER];
	struct rt_json root = {.key = NULL}, part = {.parent = &root, .key = "linux"};

	if (!user->wanted) {
		if (spec->uid_mappings.count > 0)
			reject(loader, "linux", "uidMappings", "needs a user namespace");
		if (spec->gid_mappings.count > 0)
			reject(loader, "linux", "gidMappings", "needs a user namespace");
	} else if (user->path) {
		/* Against the specification, but containerd and CRI-O do it for every container of a pod, and runc lets
		 * it pass where the namespace has these very mappings. */
		if (spec->uid_mappings.count > 0 || spec->gid_mappings.count > 0)
			rt_load_remark(loader, &part, "uidMappings",
				       "should not be given for a user namespace that is joined; it has its own");
	} else {
		if (spec->uid_mappings.count == 0)
			reject(loader, "linux", "uidMappings", "is required for a new user namespace");
		if (spec->gid_mappings.count == 0)
			reject(loader, "linux", "gidMappings", "is required for a new user namespace");
	}
}

/* Without any maps something else is wrong, and told already. */
static bool has_mapping(const struct rt_id_maps *maps, uint32_t id)
{
	if (maps->count == 0)
		return true;
	for (size_t i = 0; i < maps->count; i++)
		if (id - maps->entries[i].container_id < maps->entries[i].size)
			return true;
	return false;
}

/* The kernel would say no more than "Invalid argument", and late. */
static void check_user(struct rt_loader *loader)
{
	const struct rt_spec_namespace *namespace = &loader->spec->namespaces[RT_NS_USER];
	const struct rt_spec_user *user = &loader->spec->process.user;
	const struct rt_id_maps *gids = &loader->spec->gid_mappings;

	if (!namespace->wanted || namespace->path)
		return;
	if (!has_mapping(&loader->spec->uid_mappings, user->uid))
		reject(loader, "process.user", "uid", "isn't among the ids of 'linux.uidMappings'");
	if (!has_mapping(gids, user->gid))
		reject(loader, "process.user", "gid", "isn't among the ids of 'linux.gidMappings'");
	for (size_t i = 0; i < user->additional_gid_count; i++)
		if (!has_mapping(gids, user->additional_gids[i]))
			reject(loader, "process.user", "additionalGids", "has an id that isn't in 'linux.gidMappings'");
}

static void check_offsets(struct rt_loader *loader)
{
	const struct rt_spec *spec = loader->spec;

	if (!spec->offset_monotonic.present && !spec->offset_boottime.present)
		return;
	if (!wants(loader, RT_NS_TIME))
		reject(loader, "linux", "timeOffsets", "needs a time namespace");
	else if (spec->namespaces[RT_NS_TIME].path)
		reject(loader, "linux", "timeOffsets", "can't be given for a time namespace that is joined");
}

static void check_paths(struct rt_loader *loader)
{
	const struct rt_spec *spec = loader->spec;

	if (wants(loader, RT_NS_MOUNT))
		return;
	if (spec->masked_path_count > 0)
		reject(loader, "linux", "maskedPaths", "needs a mount namespace");
	if (spec->readonly_path_count > 0)
		reject(loader, "linux", "readonlyPaths", "needs a mount namespace");
}

static void check_net_devices(struct rt_loader *loader)
{
	const struct rt_spec *spec = loader->spec;
	struct rt_json root = {.key = NULL}, part = {.parent = &root, .key = "linux"};
	struct rt_json map = {.parent = &part, .key = "netDevices"};

	if (spec->net_device_count > 0 && !wants(loader, RT_NS_NETWORK))
		reject(loader, "linux", "netDevices", "needs a network namespace");
	for (size_t i = 0; i < spec->net_device_count; i++) {
		const struct rt_spec_net_device *one = &spec->net_devices[i];
		const char *name = one->name ? one->name : one->host_name;

		for (size_t j = 0; j < i; j++) {
			const struct rt_spec_net_device *other = &spec->net_devices[j];

			if (rt_str_equal(name, other->name ? other->name : other->host_name) && !strchr(name, '%'))
				rt_load_fail(loader, &map, one->host_name, "would have the same name, '%s', as '%s'",
					     name, other->host_name);
		}
	}
}

/* "net/ipv4/conf/eth0.1/x" means "net.ipv4.conf.eth0/1.x", as for sysctl(8): the first separator decides. Components
 * that are empty or dots would lead elsewhere below /proc/sys than the prefix says. */
static bool normalise_sysctl(const char *key, char *text, size_t room)
{
	size_t length = strlen(key), first = strcspn(key, "./");
	bool slashes = key[first] == '/', empty = true, dots = true;

	if (length >= room)
		return false;
	for (size_t i = 0; i <= length; i++) {
		char c = key[i];

		if (slashes && c && strchr("./", c))
			c = c == '/' ? '.' : '/';
		if (c == '.' || !c) {
			if (empty || dots)
				return false;
			empty = dots = true;
		} else {
			empty = false;
			dots &= c == '/';
		}
		text[i] = c;
	}
	return true;
}

static void check_sysctl_key(struct rt_loader *loader, const struct rt_json *map, const char *key)
{
	static const char *const of_ipc[] = {
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
		"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
	};
	char name[256];
	bool ipc;

	if (!normalise_sysctl(key, name, sizeof(name))) {
		rt_load_fail(loader, map, key, "isn't the name of a sysctl");
		return;
	}
	ipc = rt_str_starts(name, "fs.mqueue.");
	for (size_t i = 0; i < RT_ARRAY_SIZE(of_ipc); i++)
		ipc |= rt_str_equal(name, of_ipc[i]);
	if (ipc && !wants(loader, RT_NS_IPC))
		rt_load_fail(loader, map, key, "needs an ipc namespace");
	else if (rt_str_starts(name, "net.") && !wants(loader, RT_NS_NETWORK))
		rt_load_fail(loader, map, key, "needs a network namespace");
	else if (rt_str_equal(name, "kernel.hostname"))
		rt_load_fail(loader, map, key, "conflicts with the field 'hostname', which does this");
	else if (rt_str_equal(name, "kernel.domainname") && !wants(loader, RT_NS_UTS))
		rt_load_fail(loader, map, key, "needs a uts namespace");
	else if (!ipc && !rt_str_starts(name, "net.") && !rt_str_equal(name, "kernel.domainname"))
		rt_load_fail(loader, map, key, "doesn't belong to a namespace: it would change the whole machine");
}

static void check_sysctl(struct rt_loader *loader)
{
	struct rt_json root = {.key = NULL}, part = {.parent = &root, .key = "linux"};
	struct rt_json map = {.parent = &part, .key = "sysctl"};

	for (size_t i = 0; i < loader->spec->sysctl_count && !loader->err; i++)
		check_sysctl_key(loader, &map, loader->spec->sysctl[i].key);
}

/* set_mempolicy(2)'s rules. */
static void check_memory_policy(struct rt_loader *loader)
{
	const struct rt_spec_memory_policy *policy = &loader->spec->memory_policy;
	const uint32_t fixed = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES;
	bool without_nodes = policy->mode == MPOL_DEFAULT || policy->mode == MPOL_LOCAL;
	bool balanced = policy->flags & ~fixed;

	if (!policy->present)
		return;
	if (without_nodes && policy->nodes)
		reject(loader, "linux.memoryPolicy", "nodes", "must not be given for MPOL_DEFAULT and MPOL_LOCAL");
	if (!without_nodes && policy->mode != MPOL_PREFERRED && !policy->nodes)
		reject(loader, "linux.memoryPolicy", "nodes", "is required for this mode");
	if ((policy->flags & fixed) == fixed)
		reject(loader, "linux.memoryPolicy", "flags",
		       "must not have both MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES");
	if ((policy->flags & fixed) && !policy->nodes && policy->mode != MPOL_DEFAULT)
		reject(loader, "linux.memoryPolicy", "flags", "speak of nodes, but there are none");
	if (balanced && policy->mode != MPOL_BIND && policy->mode != 5 /* MPOL_PREFERRED_MANY */)
		reject(loader, "linux.memoryPolicy", "flags",
		       "has MPOL_F_NUMA_BALANCING, which is only for MPOL_BIND and MPOL_PREFERRED_MANY");
}

void rt_validate(struct rt_loader *loader)
{
	static void (*const rules[])(struct rt_loader * loader) = {
		check_names, check_mappings,	check_user,   check_offsets,
		check_paths, check_net_devices, check_sysctl, check_memory_policy,
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(rules) && !loader->err; i++)
		rules[i](loader);
}

const char *rt_spec_section(const char *path)
{
	/* The first prefix that fits; so the longer ones come first. */
	static const struct {
		const char *prefix, *section;
	} sections[] = {
		{"ociVersion", "config.md#specification-version"},
		{"root", "config.md#root"},
		{"mounts", "config.md#mounts"},
		{"process.user", "config.md#user"},
		{"process.rlimits", "config.md#posix-process"},
		{"process.terminal", "config.md#process"},
		{"process.consoleSize", "config.md#process"},
		{"process.cwd", "config.md#process"},
		{"process.env", "config.md#process"},
		{"process.args", "config.md#process"},
		{"process.", "config.md#linux-process"},
		{"process", "config.md#process"},
		{"hostname", "config.md#hostname"},
		{"domainname", "config.md#domainname"},
		{"hooks", "config.md#posix-platform-hooks"},
		{"annotations", "config.md#annotations"},
		{"linux.namespaces", "config-linux.md#namespaces"},
		{"linux.uidMappings", "config-linux.md#user-namespace-mappings"},
		{"linux.gidMappings", "config-linux.md#user-namespace-mappings"},
		{"linux.timeOffsets", "config-linux.md#offset-for-time-namespace"},
		{"linux.devices", "config-linux.md#devices"},
		{"linux.netDevices", "config-linux.md#network-devices"},
		{"linux.cgroupsPath", "config-linux.md#cgroups-path"},
		{"linux.resources.devices", "config-linux.md#allowed-device-list"},
		{"linux.resources.memory", "config-linux.md#memory"},
		{"linux.resources.cpu", "config-linux.md#cpu"},
		{"linux.resources.blockIO", "config-linux.md#block-io"},
		{"linux.resources.hugepageLimits", "config-linux.md#huge-page-limits"},
		{"linux.resources.network", "config-linux.md#network"},
		{"linux.resources.pids", "config-linux.md#pids"},
		{"linux.resources.rdma", "config-linux.md#rdma"},
		{"linux.resources.unified", "config-linux.md#unified"},
		{"linux.resources", "config-linux.md#control-groups"},
		{"linux.sysctl", "config-linux.md#sysctl"},
		{"linux.seccomp", "config-linux.md#seccomp"},
		{"linux.rootfsPropagation", "config-linux.md#rootfs-mount-propagation"},
		{"linux.maskedPaths", "config-linux.md#masked-paths"},
		{"linux.readonlyPaths", "config-linux.md#readonly-paths"},
		{"linux.mountLabel", "config-linux.md#mount-label"},
		{"linux.intelRdt", "config-linux.md#intelrdt"},
		{"linux.memoryPolicy", "config-linux.md#memory-policy"},
		{"linux.personality", "config-linux.md#personality"},
		{"linux", "config-linux.md"},
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(sections); i++) {
		if (rt_str_starts(path, sections[i].prefix))
			return sections[i].section;
	}
	return "config.md";
}
