/* create and run: the same steps, but for who starts the process and who waits for it. */
#include "runtime/container/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/init/hooks.h"
#include "runtime/sys/netdev.h"
#include "runtime/tty/tty.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define CONFIG_LIMIT (16u << 20)

/* Everything a creation holds. */
struct creation {
	const struct rt_context *context;
	const struct rt_create_options *options;
	bool runs; /* run: we start it ourselves */
	struct rt_container container; /* its spec included */
	char *config_text; /* as read */
	size_t config_size;
	int root_fd; /* context->root */
	int filter_cache_fd;
	struct rt_rootfs *rootfs;
	json_t *hook_state;
	char *keyring, *listen_fds;
	struct rt_init_plan plan;
	struct rt_init_process process;
	int master; /* of the terminal, where we relay it ourselves */
	bool has_directory; /* from here on a failure must undo */
};

static void creation_deinit(struct creation *creation)
{
	rt_init_process_deinit(&creation->process);
	rt_init_plan_deinit(&creation->plan);
	rt_rootfs_free(creation->rootfs);
	json_decref(creation->hook_state);
	free(creation->keyring);
	free(creation->listen_fds);
	free(creation->config_text);
	rt_closep(&creation->master);
	rt_closep(&creation->filter_cache_fd);
	rt_closep(&creation->root_fd);
	rt_container_deinit(&creation->container);
}

static struct rt_error *load_config(struct creation *creation)
{
	const struct rt_create_options *options = creation->options;
	struct rt_state *state = &creation->container.state;
	_cleanup_free_ char *path = NULL;
	struct rt_error *err;

	err = rt_real_path(options->bundle ? options->bundle : ".", &state->bundle);
	if (err)
		return rt_while(err, "opening the bundle");
	if (options->config)
		err = rt_format(&path, "%s", options->config);
	else
		err = rt_format(&path, "%s/config.json", state->bundle);
	if (!err)
		err = rt_read_file_at(AT_FDCWD, path, CONFIG_LIMIT, &creation->config_text, &creation->config_size);
	if (!err)
		err = rt_spec_load_text(creation->config_text, creation->config_size, path, &creation->container.spec);
	return err;
}

static struct rt_error *check_terminal(const struct creation *creation)
{
	const struct rt_create_options *options = creation->options;
	bool terminal = creation->container.spec->process.terminal;
	bool detaches = !creation->runs || options->detach;

	if (terminal && detaches && !options->console_socket)
		return rt_fail(RT_USAGE, "cannot allocate tty if rt will detach without setting console socket");
	if (options->console_socket && !(terminal && detaches))
		return rt_fail(RT_USAGE, "cannot use console socket if rt will not detach or allocate tty");
	return NULL;
}

/* Names from /etc/passwd would take a name service; the one who matters is root. */
static struct rt_error *describe_owner(char **ret)
{
	return geteuid() == 0 ? rt_format(ret, "root") : rt_format(ret, "%u", geteuid());
}

static struct rt_error *describe_now(char **ret)
{
	struct timespec now;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return rt_format(ret, "%s.%09ldZ", text, now.tv_nsec);
}

static struct rt_error *make_directory(struct creation *creation, const char *id)
{
	const char *root = creation->context->root;
	struct rt_error *err;

	creation->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (creation->root_fd < 0 && errno == ENOENT) {
		err = rt_make_dirs(root, 0711);
		if (err)
			return rt_while(err, "making the root directory");
		creation->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (creation->root_fd < 0)
		return rt_fail_errno("cannot open '%s'", root);
	if (mkdirat(creation->root_fd, id, 0700) < 0) {
		if (errno == EEXIST)
			return rt_fail(RT_EXISTS, "container with id '%s' exists: it already exists", id);
		return rt_fail_errno("cannot create '%s/%s'", root, id);
	}
	creation->has_directory = true;
	creation->container.dir_fd = openat(creation->root_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (creation->container.dir_fd < 0)
		return rt_fail_errno("cannot open '%s/%s'", root, id);
	return rt_lock_at(creation->container.dir_fd, "lock", &creation->container.lock_fd);
}

/* Root of the container's user namespace, who is given a v2 cgroup that only the container sees. */
static uid_t cgroup_owner(const struct rt_spec *spec)
{
	const struct rt_spec_namespace *cgroup = &spec->namespaces[RT_NS_CGROUP];

	if (!cgroup->wanted || cgroup->path)
		return (uid_t)-1;
	for (size_t i = 0; i < spec->uid_mappings.count; i++) {
		const struct rt_id_map *map = &spec->uid_mappings.entries[i];

		if (map->container_id == 0)
			return map->host_id;
	}
	return (uid_t)-1;
}

static struct rt_cgroup_request cgroup_request(const struct creation *creation)
{
	const struct rt_spec *spec = creation->container.spec;

	return (struct rt_cgroup_request){
		.id = creation->container.state.id,
		.path = spec->cgroups_path,
		.manager = creation->context->manager,
		.rootless = creation->context->rootless,
		.resources = &spec->resources,
		.annotations = spec->annotations,
		.annotation_count = spec->annotation_count,
		.must_be_new = true,
		.owner = cgroup_owner(spec),
	};
}

static struct rt_error *store_cgroup(struct rt_container *container)
{
	json_t *json;
	struct rt_error *err;

	if (!container->cgroup)
		return NULL;
	err = rt_cgroup_to_json(container->cgroup, &json);
	if (err)
		return err;
	json_decref(container->state.cgroup);
	container->state.cgroup = json;
	return NULL;
}

static struct rt_error *plan_cgroup(struct creation *creation)
{
	struct rt_container *container = &creation->container;
	const struct rt_cgroup_request request = cgroup_request(creation);
	struct rt_error *err;

	if (creation->context->manager == RT_CGROUP_DISABLED)
		return NULL;
	err = rt_cgroup_plan(&request, &container->cgroup);
	return err ? err : store_cgroup(container);
}

static struct rt_error *make_cgroup(struct creation *creation)
{
	const struct rt_cgroup_request request = cgroup_request(creation);

	return creation->container.cgroup ? rt_cgroup_create(creation->container.cgroup, &request) : NULL;
}

static struct rt_error *open_filter_cache(struct creation *creation)
{
	if (!creation->container.spec->seccomp.present)
		return NULL;
	if (mkdirat(creation->root_fd, RT_FILTER_CACHE, 0700) < 0 && errno != EEXIST)
		return rt_fail_errno("cannot create '%s/" RT_FILTER_CACHE "'", creation->context->root);
	creation->filter_cache_fd = openat(creation->root_fd, RT_FILTER_CACHE, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (creation->filter_cache_fd < 0)
		return rt_fail_errno("cannot open '%s/" RT_FILTER_CACHE "'", creation->context->root);
	return NULL;
}

/* Through the descriptor of the directory, whose own path may be too long for a socket's name. */
static struct rt_error *listen_for_start(struct creation *creation)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" RT_START_SOCKET,
		 rt_fd_path(creation->container.dir_fd).text);
	creation->plan.start_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (creation->plan.start_fd < 0)
		return rt_fail_errno("cannot make the start socket");
	if (bind(creation->plan.start_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(creation->plan.start_fd, 1) < 0)
		return rt_fail_errno("cannot listen on '" RT_START_SOCKET "'");
	return NULL;
}

static struct rt_error *plan_rootfs(struct creation *creation)
{
	struct rt_container *container = &creation->container;
	const struct rt_spec *spec = container->spec;
	const struct rt_rootfs_request request = {
		.spec = spec,
		.bundle = container->state.bundle,
		.cgroup = container->cgroup ? rt_cgroup_view(container->cgroup) : (struct rt_cgroup_view){ .count = 0 },
		.new_user_namespace = spec->namespaces[RT_NS_USER].wanted,
		.user_namespace_fd = creation->plan.join_fds[RT_NS_USER],
		.no_pivot = creation->options->no_pivot,
		.private_mount_namespace = spec->namespaces[RT_NS_MOUNT].wanted,
	};
	struct rt_error *err;

	err = rt_rootfs_plan(&request, &creation->rootfs);
	if (err)
		return err;
	creation->plan.rootfs = creation->rootfs;
	container->state.rootfs = strdup(rt_rootfs_path(creation->rootfs));
	return container->state.rootfs ? NULL : rt_error_oom();
}

static struct rt_error *plan_process(struct creation *creation)
{
	struct rt_container *container = &creation->container;
	const char *listen_fds = getenv("LISTEN_FDS");
	struct rt_init_plan *plan = &creation->plan;
	struct rt_error *err = NULL;
	uint64_t count;

	plan->spec = container->spec;
	plan->process = &container->spec->process;
	plan->cgroup = container->cgroup;
	plan->rootless = creation->context->rootless;
	plan->lock_fd = container->lock_fd;
	plan->preserve_fds = creation->options->preserve_fds;
	if (!creation->options->no_new_keyring) {
		err = rt_format(&creation->keyring, "_ses.%s", container->state.id);
		plan->keyring = creation->keyring;
	}
	if (!err && listen_fds && rt_str_to_u64(listen_fds, &count) && count > 0 && count < 1024) {
		err = rt_format(&creation->listen_fds, "LISTEN_FDS=%s", listen_fds);
		plan->listen_fds = creation->listen_fds;
		/* They are the descriptors right after the standard streams; --preserve-fds counts further ones. */
		plan->preserve_fds += (unsigned)count;
	}
	if (!err)
		err = rt_container_state_json(&container->state, container->spec, RT_STATUS_CREATING, 0, &creation->hook_state);
	plan->hook_state = creation->hook_state;
	if (!err)
		err = rt_init_plan_create(plan, creation->filter_cache_fd);
	return err;
}

/* Nothing of the machine is touched before the plans are made, and nothing before the state is on disk that tells what
 * will be: whatever kills us then, delete --force knows what to look for. */
static struct rt_error *prepare(struct creation *creation)
{
	struct rt_container *container = &creation->container;
	struct rt_error *err;

	err = plan_cgroup(creation);
	if (!err)
		err = open_filter_cache(creation);
	if (!err)
		err = plan_process(creation);
	if (!err)
		err = plan_rootfs(creation);
	if (!err)
		err = rt_replace_file_at(container->dir_fd, "config.json", creation->config_text, creation->config_size, 0600);
	if (!err)
		err = rt_state_store(container->dir_fd, &container->state);
	if (!err)
		err = make_cgroup(creation);
	if (!err && !creation->runs)
		err = listen_for_start(creation);
	return err;
}

static struct rt_error *run_hooks(void *context, pid_t pid)
{
	struct creation *creation = context;
	const struct rt_container *container = &creation->container;
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err;

	err = rt_sys_move_net_devices(container->spec->net_devices, container->spec->net_device_count, pid);
	if (!err)
		err = rt_container_state_json(&container->state, container->spec, RT_STATUS_CREATING, pid, &state);
	if (!err)
		err = rt_hooks_run(container->spec, RT_HOOK_PRESTART, state);
	if (!err)
		err = rt_hooks_run(container->spec, RT_HOOK_CREATE_RUNTIME, state);
	return err;
}

static struct rt_error *take_console(void *context, int master)
{
	struct creation *creation = context;
	struct rt_error *err;

	if (!creation->options->console_socket) {
		creation->master = master;
		return NULL;
	}
	err = rt_console_send(creation->options->console_socket, master);
	close(master);
	return err;
}

static struct rt_error *take_listener(void *context, pid_t pid, int listener)
{
	struct creation *creation = context;
	const struct rt_container *container = &creation->container;
	_cleanup_close_ int fd = listener;
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err;

	err = rt_container_state_json(&container->state, container->spec, RT_STATUS_CREATING, pid, &state);
	if (!err)
		err = rt_filter_send_listener(&container->spec->seccomp, fd, pid, state);
	return err;
}

/* The process waits for our answer: if we die before it is on disk, it ends by itself. */
static struct rt_error *ready(void *context, pid_t pid, int pidfd)
{
	struct creation *creation = context;
	const struct rt_create_options *options = creation->options;
	struct rt_container *container = &creation->container;
	struct rt_proc_stat stat;
	struct rt_error *err;
	bool found;

	err = rt_proc_stat(pid, &stat, &found);
	if (!err && !found)
		return rt_fail(RT_SYSTEM, "the container's process has ended");
	if (!err && container->spec->intel_rdt.present)
		err = rt_intel_rdt_apply(&container->spec->intel_rdt, container->state.id, pid, &container->state.rdt_created);
	if (err)
		return err;
	container->state.pid = pid;
	container->state.start_time = stat.start_time;
	container->state.creating = false;
	/* Where the cgroup really is, once it had to be asked for (systemd) or parts of it could not be had (rootless). */
	err = store_cgroup(container);
	if (!err)
		err = rt_state_store(container->dir_fd, &container->state);
	if (!err && options->pid_file)
		err = rt_write_pid_file(options->pid_file, pid);
	if (!err && options->pidfd_socket)
		err = rt_send_pidfd(options->pidfd_socket, pidfd);
	return err;
}

static struct rt_error *bring_up(struct creation *creation, const char *id)
{
	const struct rt_init_requests requests = {
		.context = creation,
		.run_hooks = run_hooks,
		.take_console = take_console,
		.take_listener = take_listener,
		.ready = ready,
	};
	struct rt_state *state = &creation->container.state;
	struct rt_error *err;

	err = rt_container_check_id(id);
	if (!err)
		err = rt_check_preserved_fds(creation->options->preserve_fds);
	if (!err)
		err = load_config(creation);
	if (!err)
		err = check_terminal(creation);
	if (err)
		return err;
	state->creating = true;
	state->rootless = creation->context->rootless;
	state->systemd_cgroup = creation->context->manager == RT_CGROUP_SYSTEMD;
	state->id = strdup(id);
	if (!state->id)
		return rt_error_oom();
	err = describe_now(&state->created);
	if (!err)
		err = describe_owner(&state->owner);
	if (!err)
		err = make_directory(creation, id);
	if (!err)
		err = prepare(creation);
	if (!err)
		err = rt_init_launch(&creation->plan, &requests, &creation->process);
	return err;
}

/* The failure to report is the first one, whatever the undoing meets. */
static struct rt_error *undo(struct creation *creation, struct rt_error *err)
{
	if (creation->has_directory)
		rt_warn_ignored(rt_container_destroy(&creation->container));
	return err;
}

static struct creation creation_of(const struct rt_context *context, const struct rt_create_options *options)
{
	return (struct creation){
		.context = context,
		.options = options,
		.container = { .context = context, .dir_fd = -1, .lock_fd = -1 },
		.root_fd = -1,
		.filter_cache_fd = -1,
		.plan = RT_INIT_PLAN_NULL,
		.process = RT_INIT_PROCESS_NULL,
		.master = -1,
	};
}

struct rt_error *rt_container_create(const struct rt_context *context, const char *id,
				     const struct rt_create_options *options)
{
	_cleanup_(creation_deinit) struct creation creation = creation_of(context, options);
	struct rt_error *err = bring_up(&creation, id);

	if (err)
		return rt_while(undo(&creation, err), "cannot create '%s'", id);
	return NULL;
}

static struct rt_error *after_start(struct creation *creation)
{
	const struct rt_container *container = &creation->container;
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err;

	if (container->spec->hooks[RT_HOOK_POSTSTART].count == 0)
		return NULL;
	err = rt_container_state_json(&container->state, container->spec, RT_STATUS_RUNNING, container->state.pid, &state);
	if (!err)
		rt_hooks_run_tolerant(container->spec, RT_HOOK_POSTSTART, state);
	return err;
}

/* Somebody else may have deleted it while it ran, which is fine. */
static struct rt_error *clean_up(struct creation *creation)
{
	struct rt_error *err = rt_container_delete(creation->context, creation->container.state.id, RT_DELETE_FORCE);

	if (err && err->code == RT_NOT_FOUND)
		err = rt_error_free(err);
	return err;
}

struct rt_error *rt_container_run(const struct rt_context *context, const char *id,
				  const struct rt_create_options *options, int *ret_status)
{
	_cleanup_(creation_deinit) struct creation creation = creation_of(context, options);
	struct rt_error *err, *second;

	creation.runs = true;
	if (!options->detach && !options->no_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return rt_fail_errno("cannot become a subreaper");
	err = bring_up(&creation, id);
	if (!err)
		err = rt_init_wait_started(&creation.process);
	if (!err)
		err = after_start(&creation);
	if (err)
		return rt_while(undo(&creation, err), "cannot run '%s'", id);
	*ret_status = 0;
	if (options->detach)
		return NULL;
	/* Others must be able to look at, enter and stop it meanwhile, so the lock is given up. */
	rt_closep(&creation.container.lock_fd);
	creation.container.lock_fd = -1;
	err = rt_wait_in_foreground(&creation.process, creation.master, ret_status);
	if (options->keep)
		return err;
	second = clean_up(&creation);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}
