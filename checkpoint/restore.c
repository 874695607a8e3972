#include "checkpoint/checkpoint.h"

#include "checkpoint/connect.h"
#include "checkpoint/cpu.h"
#include "checkpoint/criulog.h"
#include "checkpoint/descriptors.h"
#include "checkpoint/exchange.h"
#include "checkpoint/handover.h"
#include "checkpoint/idmaps.h"
#include "checkpoint/images.h"
#include "checkpoint/inside.h"
#include "checkpoint/limits.h"
#include "checkpoint/manifest.h"
#include "checkpoint/netlock.h"
#include "checkpoint/rescue.h"
#include "checkpoint/rpc.h"
#include "checkpoint/timers.h"
#include "checkpoint/yard.h"
#include "runtime/base/fs.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/seat.h"
#include "runtime/cgroup/warm.h"
#include "runtime/container/birth.h"
#include "runtime/rootfs/rootfs.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"
#include "runtime/tty/tty.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#define LOG_FILE "restore.log"

struct restore {
	const struct rt_restore_options *options;
	struct rt_criu_settings settings; /* options->criu, with what was derived */
	struct rt_exchange exchange;
	struct rt_birth birth;
	int image_fd, work_fd, rootfs_fd;
	Rt__Manifest *manifest; /* NULL: the images are another runtime's */
	Rt__Container *assumed; /* in its place */
	struct rt_criu_opts criu_options;
	struct rt_connection connection;
	struct rt_criu *criu;
	struct rt_cgroup_seat seat;
	bool asked; /* it has begun to restore */
	struct rt_restore_rescue rescue;
	struct rt_cgroup_warmer own_warmer, *warmer; /* that, or the caller's */
	struct rt_init_process process;
	int master;
	int rules_fd; /* of netlock.h, where the network was given */
	int yard_fd; /* of yard.h */
	pthread_t hooks;
	pid_t hooks_pid; /* whom that thread calls hooks for; 0: there is none */
	struct rt_error *hooks_err; /* its own; owned */
};

static void *run_hooks(void *userdata)
{
	struct restore *restore = userdata;

	restore->hooks_err = rt_birth_run_hooks(&restore->birth, restore->hooks_pid);
	return NULL;
}

static struct rt_error *begin_hooks(struct restore *restore, pid_t pid)
{
	int error;

	if (!restore->options->has_network || !restore->options->hooks_beside)
		return rt_birth_run_hooks(&restore->birth, pid);
	restore->hooks_pid = pid;
	error = pthread_create(&restore->hooks, NULL, run_hooks, restore);
	if (!error)
		return NULL;
	restore->hooks_pid = 0;
	return rt_fail_with(error, "cannot start a thread");
}

static struct rt_error *end_hooks(struct restore *restore)
{
	if (restore->hooks_pid)
		pthread_join(restore->hooks, NULL);
	restore->hooks_pid = 0;
	return rt_take_ptr(restore->hooks_err);
}

static void restore_deinit(struct restore *restore)
{
	rt_criu_close(restore->criu);
	rt_cgroup_warm_end(restore->warmer);
	rt_cgroup_seat_leave(&restore->seat);
	rt_restore_rescue_deinit(&restore->rescue);
	rt_criu_opts_deinit(&restore->criu_options);
	rt_connection_deinit(&restore->connection);
	rt_manifest_free(restore->manifest);
	if (restore->assumed)
		rt__container__free_unpacked(restore->assumed, NULL);
	rt_init_process_deinit(&restore->process);
	rt_closep(&restore->master);
	rt_closep(&restore->rules_fd);
	rt_closep(&restore->yard_fd);
	rt_closep(&restore->rootfs_fd);
	rt_closep(&restore->work_fd);
	rt_closep(&restore->image_fd);
	rt_birth_deinit(&restore->birth);
	rt_exchange_deinit(&restore->exchange);
}

static struct rt_error *open_images(struct restore *restore)
{
	struct rt_error *err = rt_exchange_import(&restore->exchange, &restore->settings, restore->birth.container.state.rootfs);

	return err ? err : rt_criu_open_directories(&restore->settings, false, &restore->image_fd, &restore->work_fd);
}

static bool compares_processors(const struct restore *restore)
{
	return !restore->settings.cpu_cap || !rt_str_equal(restore->settings.cpu_cap, "none");
}

static struct rt_error *load_images(struct restore *restore)
{
	Img__Inventory *inventory;
	struct rt_error *err = rt_images_inventory(restore->image_fd, &inventory);

	if (err)
		return err;
	rt_unpack_free(&inventory->base);
	err = rt_manifest_load(restore->image_fd, &restore->manifest);
	if (!err && restore->manifest)
		err = rt_manifest_verify(restore->image_fd, restore->manifest, 0);
	/* Nothing of the container is there yet. */
	if (!err)
		err = rt_idmaps_check(restore->image_fd, restore->birth.container.spec);
	if (!err && restore->manifest && compares_processors(restore))
		err = rt_cpu_require(restore->manifest->maker, restore->manifest->cpu);
	return err;
}

static const Rt__Container *described(const struct restore *restore)
{
	return restore->manifest ? restore->manifest->container : restore->assumed;
}

static struct rt_error *open_rootfs(struct restore *restore)
{
	struct rt_container *container = &restore->birth.container;
	const struct rt_spec *spec = container->spec;
	_cleanup_free_ char *path = NULL;
	struct rt_error *err;

	if (*spec->root_path == '/')
		err = rt_format(&path, "%s", spec->root_path);
	else
		err = rt_format(&path, "%s/%s", container->state.bundle, spec->root_path);
	if (!err)
		err = rt_real_path(path, &container->state.rootfs);
	if (err)
		return rt_while(err, "finding the root filesystem");
	restore->rootfs_fd = open(container->state.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (restore->rootfs_fd < 0)
		return rt_fail_errno("cannot open the root filesystem '%s'", container->state.rootfs);
	return NULL;
}

static struct rt_error *assume(struct restore *restore)
{
	struct rt_error *err;

	if (restore->manifest)
		return NULL;
	restore->assumed = calloc(1, sizeof(*restore->assumed));
	if (!restore->assumed)
		return rt_error_oom();
	rt__container__init(restore->assumed);
	err = rt_connect_assume(restore->birth.container.spec, restore->assumed);
	return err ? err : rt_descriptors_load(restore->image_fd, restore->assumed);
}

static struct rt_error *set_options(struct restore *restore)
{
	const struct rt_criu_settings *settings = &restore->settings;
	const struct rt_container *container = &restore->birth.container;
	Criu__Opts *opts = &restore->criu_options.opts;
	struct rt_arena *arena = &restore->criu_options.arena;
	struct rt_error *err;

	err = rt_criu_opts_fill(&restore->criu_options, settings, container->spec, restore->image_fd, restore->work_fd, LOG_FILE);
	if (!err)
		err = rt_connect_for_restore(&restore->criu_options, container, container->spec, restore->rootfs_fd,
					     described(restore), &restore->connection);
	if (err)
		return err;
	/* To compare nothing CRIU would still want an image to compare with. */
	opts->has_cpu_cap = opts->has_cpu_cap && compares_processors(restore);
	opts->root = container->state.rootfs;
	opts->has_rst_sibling = opts->rst_sibling = 1; /* our child, to wait for */
	if (settings->lsm_profile && !(opts->lsm_profile = rt_arena_printf(arena, "%s", settings->lsm_profile)))
		return rt_error_oom();
	if (settings->lsm_mount_context && !(opts->lsm_mount_context = rt_arena_printf(arena, "%s", settings->lsm_mount_context)))
		return rt_error_oom();
	return NULL;
}

static struct rt_error *mount_plain(const char *rootfs)
{
	/* The descriptor from before is of the other namespace. */
	_cleanup_close_ int target = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC), tree = -1;
	struct rt_error *err;

	if (target < 0)
		return rt_fail_errno("cannot open the root filesystem '%s'", rootfs);
	err = rt_sys_clone_tree(target, "", RT_MOUNT_RECURSIVE, &tree);
	return err ? err : rt_sys_attach(tree, target);
}

static struct rt_error *mount_rootfs(const struct restore *restore)
{
	const struct rt_spec *spec = restore->birth.container.spec;
	const struct rt_rootfs_request request = {
		.spec = spec,
		.bundle = restore->birth.container.state.bundle,
		.new_user_namespace = spec->namespaces[RT_NS_USER].wanted,
		.user_namespace_fd = restore->connection.namespaces[RT_NS_USER],
		.private_mount_namespace = spec->namespaces[RT_NS_MOUNT].wanted,
	};
	bool mapped;
	struct rt_error *err = rt_rootfs_mount_mapped(&request, &mapped);

	return err || mapped ? err : mount_plain(restore->birth.container.state.rootfs);
}

/* CRIU mounts below its image directory, which it enters through our descriptor: that must be one of its own mount namespace. */
static struct rt_error *reopen_directories(struct restore *restore)
{
	_cleanup_close_ int image_fd = -1, work_fd = -1;
	struct rt_error *err = rt_criu_open_directories(&restore->settings, false, &image_fd, &work_fd);

	if (err)
		return err;
	if (dup3(image_fd, restore->image_fd, O_CLOEXEC) < 0 || dup3(work_fd, restore->work_fd, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot duplicate a descriptor");
	return NULL;
}

static struct rt_error *start_in_namespace(void *userdata)
{
	struct restore *restore = userdata;
	int fds[RT_CONNECTION_MAX];
	const struct rt_criu_options options = {
		.fds = fds,
		.fd_count = rt_connection_fds(&restore->connection, fds),
		.flags = restore->settings.shell_job ? RT_CRIU_SHELL_JOB : 0,
		.patience_ms = RT_CRIU_PATIENCE_MS,
	};
	struct rt_error *err;

	err = mount_rootfs(restore);
	if (!err)
		err = reopen_directories(restore);
	if (err || !restore->options->has_network)
		return err ? err : rt_criu_start(&options, &restore->criu);
	/* Nothing in, nothing out, until all of it is there: as CRIU does with a network that it has made. */
	err = rt_netlock_add_own(restore->options->network_fd, &restore->rules_fd);
	return err ? err : rt_inside_start(restore->options->network_fd, &options, &restore->criu);
}

/* CRIU wants the root to be a mount of its own, on one that is not shared. It gets a mount namespace for that: whatever
 * becomes of it and of us, no mount is left on the host. */
static struct rt_error *start_criu(struct restore *restore)
{
	return rt_sys_call_in_own_mounts(start_in_namespace, restore);
}

static bool has_own_network(const struct rt_spec *spec)
{
	return spec->namespaces[RT_NS_NETWORK].wanted && !spec->namespaces[RT_NS_NETWORK].path;
}

/* An empty network namespace lacks what a start would have done to it. */
static struct rt_error *prepare_network(const struct rt_spec *spec, pid_t pid)
{
	_cleanup_close_ int own = -1, made = -1;
	struct rt_error *err, *second;

	err = rt_sys_loopback_up_of(pid);
	if (err || spec->sysctl_count == 0)
		return err;
	err = rt_sys_open_namespace_of(pid, RT_NS_NETWORK, &made);
	if (!err)
		err = rt_sys_open_namespace_of(0, RT_NS_NETWORK, &own);
	if (!err)
		err = rt_sys_setns(made, CLONE_NEWNET);
	if (err)
		return err;
	err = rt_rootfs_sysctl_network(spec);
	second = rt_sys_setns(own, CLONE_NEWNET);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

static struct rt_error *unlock_given_network(struct restore *restore)
{
	return restore->options->has_network ? rt_netlock_remove_own(restore->options->network_fd, &restore->rules_fd) : NULL;
}

/* Namespaces exist, nothing lives in them yet: the loopback first, as connections over it are restored later on, then whoever makes
 * the network and else. */
static struct rt_error *namespaces_stand(struct restore *restore, pid_t pid)
{
	const struct rt_spec *spec = restore->birth.container.spec;
	struct rt_error *err = rt_restore_rescue_note_init(&restore->rescue, pid);

	if (!err && has_own_network(spec))
		err = prepare_network(spec, pid);
	return err ? err : begin_hooks(restore, pid);
}

static struct rt_error *take_master(struct restore *restore, int master)
{
	const char *path = restore->options->create.console_socket;
	struct rt_error *err;

	if (!path) {
		restore->master = master;
		return NULL;
	}
	err = rt_console_send(path, master);
	close(master);
	return err;
}

/* Everything stands and waits for our answer; a failure now makes CRIU kill it all. */
static struct rt_error *all_restored(struct restore *restore, pid_t pid)
{
	const struct rt_create_options *create = &restore->options->create;
	struct rt_error *err;

	err = rt_pidfd_open(pid, &restore->process.pidfd);
	if (!err && restore->process.pidfd < 0)
		return rt_fail(RT_SYSTEM, "the restored process has ended");
	if (err)
		return err;
	rt_cgroup_warm_stop(restore->warmer);
	restore->process.pid = pid;
	rt_cgroup_seat_leave(&restore->seat);
	rt_criu_watch(restore->criu, pid);
	err = rt_restore_rescue_note_init(&restore->rescue, pid);
	if (!err)
		err = end_hooks(restore);
	if (!err)
		err = rt_timers_start_again(restore->image_fd, &restore->birth.container, pid);
	if (err)
		return err;
	restore->birth.container.state.restored = true;
	restore->birth.holder = rt_criu_pid(restore->criu);
	err = rt_birth_complete(&restore->birth, pid, restore->process.pidfd, create->pid_file, create->pidfd_socket);
	if (!err && restore->options->hooks)
		err = restore->options->hooks->restored(restore->options->hooks->userdata);
	if (!err)
		err = unlock_given_network(restore);
	return err ? err : rt_restore_rescue_commit(&restore->rescue);
}

/* Whoever asks us to stop once the restored process is ours asks that one. */
static struct rt_error *notify(void *userdata, struct rt_criu_notification *notification)
{
	struct restore *restore = userdata;
	struct rt_error *err = restore->process.pid || notification->rolling_back ? NULL : rt_interrupt_check();

	if (err)
		return err;
	if (rt_str_equal(notification->script, "setup-namespaces"))
		return namespaces_stand(restore, notification->pid);
	if (rt_str_equal(notification->script, "post-restore"))
		return all_restored(restore, notification->pid);
	if (rt_str_equal(notification->script, "orphan-pts-master") && notification->fd >= 0)
		return take_master(restore, rt_take_fd(notification->fd));
	return NULL;
}

static struct rt_error *ask_for_restore(struct restore *restore)
{
	const struct rt_criu_handler handler = { .notify = notify, .userdata = restore };
	Criu__Request request = CRIU__REQUEST__INIT;
	struct rt_criu_failure failure;
	struct rt_error *err;

	restore->asked = true;
	request.type = CRIU__REQUEST_KIND__RESTORE;
	request.opts = &restore->criu_options.opts;
	err = rt_criu_request(restore->criu, &request, &handler, NULL, &failure);
	if (err && !failure.refused && !failure.died)
		err = rt_criulog_explain(err, restore->work_fd, LOG_FILE, rt_exchange_keeps_log(&restore->exchange, &restore->settings));
	return err;
}

/* The id, the directory and the cgroup are ours. */
static struct rt_error *take_place(struct restore *restore)
{
	struct rt_error *err = rt_birth_register(&restore->birth);

	return err ? err : rt_birth_commit(&restore->birth);
}

static bool waits_for_images(const struct restore *restore)
{
	return restore->options->hooks && restore->options->hooks->await_images;
}

/* What needs no images. Where they come from elsewhere, the place is taken meanwhile; else not before they have been found to be good. */
static struct rt_error *get_ready(struct restore *restore, const struct rt_context *context, const char *id)
{
	const struct rt_restore_hooks *hooks = restore->options->hooks;
	const struct rt_create_options *create = &restore->options->create;
	struct rt_error *err;

	err = rt_birth_load(&restore->birth, context, id, create->bundle, create->config);
	if (!err)
		err = rt_check_terminal(restore->birth.container.spec->process.terminal, create->detach, create->console_socket);
	if (!err)
		err = open_rootfs(restore);
	if (!err)
		err = open_images(restore);
	if (!err)
		err = rt_connection_open(&restore->connection, restore->birth.container.spec);
	if (!err && !waits_for_images(restore))
		rt_cgroup_warm(restore->warmer);
	/* Early: it gets ready while we do, or while the images come. */
	if (!err)
		err = start_criu(restore);
	if (!err)
		err = rt_yard_set_up(&restore->criu_options, &restore->yard_fd);
	if (err || !waits_for_images(restore))
		return err;
	err = take_place(restore);
	rt_cgroup_warm_prepare(restore->warmer);
	if (!err)
		err = hooks->await_images(hooks->userdata);
	if (!err)
		rt_cgroup_warm(restore->warmer);
	return err;
}

static struct rt_error *take_images(struct restore *restore)
{
	const struct rt_restore_hooks *hooks = restore->options->hooks;
	struct rt_error *err = load_images(restore);

	if (!err && restore->options->has_network)
		err = rt_inside_join(restore->image_fd);
	if (!err)
		err = assume(restore);
	if (!err && hooks && hooks->mounts && restore->manifest)
		err = hooks->mounts(hooks->userdata, restore->manifest->container, restore->image_fd, rt_criu_pid(restore->criu));
	if (!err)
		err = rt_interrupt_check();
	if (!err)
		err = rt_limits_for_restore(described(restore), &restore->birth);
	if (!err && !waits_for_images(restore))
		err = take_place(restore);
	if (!err)
		err = rt_cgroup_seat_take(restore->birth.container.cgroup, &restore->seat);
	return err || !waits_for_images(restore) ? err : rt_birth_change_limits(&restore->birth);
}

static struct rt_error *bring_back(struct restore *restore, const struct rt_context *context, const char *id)
{
	const struct rt_restore_hooks *hooks = restore->options->hooks;
	struct rt_error *err = get_ready(restore, context, id);
	uint32_t version;

	if (!err)
		err = take_images(restore);
	if (!err)
		err = set_options(restore);
	if (!err)
		err = rt_criu_require_version(restore->criu, &version);
	if (!err)
		err = rt_restore_rescue_arm(&restore->rescue, &restore->birth.container, restore->image_fd, rt_criu_pid(restore->criu), version);
	/* An import has made the files anew. */
	if (!err)
		err = rt_images_hand_over(restore->image_fd, restore->birth.container.spec);
	if (!err)
		err = rt_interrupt_check();
	if (!err && hooks)
		err = hooks->begin(hooks->userdata, restore->image_fd, restore->work_fd);
	if (!err)
		err = ask_for_restore(restore);
	if (!err) {
		rt_restore_rescue_dismiss(&restore->rescue);
		err = rt_birth_release(&restore->birth);
	}
	if (!err && hooks)
		hooks->running(hooks->userdata);
	return err ? err : rt_birth_run_poststart(&restore->birth.container);
}

/* CRIU first: until it has ended it undoes things itself, and goes on making others where it was not told to stop. */
static void undo(struct restore *restore)
{
	rt_criu_close(restore->criu);
	restore->criu = NULL;
	rt_error_free(end_hooks(restore)); /* before those that undo what they do */
	rt_cgroup_seat_leave(&restore->seat);
	if (restore->asked)
		rt_restore_rescue_clean(&restore->rescue);
}

struct rt_error *rt_container_restore(const struct rt_context *context, const char *id, const struct rt_restore_options *options,
				      int *ret_status)
{
	_cleanup_(restore_deinit) struct restore restore = {
		.options = options,
		.settings = options->criu,
		.birth = { .container = RT_CONTAINER_NULL, .root_fd = -1 },
		.image_fd = -1,
		.work_fd = -1,
		.rootfs_fd = -1,
		.rescue = RT_RESTORE_RESCUE_NULL,
		.yard_fd = -1,
		.own_warmer = RT_CGROUP_WARMER_NULL,
		.process = RT_INIT_PROCESS_NULL,
		.master = -1,
		.rules_fd = -1,
	};
	struct rt_error *err;

	restore.warmer = options->warmer ? options->warmer : &restore.own_warmer;
	rt_connection_init(&restore.connection);
	rt_criu_opts_init(&restore.criu_options);
	if (!options->create.detach && !options->create.no_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return rt_fail_errno("cannot become a subreaper");
	err = rt_interrupt_defer();
	if (!err)
		err = bring_back(&restore, context, id);
	if (err) {
		undo(&restore);
		return rt_while(rt_birth_undo(&restore.birth, err), "cannot restore '%s'", id);
	}
	*ret_status = 0;
	if (options->create.detach)
		return NULL;
	rt_restore_rescue_deinit(&restore.rescue); /* the guard is our child, and we may be here for long */
	return rt_birth_stay(&restore.birth, &restore.process, restore.master, options->create.keep, ret_status);
}
