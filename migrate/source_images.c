#include "migrate/source_private.h"

#include "checkpoint/known.h"
#include "checkpoint/manifest.h"
#include "migrate/files.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

/* Room for what is told of many files at once. */
#define EVENTS_ROOM 16384

struct rt_image_sender {
	struct rt_source *source;
	struct rt_http_connection *connection;
	struct rt_http_connection *in_use; /* by the request at hand: that one, or the source's */
	struct rt_codec *codec;
	int dir_fd, notify_fd;
	int end_fd; /* an eventfd: no more of them */
	struct rt_files_names sent;
	pthread_t thread;
	bool running;
	struct rt_error *err;
};

/* They get their last word when all is dumped, tasks by restart.h; those of memory where CRIU was spared most of it (known.h). */
static bool comes_last(int dir_fd, const char *name)
{
	static const char *const last[] = { "inventory.img", "descriptors.json", RT_MANIFEST_NAME };

	for (size_t i = 0; i < RT_ARRAY_SIZE(last); i++)
		if (rt_str_equal(name, last[i]))
			return true;
	if (rt_str_starts(name, "core-"))
		return true;
	return rt_str_starts(name, "page") && faccessat(dir_fd, RT_KNOWN_PARENT, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static uint64_t link_rate(void *userdata)
{
	const struct rt_image_sender *sender = userdata;

	return rt_http_link_rate(sender->in_use, &sender->source->link_rate);
}

static struct rt_error *post(struct rt_image_sender *sender, struct rt_http_connection *connection, const char *path, const struct rt_files_names *names,
			     struct rt_http_answer *ret)
{
	struct rt_source *source = sender->source;
	struct rt_files_out *files = NULL;
	struct rt_error *err = rt_files_out_new(sender->dir_fd, sender->codec, names, &files);

	if (err)
		return err;
	sender->in_use = connection;
	err = rt_http_ask(connection, &(struct rt_http_request){
		.method = "POST", .path = path, .pull = rt_files_out_pull, .pull_userdata = files, .may_stall = true,
	}, 0, ret);
	source->report.images_bytes += rt_files_out_wire(files);
	rt_files_out_free(files);
	return err;
}

/* ---- while the dump goes on ---- */

static struct rt_error *read_events(const struct rt_image_sender *sender, struct rt_files_names *ret)
{
	_Alignas(struct inotify_event) char events[EVENTS_ROOM];
	ssize_t size = read(sender->notify_fd, events, sizeof(events));
	struct rt_error *err = NULL;

	for (ssize_t at = 0; at < size && !err;) {
		const struct inotify_event *event = (const void *)(events + at);

		/* What goes unnoticed comes with the rest. */
		if (event->len > 0 && rt_files_is_wanted(event->name) && !comes_last(sender->dir_fd, event->name) && !rt_files_names_have(&sender->sent, event->name) &&
		    !rt_files_names_have(ret, event->name))
			err = rt_files_names_add(ret, event->name);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	return err;
}

static struct rt_error *send_finished(struct rt_image_sender *sender)
{
	struct rt_files_names names = { NULL };
	struct rt_error *err = read_events(sender, &names);

	if (!err && names.count > 0)
		err = post(sender, sender->connection, sender->source->path_images, &names, NULL);
	for (size_t i = 0; i < names.count && !err; i++)
		err = rt_files_names_add(&sender->sent, names.names[i]);
	rt_files_names_deinit(&names);
	return err;
}

static void *send_as_they_come(void *userdata)
{
	struct rt_image_sender *sender = userdata;
	struct pollfd fds[] = { { .fd = sender->end_fd, .events = POLLIN }, { .fd = sender->notify_fd, .events = POLLIN } };

	while (!sender->err) {
		if (poll(fds, RT_ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (fds[1].revents)
			sender->err = send_finished(sender);
	}
	return NULL;
}

static struct rt_error *open_all(struct rt_image_sender *sender)
{
	const char *path = sender->source->image_path;
	struct rt_error *err;

	sender->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sender->dir_fd < 0)
		return rt_fail_errno("cannot open '%s'", path);
	sender->end_fd = eventfd(0, EFD_CLOEXEC);
	sender->notify_fd = inotify_init1(IN_CLOEXEC);
	if (sender->end_fd < 0 || sender->notify_fd < 0 || inotify_add_watch(sender->notify_fd, path, IN_CLOSE_WRITE) < 0)
		return rt_fail_errno("cannot watch '%s'", path);
	err = rt_codec_new(sender->source->compression, link_rate, sender, &sender->codec);
	return err ? err : rt_http_connect(sender->source->client, &sender->connection);
}

struct rt_error *rt_source_images_begin(struct rt_source *source)
{
	struct rt_image_sender *sender = calloc(1, sizeof(*sender));
	struct rt_error *err;
	int error;

	if (!sender)
		return rt_error_oom();
	*sender = (struct rt_image_sender){ .source = source, .dir_fd = -1, .notify_fd = -1, .end_fd = -1 };
	source->images = sender;
	err = open_all(sender);
	if (err)
		return err;
	error = pthread_create(&sender->thread, NULL, send_as_they_come, sender);
	sender->running = !error;
	return error ? rt_fail_with(error, "cannot start a thread") : NULL;
}

static struct rt_error *stop(struct rt_image_sender *sender)
{
	if (sender->running) {
		eventfd_write(sender->end_fd, 1);
		pthread_join(sender->thread, NULL);
	}
	sender->running = false;
	return rt_take_ptr(sender->err);
}

void rt_source_images_cancel(struct rt_source *source)
{
	if (source->images && source->images->connection)
		rt_http_cancel(source->images->connection);
}

void rt_source_images_end(struct rt_source *source)
{
	if (!source->images)
		return;
	rt_source_images_cancel(source);
	rt_error_free(stop(source->images));
}

void rt_source_images_free(struct rt_source *source)
{
	struct rt_image_sender *sender = source->images;

	if (!sender)
		return;
	rt_source_images_end(source);
	source->images = NULL;
	rt_http_disconnect(sender->connection);
	rt_files_names_deinit(&sender->sent);
	rt_codec_free(sender->codec);
	rt_closep(&sender->notify_fd);
	rt_closep(&sender->end_fd);
	rt_closep(&sender->dir_fd);
	free(sender);
}

/* ---- all that is left ---- */

struct rt_error *rt_source_send_images(struct rt_source *source, Rt__Outcome **ret)
{
	struct rt_image_sender *sender = source->images;
	struct rt_http_answer answer = { .body = NULL };
	struct rt_files_names names = { NULL };
	struct rt_error *err = stop(sender);

	if (!err)
		err = rt_files_list(sender->dir_fd, &sender->sent, &names);
	if (!err)
		err = post(sender, source->control, source->path_final, &names, &answer);
	if (!err)
		err = rt_message_outcome(answer.body, answer.size, ret);
	free(answer.body);
	rt_files_names_deinit(&names);
	source->report.wire += source->report.images_bytes;
	return err;
}
