#include "checkpoint/preflight.h"

#include "checkpoint/describe_private.h"
#include "checkpoint/mountinfo.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"
#include "runtime/rootfs/rootfs.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

void rt_preflight_deinit(struct rt_preflight *report)
{
	for (size_t i = 0; i < report->count; i++)
		free(report->obstacles[i]);
	free(report->obstacles);
	free(report->note);
	*report = RT_PREFLIGHT_NULL;
}

struct rt_error *rt_preflight_add(struct rt_preflight *report, const char *format, ...)
{
	char **larger = realloc(report->obstacles, (report->count + 1) * sizeof(*larger));
	char *text;
	va_list args;
	int length;

	if (!larger)
		return rt_error_oom();
	report->obstacles = larger;
	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		return rt_error_oom();
	larger[report->count++] = text;
	return NULL;
}

struct rt_error *rt_preflight_verdict(const struct rt_preflight *report)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *stream;

	if (report->count == 0)
		return NULL;
	stream = open_memstream(&text, &size);
	if (!stream)
		return rt_error_oom();
	for (size_t i = 0; i < report->count; i++)
		fprintf(stream, "%s%s", i ? "; " : "", report->obstacles[i]);
	if (fclose(stream) != 0)
		return rt_error_oom();
	return rt_fail(RT_CRIU, "%s", text);
}

/* An error that is an obstacle: its sentence goes to the report. */
static struct rt_error *note(struct rt_preflight *report, struct rt_error *why)
{
	_cleanup_free_ char *text = why ? rt_error_text(why) : NULL;
	struct rt_error *err;

	if (!why)
		return NULL;
	err = text ? rt_preflight_add(report, "%s", text) : rt_error_oom();
	rt_error_free(why);
	return err;
}

static struct rt_error *check_features(const struct rt_criu_settings *settings, struct rt_criu *criu, struct rt_preflight *report)
{
	struct rt_criu_features features;
	struct rt_error *err;

	if (!settings->pre_dump && !settings->parent_path && !settings->lazy_pages)
		return NULL;
	err = rt_criu_features(criu, &features);
	if (err)
		return note(report, err);
	report->tracks_memory = features.mem_track;
	if ((settings->pre_dump || settings->parent_path) && !features.mem_track)
		err = rt_preflight_add(report, "this kernel does not track written memory (CONFIG_MEM_SOFT_DIRTY is off), which --pre-dump and "
					       "--parent-path need");
	if (!err && settings->lazy_pages && !features.lazy_pages)
		err = rt_preflight_add(report, "this kernel has no userfaultfd as --lazy-pages needs it");
	return err;
}

static struct rt_error *check_criu(const struct rt_criu_settings *settings, struct rt_criu *given, struct rt_preflight *report)
{
	_cleanup_criu_ struct rt_criu *own = NULL;
	struct rt_error *err = NULL;

	if (!given) {
		err = rt_criu_start(&(struct rt_criu_options){ .flags = RT_CRIU_QUIET }, &own);
		if (!err)
			err = rt_criu_require_version(own, NULL);
	}
	if (err)
		return note(report, err);
	return check_features(settings, given ? given : own, report);
}

static bool is_in_path(const char *program)
{
	static const char *const places[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin" };
	char path[128];

	for (size_t i = 0; i < RT_ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "%s/%s", places[i], program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static struct rt_error *check_network_lock(const struct rt_criu_settings *settings, const struct rt_spec *spec,
					   struct rt_preflight *report)
{
	if (!spec->namespaces[RT_NS_NETWORK].wanted || !settings->network_lock ||
	    !rt_str_equal(settings->network_lock, "iptables") || is_in_path("iptables-restore"))
		return NULL;
	return rt_preflight_add(report, "--network-lock=iptables needs iptables-restore, which is not installed (nftables needs no program)");
}

/* File systems whose state is with somebody else: a server, or a daemon. */
static bool is_foreign(const char *type)
{
	static const char *const types[] = { "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "fuse", "fuseblk" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(types); i++)
		if (rt_str_equal(type, types[i]))
			return true;
	return rt_str_starts(type, "fuse.");
}

static struct rt_error *check_mounts(pid_t init, struct rt_preflight *report)
{
	_cleanup_(rt_mountinfo_deinit) struct rt_mountinfo theirs = RT_MOUNTINFO_NULL, ours = RT_MOUNTINFO_NULL;
	struct rt_error *err = rt_mountinfo_load(init, &theirs);

	if (!err)
		err = rt_mountinfo_load(0, &ours);
	for (size_t i = 0; i < theirs.count && !err; i++) {
		const struct rt_mountinfo_entry *mount = &theirs.entries[i];

		if (is_foreign(mount->type) && !rt_mountinfo_has_device(&ours, mount->device))
			err = rt_preflight_add(report, "'%s' is a %s file system mounted inside of the container, which CRIU can't mount again",
					       mount->point, mount->type);
	}
	return err;
}

/* Of the directory, or of where it will be made. */
static bool find_room(const char *path, struct statvfs *ret)
{
	char at[PATH_MAX];
	char *slash;

	if (snprintf(at, sizeof(at), "%s", path) >= (int)sizeof(at)) {
		errno = ENAMETOOLONG;
		return false;
	}
	while (statvfs(at, ret) < 0) {
		if (errno != ENOENT)
			return false;
		slash = strrchr(at, '/');
		if (!slash)
			return statvfs(".", ret) == 0;
		slash[slash == at] = '\0';
	}
	return true;
}

/* CRIU makes these anew and can't be told to join them: a mount namespace belongs to a user namespace, whose tasks CRIU itself
 * is none of. */
static struct rt_error *check_namespaces(const struct rt_spec *spec, struct rt_preflight *report)
{
	static const struct {
		enum rt_namespace_kind kind;
		const char *name;
	} kinds[] = { { RT_NS_USER, "user" }, { RT_NS_MOUNT, "mount" }, { RT_NS_CGROUP, "cgroup" } };
	struct rt_error *err = NULL;

	for (size_t i = 0; i < RT_ARRAY_SIZE(kinds) && !err; i++) {
		const char *path = spec->namespaces[kinds[i].kind].path;
		struct stat own, joined;
		char name[32];

		if (!path)
			continue;
		snprintf(name, sizeof(name), "/proc/self/ns/%s", rt_namespace_file(kinds[i].kind));
		if (stat(name, &own) == 0 && stat(path, &joined) == 0 && own.st_ino == joined.st_ino)
			continue;
		err = rt_preflight_add(report, "the container joined the %s namespace '%s', which CRIU can't join at a restore", kinds[i].name,
				       path);
	}
	return err;
}

/* Before it has taken an id of its namespace, CRIU's newborn asks for its cgroup under the id it seems to have, the kernel's for
 * everybody who is not mapped. */
#define OVERFLOW_ID 65534

static bool has_overflow_id(const struct rt_id_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++) {
		const struct rt_id_map *map = &maps->entries[i];

		if (map->container_id <= OVERFLOW_ID && OVERFLOW_ID - map->container_id < map->size)
			return true;
	}
	return false;
}

static struct rt_error *check_maps(const struct rt_spec *spec, struct rt_preflight *report)
{
	const struct rt_spec_namespace *user = &spec->namespaces[RT_NS_USER], *cgroup = &spec->namespaces[RT_NS_CGROUP];

	if (!user->wanted || user->path || !cgroup->wanted || cgroup->path ||
	    (has_overflow_id(&spec->uid_mappings) && has_overflow_id(&spec->gid_mappings)))
		return NULL;
	return rt_preflight_add(report, "a container with a user and a cgroup namespace of its own comes back only where its maps have the id "
					"%d, which 'linux.uidMappings' or 'linux.gidMappings' lacks", OVERFLOW_ID);
}

static struct rt_error *check_mapped(const struct rt_container *container, const struct rt_spec *spec, struct rt_preflight *report)
{
	return note(report, rt_rootfs_check_mapped(&(struct rt_rootfs_request){
		.spec = spec, .bundle = container->state.bundle, .user_namespace_fd = -1, .private_mount_namespace = spec->namespaces[RT_NS_MOUNT].wanted,
	}));
}

/* A dump finds out by itself, when it describes the container. */
static struct rt_error *check_streams(pid_t init, struct rt_preflight *report)
{
	_cleanup_(rt_mountinfo_deinit) struct rt_mountinfo mounts = RT_MOUNTINFO_NULL;
	Rt__Container *container = calloc(1, sizeof(*container));
	struct rt_error *err;

	if (!container)
		return rt_error_oom();
	rt__container__init(container);
	err = rt_mountinfo_load(init, &mounts);
	if (!err)
		err = rt_describe_streams(init, &mounts, container);
	rt__container__free_unpacked(container, NULL);
	return err && err->code == RT_CRIU ? note(report, err) : err;
}

static struct rt_error *check_room(int image_fd, uint64_t memory, const struct rt_criu_settings *settings,
				   struct rt_preflight *report)
{
	struct statvfs fs;
	uint64_t room;

	if ((image_fd < 0 && !settings->image_path) || settings->page_server || settings->lazy_pages)
		return NULL;
	if (image_fd < 0 ? !find_room(settings->image_path, &fs) : fstatvfs(image_fd, &fs) < 0)
		return rt_fail_errno("cannot ask for the room in the image directory");
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (room >= memory)
		return NULL;
	return rt_preflight_add(report, "the container has %llu MiB of memory to write, but there are only %llu MiB free for images",
				(unsigned long long)(memory >> 20), (unsigned long long)(room >> 20));
}

/* CRIU keeps memory that is to be fetched in pipes, and goes wrong, at the other end, where it can't enlarge them. 16 MiB is what did for every size
 * that was tried (1 GiB). */
#define PIPE_ENOUGH (16u << 20)

static struct rt_error *check_pipes(const struct rt_preflight_subject *subject, uint64_t memory, struct rt_preflight *report)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	unsigned long long most;

	if (!subject->settings->lazy_pages || subject->settings->memory_elsewhere || subject->may_raise_limits)
		return NULL;
	err = rt_read_file_at(AT_FDCWD, "/proc/sys/fs/pipe-max-size", 64, &text, NULL);
	if (err)
		return err;
	most = strtoull(text, NULL, 10);
	if (memory <= most || most >= PIPE_ENOUGH)
		return NULL;
	return rt_preflight_add(report, "--lazy-pages needs pipes larger than fs.pipe-max-size allows without CAP_SYS_RESOURCE (%llu KiB): raise it, "
					"'sysctl fs.pipe-max-size=%u'", most >> 10, PIPE_ENOUGH);
}

static struct rt_error *check_processes(const struct rt_container *container, const struct rt_spec *spec,
					const struct rt_criu_settings *settings, int image_fd, struct rt_preflight *report)
{
	struct rt_preflight_subject subject = {
		.settings = settings,
		.init = container->state.pid,
		.own_user_namespace = spec->namespaces[RT_NS_USER].wanted,
	};
	_cleanup_(rt_members_deinit) struct rt_members members = RT_MEMBERS_NULL;
	struct rt_sys_caps caps;
	uint64_t memory;
	struct rt_error *err;

	err = rt_sys_get_caps(&caps);
	if (!err)
		err = rt_members_find(container, &members);
	if (err)
		return err;
	subject.may_raise_limits = caps.effective & (1ull << CAP_SYS_RESOURCE);
	err = rt_preflight_tasks(&subject, &members, report, &memory);
	if (!err)
		err = check_pipes(&subject, memory, report);
	return err ? err : check_room(image_fd, memory, settings, report);
}

struct rt_error *rt_preflight_dump(const struct rt_container *container, const struct rt_spec *spec,
				   const struct rt_criu_settings *settings, struct rt_criu *criu, int image_fd,
				   struct rt_preflight *report)
{
	struct rt_error *err = check_criu(settings, criu, report);

	if (!err)
		err = check_network_lock(settings, spec, report);
	if (!err)
		err = check_namespaces(spec, report);
	if (!err)
		err = check_maps(spec, report);
	if (!err)
		err = check_mounts(container->state.pid, report);
	if (!err)
		err = check_mapped(container, spec, report);
	if (!err && !criu)
		err = check_streams(container->state.pid, report);
	if (!err)
		err = check_processes(container, spec, settings, image_fd, report);
	return err ? rt_while(err, "looking for obstacles") : NULL;
}
