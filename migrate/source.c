#include "migrate/source_private.h"

#include "checkpoint/arriving.h"
#include "migrate/link.h"
#include "migrate/pause.h"
#include "migrate/tap.h"
#include "runtime/base/clock.h"
#include "runtime/base/fs.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#define CONFIG_LIMIT (16u << 20)
#define MAKE_TRIES 10
#define ARRIVAL_US 30000000ull
#define ARRIVAL_STEP_US 20000

static void source_deinit(struct rt_source *source)
{
	rt_error_free(rt_heartbeat_stop(source->heartbeat, RT_HEARTBEAT_CANCEL));
	rt_dumper_deinit(&source->dumper);
	rt_source_answer_end(source);
	rt_source_images_free(source);
	rt_outflow_free(source->outflow);
	rt_tracker_close(source->tracker);
	rt_halt_end(&source->halt);
	rt_http_disconnect(source->control);
	rt_http_client_free(source->client);
	rt_tree_free(source->tree);
	rt_page_ranges_free(&source->ranges);
	rt_page_ranges_free(&source->earlier);
	free(source->spaces);
	rt_network_deinit(&source->network);
	rt_closep(&source->diag_fd);
	rt_closep(&source->tap_fd);
	rt_closep(&source->host_tap_fd);
	rt_container_deinit(&source->container);
	free(source->config);
	if (source->directory)
		rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, source->directory));
	rmdir(RT_SOURCE_DIRECTORY); /* if it was the last one */
	free(source->directory);
	free(source->image_path);
	rt_progress_free(source->progress);
}

/* ---- before there are threads ---- */

/* Where it has come from another host itself a moment ago. */
static struct rt_error *await_memory(struct rt_source *source)
{
	struct rt_error *err;
	bool arriving;

	for (uint64_t began = rt_now_us();; usleep(ARRIVAL_STEP_US)) {
		err = rt_memory_is_arriving(source->container.dir_fd, &arriving);
		if (!err)
			err = rt_interrupt_check();
		if (err || !arriving)
			return err;
		if (rt_now_us() - began > ARRIVAL_US)
			return rt_fail(RT_WRONG_STATE, "its memory has not all arrived yet from where it was before");
	}
}

static struct rt_error *open_container(struct rt_source *source)
{
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(source->context, source->id, 0, &source->container, &status);
	if (err)
		return err;
	if (status != RT_STATUS_RUNNING && status != RT_STATUS_PAUSED)
		return rt_fail(RT_WRONG_STATE, "container not running: it is %s", rt_status_name(status));
	if (!source->container.cgroup)
		return rt_fail(RT_WRONG_STATE, "it has no cgroup, so that it can't be frozen as a whole");
	source->paused = status == RT_STATUS_PAUSED;
	err = await_memory(source);
	if (!err)
		err = rt_container_spec(&source->container, &source->spec);
	if (!err && source->spec->process.terminal)
		err = rt_fail(RT_WRONG_STATE, "it has a terminal, and whoever sits there would stay behind");
	if (!err)
		err = rt_read_file_at(source->container.dir_fd, "config.json", CONFIG_LIMIT, &source->config, &source->config_size);
	return err;
}

void rt_source_paths(struct rt_source *source)
{
	const struct {
		char *text;
		const char *end;
	} paths[] = {
		{ source->path_pages, "/pages" },   { source->path_rootfs, "/rootfs" }, { source->path_images, "/images" },
		{ source->path_final, "/final" },   { source->path_commit, "/commit" }, { source->path_abort, "/abort" },
		{ source->path_faults, "/faults" }, { source->path_frozen, "/frozen" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(paths); i++)
		snprintf(paths[i].text, sizeof(source->path_pages), "/v1/migrations/%s%s", source->migration, paths[i].end);
}

struct rt_error *rt_source_lock_directory(const char *directory)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = rt_format(&path, "%s/" RT_SOURCE_OWNER, directory);
	int fd = err ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW); /* the lock goes with it */

	if (!err && (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0))
		err = rt_fail_errno("cannot lock '%s'", path);
	return err;
}

static struct rt_error *own_directory(const struct rt_source *source)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = open(source->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct rt_error *err = fd < 0 ? rt_fail_errno("cannot open '%s'", source->directory) : rt_format(&text, "%s\n%s", source->context->root, source->id);

	if (!err)
		err = rt_replace_file_at(fd, RT_SOURCE_OWNER, text, strlen(text), 0600);
	return err ? err : rt_source_lock_directory(source->directory);
}

static struct rt_error *make_directory(struct rt_source *source)
{
	struct rt_error *err = rt_migration_id(source->migration);

	rt_source_paths(source);
	if (!err)
		err = rt_format(&source->directory, RT_SOURCE_DIRECTORY "/%s", source->migration);
	if (!err)
		err = rt_format(&source->image_path, "%s/images", source->directory);
	if (!err)
		err = rt_make_dirs(source->image_path, 0700);
	/* Another one may just have ended, and removed what it shared with us. */
	for (int tries = 0; err && err->errnum == ENOENT && tries < MAKE_TRIES; tries++) {
		rt_error_free(err);
		err = rt_make_dirs(source->image_path, 0700);
	}
	return err ? err : own_directory(source);
}

static struct rt_error *start_dumper(struct rt_source *source)
{
	source->criu.image_path = source->image_path;
	source->criu.tcp_established = source->tcp_established;
	source->criu.lazy_pages = source->lazy;
	source->criu.memory_elsewhere = source->lazy;
	source->criu.marks_are_taken = source->lazy && source->tracking == RT_TRACKER_SOFT_DIRTY;
	source->criu.tmpfs_elsewhere = true;
	source->criu.brief_log = true;
	/* All is done that no connection is in between (dumper.c); one that is there nevertheless must not be the end of it. */
	source->criu.tcp_skip_in_flight = source->network.saved != NULL;
	source->criu.ext_unix_sk = source->values->ext_unix_sk;
	source->criu.file_locks = source->values->file_locks;
	source->criu.link_remap = source->values->link_remap;
	return rt_dumper_start(&(struct rt_dumper_options){
		.context = source->context,
		.id = source->id,
		.directory = source->directory,
		.network = &source->network,
		.diag_fd = source->diag_fd,
		.settings = &source->criu,
		.flags = RT_DUMP_SENT | (source->values->keep ? RT_DUMP_KEEP : 0),
	}, &source->dumper);
}

static struct rt_error *open_client(struct rt_source *source)
{
	const struct rt_migrate_values *values = source->values;
	struct rt_error *err = rt_http_client_new(&(struct rt_http_client_options){
		.url = source->url,
		.ca_file = values->cacert,
		.cert_file = values->cert,
		.key_file = values->key,
		.token_file = values->token_file,
		.insecure = values->insecure,
		.stall_timeout_ms = values->timeout * 1000,
		.bandwidth = source->bandwidth,
	}, &source->client);

	return err ? err : rt_http_connect(source->client, &source->control);
}

static struct rt_error *open_tracker(struct rt_source *source)
{
	struct rt_tracker_pause pause;
	struct rt_error *err = NULL;

	if (source->tracking == RT_TRACKER_SOFT_DIRTY)
		err = rt_halt_start(source->container.cgroup, &source->halt);
	if (err)
		return err;
	pause = rt_halt_pause(&source->halt);
	return rt_tracker_open(source->tracking, source->halt.halted != NULL ? &pause : NULL, &source->tracker);
}

/* All that must be there before the first thread is, as it forks. */
static struct rt_error *prepare(struct rt_source *source)
{
	struct rt_error *err = open_container(source);

	if (!err)
		err = rt_network_find(source->spec, &source->network);
	if (!err)
		err = rt_network_save(&source->network, source->id);
	if (!err && source->network.saved)
		err = rt_network_open_diag(source->container.state.pid, &source->diag_fd);
	if (!err)
		err = rt_source_choose(source);
	if (!err)
		err = make_directory(source);
	if (!err && source->lazy)
		err = open_tracker(source);
	if (!err)
		err = start_dumper(source);
	if (!err)
		err = open_client(source);
	return err;
}

/* ---- Ctrl-C ---- */

void rt_source_cancel(struct rt_source *source)
{
	if (source->outflow)
		rt_outflow_cancel(source->outflow);
	rt_source_images_cancel(source);
	rt_http_cancel(source->control);
}

struct watch {
	struct rt_source *source;
	pthread_t thread;
	int end[2];
};

/* A request that waits for the other side must end when we are asked to stop. */
static void *watch_thread(void *userdata)
{
	struct watch *watch = userdata;
	struct pollfd fds[] = { { .fd = rt_interrupt_fd(), .events = POLLIN }, { .fd = watch->end[0], .events = POLLIN } };

	while (poll(fds, RT_ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents && !watch->source->committed)
		rt_source_cancel(watch->source);
	return NULL;
}

static struct rt_error *watch_begin(struct watch *watch)
{
	int error;

	if (pipe2(watch->end, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot make a pipe");
	error = pthread_create(&watch->thread, NULL, watch_thread, watch);
	return error ? rt_fail_with(error, "cannot start a thread") : NULL;
}

static void watch_end(struct watch *watch)
{
	close(watch->end[1]);
	pthread_join(watch->thread, NULL);
	close(watch->end[0]);
}

/* ---- the steps ---- */

/* The dumper starts CRIU and looks at everything; the container runs meanwhile. */
static struct rt_error *get_ready(struct rt_source *source)
{
	struct rt_error *err = rt_link_say(source->dumper.fd, RT_LINK_GO);

	if (!err)
		err = rt_link_expect(source->dumper.fd, RT_LINK_PREPARED, "dumper");
	if (!err)
		err = rt_source_copy_rest(source);
	return err ? err : rt_source_look_earlier(source);
}

/* Without it what comes at these moments is sent again by its senders. */
static void note_late(struct rt_source *source, struct rt_error *err)
{
	if (err)
		rt_progress_note(source->progress, "some of what is sent to it while it is frozen will be late: %s", err->message);
	rt_error_free(err);
}

/* Only once it is frozen: what a process answers and closes has to get out. What comes from here on the target catches, and until it does so, the tap. */
static struct rt_error *take_off_network(struct rt_source *source)
{
	struct rt_error *err;
	uint8_t mac[6];

	if (!source->network.saved)
		return NULL;
	if (rt_network_mac(&source->network, mac))
		note_late(source, rt_tap_open_host(mac, &source->host_tap_fd));
	source->detached = true;
	err = rt_network_detach(&source->network, source->id);
	rt_pause("tool-detached");
	if (!err)
		rt_source_tell_frozen(source);
	return err;
}

static struct rt_error *stop_tasks(struct rt_source *source)
{
	struct rt_link_message message;
	struct rt_error *err = NULL;

	/* Before its door is closed. */
	if (source->network.saved)
		note_late(source, rt_tap_open(source->container.state.pid, &source->tap_fd));
	/* Its user may have resumed or paused it since we came. */
	err = source->container.cgroup ? rt_cgroup_is_frozen(source->container.cgroup, &source->paused) : NULL;
	if (!err)
		err = rt_link_say(source->dumper.fd, RT_LINK_PROCEED);
	if (!err)
		err = rt_link_await(source->dumper.fd, RT_LINK_FROZEN, "dumper", &message);
	if (!err && message.a > source->frozen_at)
		source->frozen_at = message.a;
	return err;
}

static struct rt_error *freeze(struct rt_source *source)
{
	struct rt_error *err;

	err = rt_source_images_begin(source);
	if (!err)
		err = rt_heartbeat_start(source, &source->heartbeat);
	if (err)
		return err;
	source->frozen_at = rt_now_us();
	source->frozen = true;
	err = stop_tasks(source);
	if (!err)
		err = take_off_network(source);
	if (!err)
		err = rt_source_last_look(source);
	source->proceeded_at = rt_now_us();
	if (!err)
		err = rt_link_say(source->dumper.fd, RT_LINK_PROCEED);
	if (!err)
		err = rt_source_send_last(source);
	if (!err) /* while CRIU dumps */
		err = rt_source_send_changes(source);
	if (!err)
		err = rt_link_expect(source->dumper.fd, RT_LINK_COMPLETE, "dumper");
	if (!err)
		rt_source_bring_late(source);
	source->completed_at = rt_now_us();
	return err;
}

/* From the top to the bottom. Where a step that is not `undoable` fails, it may be running over there. */
static const struct step {
	const char *name; /* for rt_pause() */
	const char *doing;
	struct rt_error *(*run)(struct rt_source *source);
	bool undoable;
} steps[] = {
	{ "tool-offer", "offering the container", rt_source_offer, true },
	{ "tool-rootfs", "copying the root filesystem", rt_source_send_rootfs, true },
	{ "tool-memory", "copying memory", rt_source_copy_memory, true }, /* rounds, until precopy.c says enough */
	{ "tool-prepare", "preparing the dump", get_ready, true },
	{ "tool-freeze", "freezing", freeze, true }, /* downtime begins */
	{ "tool-final", "handing over the last changes", rt_source_final, true }, /* the target has all and holds it */
	{ "tool-commit", "committing", rt_source_commit, false }, /* downtime ends */
	{ "tool-push", "sending the rest of memory", rt_source_push, false }, /* post-copy */
	{ "tool-finish", "ending here", rt_source_finish, false },
};

static struct rt_error *run_steps(struct rt_source *source)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(steps); i++) {
		struct rt_error *err = steps[i].undoable ? rt_interrupt_check() : NULL;

		if (!err) {
			rt_progress_step(source->progress, steps[i].doing);
			rt_pause(steps[i].name);
			err = steps[i].run(source);
		}
		if (err && steps[i].undoable) {
			struct rt_error *interrupt = rt_interrupt_check(); /* what came of it is not the reason */

			if (interrupt) {
				rt_error_free(err);
				err = interrupt;
			}
			return rt_source_abort(source, rt_while(err, "%s", steps[i].doing));
		}
		if (err)
			return rt_while(err, "%s", steps[i].doing);
		if (source->values->dry_run)
			break;
	}
	return NULL;
}

static struct rt_error *migrate(struct rt_source *source)
{
	struct watch watching = { .source = source };
	struct rt_error *err = prepare(source);

	if (err)
		return err;
	err = watch_begin(&watching);
	if (err)
		return err;
	err = run_steps(source);
	watch_end(&watching);
	return err;
}

static void finish_report(struct rt_source *source, const struct rt_error *err)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	source->report.total_us = rt_now_us() - source->began;
	source->report.moved = source->committed;
	rt_progress_finish(source->progress, &source->report, text);
	if (source->values->report && !source->values->dry_run)
		rt_warn_ignored(rt_report_write_html(&source->report, source->values->report));
}

struct rt_error *rt_migrate(const struct rt_context *context, const char *id, const char *url, const struct rt_migrate_values *values)
{
	struct rt_source source = {
		.context = context, .id = id, .url = url, .values = values, .target_id = values->new_id ? values->new_id : id,
		.container = RT_CONTAINER_NULL, .dumper = RT_DUMPER_NULL, .diag_fd = -1, .tap_fd = -1, .host_tap_fd = -1, .began = rt_now_us(),
		.report = { .id = id, .url = url },
	};
	struct rt_error *err;

	source.report.target_id = source.target_id;
	err = rt_interrupt_defer();
	if (!err)
		err = rt_progress_new(values->json ? RT_PROGRESS_JSON : RT_PROGRESS_AUTO, stdout, &source.progress);
	if (!err)
		err = migrate(&source);
	if (source.progress)
		finish_report(&source, err);
	source_deinit(&source);
	/* A password in it is not repeated; the rest of the sentence says that it must not be there. */
	if (err && strchr(url, '@'))
		return rt_while(err, "cannot migrate '%s'", id);
	if (err)
		return rt_while(err, "cannot migrate '%s' to %s", id, url);
	return NULL;
}
