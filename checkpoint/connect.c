#include "checkpoint/connect.h"

#include "checkpoint/manifest.h"
#include "checkpoint/mountinfo.h"
#include "runtime/base/fs.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

void rt_connection_init(struct rt_connection *connection)
{
	memset(connection, -1, sizeof(*connection));
}

void rt_connection_deinit(struct rt_connection *connection)
{
	int fds[RT_CONNECTION_MAX];
	size_t count = rt_connection_fds(connection, fds);

	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	rt_connection_init(connection);
}

size_t rt_connection_fds(const struct rt_connection *connection, int ret[RT_CONNECTION_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < RT_ARRAY_SIZE(connection->streams); i++)
		if (connection->streams[i] >= 0)
			ret[count++] = connection->streams[i];
	for (size_t i = 0; i < RT_NS_KINDS; i++)
		if (connection->namespaces[i] >= 0)
			ret[count++] = connection->namespaces[i];
	return count;
}

struct rt_error *rt_connection_open(struct rt_connection *connection, const struct rt_spec *spec)
{
	struct rt_error *err = NULL;

	for (int i = 0; i < (int)RT_ARRAY_SIZE(connection->streams); i++)
		connection->streams[i] = fcntl(i, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* may be closed: then nothing may need it */
	for (int kind = 0; kind < RT_NS_KINDS && !err; kind++)
		if (spec->namespaces[kind].path)
			err = rt_sys_open_namespace(spec->namespaces[kind].path, (enum rt_namespace_kind)kind, &connection->namespaces[kind]);
	return err;
}

static const char *word_of(Rt__NamespaceKind kind)
{
	switch (kind) {
	case RT__NAMESPACE_KIND__NAMESPACE_NETWORK:
		return "net";
	case RT__NAMESPACE_KIND__NAMESPACE_PID:
		return "pid";
	case RT__NAMESPACE_KIND__NAMESPACE_IPC:
		return "ipc";
	case RT__NAMESPACE_KIND__NAMESPACE_UTS:
		return "uts";
	case RT__NAMESPACE_KIND__NAMESPACE_TIME:
		return "time";
	case RT__NAMESPACE_KIND__NAMESPACE_USER:
		return "user";
	default:
		return NULL; /* CRIU can't join the others */
	}
}

static bool has_key(const char *key)
{
	return key && *key;
}

static struct rt_error *declare_namespace(struct rt_criu_opts *options, const Rt__Namespace *namespace)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	if (namespace->origin != RT__NAMESPACE_ORIGIN__NAMESPACE_JOINED || !has_key(namespace->external_key))
		return NULL;
	err = rt_format(&text, "%s[%llu]:%s", word_of(namespace->kind), (unsigned long long)namespace->inode,
			namespace->external_key);
	return err ? err : rt_criu_opts_add_external(options, text);
}

/* Pipes need no declaration: a restore inherits them by their number. Of a socket's other end CRIU must be told that it is outside. */
static struct rt_error *declare_stream(struct rt_criu_opts *options, const Rt__Stream *stream)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	if (!has_key(stream->key) || stream->same_as >= 0)
		return NULL;
	if (rt_str_starts(stream->key, "file[") || rt_str_starts(stream->key, "tty["))
		return rt_criu_opts_add_external(options, stream->key);
	if (stream->kind != RT__STREAM_KIND__STREAM_SOCKET)
		return NULL;
	err = rt_format(&text, "unix[%llu]", (unsigned long long)stream->inode);
	return err ? err : rt_criu_opts_add_external(options, text);
}

struct rt_error *rt_connect_for_dump(struct rt_criu_opts *options, const Rt__Container *container)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; i < container->n_mounts && !err; i++)
		if (has_key(container->mounts[i]->external_key))
			err = rt_criu_opts_add_mount(options, container->mounts[i]->destination, container->mounts[i]->external_key);
	for (size_t i = 0; i < container->n_namespaces && !err; i++)
		err = declare_namespace(options, container->namespaces[i]);
	for (size_t i = 0; i < container->n_streams && !err; i++)
		err = declare_stream(options, container->streams[i]);
	return err;
}

/* The new config's source for this destination: another bundle, another host may have it elsewhere. */
static const struct rt_spec_mount *configured(const struct rt_spec *spec, const char *destination)
{
	for (size_t i = spec->mount_count; i > 0; i--)
		if (rt_str_equal(spec->mounts[i - 1].destination, destination))
			return &spec->mounts[i - 1];
	return NULL;
}

/* The new cgroup's directory in the hierarchy that is mounted under this name: "/sys/fs/cgroup/memory" is for "memory". */
static const struct rt_cgroup_hierarchy *hierarchy_of(const struct rt_cgroup_view *view, const char *destination)
{
	const char *name = strrchr(destination, '/') + 1;

	for (size_t i = 0; i < view->count; i++)
		if (rt_str_equal(view->hierarchies[i].mount_name, name))
			return &view->hierarchies[i];
	for (size_t i = 0; i < view->count; i++)
		if (!*view->hierarchies[i].controllers)
			return &view->hierarchies[i];
	return NULL;
}

static struct rt_error *find_cgroup_source(const struct rt_container *container, const Rt__Mount *mount, char **ret)
{
	struct rt_cgroup_view view;
	const struct rt_cgroup_hierarchy *hierarchy;

	if (!container->cgroup)
		return rt_fail(RT_CONFIG, "'%s' shows a cgroup, but the container has none", mount->destination);
	view = rt_cgroup_view(container->cgroup);
	hierarchy = hierarchy_of(&view, mount->destination);
	if (!hierarchy)
		return rt_fail(RT_CONFIG, "this host has no cgroup hierarchy for '%s'", mount->destination);
	return rt_format(ret, "%s%s", hierarchy->mount_point, rt_str_equal(hierarchy->path, "/") ? "" : hierarchy->path);
}

/* Both are real paths. */
static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	return length == 1 || (strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/'));
}

/* Devices that a runtime puts into /dev where nobody may make them: memory, terminals, and those of the config. */
static bool is_device(const struct rt_spec *spec, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
		return false;
	if (S_ISCHR(st.st_mode) && (major(st.st_rdev) == 1 || major(st.st_rdev) == 5))
		return true;
	for (size_t i = 0; i < spec->device_count; i++)
		if (spec->devices[i].type == (S_ISCHR(st.st_mode) ? 'c' : 'b') && (int64_t)major(st.st_rdev) == spec->devices[i].major &&
		    (int64_t)minor(st.st_rdev) == spec->devices[i].minor)
			return true;
	return false;
}

/* What of the host a container gets is for the config to say, not for a checkpoint from who knows where: a source that it tells must be one of
 * the config's (the destination was behind a symlink), or be below one (rbind). */
static struct rt_error *check_source(const struct rt_container *container, const struct rt_spec *spec, const char *source)
{
	_cleanup_free_ char *real = NULL;
	struct rt_error *err = rt_real_path(source, &real);

	if (err || is_device(spec, real))
		return err;
	for (size_t i = 0; i < spec->mount_count; i++) {
		const struct rt_spec_mount *mount = &spec->mounts[i];
		_cleanup_free_ char *path = NULL, *allowed = NULL;

		if (!rt_spec_mount_is_bind(mount) || !mount->source)
			continue;
		err = rt_format(&path, "%s%s%s", *mount->source == '/' ? "" : container->state.bundle, *mount->source == '/' ? "" : "/",
				mount->source);
		if (err)
			return err;
		err = rt_real_path(path, &allowed);
		if (!err && is_below(real, allowed))
			return NULL;
		rt_error_free(err);
	}
	return rt_fail(RT_CONFIG, "its source '%s' of the checkpoint is in no mount of this configuration", source);
}

static struct rt_error *find_source(const struct rt_container *container, const struct rt_spec *spec, const Rt__Mount *mount,
				    char **ret)
{
	const struct rt_spec_mount *wanted = configured(spec, mount->destination);
	struct rt_error *err;

	if (rt_str_starts(mount->type, "cgroup"))
		return find_cgroup_source(container, mount, ret);
	if (rt_mount_is_elsewhere(mount))
		return rt_format(ret, "%s", mount->source);
	if (mount->masked)
		return rt_format(ret, "/dev/null");
	if (wanted && wanted->source && *wanted->source == '/')
		return rt_format(ret, "%s", wanted->source);
	if (wanted && wanted->source)
		return rt_format(ret, "%s/%s", container->state.bundle, wanted->source);
	err = check_source(container, spec, mount->source);
	return err ? err : rt_format(ret, "%s", mount->source);
}

/* CRIU does not make mount points. Inside another mount they are there or come with it. */
static struct rt_error *make_mount_point(int rootfs_fd, const Rt__Container *described, const Rt__Mount *mount)
{
	_cleanup_close_ int fd = -1;

	for (size_t i = 0; i < described->n_mounts; i++) {
		const char *other = described->mounts[i]->destination;
		size_t length = strlen(other);

		if (described->mounts[i] != mount && strncmp(mount->destination, other, length) == 0 &&
		    mount->destination[length] == '/')
			return NULL;
	}
	/* What lies on the container's own /proc, /sys and /dev is not on the root filesystem. */
	if (rt_str_starts(mount->destination, "/proc/") || rt_str_starts(mount->destination, "/sys/") ||
	    rt_str_starts(mount->destination, "/dev/"))
		return NULL;
	if (mount->is_directory)
		return rt_make_dirs_in_root(rootfs_fd, mount->destination, 0755, &fd);
	return rt_make_file_in_root(rootfs_fd, mount->destination, 0755, &fd);
}

static struct rt_error *restore_mount(struct rt_criu_opts *options, const struct rt_container *container,
				      const struct rt_spec *spec, int rootfs_fd, const Rt__Container *described,
				      const Rt__Mount *mount)
{
	_cleanup_free_ char *source = NULL;
	struct rt_error *err;

	if (!has_key(mount->external_key))
		return NULL;
	err = find_source(container, spec, mount, &source);
	if (!err && !rt_mount_is_elsewhere(mount) && access(source, F_OK) < 0)
		err = rt_fail_errno("its source '%s' on this host", source);
	if (!err)
		err = make_mount_point(rootfs_fd, described, mount);
	if (!err)
		err = rt_criu_opts_add_mount(options, mount->external_key, source);
	if (err)
		return rt_while(err, "mount '%s'", mount->destination);
	return NULL;
}

static enum rt_namespace_kind spec_kind(Rt__NamespaceKind kind)
{
	for (int i = 0; i < RT_NS_KINDS; i++) {
		const char *word = word_of(kind);

		if (word && rt_str_equal(rt_namespace_file((enum rt_namespace_kind)i), word))
			return (enum rt_namespace_kind)i;
	}
	return RT_NS_KINDS;
}

static struct rt_error *restore_namespace(struct rt_criu_opts *options, const struct rt_spec *spec,
					  const Rt__Namespace *namespace, const struct rt_connection *connection, bool taken[RT_NS_KINDS])
{
	enum rt_namespace_kind kind = spec_kind(namespace->kind);
	const char *path = kind < RT_NS_KINDS ? spec->namespaces[kind].path : NULL;

	if (namespace->origin != RT__NAMESPACE_ORIGIN__NAMESPACE_JOINED)
		return NULL;
	if (!path)
		return rt_fail(RT_CONFIG, "the checkpointed container had joined a %s namespace, so 'linux.namespaces' must give the path of one",
			       word_of(namespace->kind) ? word_of(namespace->kind) : "mount or cgroup");
	if (taken[kind])
		return rt_fail(RT_CONFIG, "the manifest has more than one joined %s namespace", word_of(namespace->kind) ? word_of(namespace->kind) : "mount or cgroup");
	taken[kind] = true;
	if (!has_key(namespace->external_key))
		return rt_criu_opts_add_join(options, word_of(namespace->kind), path, NULL);
	return rt_criu_opts_add_inherited(options, namespace->external_key, connection->namespaces[kind]);
}

/* What CRIU's inherit_fd must call it to have the descriptor itself passed on. By the full name of an external file it is opened once
 * more, with the flags it had, by a process that may not be allowed to; but before that CRIU looks for the name without its
 * first character, which in the path of an ordinary file is the slash. */
static const char *inherited_name(const Rt__Stream *stream)
{
	return rt_str_starts(stream->key, "file[") ? stream->key + 1 : stream->key;
}

/* CRIU takes each descriptor once. A file that only a child has, as its stream 1, may be what init had as its stream 2 (`2>&1`, closed since): then
 * one that nobody else asks for. */
static int choose_stream(const struct rt_connection *connection, unsigned wanted, bool taken[3])
{
	for (unsigned i = 0; i < RT_ARRAY_SIZE(connection->streams); i++) {
		unsigned at = (wanted + i) % RT_ARRAY_SIZE(connection->streams);

		if (connection->streams[at] < 0 || taken[at])
			continue;
		taken[at] = true;
		return connection->streams[at];
	}
	return -1;
}

/* Our own stream takes the place of the one that came from outside. */
static struct rt_error *restore_stream(struct rt_criu_opts *options, const Rt__Stream *stream, const struct rt_connection *connection, bool taken[3])
{
	int fd;

	if (!has_key(stream->key) || stream->same_as >= 0)
		return NULL;
	/* All others of our descriptors are our own. */
	if (stream->fd >= RT_ARRAY_SIZE(connection->streams))
		return rt_fail(RT_CONFIG, "the manifest has descriptor %u as a standard stream", stream->fd);
	if (connection->streams[stream->fd] < 0)
		return rt_fail(RT_SYSTEM, "standard stream %u of the container has to be replaced, but ours is not open", stream->fd);
	fd = choose_stream(connection, stream->fd, taken);
	if (fd < 0)
		return rt_fail(RT_CRIU, "the container has more than three files of the host as standard streams of its processes, '%s' among them", stream->path);
	return rt_criu_opts_add_inherited(options, inherited_name(stream), fd);
}

static struct rt_error *restore_cgroups(struct rt_criu_opts *options, const struct rt_container *container)
{
	struct rt_cgroup_view view;
	struct rt_error *err = NULL;

	if (!container->cgroup)
		return NULL;
	view = rt_cgroup_view(container->cgroup);
	/* "" is v2's name. Given none at all, CRIU would take the path for whatever hierarchy it finds besides ours as well. */
	for (size_t i = 0; i < view.count && !err; i++)
		err = rt_criu_opts_add_cgroup_root(options, view.hierarchies[i].controllers, view.hierarchies[i].path);
	return err;
}

struct rt_error *rt_connect_for_restore(struct rt_criu_opts *options, const struct rt_container *container,
					const struct rt_spec *spec, int rootfs_fd, const Rt__Container *described,
					const struct rt_connection *connection)
{
	bool taken[RT_ARRAY_SIZE(connection->streams)] = { false }, joined[RT_NS_KINDS] = { false };
	struct rt_error *err = NULL;

	/* More are in no manifest that rt wrote, and CRIU takes a descriptor only once. */
	if (described->n_namespaces > RT_NS_KINDS || described->n_streams > RT_DESCRIBED_STREAMS)
		return rt_fail(RT_CONFIG, "the manifest names more namespaces and streams than a container has");
	for (size_t i = 0; i < described->n_mounts && !err; i++)
		err = restore_mount(options, container, spec, rootfs_fd, described, described->mounts[i]);
	for (size_t i = 0; i < described->n_namespaces && !err; i++)
		err = restore_namespace(options, spec, described->namespaces[i], connection, joined);
	for (size_t i = 0; i < described->n_streams && !err; i++)
		err = restore_stream(options, described->streams[i], connection, taken);
	return err ? err : restore_cgroups(options, container);
}

static struct rt_error *assume_mount(Rt__Container *into, const char *destination, const char *source, bool masked, bool is_directory)
{
	Rt__Mount *made;
	struct rt_error *err = rt_manifest_append(&into->mounts, &into->n_mounts, &rt__mount__descriptor, &made);

	if (!err)
		err = rt_manifest_set(&made->destination, destination);
	if (!err)
		err = rt_manifest_set(&made->external_key, masked ? "/dev/null" : destination);
	if (!err)
		err = rt_manifest_set(&made->source, source);
	if (err)
		return err;
	made->masked = masked;
	made->is_directory = is_directory;
	return NULL;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A cgroup mount shows every hierarchy of v1 in a directory of its own, each of them external. */
static struct rt_error *assume_cgroup_mounts(Rt__Container *into, const char *destination)
{
	_cleanup_(rt_mountinfo_deinit) struct rt_mountinfo ours = RT_MOUNTINFO_NULL;
	struct rt_error *err = rt_mountinfo_load(0, &ours);

	for (size_t i = 0; i < ours.count && !err; i++) {
		const struct rt_mountinfo_entry *mount = &ours.entries[i];
		_cleanup_free_ char *path = NULL;

		if (!rt_str_starts(mount->type, "cgroup"))
			continue;
		err = rt_format(&path, "%s%s", destination, strrchr(mount->point, '/'));
		if (!err)
			err = assume_mount(into, path, mount->point, false, true);
		if (!err)
			err = rt_manifest_set(&into->mounts[into->n_mounts - 1]->type, mount->type);
	}
	return err;
}

struct rt_error *rt_connect_assume(const struct rt_spec *spec, Rt__Container *into)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; i < spec->mount_count && !err; i++) {
		const struct rt_spec_mount *mount = &spec->mounts[i];

		if (mount->type && rt_str_starts(mount->type, "cgroup"))
			err = assume_cgroup_mounts(into, mount->destination);
		else if (rt_spec_mount_is_bind(mount) && mount->source)
			err = assume_mount(into, mount->destination, mount->source, false, is_directory(mount->source));
	}
	/* Masked directories are tmpfs of their own; only files are tied to the host. More keys than the images have do no harm. */
	for (size_t i = 0; i < spec->masked_path_count && !err; i++)
		err = assume_mount(into, spec->masked_paths[i], "/dev/null", true, false);
	for (int kind = 0; kind < RT_NS_KINDS && !err; kind++) {
		Rt__Namespace *made;

		if (!spec->namespaces[kind].path || (kind != RT_NS_NETWORK && kind != RT_NS_PID))
			continue;
		err = rt_manifest_append(&into->namespaces, &into->n_namespaces, &rt__namespace__descriptor, &made);
		if (err)
			return err;
		made->kind = kind == RT_NS_NETWORK ? RT__NAMESPACE_KIND__NAMESPACE_NETWORK : RT__NAMESPACE_KIND__NAMESPACE_PID;
		made->origin = RT__NAMESPACE_ORIGIN__NAMESPACE_JOINED;
		err = rt_manifest_set(&made->external_key, kind == RT_NS_NETWORK ? "extRootNetNS" : "extRootPidNS");
	}
	return err;
}
