#include "runtime/spec/import_private.h"

#include "runtime/base/log.h"

enum { MOST_OPTIONS = 32 };

/* A mount at a place that has one already takes its place in the order too. */
static void add_mount(struct rt_import *import, const char *destination, const char *type, const char *source,
		      const char *const *options, size_t count)
{
	json_t *mount = json_object(), *list = json_array();

	for (size_t i = 0; i < count; i++)
		if (options[i] && *options[i] && json_array_append_new(list, json_string(options[i])) < 0)
			rt_edit_reject(&import->edit, rt_error_oom());
	rt_import_put(import, mount, "destination", json_string(destination));
	rt_import_put(import, mount, "type", json_string(type));
	rt_import_put(import, mount, "source", json_string(source));
	rt_import_put(import, mount, "options", list);
	rt_edit_replace(&import->edit, "mounts", "destination", mount);
}

#define ADD(import, destination, type, source, ...)                                                                    \
	do {                                                                                                           \
		const char *const options_[] = { __VA_ARGS__ };                                                        \
		add_mount((import), (destination), (type), (source), options_, RT_ARRAY_SIZE(options_));               \
	} while (0)

static json_t *namespace_of(struct rt_import *import, const char *type)
{
	return rt_edit_find(&import->edit, "linux.namespaces", "type", type);
}

/* sysfs shows the network namespace: who neither owns that nor root of the machine binds the host's. */
static void add_sysfs(struct rt_import *import)
{
	json_t *network = namespace_of(import, "network");
	const char *access = import->privileged ? "rw" : "ro";

	if (import->user_namespace && (!network || json_object_get(network, "path")))
		ADD(import, "/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro");
	else
		ADD(import, "/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access);
	ADD(import, "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access);
}

/* Where an engine keeps the shared memory that containers have in common: inspect shows only what lies beside it. */
static const char *shared_memory_of(struct rt_import *import, const char *other)
{
	json_t *container = rt_import_find(import->document.value, other);
	const char *directory = json_string_value(json_object_get(container, "StaticDir"));
	const char *file = json_string_value(json_object_get(container, "HostsPath"));
	const char *slash = file ? strrchr(file, '/') : NULL;
	char *path = NULL;

	if (directory)
		path = rt_arena_printf(&import->edit.arena, "%s/shm", directory);
	else if (slash)
		path = rt_arena_printf(&import->edit.arena, "%.*s/mounts/shm", (int)(slash - file), file);
	else
		rt_edit_fail(&import->edit, RT_CONFIG, "the document doesn't say where container '%s' has its shared memory", other);
	if (!path)
		rt_edit_reject(&import->edit, import->edit.err ? NULL : rt_error_oom());
	return path;
}

/* Docker leaves the flags as they are there. */
static void bind_shared_memory(struct rt_import *import, const char *source)
{
	bool guarded = import->podman;

	ADD(import, "/dev/shm", "bind", source, "rbind", guarded ? "nosuid" : NULL, guarded ? "noexec" : NULL, guarded ? "nodev" : NULL);
}

static void add_ipc(struct rt_import *import)
{
	const char *mode = rt_import_text(import, &import->host, "IpcMode"), *path, *source;
	json_t *ipc = namespace_of(import, "ipc");
	int64_t size = rt_import_number(import, &import->host, "ShmSize");
	char size_option[40];

	snprintf(size_option, sizeof(size_option), "size=%lld", size > 0 ? (long long)size : 64LL << 20);
	path = json_string_value(json_object_get(ipc, "path"));
	/* A new mount shows the queues of the namespace that the container is in, if it may be made: by the owner of that. */
	if (import->user_namespace && (!ipc || path))
		ADD(import, "/dev/mqueue", "bind", "/dev/mqueue", "rbind", "nosuid", "noexec", "nodev");
	else
		ADD(import, "/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev");
	if (!ipc) {
		bind_shared_memory(import, "/dev/shm");
		return;
	}
	if (mode && rt_str_equal(mode, "none"))
		return;
	if (path && mode && rt_str_starts(mode, RT_IMPORT_CONTAINER)) {
		source = shared_memory_of(import, mode + strlen(RT_IMPORT_CONTAINER));
		if (source)
			bind_shared_memory(import, source);
		return;
	}
	ADD(import, "/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", size_option);
}

static void add_usual(struct rt_import *import)
{
	/* Group 5 is that of terminals; where it has no id outside, it can't be given. */
	bool terminals = !import->options->shift_ids || import->options->id_length > 5;

	ADD(import, "/proc", "proc", "proc", "nosuid", "noexec", "nodev");
	ADD(import, "/dev", "tmpfs", "tmpfs", "nosuid", import->podman ? "noexec" : NULL, "strictatime", "mode=755", "size=65536k");
	ADD(import, "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
	    terminals ? "gid=5" : NULL);
	add_sysfs(import);
	add_ipc(import);
}

/* ---- the container's own ---- */

static void add_tmpfs(struct rt_import *import, const char *destination, const char *text)
{
	const char *options[MOST_OPTIONS + 4] = { "nosuid", "nodev", "noexec", "rprivate" };
	size_t first = import->podman ? 0 : 4; /* Docker adds these and doesn't show them */

	first += *text ? rt_edit_split(&import->edit, text, ',', options + first, MOST_OPTIONS) : 0;
	add_mount(import, destination, "tmpfs", "tmpfs", options, first);
}

/* Docker's `--mount type=tmpfs`: its size and mode are in another list. */
static void add_tmpfs_mount(struct rt_import *import, const char *destination)
{
	struct rt_json requests = rt_import_array(import, &import->host, "Mounts");
	char text[80] = "";

	for (size_t i = 0; i < rt_json_count(&requests); i++) {
		struct rt_json request = rt_json_element(&requests, i);
		struct rt_json wishes = rt_import_object(import, &request, "TmpfsOptions");
		const char *target = rt_import_text(import, &request, "Target");
		int64_t size = rt_import_number(import, &wishes, "SizeBytes"), mode = rt_import_number(import, &wishes, "Mode");
		size_t used = 0;

		if (!target || !rt_str_equal(target, destination))
			continue;
		if (size > 0)
			used = (size_t)snprintf(text, sizeof(text), "size=%lld", (long long)size);
		if (mode > 0)
			snprintf(text + used, sizeof(text) - used, "%smode=%llo", used ? "," : "", (unsigned long long)mode);
	}
	add_tmpfs(import, destination, text);
}

static bool has_option(const char *const *options, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (rt_str_equal(options[i], name))
			return true;
	return false;
}

/* A bind mount that is to be seen on both sides needs a root that lets it. */
static void open_root(struct rt_import *import, const char *propagation)
{
	const char *now = json_string_value(rt_edit_peek(&import->edit, "linux.rootfsPropagation"));

	if (strstr(propagation, "shared"))
		rt_edit_set_string(&import->edit, "linux.rootfsPropagation", "shared");
	else if (strstr(propagation, "slave") && (!now || !rt_str_equal(now, "shared")))
		rt_edit_set_string(&import->edit, "linux.rootfsPropagation", "rslave");
}

static void add_bind(struct rt_import *import, const struct rt_json *entry, const char *destination)
{
	struct rt_json list = rt_import_array(import, entry, "Options");
	const char *source = rt_import_text(import, entry, "Source");
	const char *propagation = rt_import_text(import, entry, "Propagation");
	const char *options[MOST_OPTIONS + 3];
	size_t count = 0;

	if (!source) {
		rt_edit_fail(&import->edit, RT_CONFIG, "the mount at '%s' has no 'Source'", destination);
		return;
	}
	for (size_t i = 0; i < rt_json_count(&list) && count < MOST_OPTIONS; i++) {
		const char *option = rt_import_element(import, &list, i);

		if (option)
			options[count++] = option;
	}
	if (!has_option(options, count, "bind") && !has_option(options, count, "rbind"))
		options[count++] = "rbind";
	if (!rt_import_flag(import, entry, "RW"))
		options[count++] = "ro";
	options[count++] = propagation ? propagation : "rprivate";
	if (propagation)
		open_root(import, propagation);
	add_mount(import, destination, "bind", source, options, count);
}

static void import_mount(struct rt_import *import, const struct rt_json *entry)
{
	const char *type = rt_import_text(import, entry, "Type"), *destination = rt_import_text(import, entry, "Destination");

	if (!destination) {
		rt_edit_fail(&import->edit, RT_CONFIG, "a mount of the container has no 'Destination'");
		return;
	}
	if (type && rt_str_equal(type, "tmpfs"))
		add_tmpfs_mount(import, destination);
	else if (!type || rt_str_equal(type, "bind") || rt_str_equal(type, "volume"))
		add_bind(import, entry, destination);
	else
		rt_warn("the mount at '%s' is of the kind '%s', which stays behind, ignoring", destination, type);
}

/* Parents come before what is mounted inside them, wherever the engine lists them; otherwise the order stays. */
static size_t depth(const json_t *mount)
{
	const char *path = json_string_value(json_object_get(mount, "destination"));
	size_t slashes = 0;

	for (; path && *path; path++)
		slashes += path[0] == '/' && path[1] && path[1] != '/';
	return slashes;
}

static void sort_by_depth(struct rt_import *import, size_t first)
{
	json_t *mounts = rt_edit_array(&import->edit, "mounts");

	for (size_t i = first + 1; mounts && i < json_array_size(mounts); i++) {
		json_t *mount = json_incref(json_array_get(mounts, i));
		size_t to = i;

		while (to > first && depth(json_array_get(mounts, to - 1)) > depth(mount))
			to--;
		json_array_remove(mounts, i);
		if (json_array_insert_new(mounts, to, mount) < 0)
			rt_edit_reject(&import->edit, rt_error_oom());
	}
}

/* They are the engine's, and gone when it removes the container. */
static void add_engine_files(struct rt_import *import)
{
	static const char *const files[][2] = {
		{ "ResolvConfPath", "/etc/resolv.conf" },
		{ "HostnamePath", "/etc/hostname" },
		{ "HostsPath", "/etc/hosts" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(files) && import->options->engine_files; i++) {
		const char *path = rt_import_text(import, &import->container, files[i][0]);

		if (path)
			ADD(import, files[i][1], "bind", path, "rbind", "rprivate");
	}
}

void rt_import_mounts(struct rt_import *import)
{
	struct rt_json list = rt_import_array(import, &import->container, "Mounts");
	struct rt_json tmpfs = rt_import_object(import, &import->host, "Tmpfs");
	size_t usual;

	add_usual(import);
	usual = json_array_size(rt_edit_array(&import->edit, "mounts"));
	for (size_t i = 0; i < rt_json_count(&list) && !import->edit.err; i++) {
		struct rt_json entry = rt_json_element(&list, i);

		import_mount(import, &entry);
	}
	for (void *at = json_object_iter(tmpfs.value); at; at = json_object_iter_next(tmpfs.value, at)) {
		const char *options = json_string_value(json_object_iter_value(at));

		add_tmpfs(import, json_object_iter_key(at), options ? options : "");
	}
	add_engine_files(import);
	sort_by_depth(import, usual);
}
