#include "migrate/clone_start.h"

#include "checkpoint/arriving.h"
#include "checkpoint/checkpoint.h"
#include "migrate/clone.h"
#include "migrate/clone_cache.h"
#include "migrate/clone_config.h"
#include "migrate/clone_identity.h"
#include "migrate/clone_mapped.h"
#include "migrate/clone_rootfs.h"
#include "migrate/clone_stay.h"
#include "migrate/guardian.h"
#include "migrate/lazy.h"
#include "runtime/base/fs.h"
#include "runtime/base/helper.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define CONFIG_LIMIT (16u << 20)

struct clone {
	const struct rt_clone_start *start;
	struct rt_clone_cache cache;
	struct rt_clone_rootfs rootfs;
	char *mount, *config, *criu, *images; /* paths below them */
	char *identity;
	char **resume; /* NULL: none */
	/* memory */
	struct rt_pagesets *sets;
	struct rt_lazy *lazy;
	char *record; /* NULL: somebody has written one */
	int guardian;
	pthread_t server;
	bool serving;
	_Atomic bool running, failed;
	struct rt_error *serve_err;
	int memory_fd; /* of rt_memory_arrives() */
};

static void clone_deinit(struct clone *clone)
{
	rt_lazy_free(clone->lazy);
	rt_pagesets_free(clone->sets);
	rt_clone_cache_deinit(&clone->cache);
	rt_clone_rootfs_deinit(&clone->rootfs);
	rt_clone_command_free(clone->resume);
	rt_error_free(clone->serve_err);
	free(clone->mount);
	free(clone->config);
	free(clone->criu);
	free(clone->images);
	free(clone->identity);
	free(clone->record);
}

/* ---- configuration ---- */

static bool brings_config(const struct rt_create_options *create)
{
	return create->bundle || create->config;
}

/* The snapshot's, unless another was given. */
static struct rt_error *load_config(const struct clone *clone, json_t **ret)
{
	const struct rt_create_options *create = &clone->start->values->create;
	const ProtobufCBinaryData *stored = &clone->cache.manifest->container->config;
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct rt_error *err;
	size_t size;

	if (!brings_config(create))
		return rt_json_parse((const char *)stored->data, stored->len, "the configuration of the snapshot", ret);
	if (create->config)
		err = rt_format(&path, "%s", create->config);
	else
		err = rt_format(&path, "%s/config.json", create->bundle);
	if (!err)
		err = rt_read_file_at(AT_FDCWD, path, CONFIG_LIMIT, &text, &size);
	return err ? err : rt_json_parse(text, size, path, ret);
}

/* The root filesystem of a bundle that was given takes the place of the one the changes were made to. */
static struct rt_error *mount_rootfs(const struct clone *clone, const json_t *config)
{
	const char *bundle = clone->start->values->create.bundle;
	const char *root = json_string_value(json_object_get(json_object_get(config, "root"), "path"));
	const Rt__Snapshot *snapshot = clone->cache.snapshot;
	_cleanup_free_ char *changes = NULL, *given = NULL, *real = NULL;
	struct rt_clone_layers layers = { .lowers = (const char *const *)snapshot->rootfs, .count = snapshot->n_rootfs };
	_cleanup_close_ int map_fd = -1;
	struct rt_error *err = rt_clone_map_open(config, &map_fd);

	if (err)
		return err;
	layers.map_fd = map_fd;
	if (snapshot->rootfs_changes || snapshot->rootfs_deleted.len > 0)
		err = rt_format(&changes, "%s/changes", clone->cache.path);
	layers.changes = changes;
	if (!err && !bundle)
		return rt_clone_rootfs_mount(&clone->rootfs, &layers);
	if (!err && !root)
		err = rt_fail(RT_CONFIG, "'root.path' is missing");
	if (!err)
		err = rt_format(&given, "%s%s%s", *root == '/' ? "" : bundle, *root == '/' ? "" : "/", root);
	if (!err)
		err = rt_real_path(given, &real);
	if (err)
		return err;
	layers.lowers = (const char *const[]){ real };
	layers.count = 1;
	return rt_clone_rootfs_mount(&clone->rootfs, &layers);
}

static struct rt_error *write_config(struct clone *clone, json_t *config)
{
	const char *const words[] = { "rt-clone", RT_CLONE_GONE, clone->rootfs.path, NULL };
	_cleanup_free_ char *hook = NULL, *text = NULL;
	struct rt_error *err = rt_helper_find("rt-clone", "migrate", "snapshots", &hook);
	_cleanup_free_ char *absolute = NULL;

	if (!err)
		err = rt_real_path(hook, &absolute);
	if (!err)
		err = rt_clone_config_apply(config, &(struct rt_clone_config){
			.id = clone->start->id, .rootfs = clone->mount, .hostname = clone->start->values->hostname, .hook = absolute, .hook_args = words,
		});
	if (!err)
		err = rt_clone_resume_command(config, &clone->resume);
	if (err)
		return err;
	text = json_dumps(config, JSON_COMPACT);
	return text ? rt_replace_file_at(clone->rootfs.dir_fd, "config.json", text, strlen(text), 0600) : rt_error_oom();
}

/* Where its root is one that nobody may write to, this is the only time. */
static struct rt_error *write_identity(const struct clone *clone)
{
	_cleanup_close_ int root_fd = open(clone->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool there;

	if (root_fd < 0)
		return rt_fail_errno("cannot open '%s'", clone->mount);
	return rt_clone_identity_write(root_fd, clone->identity, &there);
}

static struct rt_error *prepare(struct clone *clone)
{
	const struct rt_clone_start *start = clone->start;
	_cleanup_json_ json_t *config = NULL;
	struct rt_error *err;

	err = rt_clone_cache_open(start->context, start->store, start->values->from_snapshot, &clone->cache);
	/* This process may stay as long as the container. */
	rt_store_forget_key(start->store);
	if (!err)
		err = rt_clone_rootfs_make(start->context, start->id, clone->cache.snapshot->id, &clone->rootfs);
	if (err)
		return err;
	rt_clone_cache_settle(&clone->cache);
	if (clone->cache.whole && start->values->on_demand)
		return rt_fail(RT_CONFIG, "a container with its own user namespace gets all its memory at once, not on demand, while vm.unprivileged_userfaultfd is 0");
	err = rt_format(&clone->mount, "%s/rootfs", clone->rootfs.path);
	if (!err)
		err = rt_format(&clone->config, "%s/config.json", clone->rootfs.path);
	if (!err)
		err = rt_format(&clone->criu, "%s/criu", clone->rootfs.path);
	if (!err)
		err = rt_format(&clone->images, "%s/images", clone->cache.path);
	if (!err)
		err = rt_clone_identity_draw(start->id, start->values->from_snapshot, &clone->identity);
	if (!err)
		err = load_config(clone, &config);
	if (!err)
		err = mount_rootfs(clone, config);
	if (!err)
		err = write_config(clone, config);
	return err ? err : write_identity(clone);
}

/* ---- memory ---- */

static void kill_container(struct clone *clone)
{
	rt_warn_ignored(rt_container_kill(clone->start->context, clone->start->id, SIGKILL, RT_KILL_ALL));
}

static void *serve(void *userdata)
{
	struct clone *clone = userdata;

	clone->serve_err = rt_lazy_run(clone->lazy, -1, NULL);
	rt_closep(&clone->memory_fd);
	atomic_store(&clone->failed, clone->serve_err != NULL);
	if (clone->serve_err && atomic_load(&clone->running))
		kill_container(clone);
	return NULL;
}

/* The first one writes down which pages it touches; the others get these first. */
static struct rt_error *choose_record(struct clone *clone, char **ret_prefetch)
{
	struct rt_error *err = rt_format(ret_prefetch, "%s/record", clone->cache.path);

	if (err || access(*ret_prefetch, R_OK) == 0)
		return err;
	free(rt_take_ptr(*ret_prefetch));
	return rt_format(&clone->record, "%s/record.%s", clone->cache.path, clone->start->id);
}

static void finish_record(struct clone *clone)
{
	_cleanup_free_ char *path = NULL;

	if (!clone->record)
		return;
	rt_error_free(rt_format(&path, "%s/record", clone->cache.path));
	rt_lazy_free(rt_take_ptr(clone->lazy)); /* all of it is in the file */
	if (path && renameat2(AT_FDCWD, clone->record, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		unlink(clone->record);
}

static struct rt_error *begin(void *userdata, int image_fd, int work_fd)
{
	struct clone *clone = userdata;
	_cleanup_close_ int pages_fd = openat(clone->cache.dir_fd, "pages", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_free_ char *prefetch = NULL;
	struct rt_error *err;
	int error;

	if (clone->cache.whole)
		return NULL;
	if (pages_fd < 0)
		return rt_fail_errno("cannot open '%s/pages'", clone->cache.path);
	err = rt_pagesets_open(pages_fd, &clone->sets);
	if (!err)
		err = choose_record(clone, &prefetch);
	if (!err)
		err = rt_lazy_listen(&(struct rt_lazy_options){
			.work_fd = work_fd, .image_fd = image_fd, .sets = clone->sets, .record_file = clone->record, .prefetch_file = prefetch,
			.on_demand = clone->start->values->on_demand,
		}, &clone->lazy);
	if (!err)
		err = rt_lazy_prepare(clone->lazy);
	if (!err)
		err = rt_guardian_start(clone->start->context, clone->start->id, &clone->guardian);
	if (err)
		return err;
	err = rt_memory_arrives(clone->start->context, clone->start->id, &clone->memory_fd);
	if (err)
		return err;
	error = pthread_create(&clone->server, NULL, serve, clone);
	clone->serving = error == 0;
	return error ? rt_fail_with(error, "cannot start a thread") : NULL;
}

/* ---- the resume hook ---- */

/* In a process of its own: entering a container is for processes with one thread. Ends with 0, or the container with it. */
static pid_t fork_resume(struct clone *clone)
{
	const struct rt_exec_options options = { .args = (const char *const *)clone->resume };
	struct rt_error *err;
	int status = 0;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	err = rt_container_exec(clone->start->context, clone->start->id, &options, &status);
	if (!err && status != 0)
		err = rt_fail(RT_CONFIG, "'%s' ended with status %d", clone->resume[0], status);
	if (!err)
		_exit(0);
	rt_warn_ignored(rt_while(err, "the resume hook of '%s' has failed, so it is killed", clone->start->id));
	kill_container(clone);
	_exit(1);
}

static struct rt_error *wait_for_resume(struct clone *clone, pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return rt_fail_errno("cannot wait for the resume hook");
	if (status == 0)
		return NULL;
	return rt_fail(RT_CONFIG, "its resume hook '%s' has failed", clone->resume[0]);
}

/* ---- the restore ---- */

static struct rt_error *restored(void *userdata)
{
	const struct clone *clone = userdata;
	const struct rt_clone_start *start = clone->start;

	return rt_clone_identity_apply(start->context, start->id, clone->identity, start->values->hostname);
}

static void running(void *userdata)
{
	struct clone *clone = userdata;

	atomic_store(&clone->running, true);
	if (atomic_load(&clone->failed))
		kill_container(clone);
	if (clone->start->values->create.detach)
		return;
	/* It waits for the lock that we hold until we only wait for the container. */
	if (clone->resume)
		(void)fork_resume(clone);
	clone->start->running(clone->start->userdata);
}

static struct rt_error *restore(struct clone *clone, int *ret_status)
{
	const struct rt_restore_hooks hooks = {
		.begin = begin, .restored = restored, .running = running, .userdata = clone,
	};
	const Rt__Options *dumped = clone->cache.manifest->options;
	struct rt_restore_options options = {
		.hooks = &hooks,
		.criu = {
			.brief_log = true,
			.image_path = clone->images,
			.work_path = clone->criu,
			.tcp_close = true,
			.ext_unix_sk = dumped->ext_unix_sk,
			.shell_job = dumped->shell_job,
			.file_locks = dumped->file_locks,
			.link_remap = dumped->link_remap,
			.lazy_pages = !clone->cache.whole,
		},
		.create = clone->start->values->create,
	};

	options.create.config = clone->config;
	if (!options.create.bundle)
		options.create.bundle = clone->cache.manifest->container->bundle;
	return rt_container_restore(clone->start->context, clone->start->id, &options, ret_status);
}

/* It runs, and we are to leave. */
static struct rt_error *tell_running(struct clone *clone)
{
	struct rt_error *err = clone->resume ? wait_for_resume(clone, fork_resume(clone)) : NULL;

	if (!err)
		clone->start->running(clone->start->userdata);
	return err;
}

static void stop_serving(struct clone *clone)
{
	/* In the foreground it has ended. */
	if (clone->serving && clone->start->values->on_demand) {
		if (clone->start->values->create.detach)
			rt_warn_ignored(rt_clone_stay(clone->start->context, clone->start->id));
		rt_lazy_end(clone->lazy);
	}
	if (clone->serving)
		pthread_join(clone->server, NULL);
	clone->serving = false;
}

struct rt_error *rt_clone_start(const struct rt_clone_start *start, int *ret_status)
{
	_cleanup_(clone_deinit) struct clone clone = {
		.memory_fd = -1,
		.start = start, .cache = RT_CLONE_CACHE_NULL, .rootfs = RT_CLONE_ROOTFS_NULL, .guardian = -1,
	};
	bool detach = start->values->create.detach;
	struct rt_error *err = prepare(&clone);

	if (!err)
		err = restore(&clone, ret_status);
	if (!err && detach)
		err = tell_running(&clone);
	/* A restore that failed may have left the server waiting for a CRIU that is gone: it ends with this process. */
	if (!err || atomic_load(&clone.running))
		stop_serving(&clone);
	if (!err && clone.serve_err && detach)
		err = rt_take_ptr(clone.serve_err);
	if (!err)
		finish_record(&clone);
	rt_guardian_dismiss(&clone.guardian);
	if (err && atomic_load(&clone.running))
		rt_warn_ignored(rt_container_delete(start->context, start->id, RT_DELETE_FORCE));
	if (err && clone.rootfs.ours)
		rt_warn_ignored(rt_clone_rootfs_remove(clone.rootfs.path));
	if (err && clone.serving) {
		/* Its memory is in use; the process ends soon. */
		clone.lazy = NULL;
		clone.sets = NULL;
	}
	return err ? rt_while(err, "cannot start '%s' from snapshot '%s'", start->id, start->values->from_snapshot) : NULL;
}
