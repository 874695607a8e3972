#include "checkpoint/dump_private.h"

#include "checkpoint/arriving.h"
#include "checkpoint/connect.h"
#include "checkpoint/criulog.h"
#include "checkpoint/describe.h"
#include "checkpoint/descriptors.h"
#include "checkpoint/handover.h"
#include "checkpoint/inside.h"
#include "checkpoint/known.h"
#include "checkpoint/manifest.h"
#include "checkpoint/restart.h"
#include "checkpoint/unmarked.h"
#include "checkpoint/yard.h"
#include "runtime/base/clock.h"
#include "runtime/base/fs.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

#define LOG_FILE "dump.log"
#define CONFIG_LIMIT (16u << 20)
/* Bytes: less room than this a failed dump leaves only where it was the reason. */
#define DISK_FULL (64u << 10)

static void dump_deinit(struct rt_dump *dump)
{
	rt_criu_close(dump->criu);
	rt_rescue_deinit(&dump->rescue);
	rt_criu_opts_deinit(&dump->options);
	rt_manifest_free(dump->manifest);
	free(dump->config);
	rt_closep(&dump->nobody_fd);
	rt_closep(&dump->yard_fd);
	rt_closep(&dump->work_fd);
	rt_closep(&dump->image_fd);
	rt_container_deinit(&dump->container);
	rt_exchange_deinit(&dump->exchange);
}

static struct rt_error *open_container(struct rt_dump *dump, const struct rt_context *context, const char *id)
{
	enum rt_status status;
	struct rt_error *err;
	bool arriving;

	err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &dump->container, &status);
	if (err)
		return err;
	if (status != RT_STATUS_RUNNING && status != RT_STATUS_PAUSED)
		return rt_fail(RT_WRONG_STATE, "container not running: it is %s", rt_status_name(status));
	err = rt_memory_is_arriving(dump->container.dir_fd, &arriving);
	if (!err && arriving)
		err = rt_fail(RT_WRONG_STATE, "its memory has not all arrived yet: it was restored lazily a moment ago");
	if (err)
		return err;
	err = rt_container_spec(&dump->container, &dump->spec);
	if (!err)
		err = rt_read_file_at(dump->container.dir_fd, "config.json", CONFIG_LIMIT, &dump->config, &dump->config_size);
	return err;
}

static struct rt_error *set_page_server(struct rt_dump *dump)
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

/* After a lazy dump CRIU serves pages until its peer hangs up, which this one has done. There is no field for such a socket in the request, only an option. */
static struct rt_error *set_nobody(struct rt_dump *dump)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	if (dump->nobody_fd < 0)
		return NULL;
	err = rt_format(&text, "ps-socket %d\n", dump->nobody_fd);
	return err ? err : rt_criu_opts_add_config(&dump->options, text);
}

static struct rt_error *set_options(struct rt_dump *dump)
{
	const struct rt_criu_settings *settings = dump->settings;
	Criu__Opts *opts = &dump->options.opts;
	struct rt_error *err;

	err = rt_criu_opts_fill(&dump->options, settings, dump->spec, dump->image_fd, dump->work_fd, LOG_FILE);
	if (!err)
		err = set_page_server(dump);
	if (!err)
		err = set_nobody(dump);
	if (err)
		return err;
	if (dump->inside)
		opts->network_lock = CRIU__NETWORK_LOCK__NETWORK_LOCK_SKIP;
	else
		opts->log_level = RT_CRIU_LOG_ALL; /* netlock.h needs the run id that stands there */
	opts->has_pid = 1;
	opts->pid = dump->container.state.pid;
	opts->root = dump->container.state.rootfs;
	opts->has_leave_running = 1;
	opts->leave_running = settings->leave_running;
	opts->has_track_mem = settings->pre_dump || settings->parent_path || dump->knows;
	opts->track_mem = opts->has_track_mem;
	if (!settings->parent_path && !dump->knows)
		return NULL;
	opts->parent_img = rt_arena_printf(&dump->options.arena, "%s", dump->knows ? RT_KNOWN_PARENT : settings->parent_path);
	return opts->parent_img ? NULL : rt_error_oom();
}

static struct rt_error *note_options(const struct rt_dump *dump, Rt__Options *into)
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
	into->page_server = settings->page_server && !settings->lazy_pages;
	into->track_mem = dump->options.opts.track_mem && !dump->knows;
	into->ghost_limit = settings->ghost_limit;
	into->empty_namespaces = dump->options.opts.empty_ns;
	err = rt_manifest_set(&into->network_lock, settings->network_lock);
	if (!err)
		err = rt_manifest_set(&into->manage_cgroups_mode, settings->manage_cgroups_mode);
	return err ? err : rt_manifest_set(&into->parent_path, settings->parent_path);
}

static struct rt_error *open_nobody(struct rt_dump *dump)
{
	int ends[2];

	if (!dump->settings->memory_elsewhere)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return rt_fail_errno("cannot make a pair of sockets");
	dump->nobody_fd = ends[0];
	close(ends[1]);
	return NULL;
}

static struct rt_error *launch(void *userdata)
{
	struct rt_dump *dump = userdata;
	const struct rt_criu_options options = {
		.fds = &dump->nobody_fd,
		.fd_count = dump->nobody_fd >= 0,
		.flags = dump->settings->shell_job ? RT_CRIU_SHELL_JOB : RT_CRIU_QUIET,
		/* With --lazy-pages it waits for somebody to come for the memory, as long as it takes. */
		.patience_ms = dump->settings->lazy_pages && dump->nobody_fd < 0 ? RT_CRIU_PATIENCE_MS : 0,
	};

	return dump->inside ? rt_inside_start(dump->rescue.network_fd, &options, &dump->criu) : rt_criu_start(&options, &dump->criu);
}

static struct rt_error *start_criu(struct rt_dump *dump)
{
	struct rt_error *err;
	uint32_t version;

	/* A container without mounts of its own has those of CRIU, to CRIU. */
	dump->unmarked = dump->settings->memory_elsewhere && dump->inside && dump->spec->namespaces[RT_NS_MOUNT].wanted && rt_unmarked_is_needed();
	err = dump->unmarked ? rt_unmarked_start(launch, dump) : launch(dump);
	if (!err)
		err = rt_rescue_watch(&dump->rescue, rt_criu_pid(dump->criu));
	if (!err)
		err = rt_criu_require_version(dump->criu, &version);
	if (!err)
		err = rt_manifest_new(version, &dump->manifest);
	return err;
}

static struct rt_error *look_for_obstacles(struct rt_dump *dump)
{
	_cleanup_(rt_preflight_deinit) struct rt_preflight report = RT_PREFLIGHT_NULL;
	uint64_t began = rt_now_us();
	struct rt_error *err;

	err = rt_preflight_dump(&dump->container, dump->spec, dump->settings, dump->criu, dump->image_fd, &report);
	dump->manifest->timings->preflight = rt_now_us() - began;
	dump->knows = dump->settings->memory_elsewhere && report.tracks_memory;
	if (dump->knows)
		rt_debug("criu passes over memory, which goes another way");
	/* A migration has said so when it began. */
	if (!err && report.note && !dump->hooks)
		rt_warn("%s", report.note);
	return err ? err : rt_preflight_verdict(&report);
}

/* The manifest comes last: a directory that has one is a finished checkpoint. */
static struct rt_error *write_manifest(struct rt_dump *dump, uint64_t dumped)
{
	Rt__Timings *timings = dump->manifest->timings;
	struct rt_error *err;

	err = note_options(dump, dump->manifest->options);
	if (!err)
		err = rt_descriptors_store(dump->image_fd, dump->manifest->container);
	if (!err)
		err = rt_manifest_digest(dump->image_fd, dump->manifest, dump->flags & RT_DUMP_SENT ? RT_DIGEST_NO_MEMORY : 0);
	if (err)
		return err;
	timings->finish = rt_now_us() - dumped;
	timings->total = rt_now_us() - dump->began;
	err = rt_manifest_store(dump->image_fd, dump->manifest);
	return err ? err : rt_images_hand_over(dump->image_fd, dump->spec);
}

static struct rt_error *complete(struct rt_dump *dump)
{
	struct rt_error *err;

	dump->images_complete = true;
	err = dump->inside ? rt_inside_correct(dump->image_fd, dump->rescue.lock == RT_LOCK_OWN) : NULL;
	if (!err && !dump->settings->pre_dump)
		err = rt_restart_calls(dump->image_fd);
	if (!err && dump->knows)
		err = rt_known_correct(dump->image_fd, &dump->container);
	if (err || !dump->hooks)
		return err;
	err = write_manifest(dump, rt_now_us());
	dump->manifest_written = !err;
	if (!err)
		err = dump->hooks->complete(dump->hooks->userdata, dump, dump->image_fd);
	return dump->held ? rt_dump_end_hold(dump, err) : err;
}

/* CRIU waits for somebody to fetch the memory (--lazy-pages), who needs all the rest for that: the manifest, too. */
static struct rt_error *tell_ready(struct rt_dump *dump)
{
	struct rt_error *err = dump->manifest_written ? NULL : write_manifest(dump, rt_now_us());

	dump->manifest_written = !err;
	if (err || !dump->settings->has_status_fd)
		return err;
	err = rt_write_all((int)dump->settings->status_fd, "", 1);
	return err ? rt_while(err, "telling --status-fd") : NULL;
}

/* Between the rounds of --pre-dump, and while it writes what it took, the container is to run: there CRIU freezes by itself. */
static struct rt_error *notify(void *userdata, struct rt_criu_notification *notification)
{
	struct rt_dump *dump = userdata;
	struct rt_error *err = dump->images_complete || notification->rolling_back ? NULL : rt_interrupt_check();

	if (err)
		return err;
	if (rt_str_equal(notification->script, "pre-dump"))
		return rt_dump_freeze(dump);
	if (rt_str_equal(notification->script, "post-dump"))
		return complete(dump);
	if (rt_str_equal(notification->script, "status-ready"))
		return tell_ready(dump);
	return NULL;
}

/* CRIU takes init's life first. Where that was the last it did, the images are whole and the only copy there is. */
static struct rt_error *look_after(struct rt_dump *dump, const struct rt_criu_failure *failure, struct rt_error *err)
{
	const struct rt_criu_settings *settings = dump->settings;

	rt_criu_close(dump->criu); /* whatever it undoes is undone before we look */
	dump->criu = NULL;
	if (dump->given_away) {
		rt_error_free(err); /* it misses the tasks that we killed */
		return rt_cgroup_signal(dump->container.cgroup, SIGKILL);
	}
	if (!rt_rescue_is_alive(&dump->rescue)) {
		if (failure->died && dump->images_complete && !settings->leave_running) {
			rt_warn_ignored(err);
			return NULL;
		}
		return rt_while(err, "the container's process has ended");
	}
	rt_rescue_revive(&dump->rescue);
	if (failure->died && rt_rescue_ends_soon(&dump->rescue))
		return rt_while(err, "the container's process has ended");
	return err;
}

/* Programs that CRIU has write for it (tar) keep the reason to themselves. */
static struct rt_error *blame_disk(const struct rt_dump *dump, struct rt_error *err)
{
	struct statvfs fs;

	if (fstatvfs(dump->image_fd, &fs) < 0 || fs.f_bavail * fs.f_frsize > DISK_FULL)
		return err;
	return rt_while(err, "the disk is full");
}

static struct rt_error *ask_for_dump(struct rt_dump *dump)
{
	const struct rt_criu_handler handler = { .notify = notify, .userdata = dump };
	Criu__Request request = CRIU__REQUEST__INIT;
	struct rt_criu_failure failure;
	struct rt_error *err;

	request.type = dump->settings->pre_dump ? CRIU__REQUEST_KIND__SINGLE_PRE_DUMP : CRIU__REQUEST_KIND__DUMP;
	request.opts = &dump->options.opts;
	err = rt_criu_request(dump->criu, &request, &handler, NULL, &failure);
	if (!err)
		return dump->settings->leave_running ? rt_rescue_resume(&dump->rescue) : NULL;
	if (!failure.refused && !failure.died && !dump->given_away)
		err = blame_disk(dump, rt_criulog_explain(err, dump->work_fd, LOG_FILE,
							   rt_exchange_keeps_log(&dump->exchange, dump->settings)));
	return look_after(dump, &failure, err);
}

static struct rt_error *run(struct rt_dump *dump)
{
	struct rt_error *err;

	/* Where tasks are stopped one by one, CRIU has to lock the network, too: only then they all stand. */
	err = rt_dump_set_freezer(dump);
	dump->inside = dump->options.opts.freeze_cgroup && rt_inside_is_possible(dump->settings, dump->spec) && rt_inside_make_quick();
	if (!err)
		err = rt_exchange_prepare(&dump->exchange, &dump->own_settings);
	if (!err)
		err = rt_criu_open_directories(dump->settings, true, &dump->image_fd, &dump->work_fd);
	/* An old one must not vouch for the images of a dump that fails half way. */
	if (!err && unlinkat(dump->image_fd, RT_MANIFEST_NAME, 0) < 0 && errno != ENOENT)
		err = rt_fail_errno("cannot remove the old manifest");
	if (!err)
		err = rt_rescue_arm(&dump->rescue, &dump->container, dump->work_fd, LOG_FILE, rt_dump_choose_lock(dump), rt_dump_keeps_door(dump));
	if (!err)
		err = open_nobody(dump);
	if (!err)
		err = start_criu(dump);
	if (!err)
		err = rt_yard_set_up(&dump->options, &dump->yard_fd);
	if (!err)
		err = look_for_obstacles(dump);
	if (!err)
		err = rt_describe_container(&dump->container, dump->spec, dump->config, dump->config_size,
					    dump->manifest->container);
	if (!err && dump->settings->tmpfs_elsewhere)
		err = rt_describe_tmpfs(&dump->container, dump->spec, dump->manifest->container);
	if (!err)
		err = set_options(dump);
	if (!err)
		err = rt_connect_for_dump(&dump->options, dump->manifest->container);
	if (!err)
		err = rt_interrupt_check();
	if (!err && dump->hooks && dump->hooks->prepared)
		err = dump->hooks->prepared(dump->hooks->userdata);
	if (!err && dump->knows)
		err = rt_known_claim(dump->image_fd, &dump->container, !dump->settings->marks_are_taken && !dump->unmarked);
	if (!err)
		err = ask_for_dump(dump);
	if (!err && !dump->manifest_written)
		err = write_manifest(dump, rt_now_us());
	if (!err)
		err = rt_exchange_export(&dump->exchange, dump->settings, dump->container.state.rootfs);
	return err;
}

struct rt_error *rt_container_check(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings,
				    struct rt_preflight *report)
{
	_cleanup_(dump_deinit) struct rt_dump dump = {
		.settings = settings, .container = RT_CONTAINER_NULL, .image_fd = -1, .work_fd = -1, .nobody_fd = -1, .yard_fd = -1, .rescue = RT_RESCUE_NULL,
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

struct rt_error *rt_container_dump(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings, unsigned flags,
				   const struct rt_dump_hooks *hooks)
{
	_cleanup_(dump_deinit) struct rt_dump dump = {
		.own_settings = *settings, .hooks = hooks, .flags = flags, .container = RT_CONTAINER_NULL, .image_fd = -1, .work_fd = -1,
		.nobody_fd = -1, .yard_fd = -1, .rescue = RT_RESCUE_NULL, .began = rt_now_us(),
	};
	struct rt_error *err;

	dump.settings = &dump.own_settings;
	rt_criu_opts_init(&dump.options);
	err = rt_interrupt_defer();
	if (!err)
		err = open_container(&dump, context, id);
	if (!err)
		err = run(&dump);
	if (!err && !settings->leave_running && !settings->pre_dump && !(flags & RT_DUMP_KEEP))
		err = rt_container_destroy(&dump.container);
	if (err)
		return rt_while(err, "cannot checkpoint '%s'", id);
	return NULL;
}

struct rt_error *rt_container_checkpoint(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings)
{
	return rt_container_dump(context, id, settings, 0, NULL);
}
