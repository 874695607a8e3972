#include "runtime/spec/import_private.h"

#include "runtime/base/log.h"

/* Where modes of namespaces stand, in Docker's spelling and podman's, and what they are worth where nobody says anything. */
static const struct mode {
	const char *type, *file; /* of config.json; below /proc/PID/ns */
	const char *field, *podman_field; /* NULL: the same */
	bool shared_by_default; /* absent means the host's */
} modes[] = {
	{ "network", "net", "NetworkMode", NULL, false },
	{ "pid", "pid", "PidMode", NULL, false },
	{ "ipc", "ipc", "IpcMode", NULL, false },
	{ "uts", "uts", "UTSMode", NULL, false },
	{ "cgroup", "cgroup", "CgroupnsMode", "CgroupMode", true },
};

static const char *shared_path(struct rt_import *import, const struct mode *mode, const char *field, const char *other)
{
	json_t *container = rt_import_find(import->document.value, other);
	json_int_t pid = json_integer_value(json_object_get(json_object_get(container, "State"), "Pid"));
	const char *path;

	if (!container) {
		rt_edit_fail(&import->edit, RT_CONFIG,
			     "'HostConfig.%s' shares the namespace of container '%s', of which the document has nothing: inspect both", field,
			     other);
		return NULL;
	}
	if (pid <= 0) {
		rt_edit_fail(&import->edit, RT_CONFIG, "'HostConfig.%s' shares the namespace of container '%s', which doesn't run", field,
			     other);
		return NULL;
	}
	path = rt_arena_printf(&import->edit.arena, "/proc/%lld/ns/%s", (long long)pid, mode->file);
	if (!path)
		rt_edit_reject(&import->edit, rt_error_oom());
	return path;
}

static void import_namespace(struct rt_import *import, const struct mode *mode)
{
	const char *field = import->podman && mode->podman_field ? mode->podman_field : mode->field;
	const char *text = rt_import_text(import, &import->host, field), *path = NULL;
	json_t *entry;

	/* podman calls the host's namespace of IPC "shareable" too. */
	if (import->podman && rt_str_equal(mode->type, "ipc") && text && rt_str_equal(text, "shareable")) {
		const char *wish = rt_import_created_with(import, "--ipc", 0);

		if (wish && rt_str_equal(wish, "host"))
			return;
	}
	/* A network that is to be made by a hook is the container's own. */
	if (import->options->netns_hook && rt_str_equal(mode->type, "network"))
		text = NULL;
	if (text ? rt_str_equal(text, "host") : mode->shared_by_default)
		return;
	if (text && rt_str_starts(text, RT_IMPORT_CONTAINER)) {
		path = shared_path(import, mode, field, text + strlen(RT_IMPORT_CONTAINER));
		if (!path)
			return;
	} else if (text && rt_str_starts(text, "ns:")) {
		path = text + 3;
	}
	entry = json_object();
	rt_import_put(import, entry, "type", json_string(mode->type));
	if (path)
		rt_import_put(import, entry, "path", json_string(path));
	rt_edit_append(&import->edit, "linux.namespaces", entry);
}

/* ---- the user namespace ---- */

static void add_map(struct rt_import *import, const char *path, int64_t inside, int64_t outside, int64_t size)
{
	json_t *map = json_object();

	rt_import_put(import, map, "containerID", json_integer(inside));
	rt_import_put(import, map, "hostID", json_integer(outside));
	rt_import_put(import, map, "size", json_integer(size));
	rt_edit_append(&import->edit, path, map);
}

/* podman's "0:200000:65536". */
static void import_maps(struct rt_import *import, const struct rt_json *maps, const char *key, const char *path)
{
	struct rt_json list = rt_import_array(import, maps, key);

	for (size_t i = 0; i < rt_json_count(&list) && !import->edit.err; i++) {
		const char *text = rt_import_element(import, &list, i);
		unsigned inside, outside, size;

		if (!text)
			continue;
		if (sscanf(text, "%u:%u:%u", &inside, &outside, &size) == 3)
			add_map(import, path, inside, outside, size);
		else
			rt_edit_fail(&import->edit, RT_CONFIG, "'HostConfig.IDMappings.%s' has '%s', which is no map of ids", key, text);
	}
}

static void import_user_namespace(struct rt_import *import)
{
	struct rt_json maps = rt_import_object(import, &import->host, "IDMappings");
	const struct rt_import_options *options = import->options;

	if (options->shift_ids) {
		add_map(import, "linux.uidMappings", 0, options->id_root, options->id_length);
		add_map(import, "linux.gidMappings", 0, options->id_root, options->id_length);
	} else if (maps.value) {
		import_maps(import, &maps, "UidMap", "linux.uidMappings");
		import_maps(import, &maps, "GidMap", "linux.gidMappings");
	}
	import->user_namespace = rt_edit_peek(&import->edit, "linux.uidMappings") != NULL;
	if (import->user_namespace)
		rt_edit_append(&import->edit, "linux.namespaces", json_pack("{s:s}", "type", "user"));
}

/* ---- what belongs to namespaces ---- */

/* A new network namespace gets what Docker sets, so that ports and ping need no privilege. */
static void import_sysctls(struct rt_import *import)
{
	struct rt_json sysctls = rt_import_object(import, &import->host, "Sysctls");
	json_t *network = rt_edit_find(&import->edit, "linux.namespaces", "type", "network");
	const char *text;

	if (network && !json_object_get(network, "path") && !import->podman) {
		rt_edit_put(&import->edit, "linux.sysctl", "net.ipv4.ip_unprivileged_port_start", json_string("0"));
		if (!import->user_namespace)
			rt_edit_put(&import->edit, "linux.sysctl", "net.ipv4.ping_group_range", json_string("0 2147483647"));
	}
	for (void *at = json_object_iter(sysctls.value); at; at = json_object_iter_next(sysctls.value, at))
		rt_edit_put(&import->edit, "linux.sysctl", json_object_iter_key(at), json_incref(json_object_iter_value(at)));
	for (size_t i = 0; (text = rt_import_created_with(import, "--sysctl", i)); i++) {
		const char *parts[2];

		if (rt_edit_split(&import->edit, text, '=', parts, 2) == 2)
			rt_edit_put(&import->edit, "linux.sysctl", parts[0], json_string(parts[1]));
	}
}

/* Names belong to a namespace of one's own. */
static void import_names(struct rt_import *import)
{
	const char *hostname = rt_import_text(import, &import->config, "Hostname");
	const char *domainname = rt_import_text(import, &import->config, "Domainname");
	json_t *uts = rt_edit_find(&import->edit, "linux.namespaces", "type", "uts");

	if (!uts || json_object_get(uts, "path"))
		return;
	if (hostname)
		rt_edit_set_string(&import->edit, "hostname", hostname);
	if (domainname)
		rt_edit_set_string(&import->edit, "domainname", domainname);
}

void rt_import_namespaces(struct rt_import *import)
{
	rt_edit_append(&import->edit, "linux.namespaces", json_pack("{s:s}", "type", "mount"));
	import_user_namespace(import);
	for (size_t i = 0; i < RT_ARRAY_SIZE(modes) && !import->edit.err; i++)
		import_namespace(import, &modes[i]);
	import_names(import);
	import_sysctls(import);
}

const char *rt_spec_import_missing(json_t *document, const struct rt_import_options *options)
{
	json_t *container = json_is_array(document) ? json_array_get(document, 0) : document, *host;

	if (options->container)
		container = rt_import_find(document, options->container);
	host = json_object_get(container, "HostConfig");
	for (size_t i = 0; i < RT_ARRAY_SIZE(modes); i++) {
		const char *text = json_string_value(json_object_get(host, modes[i].field));

		if (text && rt_str_starts(text, RT_IMPORT_CONTAINER) && !rt_import_find(document, text + strlen(RT_IMPORT_CONTAINER)))
			return text + strlen(RT_IMPORT_CONTAINER);
	}
	return NULL;
}
