#include "checkpoint/checkpoint.h"

#include "checkpoint/connect.h"
#include "checkpoint/criulog.h"
#include "checkpoint/describe.h"
#include "checkpoint/exchange.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rpc.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <time.h>

#define LOG_FILE "dump.log"
#define CONFIG_LIMIT (16u << 20)

struct dump {
	const struct rt_criu_settings *settings;
	struct rt_criu_settings own_settings; /* with what was derived */
	struct rt_exchange exchange;
	struct rt_container container;
	const struct rt_spec *spec;
	char *config;
	size_t config_size;
	int image_fd, work_fd;
	struct rt_criu_opts options;
	struct rt_criu *criu;
	Rt__Manifest *manifest;
	uint64_t began; /* us */
};

static void dump_deinit(struct dump *dump)
{
	rt_criu_close(dump->criu);
	rt_criu_opts_deinit(&dump->options);
	rt_manifest_free(dump->manifest);
	free(dump->config);
	rt_closep(&dump->work_fd);
	rt_closep(&dump->image_fd);
	rt_container_deinit(&dump->container);
	rt_exchange_deinit(&dump->exchange);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct rt_error *open_container(struct dump *dump, const struct rt_context *context, const char *id)
{
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &dump->container, &status);
	if (err)
		return err;
	if (status != RT_STATUS_RUNNING && status != RT_STATUS_PAUSED)
		return rt_fail(RT_WRONG_STATE, "container not running: it is %s", rt_status_name(status));
	err = rt_container_spec(&dump->container, &dump->spec);
	if (!err)
		err = rt_read_file_at(dump->container.dir_fd, "config.json", CONFIG_LIMIT, &dump->config, &dump->config_size);
	return err;
}

/* A restore into a user namespace opens images when it is root only of that namespace. Images hold the secrets of the
 * process, so that root gets the directory, and nobody else. */
static struct rt_error *hand_directory_over(const struct dump *dump)
{
	const struct rt_id_maps *uids = &dump->spec->uid_mappings, *gids = &dump->spec->gid_mappings;

	for (size_t i = 0; i < uids->count; i++) {
		if (uids->entries[i].container_id != 0 || i >= gids->count)
			continue;
		if (fchown(dump->image_fd, uids->entries[i].host_id, gids->entries[i].host_id) < 0)
			return rt_fail_errno("cannot give the image directory to the container's root");
	}
	return NULL;
}

static struct rt_error *set_freezer(struct dump *dump)
{
	const struct rt_cgroup *cgroup = dump->container.cgroup;
	const char *directory;

	if (!cgroup)
		return NULL;
	directory = rt_cgroup_directory(cgroup, "freezer");
	if (!directory)
		directory = rt_cgroup_directory(cgroup, "");
	if (!directory)
		return NULL;
	dump->options.opts.freeze_cgroup = rt_arena_printf(&dump->options.arena, "%s", directory);
	return dump->options.opts.freeze_cgroup ? NULL : rt_error_oom();
}

static struct rt_error *set_page_server(struct dump *dump)
{
	const char *text = dump->settings->page_server;
	const char *colon = text ? strrchr(text, ':') : NULL;
	Criu__PageServer *server;
	uint64_t port;

	if (!text)
		return NULL;
	if (!colon || colon == text || !rt_str_to_u64(colon + 1, &port) || port > UINT16_MAX)
		return rt_fail(RT_USAGE, "'%s' is no address of a page server: use ADDRESS:PORT", text);
	server = rt_arena_calloc(&dump->options.arena, 1, sizeof(*server));
	if (!server)
		return rt_error_oom();
	criu__page_server__init(server);
	server->address = rt_arena_printf(&dump->options.arena, "%.*s", (int)(colon - text), text);
	server->has_port = 1;
	server->port = (int32_t)port;
	dump->options.opts.ps = server;
	return server->address ? NULL : rt_error_oom();
}

static struct rt_error *set_options(struct dump *dump)
{
	const struct rt_criu_settings *settings = dump->settings;
	Criu__Opts *opts = &dump->options.opts;
	struct rt_error *err;

	err = rt_criu_opts_fill(&dump->options, settings, dump->spec, dump->image_fd, dump->work_fd, LOG_FILE);
	if (!err)
		err = set_freezer(dump);
	if (!err)
		err = set_page_server(dump);
	if (err)
		return err;
	opts->has_pid = 1;
	opts->pid = dump->container.state.pid;
	opts->root = dump->container.state.rootfs;
	opts->has_leave_running = 1;
	opts->leave_running = settings->leave_running;
	opts->has_track_mem = settings->pre_dump || settings->parent_path;
	opts->track_mem = opts->has_track_mem;
	if (settings->parent_path) {
		opts->parent_img = rt_arena_printf(&dump->options.arena, "%s", settings->parent_path);
		if (!opts->parent_img)
			return rt_error_oom();
	}
	if (settings->has_status_fd) {
		opts->has_status_fd = 1;
		opts->status_fd = (int32_t)settings->status_fd;
	}
	return NULL;
}

static struct rt_error *note_options(const struct dump *dump, Rt__Options *into)
{
	const struct rt_criu_settings *settings = dump->settings;
	struct rt_error *err;

	into->tcp_established = settings->tcp_established;
	into->tcp_skip_in_flight = settings->tcp_skip_in_flight;
	into->tcp_close = settings->tcp_close;
	into->ext_unix_sk = settings->ext_unix_sk;
	into->shell_job = settings->shell_job;
	into->file_locks = settings->file_locks;
	into->link_remap = settings->link_remap;
	into->lazy_pages = settings->lazy_pages;
	into->leave_running = settings->leave_running;
	into->pre_dump = settings->pre_dump;
	into->auto_dedup = settings->auto_dedup;
	into->track_mem = dump->options.opts.track_mem;
	into->ghost_limit = settings->ghost_limit;
	into->empty_namespaces = dump->options.opts.empty_ns;
	err = rt_manifest_set(&into->network_lock, settings->network_lock);
	if (!err)
		err = rt_manifest_set(&into->manage_cgroups_mode, settings->manage_cgroups_mode);
	return err ? err : rt_manifest_set(&into->parent_path, settings->parent_path);
}

static struct rt_error *start_criu(struct dump *dump)
{
	const int status_fd[] = { (int)dump->settings->status_fd };
	uint32_t version;
	struct rt_error *err;

	err = rt_criu_start(&(struct rt_criu_options){
		.fds = status_fd,
		.fd_count = dump->settings->has_status_fd,
		.flags = dump->settings->shell_job ? RT_CRIU_SHELL_JOB : RT_CRIU_QUIET,
	}, &dump->criu);
	if (!err)
		err = rt_criu_require_version(dump->criu, &version);
	if (!err)
		err = rt_manifest_new(version, &dump->manifest);
	return err;
}

static struct rt_error *look_for_obstacles(struct dump *dump)
{
	_cleanup_(rt_preflight_deinit) struct rt_preflight report = RT_PREFLIGHT_NULL;
	uint64_t began = now_us();
	struct rt_error *err;

	err = rt_preflight_dump(&dump->container, dump->spec, dump->settings, dump->criu, dump->image_fd, &report);
	dump->manifest->timings->preflight = now_us() - began;
	return err ? err : rt_preflight_verdict(&report);
}

static struct rt_error *ask_for_dump(struct dump *dump)
{
	Criu__Request request = CRIU__REQUEST__INIT;
	struct rt_criu_failure failure;
	struct rt_error *err;

	request.type = dump->settings->pre_dump ? CRIU__REQUEST_KIND__SINGLE_PRE_DUMP : CRIU__REQUEST_KIND__DUMP;
	request.opts = &dump->options.opts;
	err = rt_criu_request(dump->criu, &request, NULL, NULL, &failure);
	if (err && !failure.refused)
		err = rt_criulog_explain(err, dump->work_fd, LOG_FILE);
	return err;
}

/* The manifest comes last: a directory that has one is a finished checkpoint. */
static struct rt_error *write_manifest(struct dump *dump, uint64_t dumped)
{
	Rt__Timings *timings = dump->manifest->timings;
	struct rt_error *err;

	err = note_options(dump, dump->manifest->options);
	if (!err)
		err = rt_manifest_digest(dump->image_fd, dump->manifest, 0);
	if (err)
		return err;
	timings->finish = now_us() - dumped;
	timings->total = now_us() - dump->began;
	return rt_manifest_store(dump->image_fd, dump->manifest);
}

static struct rt_error *run(struct dump *dump)
{
	struct rt_error *err;

	err = rt_exchange_prepare(&dump->exchange, &dump->own_settings);
	if (!err)
		err = rt_criu_open_directories(dump->settings, true, &dump->image_fd, &dump->work_fd);
	if (!err)
		err = hand_directory_over(dump);
	/* An old one must not vouch for the images of a dump that fails half way. */
	if (!err && unlinkat(dump->image_fd, RT_MANIFEST_NAME, 0) < 0 && errno != ENOENT)
		err = rt_fail_errno("cannot remove the old manifest");
	if (!err)
		err = start_criu(dump);
	if (!err)
		err = look_for_obstacles(dump);
	if (!err)
		err = rt_describe_container(&dump->container, dump->spec, dump->config, dump->config_size,
					    dump->manifest->container);
	if (!err)
		err = set_options(dump);
	if (!err)
		err = rt_connect_for_dump(&dump->options, dump->manifest->container);
	if (!err)
		err = ask_for_dump(dump);
	if (!err)
		err = write_manifest(dump, now_us());
	if (!err)
		err = rt_exchange_export(&dump->exchange, dump->settings, dump->container.state.rootfs);
	return err;
}

struct rt_error *rt_container_check(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings,
				    struct rt_preflight *report)
{
	_cleanup_(dump_deinit) struct dump dump = {
		.settings = settings, .container = RT_CONTAINER_NULL, .image_fd = -1, .work_fd = -1,
	};
	struct rt_error *err;

	rt_criu_opts_init(&dump.options);
	err = open_container(&dump, context, id);
	if (!err)
		err = rt_preflight_dump(&dump.container, dump.spec, settings, NULL, -1, report);
	if (err)
		return rt_while(err, "cannot check '%s'", id);
	return NULL;
}

struct rt_error *rt_container_checkpoint(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings)
{
	_cleanup_(dump_deinit) struct dump dump = {
		.own_settings = *settings, .container = RT_CONTAINER_NULL, .image_fd = -1, .work_fd = -1, .began = now_us(),
	};
	struct rt_error *err;

	dump.settings = &dump.own_settings;
	rt_criu_opts_init(&dump.options);
	err = open_container(&dump, context, id);
	if (!err)
		err = run(&dump);
	if (!err && !settings->leave_running && !settings->pre_dump)
		err = rt_container_destroy(&dump.container);
	if (err)
		return rt_while(err, "cannot checkpoint '%s'", id);
	return NULL;
}
