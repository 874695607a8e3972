#include "migrate/source_private.h"

#include "checkpoint/manifest.h"
#include "checkpoint/rpc.h"
#include "checkpoint/unpack.h"
#include "migrate/duct.h"
#include "migrate/tap.h"
#include "runtime/base/clock.h"
#include "runtime/base/str.h"

#include <pthread.h>
#include <string.h>

#define ASK_TIMEOUT_MS 30000
/* The container waits meanwhile; it is one short answer. */
#define FROZEN_TIMEOUT_MS 1000
#define DUCT_ROOM (4u << 20)

/* ---- messages ---- */

static struct rt_error *post(struct rt_source *source, const char *path, const ProtobufCMessage *message, unsigned timeout_ms, unsigned accept,
			     struct rt_http_answer *ret)
{
	_cleanup_free_ void *bytes = NULL;
	struct rt_error *err = NULL;
	size_t size = 0;

	if (message)
		err = rt_pack(message, &bytes, &size);
	return err ? err : rt_http_ask(source->control, &(struct rt_http_request){
		.method = "POST", .path = path, .body = message ? bytes : "", .body_size = size, .timeout_ms = timeout_ms,
	}, accept, ret);
}

struct rt_error *rt_source_ask(struct rt_source *source, const char *path, unsigned timeout_ms, Rt__Outcome **ret)
{
	struct rt_http_answer answer = { .body = NULL };
	struct rt_error *err = post(source, path, NULL, timeout_ms, 0, &answer);

	if (!err)
		err = rt_message_outcome(answer.body, answer.size, ret);
	free(answer.body);
	return err;
}

static void tell_frozen(struct rt_source *source, int tap_fd, bool anyhow)
{
	_cleanup_free_ void *frames = NULL;
	struct rt_error *err;
	size_t size = 0;

	err = tap_fd < 0 ? NULL : rt_tap_take(tap_fd, &frames, &size);
	if (!err && (size > 0 || anyhow))
		err = rt_http_ask(source->control, &(struct rt_http_request){
			.method = "POST", .path = source->path_frozen, .body = frames ? frames : "", .body_size = size, .timeout_ms = FROZEN_TIMEOUT_MS,
		}, 0, NULL);
	if (err)
		rt_progress_note(source->progress, "what is sent to it while it is frozen is lost: %s", err->message);
	rt_error_free(err);
}

void rt_source_tell_frozen(struct rt_source *source)
{
	if (source->network.saved)
		tell_frozen(source, source->tap_fd, true);
}

void rt_source_bring_late(struct rt_source *source)
{
	tell_frozen(source, source->host_tap_fd, false);
}

/* ---- the offer ---- */

/* What checks a dump would make, made before anybody else is troubled. */
static struct rt_error *look_here(const struct rt_source *source)
{
	_cleanup_(rt_preflight_deinit) struct rt_preflight report = RT_PREFLIGHT_NULL;
	struct rt_error *err = rt_container_check(source->context, source->id, &source->criu, &report);

	if (!err && report.note)
		rt_progress_note(source->progress, "%s", report.note);
	return err ? err : rt_preflight_verdict(&report);
}

/* And what it finds out about the kernel is kept for the dump to come. */
static struct rt_error *criu_version(uint32_t *ret)
{
	_cleanup_criu_ struct rt_criu *criu = NULL;
	struct rt_criu_features features;
	struct rt_error *err = rt_criu_start(&(struct rt_criu_options){ .flags = RT_CRIU_QUIET }, &criu);

	if (!err)
		err = rt_criu_require_version(criu, ret);
	return err ? err : rt_criu_features(criu, &features);
}

static void fill_offer(const struct rt_source *source, const Rt__Manifest *self, Rt__Offer *offer)
{
	offer->protocol = RT_MIGRATE_PROTOCOL;
	offer->migration = (char *)source->migration;
	offer->id = (char *)source->target_id;
	offer->source_id = (char *)source->id;
	offer->maker = self->maker;
	offer->cpu = self->cpu;
	offer->config.data = (uint8_t *)source->config;
	offer->config.len = source->config_size;
	offer->rootfs = source->rootfs;
	offer->lazy = source->lazy;
	offer->post_copy = source->may_follow;
	offer->tcp_established = source->tcp_established;
	offer->ext_unix_sk = source->criu.ext_unix_sk;
	offer->file_locks = source->criu.file_locks;
	offer->link_remap = source->criu.link_remap;
	offer->memory = source->memory;
	offer->dry_run = source->values->dry_run;
	if (source->network.saved)
		offer->network = source->network.saved;
	if (source->rootfs == RT__MOVE_ROOTFS__ROOTFS_SHARED) {
		offer->bundle.data = (uint8_t *)source->container.state.bundle;
		offer->bundle.len = strlen(source->container.state.bundle);
	}
}

static struct rt_error *judge(struct rt_source *source, const Rt__Answer *answer)
{
	_cleanup_free_ char *reasons = NULL;
	struct rt_error *err = NULL;

	for (size_t i = 0; i < answer->n_notes; i++)
		rt_progress_note(source->progress, "%s: %s", answer->maker ? answer->maker->host : "target", answer->notes[i]);
	if (answer->protocol != RT_MIGRATE_PROTOCOL && answer->n_reasons == 0)
		return rt_fail(RT_PEER, "the target speaks protocol %u, this host speaks %u", answer->protocol, RT_MIGRATE_PROTOCOL);
	if (answer->accepted)
		return NULL;
	for (size_t i = 0; i < answer->n_reasons && !err; i++) {
		_cleanup_free_ char *before = rt_take_ptr(reasons);

		err = rt_format(&reasons, "%s%s%s", before ? before : "", before ? "; " : "", answer->reasons[i]);
	}
	return err ? err : rt_fail(RT_PEER, "the target refuses: %s", reasons ? reasons : "it does not say why");
}

struct rt_error *rt_source_offer(struct rt_source *source)
{
	_cleanup_manifest_ Rt__Manifest *self = NULL;
	struct rt_http_answer reply = { .body = NULL };
	Rt__Offer offer = RT__OFFER__INIT;
	Rt__Answer *answer = NULL;
	uint32_t version;
	struct rt_error *err = look_here(source);

	if (!err)
		err = criu_version(&version);
	if (!err)
		err = rt_manifest_new(version, &self);
	if (err)
		return err;
	fill_offer(source, self, &offer);
	err = post(source, "/v1/migrations", &offer.base, ASK_TIMEOUT_MS, 0, &reply);
	if (!err)
		err = rt_message_answer(reply.body, reply.size, &answer);
	free(reply.body);
	if (err)
		return err;
	source->offered = answer->accepted && !source->values->dry_run;
	err = judge(source, answer);
	rt_unpack_free(&answer->base);
	if (!err && source->values->dry_run)
		rt_progress_note(source->progress, "nothing stands in the way of migrating '%s'", source->id);
	return err;
}

/* ---- the root filesystem ---- */

/* rt_tree writes, HTTP pulls: they meet at a duct, the walk in a thread of its own. */
struct walk {
	struct rt_source *source;
	struct rt_duct *duct;
	struct rt_tree_totals totals;
	uint64_t bytes; /* that have gone out */
};

static void *walk_tree(void *userdata)
{
	struct walk *walk = userdata;

	rt_duct_end(walk->duct, rt_tree_send(walk->source->tree, rt_duct_write, walk->duct, &walk->totals));
	return NULL;
}

/* In the thread that draws. */
static struct rt_error *read_on(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct walk *walk = userdata;
	struct rt_error *err = rt_duct_read(walk->duct, buffer, room, ret_size);

	walk->bytes += *ret_size;
	if (!walk->source->frozen)
		rt_progress_amount(walk->source->progress, 0, walk->bytes, 0);
	return err;
}

struct rt_error *rt_source_send_tree(struct rt_source *source, struct rt_tree_totals *ret)
{
	struct walk walk = { .source = source };
	struct rt_error *err = rt_duct_new(DUCT_ROOM, &walk.duct);
	pthread_t thread;
	int error;

	if (err)
		return err;
	error = pthread_create(&thread, NULL, walk_tree, &walk);
	if (!error) {
		err = rt_http_ask(source->control, &(struct rt_http_request){
			.method = "POST", .path = source->path_rootfs, .pull = read_on, .pull_userdata = &walk,
		}, 0, NULL);
		rt_duct_hang_up(walk.duct);
		pthread_join(thread, NULL);
	}
	rt_duct_free(walk.duct);
	*ret = walk.totals;
	return error ? rt_fail_with(error, "cannot start a thread") : err;
}

static const char *sent_root(const struct rt_source *source, char **ret_upper, struct rt_error **err)
{
	*err = NULL;
	if (source->rootfs == RT__MOVE_ROOTFS__ROOTFS_COPY)
		return source->container.state.rootfs;
	*err = rt_tree_upper_of(source->container.state.rootfs, ret_upper);
	if (!*err && !*ret_upper)
		*err = rt_fail(RT_USAGE, "--rootfs diff needs a root filesystem that is an overlay, and '%s' is none", source->container.state.rootfs);
	return *ret_upper;
}

struct rt_error *rt_source_note_mapped(struct rt_source *source)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	struct rt_error *err = rt_cgroup_pids(source->container.cgroup, &pids, &count);

	return err ? err : rt_tree_note_mapped(source->tree, pids, count);
}

struct rt_error *rt_source_send_rootfs(struct rt_source *source)
{
	_cleanup_free_ char *upper = NULL;
	struct rt_tree_totals totals = { 0 };
	uint64_t began = rt_now_us();
	struct rt_error *err;
	const char *root;

	if (source->rootfs != RT__MOVE_ROOTFS__ROOTFS_COPY && source->rootfs != RT__MOVE_ROOTFS__ROOTFS_DIFF)
		return NULL;
	root = sent_root(source, &upper, &err);
	if (!err)
		err = rt_tree_new(root, upper ? RT_TREE_UPPER : 0, &source->tree);
	if (!err)
		err = rt_source_note_mapped(source);
	if (!err)
		err = rt_source_send_tree(source, &totals);
	if (!err)
		err = rt_source_note_mapped(source);
	if (err)
		return err;
	source->report.rootfs_us = rt_now_us() - began;
	source->report.rootfs_bytes = totals.bytes;
	source->report.wire += totals.bytes;
	rt_progress_note(source->progress, "%llu files of the root filesystem, %llu MiB", (unsigned long long)totals.files,
			 (unsigned long long)totals.bytes >> 20);
	return NULL;
}

struct rt_error *rt_source_send_changes(struct rt_source *source)
{
	struct rt_tree_totals totals = { 0 };
	struct rt_error *err;

	if (!source->tree)
		return NULL;
	err = rt_source_note_mapped(source);
	if (!err)
		err = rt_source_send_tree(source, &totals);
	source->report.wire += totals.bytes;
	return err ? rt_while(err, "changes of the root filesystem") : NULL;
}
