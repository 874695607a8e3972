/* create and run: the same steps, but for who starts the process and who waits for it. */
#include "runtime/container/birth.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"
#include "runtime/tty/tty.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Everything a creation holds. */
struct creation {
	const struct rt_create_options *options;
	bool runs; /* run: we start it ourselves */
	struct rt_birth birth;
	int filter_cache_fd;
	struct rt_rootfs *rootfs;
	json_t *hook_state;
	char *keyring, *listen_fds;
	struct rt_init_plan plan;
	struct rt_init_process process;
	int master; /* of the terminal, where we relay it ourselves */
};

static void creation_deinit(struct creation *creation)
{
	rt_init_process_deinit(&creation->process);
	rt_init_plan_deinit(&creation->plan);
	rt_rootfs_free(creation->rootfs);
	json_decref(creation->hook_state);
	free(creation->keyring);
	free(creation->listen_fds);
	rt_closep(&creation->master);
	rt_closep(&creation->filter_cache_fd);
	rt_birth_deinit(&creation->birth);
}

static struct rt_error *open_filter_cache(struct creation *creation)
{
	if (!creation->birth.container.spec->seccomp.present)
		return NULL;
	if (mkdirat(creation->birth.root_fd, RT_FILTER_CACHE, 0700) < 0 && errno != EEXIST)
		return rt_fail_errno("cannot create '%s/" RT_FILTER_CACHE "'", creation->birth.container.context->root);
	creation->filter_cache_fd = openat(creation->birth.root_fd, RT_FILTER_CACHE, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (creation->filter_cache_fd < 0)
		return rt_fail_errno("cannot open '%s/" RT_FILTER_CACHE "'", creation->birth.container.context->root);
	return NULL;
}

/* Through the descriptor of the directory, whose own path may be too long for a socket's name. */
static struct rt_error *listen_for_start(struct creation *creation)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" RT_START_SOCKET,
		 rt_fd_path(creation->birth.container.dir_fd).text);
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
	struct rt_container *container = &creation->birth.container;
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
	struct rt_container *container = &creation->birth.container;
	struct rt_init_plan *plan = &creation->plan;
	struct rt_error *err = NULL;

	plan->spec = container->spec;
	plan->process = &container->spec->process;
	plan->cgroup = container->cgroup;
	plan->rootless = creation->birth.container.context->rootless;
	plan->lock_fd = container->lock_fd;
	if (!creation->options->no_new_keyring) {
		err = rt_format(&creation->keyring, "_ses.%s", container->state.id);
		plan->keyring = creation->keyring;
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
	struct rt_error *err;

	err = open_filter_cache(creation);
	if (!err)
		err = plan_process(creation);
	if (!err)
		err = plan_rootfs(creation);
	if (!err)
		err = rt_birth_commit(&creation->birth);
	if (!err && !creation->runs)
		err = listen_for_start(creation);
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
	const struct rt_container *container = &creation->birth.container;
	_cleanup_close_ int fd = listener;
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err;

	err = rt_container_state_json(&container->state, container->spec, RT_STATUS_CREATING, pid, &state);
	if (!err)
		err = rt_filter_send_listener(&container->spec->seccomp, fd, pid, state);
	return err;
}

static struct rt_error *run_hooks(void *context, pid_t pid)
{
	return rt_birth_run_hooks(&((struct creation *)context)->birth, pid);
}

/* The process waits for our answer: if we die before it is on disk, it ends by itself. */
static struct rt_error *ready(void *context, pid_t pid, int pidfd)
{
	struct creation *creation = context;
	struct rt_error *err = rt_birth_complete(&creation->birth, pid, pidfd, creation->options->pid_file, creation->options->pidfd_socket);

	return err || !creation->runs || creation->options->detach ? err : rt_tty_hold_signals();
}

static struct rt_error *bring_up(struct creation *creation, const struct rt_context *context, const char *id)
{
	const struct rt_create_options *options = creation->options;
	const struct rt_init_requests requests = {
		.context = creation,
		.run_hooks = run_hooks,
		.take_console = take_console,
		.take_listener = take_listener,
		.ready = ready,
	};
	struct rt_error *err;

	err = rt_plan_descriptors(options->preserve_fds, &creation->plan, &creation->listen_fds);
	if (!err)
		err = rt_birth_load(&creation->birth, context, id, options->bundle, options->config);
	if (!err)
		err = rt_check_terminal(creation->birth.container.spec->process.terminal, !creation->runs || options->detach,
					options->console_socket);
	if (!err)
		err = rt_birth_register(&creation->birth);
	if (!err)
		err = prepare(creation);
	if (!err)
		err = rt_init_launch(&creation->plan, &requests, &creation->process);
	return err;
}

static struct creation creation_of(const struct rt_create_options *options)
{
	return (struct creation){
		.options = options,
		.birth = RT_BIRTH_NULL,
		.filter_cache_fd = -1,
		.plan = RT_INIT_PLAN_NULL,
		.process = RT_INIT_PROCESS_NULL,
		.master = -1,
	};
}

struct rt_error *rt_container_create(const struct rt_context *context, const char *id,
				     const struct rt_create_options *options)
{
	_cleanup_(creation_deinit) struct creation creation = creation_of(options);
	struct rt_error *err = bring_up(&creation, context, id);

	if (err)
		return rt_while(rt_birth_undo(&creation.birth, err), "cannot create '%s'", id);
	return NULL;
}

struct rt_error *rt_container_run(const struct rt_context *context, const char *id,
				  const struct rt_create_options *options, int *ret_status)
{
	_cleanup_(creation_deinit) struct creation creation = creation_of(options);
	struct rt_error *err;

	creation.runs = true;
	if (!options->detach && !options->no_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return rt_fail_errno("cannot become a subreaper");
	err = bring_up(&creation, context, id);
	if (!err)
		err = rt_init_wait_started(&creation.process);
	if (!err)
		err = rt_birth_run_poststart(&creation.birth.container);
	if (err)
		return rt_while(rt_birth_undo(&creation.birth, err), "cannot run '%s'", id);
	*ret_status = 0;
	if (options->detach)
		return NULL;
	return rt_birth_stay(&creation.birth, &creation.process, creation.master, options->keep, ret_status);
}
