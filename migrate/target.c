#include "migrate/target_private.h"

#include "checkpoint/manifest.h"
#include "checkpoint/rpc.h"
#include "checkpoint/unpack.h"
#include "migrate/journal.h"
#include "migrate/size.h"
#include "runtime/base/clock.h"
#include "runtime/base/fs.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define DEFAULT_LISTEN "127.0.0.1:7443"
#define DEFAULT_BUNDLES "/var/lib/rt/bundles"
#define DEFAULT_STATE "/run/rt-receive"
#define DEFAULT_MOVES 8
#define DEFAULT_TIMEOUT_S 30
/* What was given up stays known for so long, to tell why. What is complete stays known until the source has heard it: one that asks later, and hears of nothing, goes on
 * with its own copy. */
#define REMEMBER_US (15 * 60 * 1000000ull)
#define LINGER_US 5000000 /* one that is over: for people who look at the status */
#define TICK_MS 500

/* ---- the list ---- */

struct rt_move *rt_target_find(struct rt_target *target, const char *migration)
{
	struct rt_move *move;

	pthread_mutex_lock(&target->lock);
	for (move = target->moves; move; move = move->next)
		if (rt_str_equal(move->offer->migration, migration))
			break;
	if (move)
		move->references++;
	pthread_mutex_unlock(&target->lock);
	return move;
}

void rt_target_unref(struct rt_target *target, struct rt_move *move)
{
	bool last;

	if (!move)
		return;
	pthread_mutex_lock(&target->lock);
	last = --move->references == 0;
	pthread_mutex_unlock(&target->lock);
	if (last)
		rt_move_free(move);
}

static bool is_over(Rt__MoveState state)
{
	return state == RT__MOVE_STATE__MOVE_COMPLETE || state == RT__MOVE_STATE__MOVE_ABORTED;
}

struct rt_error *rt_target_add(struct rt_target *target, struct rt_move *move)
{
	struct rt_error *err = NULL;
	unsigned active = 0;

	pthread_mutex_lock(&target->lock);
	for (struct rt_move *other = target->moves; other && !err; other = other->next) {
		bool over = is_over(rt_move_state(other));

		active += !over;
		if (rt_str_equal(other->offer->migration, move->offer->migration))
			err = rt_fail(RT_EXISTS, "the migration '%s' is known already", move->offer->migration);
		else if (!over && rt_str_equal(other->offer->id, move->offer->id))
			err = rt_fail(RT_EXISTS, "another migration is bringing a container '%s'", move->offer->id);
	}
	if (!err && active >= target->max_moves)
		err = rt_fail(RT_WRONG_STATE, "%u migrations are under way, which is all this host takes at a time", active);
	if (!err) {
		move->next = target->moves;
		target->moves = move;
	}
	pthread_mutex_unlock(&target->lock);
	return err;
}

/* ---- time ---- */

static bool is_silent(const struct rt_target *target, struct rt_move *move)
{
	bool silent;

	pthread_mutex_lock(&move->lock);
	silent = (move->state == RT__MOVE_STATE__MOVE_RECEIVING || move->state == RT__MOVE_STATE__MOVE_READY) &&
		 rt_now_us() - move->last_heard_us > target->timeout_s * 1000000ull;
	pthread_mutex_unlock(&move->lock);
	return silent;
}

static bool is_forgotten(struct rt_move *move)
{
	uint64_t since;
	bool old;

	pthread_mutex_lock(&move->lock);
	since = rt_now_us() - move->last_heard_us;
	old = (move->released && since > LINGER_US) || (move->state == RT__MOVE_STATE__MOVE_ABORTED && since > REMEMBER_US);
	pthread_mutex_unlock(&move->lock);
	return old;
}

static struct rt_move *take_silent(struct rt_target *target)
{
	struct rt_move *move;

	pthread_mutex_lock(&target->lock);
	for (move = target->moves; move; move = move->next)
		if (is_silent(target, move))
			break;
	if (move)
		move->references++;
	pthread_mutex_unlock(&target->lock);
	return move;
}

static void drop_old(struct rt_target *target)
{
	struct rt_move **place, *old;

	pthread_mutex_lock(&target->lock);
	for (place = &target->moves; *place && !is_forgotten(*place); place = &(*place)->next)
		;
	old = *place;
	if (old)
		*place = old->next;
	pthread_mutex_unlock(&target->lock);
	if (!old)
		return;
	rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, old->directory));
	rt_target_unref(target, old);
}

static void tick(struct rt_target *target)
{
	struct rt_move *move = take_silent(target);

	if (move) {
		rt_info("nothing heard of the source of '%s' for %u s", move->offer->id, target->timeout_s);
		rt_move_abort(move, "nothing was heard of the source");
		rt_target_unref(target, move);
	}
	drop_old(target);
}

/* ---- what an earlier daemon left ---- */

static Rt__MoveState state_of(const char *word)
{
	for (int state = RT__MOVE_STATE__MOVE_UNKNOWN; state <= RT__MOVE_STATE__MOVE_ABORTED; state++)
		if (word && rt_str_equal(word, rt_move_state_name((Rt__MoveState)state)))
			return (Rt__MoveState)state;
	return RT__MOVE_STATE__MOVE_UNKNOWN;
}

static struct rt_error *offer_of(const json_t *journal, Rt__Offer **ret)
{
	Rt__Offer made = RT__OFFER__INIT;
	_cleanup_free_ void *bytes = NULL;
	struct rt_error *err;
	size_t size;

	made.migration = (char *)json_string_value(json_object_get(journal, "migration"));
	made.id = (char *)json_string_value(json_object_get(journal, "id"));
	made.lazy = json_is_true(json_object_get(journal, "lazy"));
	made.post_copy = json_is_true(json_object_get(journal, "postCopy"));
	if (!made.migration || !made.id)
		return rt_fail(RT_SYSTEM, "the journal is incomplete");
	err = rt_pack(&made.base, &bytes, &size);
	return err ? err : rt_unpack(&rt__offer__descriptor, bytes, size, (ProtobufCMessage **)ret);
}

/* An undecided one undoes its part as its daemon has ended; how long that may take before it is killed. */
#define WORKER_PATIENCE_US 60000000ull
#define WORKER_LOOK_US 20000

/* Until it is known what an earlier worker has come to: it has ended, and the journal says the last; or it has decided, and *ret_fd leads to it. */
static struct rt_error *await_worker(const char *directory, int dir_fd, json_t **ret_journal, int *ret_fd)
{
	uint64_t began = rt_now_us();
	Rt__MoveState state;
	pid_t pid;

	for (;;) {
		struct rt_error *err = rt_worker_alive(dir_fd, &pid); /* before the journal is read: what it wrote last must be in it */

		json_decref(rt_take_ptr(*ret_journal));
		if (!err)
			err = rt_journal_load(dir_fd, RT_JOURNAL_TARGET, ret_journal);
		if (err || !*ret_journal || pid == 0)
			return err;
		state = state_of(json_string_value(json_object_get(*ret_journal, "state")));
		if (state == RT__MOVE_STATE__MOVE_COMPLETE)
			return NULL;
		if (state == RT__MOVE_STATE__MOVE_RUNNING || state == RT__MOVE_STATE__MOVE_COMMITTED)
			err = rt_worker_attach(directory, ret_fd);
		if (err || *ret_fd >= 0)
			return err;
		if (rt_now_us() - began > WORKER_PATIENCE_US)
			kill(pid, SIGKILL);
		usleep(WORKER_LOOK_US);
	}
}

static struct rt_error *make_move(struct rt_target *target, const char *directory, const json_t *journal, struct rt_move **ret)
{
	const char *bundle = json_string_value(json_object_get(journal, "bundle"));
	const char *rootfs = json_string_value(json_object_get(journal, "rootfs"));
	Rt__Offer *offer = NULL;
	struct rt_error *err = offer_of(journal, &offer);

	if (!err)
		err = rt_move_new(target->context, offer, directory, bundle ? bundle : directory, 1ull << 62, ret);
	if (err)
		return err;
	(*ret)->made_bundle = json_is_true(json_object_get(journal, "madeBundle"));
	(*ret)->made_config = json_is_true(json_object_get(journal, "madeConfig"));
	(*ret)->made_rootfs = json_is_true(json_object_get(journal, "madeRootfs"));
	if (rootfs) {
		free((*ret)->rootfs);
		(*ret)->rootfs = NULL;
		err = rt_format(&(*ret)->rootfs, "%s", rootfs);
	}
	return err;
}

/* Decided, and its worker still at it; decided, and done; or never decided, and so undone. */
static struct rt_error *take_over(struct rt_target *target, const char *directory, int dir_fd)
{
	_cleanup_json_ json_t *journal = NULL;
	struct rt_move *move = NULL;
	int fd = -1;
	struct rt_error *err = await_worker(directory, dir_fd, &journal, &fd);

	if (err)
		return err;
	if (!journal)
		return rt_remove_tree_at(AT_FDCWD, directory);
	err = make_move(target, directory, journal, &move);
	if (!err && fd >= 0) {
		move->state = RT__MOVE_STATE__MOVE_COMMITTED; /* it says if it is further */
		err = rt_move_adopt_worker(move, fd);
	} else if (!err) {
		move->state = rt_move_look_at(move, state_of(json_string_value(json_object_get(journal, "state"))));
		if (move->state == RT__MOVE_STATE__MOVE_COMPLETE)
			err = rt_move_note_complete(move);
		else
			rt_move_abort(move, "'rt receive' was restarted");
	}
	if (!err)
		err = rt_target_add(target, move);
	if (err) {
		if (fd >= 0 && move && !move->listening)
			close(fd);
		rt_move_free(move);
		return err;
	}
	rt_info("'%s' of an earlier run is %s", move->offer->id, rt_move_state_name(rt_move_state(move)));
	return NULL;
}

static struct rt_error *take_over_all(struct rt_target *target)
{
	_cleanup_closedir_ DIR *dir = opendir(target->state_dir);
	struct dirent *entry;

	if (!dir)
		return rt_fail_errno("cannot open '%s'", target->state_dir);
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL;
		_cleanup_close_ int fd = -1;
		struct rt_error *err;

		if (strlen(entry->d_name) != RT_MIGRATION_ID || strspn(entry->d_name, "0123456789abcdef") != RT_MIGRATION_ID)
			continue;
		err = rt_format(&path, "%s/%s", target->state_dir, entry->d_name);
		fd = err ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (!err && fd < 0)
			err = rt_fail_errno("cannot open '%s'", path);
		if (!err)
			err = take_over(target, path, fd);
		/* One that ended between our look and our call: the second look tells. */
		if (err && fd >= 0) {
			rt_warn_ignored(err);
			err = take_over(target, path, fd);
		}
		rt_warn_ignored(err);
	}
	return NULL;
}

/* ---- the daemon ---- */

static struct rt_error *prepare(struct rt_target *target)
{
	const struct rt_receive_values *values = target->values;
	struct rt_criu_features features;
	struct rt_criu *criu = NULL;
	uint32_t version = 0;
	struct rt_error *err = NULL;

	target->state_dir = values->state_dir ? values->state_dir : DEFAULT_STATE;
	target->bundles = values->bundles ? values->bundles : DEFAULT_BUNDLES;
	target->max_moves = values->max_migrations ? values->max_migrations : DEFAULT_MOVES;
	target->timeout_s = values->timeout ? values->timeout : DEFAULT_TIMEOUT_S;
	if (*target->state_dir != '/' || *target->bundles != '/')
		return rt_fail(RT_USAGE, "--state-dir and --bundles must be absolute paths");
	if (values->max_memory)
		err = rt_size_option("--max-memory", values->max_memory, &target->max_memory);
	if (!err && values->max_rootfs)
		err = rt_size_option("--max-rootfs", values->max_rootfs, &target->max_rootfs);
	if (!err)
		err = rt_make_dirs(target->state_dir, 0700);
	if (!err)
		err = rt_make_dirs(target->bundles, 0711);
	if (!err)
		err = rt_criu_start(&(struct rt_criu_options){ .flags = RT_CRIU_QUIET }, &criu);
	if (!err)
		err = rt_criu_require_version(criu, &version);
	/* Has it probe the kernel, and keep what it finds for the restores to come. */
	if (!err)
		err = rt_criu_features(criu, &features);
	rt_criu_close(criu);
	return err ? err : rt_manifest_new(version, &target->self);
}

static void stop_all(struct rt_target *target)
{
	for (struct rt_move *move = target->moves; move; move = move->next)
		if (!is_over(rt_move_state(move)))
			rt_move_abort(move, "'rt receive' is being stopped");
}

static struct rt_error *serve(struct rt_target *target)
{
	const struct rt_receive_values *values = target->values;
	struct rt_http_server *server = NULL;
	struct rt_error *err;

	err = rt_http_server_start(&(struct rt_http_server_options){
		.listen = values->listen ? values->listen : DEFAULT_LISTEN,
		.cert_file = values->cert,
		.key_file = values->key,
		.client_ca_file = values->client_ca,
		.token_file = values->token_file,
		.insecure = values->insecure,
	}, rt_target_routes, target, &server);
	if (err)
		return err;
	printf("listening on %s\n", rt_http_server_address(server));
	fflush(stdout);
	for (;;) {
		struct pollfd fd = { .fd = rt_interrupt_fd(), .events = POLLIN };

		if (poll(&fd, 1, TICK_MS) > 0)
			break;
		tick(target);
	}
	rt_http_server_stop(server);
	stop_all(target);
	return NULL;
}

struct rt_error *rt_receive(const struct rt_context *context, const struct rt_receive_values *values)
{
	struct rt_target target = { .context = context, .values = values, .started_us = rt_now_us() };
	struct rt_error *err;

	pthread_mutex_init(&target.lock, NULL);
	signal(SIGPIPE, SIG_IGN);
	err = rt_interrupt_defer();
	if (!err)
		err = prepare(&target);
	if (!err)
		err = take_over_all(&target);
	if (!err)
		err = serve(&target);
	rt_manifest_free(target.self);
	return err ? rt_while(err, "cannot receive") : NULL;
}
