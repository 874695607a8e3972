#include "checkpoint/describe_private.h"

#include "checkpoint/manifest.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/container/in_force.h"

#include <sys/stat.h>

/* The names that runc gave them, so that its checkpoints can be restored here and ours there. */
static const char *namespace_key(enum rt_namespace_kind kind)
{
	switch (kind) {
	case RT_NS_NETWORK:
		return "extRootNetNS";
	case RT_NS_PID:
		return "extRootPidNS";
	case RT_NS_USER:
	case RT_NS_MOUNT:
	case RT_NS_IPC:
	case RT_NS_UTS:
	case RT_NS_CGROUP:
	case RT_NS_TIME:
	case RT_NS_KINDS:
		break;
	}
	return ""; /* CRIU has no external ones of these: a restore joins them by path */
}

static Rt__NamespaceKind manifest_kind(enum rt_namespace_kind kind)
{
	static const Rt__NamespaceKind kinds[RT_NS_KINDS] = {
		[RT_NS_USER] = RT__NAMESPACE_KIND__NAMESPACE_USER,
		[RT_NS_MOUNT] = RT__NAMESPACE_KIND__NAMESPACE_MOUNT,
		[RT_NS_PID] = RT__NAMESPACE_KIND__NAMESPACE_PID,
		[RT_NS_NETWORK] = RT__NAMESPACE_KIND__NAMESPACE_NETWORK,
		[RT_NS_IPC] = RT__NAMESPACE_KIND__NAMESPACE_IPC,
		[RT_NS_UTS] = RT__NAMESPACE_KIND__NAMESPACE_UTS,
		[RT_NS_CGROUP] = RT__NAMESPACE_KIND__NAMESPACE_CGROUP,
		[RT_NS_TIME] = RT__NAMESPACE_KIND__NAMESPACE_TIME,
	};

	return kinds[kind];
}

static struct rt_error *describe_namespace(pid_t pid, enum rt_namespace_kind kind, const struct rt_spec *spec,
					   Rt__Container *into)
{
	struct stat own, theirs;
	Rt__Namespace *made;
	struct rt_error *err;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, rt_namespace_file(kind));
	if (stat(path, &theirs) < 0)
		return errno == ENOENT ? NULL : rt_fail_errno("cannot look at '%s'", path);
	snprintf(path, sizeof(path), "/proc/self/ns/%s", rt_namespace_file(kind));
	if (stat(path, &own) < 0)
		return rt_fail_errno("cannot look at '%s'", path);
	err = rt_manifest_append(&into->namespaces, &into->n_namespaces, &rt__namespace__descriptor, &made);
	if (err)
		return err;
	made->kind = manifest_kind(kind);
	made->inode = theirs.st_ino;
	if (own.st_ino == theirs.st_ino && own.st_dev == theirs.st_dev) {
		made->origin = RT__NAMESPACE_ORIGIN__NAMESPACE_HOST;
		return NULL;
	}
	made->origin = RT__NAMESPACE_ORIGIN__NAMESPACE_NEW;
	if (!spec->namespaces[kind].path)
		return NULL;
	made->origin = RT__NAMESPACE_ORIGIN__NAMESPACE_JOINED;
	err = rt_manifest_set(&made->path, spec->namespaces[kind].path);
	return err ? err : rt_manifest_set(&made->external_key, namespace_key(kind));
}

static struct rt_error *describe_maps(const struct rt_id_maps *maps, Rt__IdMap ***array, size_t *count)
{
	for (size_t i = 0; i < maps->count; i++) {
		Rt__IdMap *made;
		struct rt_error *err = rt_manifest_append(array, count, &rt__id_map__descriptor, &made);

		if (err)
			return err;
		made->container_id = maps->entries[i].container_id;
		made->host_id = maps->entries[i].host_id;
		made->size = maps->entries[i].size;
	}
	return NULL;
}

static Rt__CgroupLayout manifest_layout(enum rt_cgroup_layout layout)
{
	switch (layout) {
	case RT_CGROUP_V1:
		return RT__CGROUP_LAYOUT__CGROUP_LAYOUT_V1;
	case RT_CGROUP_HYBRID:
		return RT__CGROUP_LAYOUT__CGROUP_LAYOUT_HYBRID;
	case RT_CGROUP_V2:
		return RT__CGROUP_LAYOUT__CGROUP_LAYOUT_V2;
	case RT_CGROUP_NONE:
		break;
	}
	return RT__CGROUP_LAYOUT__CGROUP_LAYOUT_NONE;
}

static struct rt_error *describe_limits(struct rt_container *container, Rt__Cgroup *into)
{
	_cleanup_json_ json_t *resources = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	if (!rt_in_force_differs(container))
		return NULL;
	err = rt_in_force_load(container, &resources);
	if (err)
		return err;
	text = json_dumps(resources, JSON_COMPACT);
	return text ? rt_manifest_set_bytes(&into->resources, text, strlen(text)) : rt_error_oom();
}

static struct rt_error *describe_cgroup(const struct rt_container *container, Rt__Cgroup *into)
{
	_cleanup_free_ char *state = NULL;
	struct rt_cgroup_view view;
	struct rt_error *err;
	bool frozen;

	into->layout = RT__CGROUP_LAYOUT__CGROUP_LAYOUT_NONE;
	if (!container->cgroup)
		return NULL;
	view = rt_cgroup_view(container->cgroup);
	into->layout = manifest_layout(view.layout);
	into->systemd = container->state.systemd_cgroup;
	err = rt_cgroup_is_frozen(container->cgroup, &frozen);
	for (size_t i = 0; i < view.count && !err; i++) {
		Rt__CgroupPath *made;

		err = rt_manifest_append(&into->paths, &into->n_paths, &rt__cgroup_path__descriptor, &made);
		if (!err)
			err = rt_manifest_set(&made->controllers, view.hierarchies[i].controllers);
		if (!err)
			err = rt_manifest_set(&made->path, view.hierarchies[i].path);
	}
	if (err)
		return err;
	into->frozen = frozen;
	state = json_dumps(container->state.cgroup, JSON_COMPACT);
	if (!state)
		return rt_error_oom();
	return rt_manifest_set_bytes(&into->state, state, strlen(state));
}

static struct rt_error *describe_names(const struct rt_container *container, const struct rt_spec *spec, Rt__Container *into)
{
	const struct rt_state *state = &container->state;
	struct rt_error *err;

	err = rt_manifest_set(&into->id, state->id);
	if (!err)
		err = rt_manifest_set(&into->created, state->created);
	if (!err)
		err = rt_manifest_set(&into->bundle, state->bundle);
	if (!err)
		err = rt_manifest_set(&into->rootfs, state->rootfs);
	if (!err)
		err = rt_manifest_set(&into->apparmor_profile, spec->process.apparmor_profile);
	if (!err)
		err = rt_manifest_set(&into->selinux_label, spec->process.selinux_label);
	into->terminal = spec->process.terminal;
	into->rootless = state->rootless;
	return err;
}

struct rt_error *rt_describe_container(struct rt_container *container, const struct rt_spec *spec, const char *config,
				       size_t config_size, Rt__Container *into)
{
	_cleanup_(rt_mountinfo_deinit) struct rt_mountinfo mounts = RT_MOUNTINFO_NULL;
	pid_t pid = container->state.pid;
	struct rt_error *err;

	err = describe_names(container, spec, into);
	if (!err)
		err = rt_manifest_set_bytes(&into->config, config, config_size);
	for (int kind = 0; kind < RT_NS_KINDS && !err; kind++)
		err = describe_namespace(pid, (enum rt_namespace_kind)kind, spec, into);
	if (!err)
		err = describe_maps(&spec->uid_mappings, &into->uid_maps, &into->n_uid_maps);
	if (!err)
		err = describe_maps(&spec->gid_mappings, &into->gid_maps, &into->n_gid_maps);
	if (!err)
		err = rt_mountinfo_load(pid, &mounts);
	if (!err)
		err = rt_describe_mounts(container, spec, &mounts, into);
	if (!err)
		err = rt_describe_streams(pid, &mounts, into);
	if (!err)
		err = rt_describe_other_streams(container, &mounts, into);
	if (!err)
		err = describe_cgroup(container, into->cgroup);
	if (!err)
		err = describe_limits(container, into->cgroup);
	if (err)
		return rt_while(err, "looking at the container");
	return NULL;
}
