#include "runtime/spec/import.h"

#include "runtime/base/fs.h"
#include "runtime/base/helper.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/docker.h"
#include "runtime/cmd/document.h"
#include "runtime/cmd/host_devices.h"

#include <fcntl.h>
#include <sys/stat.h>

#define MOST_BYTES (1024 * 1024)

struct values {
	const char *container, *docker, *output, *rootfs;
	unsigned id_root, id_length;
	bool has_id_root, has_id_length;
	const char *const *hooks;
	bool netns, engine_files;
};

/* Everything that has to live as long as the import. */
struct work {
	struct rt_import_options options;
	char *root_path, *passwd, *group, *netns;
	const char **hooks;
};

static void work_deinit(struct work *work)
{
	for (const char **hook = work->hooks; hook && *hook; hook++)
		free((char *)*hook);
	free(work->hooks);
	free(work->root_path);
	free(work->passwd);
	free(work->group);
	free(work->netns);
}

/* ---- the container's own files ---- */

/* Inside its root, whatever its links say; *ret stays NULL where it is not there. */
static struct rt_error *read_in_root(int root_fd, const char *path, char **ret)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	struct stat st;

	if (err && (err->errnum == ENOENT || err->errnum == ENOTDIR)) {
		rt_error_free(err);
		return NULL;
	}
	if (err)
		return rt_while(err, "reading the container's '%s'", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return rt_fail(RT_SYSTEM, "the container's '%s' is no file", path);
	return rt_read_all(fd, MOST_BYTES, ret, NULL);
}

static struct rt_error *read_users(struct work *work, const char *rootfs, bool required)
{
	_cleanup_close_ int fd = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct rt_error *err;

	if (fd < 0 && errno == ENOENT && !required)
		return NULL;
	if (fd < 0)
		return rt_fail_errno("cannot open root filesystem '%s'", rootfs);
	err = read_in_root(fd, "/etc/passwd", &work->passwd);
	return err ? err : read_in_root(fd, "/etc/group", &work->group);
}

/* The bundle is where the configuration goes. */
static struct rt_error *bundle_of(const struct values *values, char **ret)
{
	const char *slash = values->output ? strrchr(values->output, '/') : NULL;
	size_t length = slash ? (size_t)(slash - values->output) : 0;

	if (!slash)
		return rt_format(ret, ".");
	return length == 0 ? rt_format(ret, "/") : rt_format(ret, "%.*s", (int)length, values->output);
}

/* Relative to the bundle where it lies in it, so that the bundle can be moved. */
static struct rt_error *find_rootfs(struct work *work, const struct values *values)
{
	_cleanup_free_ char *bundle = NULL, *beside = NULL, *real_bundle = NULL, *real = NULL;
	struct rt_error *err = bundle_of(values, &bundle);
	size_t length;

	if (!err && !values->rootfs)
		err = rt_format(&beside, "%s/rootfs", bundle);
	if (!err)
		err = read_users(work, values->rootfs ? values->rootfs : beside, values->rootfs != NULL);
	if (!err && !values->rootfs)
		err = rt_format(&work->root_path, "rootfs");
	if (err || !values->rootfs)
		return err;
	err = rt_real_path(values->rootfs, &real);
	if (!err)
		err = rt_real_path(bundle, &real_bundle);
	if (err)
		return err;
	length = strlen(real_bundle);
	if (length > 1 && strncmp(real, real_bundle, length) == 0 && real[length] == '/')
		return rt_format(&work->root_path, "%s", real + length + 1);
	return rt_format(&work->root_path, "%s", real);
}

/* ---- hooks ---- */

/* A name without a slash is looked up in PATH, as a shell does; the configuration wants a path. */
static struct rt_error *find_program(const char *name, size_t length, char **ret)
{
	const char *at = getenv("PATH");

	while (at && *at) {
		size_t size = strcspn(at, ":");
		_cleanup_free_ char *path = NULL;
		struct rt_error *err = rt_format(&path, "%.*s/%.*s", (int)size, at, (int)length, name);

		if (err)
			return err;
		if (path[0] == '/' && access(path, X_OK) == 0) {
			*ret = rt_take_ptr(path);
			return NULL;
		}
		at += size + (at[size] == ':');
	}
	return rt_fail(RT_USAGE, "option '--hook' names program '%.*s', which is not in PATH", (int)length, name);
}

static struct rt_error *complete_hook(const char *text, const char **ret)
{
	const char *colon = strchr(text, ':');
	size_t length = colon ? strcspn(colon + 1, ":") : 0;
	_cleanup_free_ char *path = NULL;
	char *whole = NULL;
	struct rt_error *err;

	if (length == 0 || memchr(colon + 1, '/', length))
		err = rt_format(&whole, "%s", text);
	else if (!(err = find_program(colon + 1, length, &path)))
		err = rt_format(&whole, "%.*s:%s%s", (int)(colon - text), text, path, colon + 1 + length);
	*ret = whole;
	return err;
}

static struct rt_error *complete_hooks(struct work *work, const char *const *hooks)
{
	struct rt_error *err = NULL;
	size_t count = 0;

	while (hooks && hooks[count])
		count++;
	work->hooks = calloc(count + 1, sizeof(*work->hooks));
	if (!work->hooks)
		return rt_error_oom();
	for (size_t i = 0; i < count && !err; i++)
		err = complete_hook(hooks[i], &work->hooks[i]);
	return err;
}

/* ---- the whole ---- */

static struct rt_error *read_host_file(void *userdata, const char *path, char **ret)
{
	return rt_document_read_file(path, ret, NULL);
}

static struct rt_error *prepare(struct work *work, const struct values *values)
{
	struct rt_error *err;

	if (values->has_id_length && !values->has_id_root)
		return rt_fail(RT_USAGE, "option '--idlen' is for '--idroot'");
	if (values->has_id_length && values->id_length == 0)
		return rt_fail(RT_USAGE, "option '--idlen' takes a number of ids, not 0");
	err = find_rootfs(work, values);
	if (!err)
		err = complete_hooks(work, values->hooks);
	if (!err && values->netns)
		err = rt_helper_find("rt-netns", "network", "option '--netns'", &work->netns);
	if (err)
		return err;
	work->options = (struct rt_import_options){
		.container = values->container,
		.rootfs = work->root_path,
		.passwd = work->passwd,
		.group = work->group,
		.shift_ids = values->has_id_root,
		.id_root = values->id_root,
		.id_length = values->has_id_length ? values->id_length : 65536,
		.hooks = work->hooks,
		.netns_hook = work->netns,
		.engine_files = values->engine_files,
		.host = { .read_file = read_host_file, .find_devices = rt_host_find_devices },
	};
	return NULL;
}

static const char *find_missing(json_t *document, const void *userdata)
{
	return rt_spec_import_missing(document, userdata);
}

static struct rt_error *read_document(const char *path, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	struct rt_error *err = rt_document_read_file(path, &text, &size);

	return err ? err : rt_json_parse(text, size, path, ret);
}

static struct rt_error *run_spec_import(const struct rt_invocation *invocation, int *ret_status)
{
	const struct values *values = invocation->values;
	const char *file = invocation->operands[0];
	_cleanup_(work_deinit) struct work work = { .root_path = NULL };
	_cleanup_json_ json_t *document = NULL, *config = NULL;
	struct rt_error *err;

	if (!file == !values->docker)
		return rt_fail(RT_USAGE, "'rt spec import' needs a file of inspect, or '-' for standard input, or option '--docker'%s",
			       file ? ", not both" : "");
	err = prepare(&work, values);
	if (!err && file)
		err = read_document(file, &document);
	else if (!err)
		err = rt_docker_inspect(values->docker, find_missing, &work.options, &document);
	if (!err)
		err = rt_spec_import(document, &work.options, &config);
	if (!err)
		err = rt_document_check(config);
	return err ? err : rt_document_write(config, values->output);
}

#define FIELD(field) offsetof(struct values, field)

static const struct rt_option options[] = {
	{ "container", 0, RT_OPTION_STRING, .argument = "NAME", .offset = FIELD(container),
	  .help = "which one, where the file has several (default: the first)" },
	{ "docker", 0, RT_OPTION_STRING, .argument = "CONTAINER", .offset = FIELD(docker),
	  .help = "ask Docker's daemon ($DOCKER_HOST, else /var/run/docker.sock) in place of a file" },
	{ "engine-files", 0, RT_OPTION_FLAG, .offset = FIELD(engine_files),
	  .help = "mount the engine's /etc/resolv.conf, hosts and hostname, while it keeps them" },
	{ "hook", 0, RT_OPTION_LIST, .argument = "KIND:CMD[:ARG...]", .offset = FIELD(hooks),
	  .help = "hook, such as 'poststop:/usr/bin/logger:gone'" },
	{ "idlen", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = FIELD(id_length), .given = FIELD(has_id_length),
	  .help = "how many ids there are in the user namespace (default: 65536)" },
	{ "idroot", 0, RT_OPTION_UNSIGNED, .argument = "ID", .offset = FIELD(id_root), .given = FIELD(has_id_root),
	  .help = "run in a user namespace where root is ID outside" },
	{ "netns", 0, RT_OPTION_FLAG, .offset = FIELD(netns),
	  .help = "give the container a network of its own by the hook rt-netns" },
	{ "output", 'o', RT_OPTION_STRING, .argument = "FILE", .offset = FIELD(output),
	  .help = "write to FILE, in the place of what is there (default: standard output)" },
	{ "rootfs", 0, RT_OPTION_STRING, .argument = "DIR", .offset = FIELD(rootfs),
	  .help = "the container's files, where its users are looked up (default: 'rootfs' beside FILE)" },
	{ NULL },
};

const struct rt_command rt_cmd_spec_import = {
	.name = "spec import",
	.operands = "[file|-]",
	.max_operands = 1,
	.summary = "make a config.json of what an engine says of a container",
	.description =
		"Takes the output of 'docker inspect' or 'podman inspect': command, environment, user, capabilities,\n"
		"mounts, devices, limits, namespaces, seccomp and labels become a configuration that runs the same\n"
		"program the same way without the engine. Names of users are looked up in the container's own\n"
		"/etc/passwd.\n"
		"\n"
		"    mkdir -p web/rootfs && podman export web | tar -x -C web/rootfs\n"
		"    podman inspect web | rt spec import --output web/config.json -\n"
		"    rt run --bundle web web1\n"
		"\n"
		"A container that shares the namespaces of another needs both in the file: 'docker inspect web db'.\n"
		"With --idroot the files need the owners to match: 'rt bundle shift'.",
	.options = options,
	.values_size = sizeof(struct values),
	.run = run_spec_import,
};
