#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* procfs and sysfs go on ordinary directories only: through a symlink of the image they would stand where later masks
 * and checks don't expect them (CVE-2019-19921, CVE-2023-27561, CVE-2023-28642). */
static struct rt_error *open_plain_directory(int root_fd, const char *path, int *ret)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
	};
	_cleanup_close_ int made = -1;
	struct rt_error *err;
	int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	if (fd < 0 && errno == ENOENT) {
		err = rt_make_dirs_in_root(root_fd, path, 0755, &made);
		if (err)
			return err;
		fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	}
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return rt_fail(RT_CONFIG, "'%s' must be an ordinary directory in the root filesystem, not a link", path);
	if (fd < 0)
		return rt_fail_errno("cannot open '%s' inside the root filesystem", path);
	*ret = fd;
	return NULL;
}

/* What is missed is nearly always the last component alone, /dev/pts in a fresh /dev: then there is no path to
 * walk. Anything else, a link in that place too, is *ret -1. */
static struct rt_error *make_last_component(int root_fd, const char *path, bool directory, int *ret)
{
	const int how = directory ? O_PATH | O_DIRECTORY : O_WRONLY | O_CREAT | O_EXCL;
	const char *name = strrchr(path, '/') + 1;
	_cleanup_close_ int dir_fd = -1, made = -1;
	_cleanup_free_ char *parent = NULL;
	struct rt_error *err = rt_format(&parent, "%.*s", (int)(name - path), path);

	*ret = -1;
	if (!err)
		err = rt_open_in_root(root_fd, parent, O_PATH | O_DIRECTORY, 0, &dir_fd);
	if (err && err->errnum == ENOENT)
		return rt_error_free(err);
	if (err)
		return err;
	if (directory && mkdirat(dir_fd, name, 0755) < 0)
		return errno == EEXIST ? NULL : rt_fail_errno("cannot create '%s' inside the root filesystem", path);
	made = openat(dir_fd, name, how | O_NOFOLLOW | O_CLOEXEC, 0755);
	if (made < 0)
		return errno == EEXIST ? NULL : rt_fail_errno("cannot create '%s' inside the root filesystem", path);
	*ret = rt_take_fd(made);
	return NULL;
}

/* Whatever is there already, then whatever has to be made. */
static struct rt_error *open_or_make(const struct rt_rootfs_place *place, const struct rt_rootfs_entry *entry,
				     bool directory, bool *ret_existed, int *ret)
{
	int flags = O_PATH | (directory ? O_DIRECTORY : 0) | (entry->options.destination_nofollow ? O_NOFOLLOW : 0);
	struct rt_error *err = rt_open_in_root(place->fd, place->path, flags, 0, ret);

	*ret_existed = !err;
	if (!err || err->errnum != ENOENT)
		return err;
	rt_error_free(err);
	err = make_last_component(place->fd, place->path, directory, ret);
	if (err || *ret >= 0)
		return err;
	if (directory)
		return rt_make_dirs_in_root(place->fd, place->path, 0755, ret);
	return rt_make_file_in_root(place->fd, place->path, 0755, ret);
}

struct rt_error *rt_rootfs_open_target(struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry, bool directory,
				       bool *ret_existed, int *ret)
{
	const struct rt_rootfs_place place = rt_rootfs_find_place(rootfs, entry->destination);
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	bool existed = true;

	if (rt_rootfs_is_view(entry))
		err = open_plain_directory(place.fd, place.path, &fd);
	else
		err = open_or_make(&place, entry, directory, &existed, &fd);
	if (err)
		return err;
	/* The plan allowed this destination by its name; a symlink of the image may have led it into procfs still. */
	if (!rt_rootfs_path_is_below(entry->destination, "/proc") && rt_is_procfs(fd))
		return rt_fail(RT_CONFIG, "'%s' leads into a procfs, where nothing may be mounted", entry->destination);
	if (ret_existed)
		*ret_existed = existed;
	*ret = rt_take_fd(fd);
	return NULL;
}

/* Only below a shared mount does a new mount not start out private. */
static struct rt_error *settle_propagation(const struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry,
					   int mount_fd)
{
	bool shared = rt_rootfs_is_shared(rootfs);

	for (size_t i = 0; i < entry->options.propagation_count; i++) {
		const struct rt_mount_attributes change = { .propagation = entry->options.propagations[i].type };
		unsigned flags = entry->options.propagations[i].recursive ? RT_MOUNT_RECURSIVE : 0;
		struct rt_error *err;

		if (!shared && (entry->kind == RT_ENTRY_BIND || change.propagation == MS_PRIVATE ||
				change.propagation == MS_SLAVE))
			continue;
		err = rt_sys_set_mount_attributes(mount_fd, "", flags, &change);
		if (err)
			return rt_while(err, "setting propagation");
	}
	return NULL;
}

struct rt_error *rt_rootfs_attach_entry(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry, int tree_fd, int target_fd)
{
	struct rt_error *err = rt_sys_attach(tree_fd, target_fd);

	if (!err)
		err = settle_propagation(rootfs, entry, tree_fd);
	if (!err)
		err = rt_rootfs_remember_view(rootfs, entry, tree_fd);
	if (err || !entry->late_readonly)
		return err;
	entry->mounted_fd = fcntl(tree_fd, F_DUPFD_CLOEXEC, 3);
	if (entry->mounted_fd < 0)
		return rt_fail_errno("cannot duplicate a descriptor");
	return NULL;
}

static struct rt_error *mount_bind(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	_cleanup_close_ int target_fd = -1;
	struct rt_error *err;
	struct stat st;

	if (fstat(entry->tree_fd, &st) < 0)
		return rt_fail_errno("cannot stat '%s'", entry->source);
	err = rt_rootfs_open_target(rootfs, entry, S_ISDIR(st.st_mode), NULL, &target_fd);
	if (!err)
		err = rt_rootfs_attach_entry(rootfs, entry, entry->tree_fd, target_fd);
	if (err)
		return err;
	close(rt_take_fd(entry->tree_fd));
	return NULL;
}

struct rt_error *rt_rootfs_bind_instead(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry, const char *path,
					int target_fd)
{
	_cleanup_close_ int tree_fd = -1;
	struct rt_error *err = rt_sys_clone_tree(AT_FDCWD, path, RT_MOUNT_RECURSIVE, &tree_fd);

	if (!err)
		err = rt_rootfs_apply_options(rootfs, entry, tree_fd);
	if (!err)
		err = rt_rootfs_attach_entry(rootfs, entry, tree_fd, target_fd);
	return err;
}

/* File systems that belong to a namespace can only be mounted by who owns that namespace. Where the container shares
 * the host's, the host's own mount shows the same. NULL: there is none of the kind. */
static const char *host_mount_of(const struct rt_rootfs *rootfs, const char *type)
{
	const struct rt_spec_namespace *namespaces = rootfs->spec->namespaces;

	if (rt_str_equal(type, "sysfs"))
		return "/sys";
	if (rt_str_equal(type, "proc") && !namespaces[RT_NS_PID].wanted)
		return "/proc";
	if (rt_str_equal(type, "mqueue") && !namespaces[RT_NS_IPC].wanted)
		return "/dev/mqueue";
	return NULL;
}

/* Words for the file system: the spec's, and those that follow from elsewhere. */
struct data {
	const char **words;
	size_t count;
	char mode[16], *context;
};

static void data_deinit(struct data *data)
{
	free(data->words);
	free(data->context);
}

static bool has_word(const struct rt_mount_options *options, const char *prefix)
{
	for (size_t i = 0; i < options->data_count; i++)
		if (rt_str_starts(options->data[i], prefix))
			return true;
	return false;
}

static bool takes_label(const char *type)
{
	return !rt_str_equal(type, "proc") && !rt_str_equal(type, "sysfs") && !rt_str_equal(type, "mqueue") &&
	       !rt_str_starts(type, "cgroup");
}

static struct rt_error *collect_data(const struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry, int target_fd,
				     bool existed, struct data *data)
{
	const struct rt_mount_options *options = &entry->options;
	const char *label = rootfs->spec->mount_label;
	struct stat st;

	data->words = calloc(options->data_count + 3, sizeof(*data->words));
	if (!data->words)
		return rt_error_oom();
	/* A tmpfs looks like the directory it hides, unless told otherwise. */
	if (existed && rt_str_equal(entry->type, "tmpfs") && !has_word(options, "mode=") && fstat(target_fd, &st) == 0) {
		snprintf(data->mode, sizeof(data->mode), "mode=%04o", st.st_mode & 07777);
		data->words[data->count++] = data->mode;
	}
	for (size_t i = 0; i < options->data_count; i++)
		data->words[data->count++] = options->data[i];
	if (!entry->late_readonly && (options->set & MOUNT_ATTR_RDONLY) && !rt_str_starts(entry->type, "cgroup"))
		data->words[data->count++] = "ro";
	if (label && *label && takes_label(entry->type) && !has_word(options, "context=")) {
		struct rt_error *err = rt_format(&data->context, "context=%s", label);

		if (err)
			return err;
		data->words[data->count++] = data->context;
	}
	return NULL;
}

/* fsmount() knows no "recursive": for a mount with nothing below it both mean the same. */
static unsigned own_attributes(const struct rt_rootfs_entry *entry)
{
	const struct rt_mount_options *options = &entry->options;
	uint64_t clear = options->clear & ~(uint64_t)MOUNT_ATTR__ATIME;
	uint64_t attributes = options->set | (options->recursive_set & ~clear);

	if (options->clear & MOUNT_ATTR__ATIME)
		attributes = (attributes & ~(uint64_t)MOUNT_ATTR__ATIME) | (options->set & MOUNT_ATTR__ATIME);
	if (entry->late_readonly)
		attributes &= ~(uint64_t)MOUNT_ATTR_RDONLY;
	return (unsigned)attributes;
}

static struct rt_error *mount_the_old_way(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry,
					  const struct rt_filesystem *filesystem, int target_fd)
{
	_cleanup_close_ int mount_fd = -1;
	struct rt_error *err = rt_sys_mount_filesystem(filesystem, target_fd);

	if (!err)
		err = rt_rootfs_remember_view(rootfs, entry, -1);
	/* The descriptor still refers to what is now hidden. */
	if (!err && (entry->late_readonly || entry->options.propagation_count > 0))
		err = rt_open_in_root(rootfs->root_fd, entry->destination, O_PATH | O_DIRECTORY, 0, &mount_fd);
	if (!err && mount_fd >= 0)
		err = settle_propagation(rootfs, entry, mount_fd);
	if (!err && entry->late_readonly)
		entry->mounted_fd = rt_take_fd(mount_fd);
	return err;
}

static struct rt_error *copy_up(int target_fd, int tree_fd)
{
	_cleanup_close_ int from = openat(target_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int to = openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (from < 0 || to < 0)
		return rt_fail_errno("cannot open the directory to copy");
	return rt_rootfs_copy_content(from, to);
}

static struct rt_error *mount_filesystem(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	_cleanup_(data_deinit) struct data data = { .count = 0 };
	_cleanup_close_ int target_fd = -1, tree_fd = -1;
	struct rt_filesystem filesystem = { .type = entry->type, .source = entry->source,
					    .wishes = entry->options.wishes, .wish_count = entry->options.wish_count,
					    .attributes = own_attributes(entry) };
	struct rt_error *err;
	bool existed;

	err = rt_rootfs_open_target(rootfs, entry, true, &existed, &target_fd);
	if (!err)
		err = collect_data(rootfs, entry, target_fd, existed, &data);
	if (err)
		return err;
	filesystem.options = data.words;
	filesystem.option_count = data.count;
	if (rt_sys_needs_old_mount(&filesystem))
		return mount_the_old_way(rootfs, entry, &filesystem, target_fd);
	err = rt_sys_make_filesystem(&filesystem, &tree_fd);
	if (err && err->errnum == EPERM && host_mount_of(rootfs, entry->type)) {
		rt_error_free(err);
		return rt_rootfs_bind_instead(rootfs, entry, host_mount_of(rootfs, entry->type), target_fd);
	}
	if (!err && entry->options.copy_up)
		err = copy_up(target_fd, tree_fd);
	if (!err)
		err = rt_rootfs_attach_entry(rootfs, entry, tree_fd, target_fd);
	return err;
}

static struct rt_error *remount(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	const struct rt_mount_options *options = &entry->options;
	const struct rt_mount_attributes all = { .set = options->recursive_set, .clear = options->recursive_clear };
	const struct rt_mount_attributes own = { .set = options->set, .clear = options->clear };
	const struct rt_rootfs_place place = rt_rootfs_find_place(rootfs, entry->destination);
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_open_in_root(place.fd, place.path, O_PATH, 0, &fd);

	if (!err && !options->bind && options->data_count > 0)
		err = rt_sys_reconfigure(fd, &(struct rt_filesystem){ .type = entry->type ? entry->type : "mounted there",
								      .options = options->data,
								      .option_count = options->data_count });
	if (!err && (all.set || all.clear))
		err = rt_sys_set_mount_attributes(fd, "", RT_MOUNT_RECURSIVE, &all);
	if (!err && (own.set || own.clear))
		err = rt_sys_set_mount_attributes(fd, "", 0, &own);
	for (size_t i = 0; !err && i < options->propagation_count; i++) {
		const struct rt_mount_attributes change = { .propagation = options->propagations[i].type };
		unsigned flags = options->propagations[i].recursive ? RT_MOUNT_RECURSIVE : 0;

		err = rt_sys_set_mount_attributes(fd, "", flags, &change);
	}
	return err;
}

static struct rt_error *copy_link(struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry)
{
	const char *slash = strrchr(entry->destination, '/');
	_cleanup_free_ char *parent = NULL;
	_cleanup_close_ int dir_fd = -1;
	char there[PATH_MAX];
	struct rt_error *err = rt_format(&parent, "%.*s", (int)(slash - entry->destination), entry->destination);
	ssize_t length;

	if (!err)
		err = rt_make_dirs_in_root(rootfs->root_fd, *parent ? parent : "/", 0755, &dir_fd);
	if (err || symlinkat(entry->link_target, dir_fd, slash + 1) == 0)
		return err;
	if (errno != EEXIST)
		return rt_fail_errno("cannot create link '%s'", entry->destination);
	length = readlinkat(dir_fd, slash + 1, there, sizeof(there) - 1);
	if (length < 0)
		return rt_fail_with(EEXIST, "cannot create link '%s'", entry->destination);
	there[length] = '\0';
	if (!rt_str_equal(there, entry->link_target))
		return rt_fail_with(EEXIST, "'%s' is a link to '%s' already", entry->destination, there);
	return NULL;
}

static struct rt_error *mount_entry(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	switch (entry->kind) {
	case RT_ENTRY_BIND:
		return mount_bind(rootfs, entry);
	case RT_ENTRY_FILESYSTEM:
		if (rt_str_equal(entry->type, "cgroup2"))
			return rt_rootfs_mount_cgroup(rootfs, entry);
		return mount_filesystem(rootfs, entry);
	case RT_ENTRY_CGROUP:
		return rt_rootfs_mount_cgroup(rootfs, entry);
	case RT_ENTRY_REMOUNT:
		return remount(rootfs, entry);
	case RT_ENTRY_SYMLINK:
		return copy_link(rootfs, entry);
	case RT_ENTRY_ROOT:
		break; /* stands already: rt_rootfs_isolate() */
	}
	return NULL;
}

static struct rt_error *mount_all(struct rt_rootfs *rootfs)
{
	for (size_t i = 0; i < rootfs->entry_count; i++) {
		struct rt_rootfs_entry *entry = &rootfs->entries[i];
		const char *what = entry->source ? entry->source : entry->type;
		struct rt_error *err = mount_entry(rootfs, entry);

		if (err)
			return rt_while(err, "mounting '%s' at '%s'", what ? what : "none", entry->destination);
	}
	return NULL;
}

struct rt_error *rt_rootfs_mount(struct rt_rootfs *rootfs)
{
	/* Modes below are meant as they stand. */
	mode_t mask = umask(0);
	struct rt_error *err = mount_all(rootfs);

	if (!err)
		err = rt_rootfs_make_devices(rootfs);
	if (!err)
		err = rt_rootfs_open_null(rootfs);
	umask(mask);
	return err;
}

struct rt_error *rt_rootfs_console(struct rt_rootfs *rootfs, int pty_fd)
{
	_cleanup_close_ int target_fd = -1, tree_fd = -1;
	struct rt_error *err;

	/* By descriptor: no name below /dev/pts could be exchanged meanwhile (CVE-2025-52565). */
	err = rt_sys_clone_tree(pty_fd, "", 0, &tree_fd);
	if (!err)
		err = rt_make_file_in_root(rootfs->root_fd, "/dev/console", 0600, &target_fd);
	if (!err && rt_is_procfs(target_fd))
		err = rt_fail(RT_CONFIG, "'/dev/console' leads into a procfs");
	if (!err)
		err = rt_sys_attach(tree_fd, target_fd);
	if (err)
		return rt_while(err, "mounting the terminal at '/dev/console'");
	return NULL;
}
