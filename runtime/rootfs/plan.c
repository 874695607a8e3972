#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/limits.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Files of procfs that lxcfs and its like imitate: the only things that may be mounted inside /proc. */
static const char *const imitated_files[] = {
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev", "/proc/slabinfo",
	"/proc/stat", "/proc/swaps", "/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid", "/proc/uptime",
};

char *rt_rootfs_clean_path(struct rt_arena *arena, const char *path)
{
	char *clean = rt_arena_calloc(arena, strlen(path) + 2, 1);
	size_t used = 0;

	if (!clean)
		return NULL;
	while (*path) {
		size_t length = strcspn(path, "/");

		if (length == 2 && path[0] == '.' && path[1] == '.') {
			while (used > 0 && clean[--used] != '/')
				;
		} else if (length > 0 && !(length == 1 && path[0] == '.')) {
			clean[used++] = '/';
			memcpy(clean + used, path, length);
			used += length;
		}
		path += length;
		path += *path == '/';
	}
	if (used == 0)
		clean[used++] = '/';
	clean[used] = '\0';
	return clean;
}

bool rt_rootfs_path_is_below(const char *inside, const char *outside)
{
	size_t length = strlen(outside);

	if (rt_str_equal(outside, "/"))
		return true;
	return strncmp(inside, outside, length) == 0 && (inside[length] == '/' || inside[length] == '\0');
}

struct rt_error *rt_rootfs_check_destination(const struct rt_rootfs_entry *entry)
{
	const char *destination = entry->destination;

	if (entry->kind == RT_ENTRY_ROOT)
		return NULL;
	if (rt_str_equal(destination, "/"))
		return rt_fail(RT_CONFIG, "'/' can be the destination only of a bind mount of the root filesystem itself, with id mappings");
	if (!rt_rootfs_path_is_below(destination, "/proc"))
		return NULL;
	if (rt_str_equal(destination, "/proc")) {
		/* Of a bind mount it is known when its source is open. */
		if (entry->kind == RT_ENTRY_BIND || entry->kind == RT_ENTRY_REMOUNT || rt_str_equal(entry->type, "proc"))
			return NULL;
		return rt_fail(RT_CONFIG, "only a file system of type 'proc' can be mounted on '/proc', not '%s'",
			       entry->type);
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(imitated_files); i++)
		if (rt_str_equal(destination, imitated_files[i]))
			return NULL;
	if (entry->kind == RT_ENTRY_REMOUNT)
		return NULL;
	return rt_fail(RT_CONFIG, "'%s' is inside '/proc', where nothing may be mounted", destination);
}

struct rt_error *rt_rootfs_plan_propagation(const char *word, struct rt_propagation *ret)
{
	static const struct {
		const char *name;
		struct rt_propagation propagation;
	} words[] = {
		{ "private", { MS_PRIVATE, false } }, { "rprivate", { MS_PRIVATE, true } },
		{ "rshared", { MS_SHARED, true } }, { "rslave", { MS_SLAVE, true } },
		{ "runbindable", { MS_UNBINDABLE, true } }, { "shared", { MS_SHARED, false } },
		{ "slave", { MS_SLAVE, false } }, { "unbindable", { MS_UNBINDABLE, false } },
	};

	*ret = (struct rt_propagation){ .type = 0 };
	if (!word || !*word)
		return NULL;
	for (size_t i = 0; i < RT_ARRAY_SIZE(words); i++) {
		if (rt_str_equal(word, words[i].name)) {
			*ret = words[i].propagation;
			return NULL;
		}
	}
	return rt_fail(RT_CONFIG, "'linux.rootfsPropagation' cannot be '%s'", word);
}

bool rt_rootfs_is_shared(const struct rt_rootfs *rootfs)
{
	return rootfs->propagation.type == MS_SHARED;
}

static struct rt_error *plan_bind(struct rt_rootfs *rootfs, const struct rt_spec_mount *mount,
				  struct rt_rootfs_entry *entry)
{
	if (!mount->source)
		return rt_fail(RT_CONFIG, "a bind mount needs a source");
	if (mount->source[0] == '/')
		entry->source = mount->source;
	else
		entry->source = rt_arena_printf(&rootfs->arena, "%s/%s", rootfs->request.bundle, mount->source);
	if (!entry->source)
		return rt_error_oom();
	for (size_t i = 0; i < entry->options.data_count; i++)
		rt_warn("mount option '%s' of '%s' says nothing about a bind mount, ignoring", entry->options.data[i],
			entry->destination);
	return NULL;
}

static struct rt_error *check_entry(const struct rt_rootfs_entry *entry)
{
	if (entry->kind == RT_ENTRY_FILESYSTEM && !entry->type)
		return rt_fail(RT_CONFIG, "a mount without 'bind' among its options needs a type");
	if (entry->options.copy_up && !rt_str_equal(entry->type, "tmpfs"))
		return rt_fail(RT_CONFIG, "'tmpcopyup' needs a file system of type 'tmpfs'");
	if (entry->kind != RT_ENTRY_BIND && entry->kind != RT_ENTRY_ROOT &&
	    (entry->options.idmap || entry->uid_mappings.count > 0 || entry->gid_mappings.count > 0))
		return rt_fail(RT_CONFIG, "only bind mounts can have id mappings");
	if ((entry->uid_mappings.count > 0) != (entry->gid_mappings.count > 0))
		return rt_fail(RT_CONFIG, "'uidMappings' and 'gidMappings' need each other");
	return rt_rootfs_check_destination(entry);
}

/* "/" stands for the container's root: with other ids it is mounted as such in the first place, not a second time on top of itself. */
static struct rt_error *plan_root(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	struct stat root, source;

	if (entry != rootfs->entries)
		return rt_fail(RT_CONFIG, "what is mounted on '/' must come first, or it would hide the others");
	if (entry->options.propagation_count > 0)
		return rt_fail(RT_CONFIG, "the propagation of '/' is told by 'linux.rootfsPropagation', not by options");
	if (stat(rootfs->path, &root) < 0)
		return rt_fail_errno("cannot look at the root filesystem '%s'", rootfs->path);
	if (stat(entry->source, &source) < 0)
		return rt_fail_errno("cannot look at '%s'", entry->source);
	if (root.st_dev != source.st_dev || root.st_ino != source.st_ino)
		return rt_fail(RT_CONFIG, "only the root filesystem itself ('root.path', '%s') can be mounted on '/', not '%s'",
			       rootfs->path, entry->source);
	entry->late_readonly = (entry->options.set | entry->options.recursive_set) & MOUNT_ATTR_RDONLY;
	rootfs->root_entry = entry;
	return NULL;
}

static struct rt_error *plan_entry(struct rt_rootfs *rootfs, const struct rt_spec_mount *mount,
				   struct rt_rootfs_entry *entry)
{
	struct rt_error *err;

	*entry = (struct rt_rootfs_entry){ .kind = RT_ENTRY_FILESYSTEM, .type = mount->type, .source = mount->source,
					   .uid_mappings = mount->uid_mappings, .gid_mappings = mount->gid_mappings,
					   .tree_fd = -1, .mounted_fd = -1 };
	entry->destination = rt_rootfs_clean_path(&rootfs->arena, mount->destination);
	if (!entry->destination)
		return rt_error_oom();
	err = rt_mount_options_parse(mount->options, mount->option_count, &rootfs->arena, &entry->options);
	if (err)
		return err;
	if (entry->type && rt_str_equal(entry->type, "rbind"))
		entry->options.bind = entry->options.recursive = true;
	if (entry->type && rt_str_equal(entry->type, "bind"))
		entry->options.bind = true;
	if (entry->options.remount)
		entry->kind = RT_ENTRY_REMOUNT;
	else if (entry->options.bind)
		entry->kind = rt_str_equal(entry->destination, "/") && rt_rootfs_is_mapped(entry) ? RT_ENTRY_ROOT : RT_ENTRY_BIND;
	else if (entry->type && rt_str_equal(entry->type, "cgroup"))
		entry->kind = RT_ENTRY_CGROUP;
	err = check_entry(entry);
	if (!err && (entry->kind == RT_ENTRY_BIND || entry->kind == RT_ENTRY_ROOT))
		err = plan_bind(rootfs, mount, entry);
	if (err)
		return err;
	if (entry->kind == RT_ENTRY_ROOT)
		return plan_root(rootfs, entry);
	/* A tmpfs, and /dev whatever it is, is filled by what comes after it. */
	if ((entry->options.set | entry->options.recursive_set) & MOUNT_ATTR_RDONLY)
		entry->late_readonly = (entry->kind == RT_ENTRY_FILESYSTEM && rt_str_equal(entry->type, "tmpfs")) ||
				       (entry->kind != RT_ENTRY_REMOUNT && rt_str_equal(entry->destination, "/dev"));
	return NULL;
}

struct rt_error *rt_rootfs_plan_entries(struct rt_rootfs *rootfs)
{
	const struct rt_spec *spec = rootfs->spec;

	rootfs->entries = rt_arena_calloc(&rootfs->arena, spec->mount_count, sizeof(*rootfs->entries));
	rootfs->infos = rt_arena_calloc(&rootfs->arena, spec->mount_count, sizeof(*rootfs->infos));
	if (spec->mount_count > 0 && (!rootfs->entries || !rootfs->infos))
		return rt_error_oom();
	for (size_t i = 0; i < spec->mount_count; i++) {
		struct rt_rootfs_entry *entry = &rootfs->entries[i];
		struct rt_error *err = plan_entry(rootfs, &spec->mounts[i], entry);

		if (err)
			return rt_while(err, "mount %zu, at '%s'", i, spec->mounts[i].destination);
		rootfs->entry_count++;
		rootfs->infos[i] = (struct rt_rootfs_mount_info){
			.destination = entry->destination, .source = entry->source,
			.is_bind = entry->kind == RT_ENTRY_BIND, .is_cgroup = entry->kind == RT_ENTRY_CGROUP,
		};
	}
	return NULL;
}

/* Without a mount namespace every mount would stay on the host. */
static struct rt_error *check_without_namespace(const struct rt_spec *spec)
{
	if (spec->mount_count > 0)
		return rt_fail(RT_CONFIG, "'mounts' needs a mount namespace in 'linux.namespaces'");
	if (spec->masked_path_count > 0 || spec->readonly_path_count > 0)
		return rt_fail(RT_CONFIG,
			       "'linux.maskedPaths' and 'linux.readonlyPaths' need a mount namespace");
	if (spec->root_readonly)
		return rt_fail(RT_CONFIG, "'root.readonly' needs a mount namespace in 'linux.namespaces'");
	if (spec->rootfs_propagation && *spec->rootfs_propagation)
		return rt_fail(RT_CONFIG, "'linux.rootfsPropagation' needs a mount namespace in 'linux.namespaces'");
	return NULL;
}

static struct rt_error *check_label(const struct rt_spec *spec)
{
	struct statfs fs;

	if (!spec->mount_label || !*spec->mount_label)
		return NULL;
	if (statfs("/sys/fs/selinux", &fs) < 0 || fs.f_type != SELINUX_MAGIC)
		return rt_fail(RT_CONFIG, "'linux.mountLabel' is set, but SELinux is not enabled on this machine");
	return NULL;
}

/* Two calls, where realpath() makes one a component. */
static struct rt_error *find_root(struct rt_rootfs *rootfs)
{
	const struct rt_spec *spec = rootfs->spec;
	_cleanup_free_ char *named = NULL;
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct rt_error *err;
	ssize_t length;

	if (!spec->root_path)
		return rt_fail(RT_CONFIG, "'root.path' is missing");
	if (spec->root_path[0] == '/')
		err = rt_format(&named, "%s", spec->root_path);
	else
		err = rt_format(&named, "%s/%s", rootfs->request.bundle, spec->root_path);
	if (err)
		return err;
	fd = open(named, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return rt_error_make(__FILE__, __LINE__, RT_CONFIG, errno, NULL,
				     "cannot open the root filesystem '%s' ('root.path')", named);
	length = readlink(rt_fd_path(fd).text, path, sizeof(path) - 1);
	if (length < 0)
		return rt_fail_errno("cannot resolve '%s'", named);
	path[length] = '\0';
	return rt_format(&rootfs->path, "%s", path);
}

static struct rt_error *plan_paths(struct rt_rootfs *rootfs)
{
	struct rt_error *err = NULL;

	if (!rootfs->request.private_mount_namespace)
		err = check_without_namespace(rootfs->spec);
	if (!err)
		err = check_label(rootfs->spec);
	if (!err)
		err = find_root(rootfs);
	if (!err)
		err = rt_rootfs_plan_propagation(rootfs->spec->rootfs_propagation, &rootfs->propagation);
	if (!err)
		err = rt_rootfs_plan_entries(rootfs);
	return err;
}

struct rt_error *rt_rootfs_plan_paths(const struct rt_rootfs_request *request, struct rt_rootfs **ret)
{
	struct rt_rootfs *rootfs = calloc(1, sizeof(*rootfs));
	struct rt_error *err;

	if (!rootfs)
		return rt_error_oom();
	rootfs->request = *request;
	rootfs->spec = request->spec;
	rootfs->arena = RT_ARENA_NULL;
	rootfs->container_map_fd = request->user_namespace_fd;
	rootfs->root_fd = rootfs->null_fd = -1;
	for (size_t i = 0; i < RT_VIEW_COUNT; i++)
		rootfs->view_fds[i] = -1;
	err = plan_paths(rootfs);
	if (err) {
		rt_rootfs_free(rootfs);
		return err;
	}
	*ret = rootfs;
	return NULL;
}

struct rt_error *rt_rootfs_plan(const struct rt_rootfs_request *request, struct rt_rootfs **ret)
{
	_cleanup_(rt_rootfs_freep) struct rt_rootfs *rootfs = NULL;
	struct rt_error *err = rt_rootfs_plan_paths(request, &rootfs);

	if (!err)
		err = rt_rootfs_open_sources(rootfs);
	if (err)
		return err;
	*ret = rt_take_ptr(rootfs);
	return NULL;
}

void rt_rootfs_free(struct rt_rootfs *rootfs)
{
	if (!rootfs)
		return;
	for (size_t i = 0; i < rootfs->entry_count; i++) {
		rt_closep(&rootfs->entries[i].tree_fd);
		rt_closep(&rootfs->entries[i].mounted_fd);
	}
	if (rootfs->made_map)
		rt_closep(&rootfs->container_map_fd);
	rt_closep(&rootfs->root_fd);
	rt_closep(&rootfs->null_fd);
	for (size_t i = 0; i < RT_VIEW_COUNT; i++)
		rt_closep(&rootfs->view_fds[i]);
	rt_arena_deinit(&rootfs->arena);
	free(rootfs->path);
	free(rootfs);
}

const char *rt_rootfs_path(const struct rt_rootfs *rootfs)
{
	return rootfs->path;
}

const struct rt_rootfs_mount_info *rt_rootfs_mounts(const struct rt_rootfs *rootfs, size_t *ret_count)
{
	*ret_count = rootfs->entry_count;
	return rootfs->infos;
}
