/* What a source that was interrupted left: a journal, and a container that is frozen until it is known where it lives. */
#include "checkpoint/netlock.h"
#include "checkpoint/rescue.h"
#include "migrate/journal.h"
#include "migrate/source_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"
#include "runtime/sys/netdev.h"
#include "runtime/sys/ns.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#define PATIENCE_MS 10000
#define LOOK_US 50000

static json_t *or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

struct rt_error *rt_source_write_journal(const struct rt_source *source)
{
	const struct rt_migrate_values *values = source->values;
	_cleanup_json_ json_t *journal = json_pack("{s:s, s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "migration", source->migration, "url", source->url,
						    "target", source->target_id, "keep", values->keep, "insecure", values->insecure,
						    "cacert", or_null(values->cacert), "cert", or_null(values->cert), "key", or_null(values->key),
						    "tokenFile", or_null(values->token_file), "network", or_null(source->network.program),
						    "networkStateDir", or_null(source->network.state_dir));

	if (journal && (json_object_set_new(journal, "directory", json_string(source->directory)) < 0 ||
			json_object_set_new(journal, "lazy", json_boolean(source->lazy)) < 0 ||
			json_object_set_new(journal, "paused", json_boolean(source->paused)) < 0 ||
			json_object_set_new(journal, "postCopy", json_boolean(source->may_follow)) < 0))
		return rt_error_oom();

	return journal ? rt_journal_store(source->container.dir_fd, RT_JOURNAL_SOURCE, journal) : rt_error_oom();
}

static const char *text_of(const json_t *journal, const char *key)
{
	return json_string_value(json_object_get(journal, key));
}

static unsigned flag_of(const json_t *journal, const char *key, unsigned flag)
{
	return json_is_true(json_object_get(journal, key)) ? flag : 0;
}

/* What is said now counts more than what was said then. */
static struct rt_error *open_client(const json_t *journal, const struct rt_migrate_values *values, struct rt_http_client **ret)
{
	if (!text_of(journal, "url") || !text_of(journal, "migration") || strlen(text_of(journal, "migration")) != RT_MIGRATION_ID)
		return rt_fail(RT_SYSTEM, "the journal is incomplete");
	return rt_http_client_new(&(struct rt_http_client_options){
		.url = text_of(journal, "url"),
		.ca_file = values->cacert ? values->cacert : text_of(journal, "cacert"),
		.cert_file = values->cert ? values->cert : text_of(journal, "cert"),
		.key_file = values->key ? values->key : text_of(journal, "key"),
		.token_file = values->token_file ? values->token_file : text_of(journal, "tokenFile"),
		.insecure = values->insecure || json_is_true(json_object_get(journal, "insecure")),
	}, ret);
}

static struct rt_error *ask(const json_t *journal, struct rt_http_client *client, Rt__MoveState *ret_state)
{
	struct rt_http_connection *control = NULL;
	_cleanup_free_ char *path = NULL, *reason = NULL;
	bool known = false;
	struct rt_error *err = rt_format(&path, "/v1/migrations/%s/abort", text_of(journal, "migration"));

	if (!err)
		err = rt_http_connect(client, &control);
	if (!err)
		err = rt_source_resolve(control, path, PATIENCE_MS, &known, ret_state, &reason);
	rt_http_disconnect(control);
	if (!err && !known)
		err = rt_fail(RT_PEER, "%s does not say where it runs: %s", text_of(journal, "url"), reason ? reason : "no answer");
	return err;
}

/* Its tool has died, and it runs over there with memory that only the frozen copy here has: all of that is sent. What the target has is left alone there. */
static struct rt_error *send_all(struct rt_source *source)
{
	struct rt_error *err = rt_tracker_open(RT_TRACKER_HASH, NULL, &source->tracker);

	if (!err)
		err = rt_source_last_look(source);
	return err ? err : rt_source_push(source);
}

static struct rt_error *send_again(const struct rt_context *context, const char *id, const json_t *journal, const struct rt_migrate_values *values,
				   struct rt_http_client *client)
{
	struct rt_source source = {
		.context = context, .id = id, .values = values, .container = RT_CONTAINER_NULL, .dumper = RT_DUMPER_NULL, .client = client, .lazy = true,
		.mode = RT_MODE_POSTCOPY, .may_follow = true, .tracking = RT_TRACKER_HASH, .parallel = 2, .committed = true,
	};
	enum rt_status status;
	struct rt_error *err = rt_container_lookup(context, id, 0, &source.container, &status);

	snprintf(source.migration, sizeof(source.migration), "%s", text_of(journal, "migration"));
	rt_source_paths(&source);
	if (!err)
		err = rt_progress_new(RT_PROGRESS_AUTO, stdout, &source.progress);
	if (!err)
		err = send_all(&source);
	rt_source_answer_end(&source);
	rt_outflow_free(source.outflow);
	rt_tracker_close(source.tracker);
	rt_page_ranges_free(&source.ranges);
	free(source.spaces);
	rt_progress_free(source.progress);
	rt_container_deinit(&source.container);
	return err;
}

/* It is kept until the target has all of it. What comes of the waiting is asked for again. */
static struct rt_error *await_memory(const struct rt_context *context, const char *id, const json_t *journal, const struct rt_migrate_values *values,
				     struct rt_http_client *client, Rt__MoveState *state)
{
	struct rt_error *err = NULL;

	if (!json_is_true(json_object_get(journal, "lazy")))
		return NULL;
	while (!err && rt_source_is_there(*state) && *state != RT__MOVE_STATE__MOVE_COMPLETE) {
		if (json_is_true(json_object_get(journal, "postCopy")))
			rt_error_free(send_again(context, id, journal, values, client)); /* what it says is what we ask */
		usleep(LOOK_US);
		err = ask(journal, client, state);
	}
	return err;
}

/* *ret -1: its network namespace is somebody else's, too. */
static struct rt_error *open_own_network(struct rt_container *container, int *ret)
{
	const struct rt_spec *spec = NULL;
	struct rt_error *err;

	*ret = -1;
	err = rt_container_spec(container, &spec);
	if (err || !spec->namespaces[RT_NS_NETWORK].wanted || spec->namespaces[RT_NS_NETWORK].path)
		return err;
	return rt_sys_open_namespace_of(container->state.pid, RT_NS_NETWORK, ret);
}

/* Its peers go on with the copy over there: nothing that ends here may tell them that it ends. */
static struct rt_error *cut_off(struct rt_container *container)
{
	_cleanup_close_ int namespace_fd = -1;
	struct rt_error *err = open_own_network(container, &namespace_fd);

	return err || namespace_fd < 0 ? err : rt_sys_net_links_down(namespace_fd);
}

static struct rt_error *revive(struct rt_container *container, const char *directory, unsigned flags)
{
	_cleanup_close_ int namespace_fd = -1;
	_cleanup_free_ char *images = NULL;
	struct rt_error *err = rt_format(&images, "%s/images", directory ? directory : "");

	if (!err)
		err = open_own_network(container, &namespace_fd);
	return err ? err : rt_rescue_late(container, images, flags & RT_ALONE_PAUSED, namespace_fd >= 0);
}

struct rt_error *rt_source_act_alone(const struct rt_context *context, const char *id, const char *directory, unsigned flags)
{
	bool keep = flags & RT_ALONE_KEEP, there = flags & RT_ALONE_THERE;
	struct rt_container container = RT_CONTAINER_NULL;
	enum rt_status status;
	/* Somebody may have waited for the lock of the one that died. */
	struct rt_error *err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &container, &status);
	bool alive = !err && (status == RT_STATUS_PAUSED || status == RT_STATUS_RUNNING);

	if (alive && there) {
		err = cut_off(&container);
	} else if (alive) {
		err = revive(&container, directory, flags);
	}
	rt_container_deinit(&container);
	if (!err && there && !keep)
		err = rt_container_delete(context, id, RT_DELETE_FORCE);
	else if (!err && there && alive)
		err = rt_container_kill(context, id, SIGKILL, RT_KILL_ALL);
	/* The dumper came as far as that before it died. */
	return there && err && err->code == RT_NOT_FOUND ? rt_error_free(err) : err;
}

static struct rt_error *settle(const struct rt_context *context, const char *id, int dir_fd, const json_t *journal, bool there)
{
	struct rt_network network = { .program = (char *)text_of(journal, "network"), .state_dir = (char *)text_of(journal, "networkStateDir"), .saved = (char *)"" };
	bool kept;
	struct rt_error *err = rt_dumper_decide(context, id, there, &kept);

	if (!err && !kept)
		err = rt_source_act_alone(context, id, text_of(journal, "directory"), (there ? RT_ALONE_THERE : 0) | flag_of(journal, "keep", RT_ALONE_KEEP) |
											      flag_of(journal, "paused", RT_ALONE_PAUSED));
	if (err || (there && !json_is_true(json_object_get(journal, "keep"))))
		return err;
	if (!there && network.program)
		rt_warn_ignored(rt_network_attach(&network, id));
	return rt_journal_remove(dir_fd, RT_JOURNAL_SOURCE);
}

static struct rt_error *recover_from(const struct rt_context *context, const char *id, int dir_fd, const json_t *journal, const struct rt_migrate_values *values)
{
	struct rt_http_client *client = NULL;
	Rt__MoveState state = RT__MOVE_STATE__MOVE_UNKNOWN;
	const char *directory = text_of(journal, "directory");
	struct rt_error *err = open_client(journal, values, &client);

	if (!err)
		err = ask(journal, client, &state);
	if (!err)
		err = await_memory(context, id, journal, values, client, &state);
	if (!err)
		err = settle(context, id, dir_fd, journal, rt_source_is_there(state));
	if (!err && rt_source_is_there(state))
		rt_source_release(client, text_of(journal, "migration"));
	if (!err && directory && rt_str_starts(directory, RT_SOURCE_DIRECTORY "/"))
		rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, directory));
	rt_http_client_free(client);
	if (!err)
		printf("%s: %s\n", id, rt_source_is_there(state) ? "runs on the target" : "runs here");
	return err;
}

static struct rt_error *recover(const struct rt_context *context, const char *id, const struct rt_migrate_values *values, bool *ret_found)
{
	_cleanup_json_ json_t *journal = NULL;
	_cleanup_close_ int dir_fd = -1;
	struct rt_error *err = rt_container_open_dir(context, id, &dir_fd);

	if (!err)
		err = rt_journal_load(dir_fd, RT_JOURNAL_SOURCE, &journal);
	*ret_found = journal != NULL;
	return err || !journal ? err : recover_from(context, id, dir_fd, journal, values);
}

/* ---- directories that nobody is at ---- */

static bool is_id(const char *text)
{
	struct rt_error *err = rt_container_check_id(text);
	bool fine = !err;

	rt_error_free(err);
	return fine;
}

/* *ret_id: whose it was; the caller's to free. */
static bool is_deserted(const struct rt_context *context, int dir_fd, char **ret_id)
{
	_cleanup_close_ int fd = openat(dir_fd, RT_SOURCE_OWNER, O_RDWR | O_CLOEXEC | O_NOFOLLOW), container_fd = -1;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_json_ json_t *journal = NULL;
	char text[PATH_MAX + 512], *id;
	struct rt_error *err;
	ssize_t got;

	if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK)
		return false;
	got = read(fd, text, sizeof(text) - 1);
	text[got > 0 ? got : 0] = '\0';
	id = strchr(text, '\n');
	if (!id)
		return false;
	*id++ = '\0';
	if (!rt_str_equal(text, context->root) || !is_id(id))
		return false;
	err = rt_container_open_dir(context, id, &container_fd);
	if (!err)
		err = rt_journal_load(container_fd, RT_JOURNAL_SOURCE, &journal);
	rt_error_free(err); /* no container: nothing to recover it for */
	if (!journal)
		*ret_id = strdup(id);
	return !journal && *ret_id;
}

/* Nothing had been decided: it lives here. Whether it is to be paused only its user knows, where the guard was killed as well. */
static struct rt_error *reconnect(const struct rt_context *context, const char *id)
{
	struct rt_container container = RT_CONTAINER_NULL;
	struct rt_network network = { NULL };
	_cleanup_close_ int namespace_fd = -1, rules_fd = -1;
	const struct rt_spec *spec = NULL;
	enum rt_status status;
	struct rt_error *err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &container, &status);

	if (!err && (status == RT_STATUS_RUNNING || status == RT_STATUS_PAUSED))
		err = open_own_network(&container, &namespace_fd);
	if (!err && namespace_fd >= 0)
		err = rt_netlock_remove_own(namespace_fd, &rules_fd);
	if (!err && namespace_fd >= 0)
		err = rt_netlock_open_door(namespace_fd, &rules_fd);
	if (!err && namespace_fd >= 0)
		err = rt_container_spec(&container, &spec);
	if (!err && spec)
		err = rt_network_find(spec, &network);
	if (!err && network.program)
		err = rt_format(&network.saved, "%s", "");
	if (!err && network.program)
		err = rt_network_attach(&network, id);
	rt_network_deinit(&network);
	rt_container_deinit(&container);
	return err && err->code == RT_NOT_FOUND ? rt_error_free(err) : err;
}

/* Where tool and dumper were killed before anything was decided, their images are left, and a container that may be cut off. */
static void sweep(const struct rt_context *context)
{
	_cleanup_closedir_ DIR *dir = opendir(RT_SOURCE_DIRECTORY);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_close_ int fd = entry->d_name[0] == '.' ? -1 : openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		_cleanup_free_ char *id = NULL;

		if (fd < 0 || !is_deserted(context, fd, &id))
			continue;
		rt_warn_ignored(reconnect(context, id));
		rt_warn_ignored(rt_remove_tree_at(dirfd(dir), entry->d_name));
	}
}

struct rt_error *rt_migrate_recover(const struct rt_context *context, const char *id, const struct rt_migrate_values *values)
{
	_cleanup_json_ json_t *list = NULL;
	struct rt_error *err, *first = NULL;
	bool found;
	json_t *state;
	size_t i;

	sweep(context);
	if (id) {
		err = recover(context, id, values, &found);
		if (!err && !found)
			printf("%s: no interrupted migration\n", id);
		return err ? rt_while(err, "cannot recover '%s'", id) : NULL;
	}
	err = rt_container_list(context, &list);
	if (err)
		return err;
	json_array_foreach(list, i, state) {
		id = json_string_value(json_object_get(state, "id"));
		err = recover(context, id, values, &found);
		if (err && first)
			rt_warn_ignored(err);
		else if (err)
			first = rt_while(err, "cannot recover '%s'", id);
	}
	return first;
}
