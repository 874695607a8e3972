#include "migrate/source_private.h"

#include "checkpoint/members.h"
#include "migrate/lazy.h"
#include "migrate/size.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>

/* Below this much memory nothing is gained by more than CRIU's own images: copying it takes less time than looking after it. */
#define SMALL (24u << 20)
#define DOWNTIME_MS 100
#define ROUNDS 30
#define PARALLEL 2

static const char *const mode_names[] = {
	[RT_MODE_AUTO] = "auto", [RT_MODE_STOP] = "stop", [RT_MODE_PRECOPY] = "pre-copy", [RT_MODE_POSTCOPY] = "post-copy", [RT_MODE_HYBRID] = "hybrid",
};

const char *rt_move_mode_name(enum rt_move_mode mode)
{
	return mode_names[mode];
}

static struct rt_error *choose_mode(const char *word, enum rt_move_mode *ret)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(mode_names); i++) {
		if (!word || rt_str_equal(word, mode_names[i])) {
			*ret = (enum rt_move_mode)i;
			return NULL;
		}
	}
	return rt_fail(RT_USAGE, "invalid value '%s' for --mode: it must be 'auto', 'stop', 'pre-copy', 'post-copy' or 'hybrid'", word);
}

static struct rt_error *choose_rootfs(const char *word, Rt__MoveRootfs *ret)
{
	static const char *const words[] = { "none", "shared", "copy", "diff" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(words); i++) {
		if (!word || rt_str_equal(word, words[i])) {
			*ret = (Rt__MoveRootfs)i;
			return NULL;
		}
	}
	return rt_fail(RT_USAGE, "invalid value '%s' for --rootfs: it must be 'none', 'shared', 'copy' or 'diff'", word);
}

static struct rt_error *read_words(struct rt_source *source)
{
	const struct rt_migrate_values *values = source->values;
	struct rt_error *err = choose_mode(values->mode, &source->mode);

	if (!err)
		err = rt_tracker_kind_parse(values->track ? values->track : "auto", &source->tracking);
	if (!err)
		err = rt_compression_parse(values->compress ? values->compress : "auto", &source->compression);
	if (!err)
		err = choose_rootfs(values->rootfs, &source->rootfs);
	if (!err && values->bandwidth)
		err = rt_size_option("--bandwidth", values->bandwidth, &source->bandwidth);
	if (!err)
		err = rt_container_check_id(source->target_id);
	if (err)
		return err;
	source->parallel = values->has_parallel ? values->parallel : PARALLEL;
	if (values->bandwidth && source->bandwidth == 0)
		return rt_fail(RT_USAGE, "invalid value '%s' for --bandwidth: nothing would ever arrive", values->bandwidth);
	if (source->parallel < 1 || source->parallel > 16)
		return rt_fail(RT_USAGE, "invalid value '%u' for --parallel: it must be 1 to 16", source->parallel);
	return NULL;
}

static uint64_t private_memory_of(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	rt_error_free(rt_read_file_at(AT_FDCWD, path, 64u << 10, &text, NULL)); /* it may have ended */
	line = text ? strstr(text, "\nAnonymous:") : NULL;
	return line ? strtoull(line + strlen("\nAnonymous:"), NULL, 10) * 1024 : 0;
}

static struct rt_error *measure_memory(struct rt_source *source)
{
	_cleanup_(rt_members_deinit) struct rt_members members = RT_MEMBERS_NULL;
	struct rt_error *err = rt_members_find(&source->container, &members);

	for (size_t i = 0; i < members.count && !err; i++)
		source->memory += private_memory_of(members.pids[i]);
	return err;
}

/* *ret_reason: why it is what it is, or why it can't be. */
static struct rt_error *choose_tracker(struct rt_source *source, bool *ret_usable, char **ret_reason)
{
	enum rt_tracker_kind kind;
	struct rt_error *err = rt_tracker_probe(source->tracking, &kind, ret_usable, ret_reason);

	if (!err && *ret_usable)
		source->tracking = kind;
	return err;
}

/* The target's kernel is what counts;
 * ours is asked in its place, as hosts that exchange containers are set up alike. */
static bool may_be_lazy(const struct rt_source *source)
{
	return !source->spec->namespaces[RT_NS_USER].wanted || rt_lazy_is_for_all();
}

static const char no_uffd[] = "a container with its own user namespace can only be restored with all its memory while vm.unprivileged_userfaultfd is 0";

static void choose_for_me(struct rt_source *source, bool tracked, const char *why_not)
{
	char *reason = source->report.reason;
	size_t room = sizeof(source->report.reason);
	unsigned long long mib = source->memory >> 20;

	if (!may_be_lazy(source)) {
		source->mode = RT_MODE_STOP;
		snprintf(reason, room, "%s", no_uffd);
	} else if (source->memory < SMALL) {
		source->mode = RT_MODE_STOP;
		snprintf(reason, room, "%llu MiB of memory are sent quicker than looked after", mib);
	} else if (tracked && source->tracking != RT_TRACKER_HASH) {
		source->mode = RT_MODE_PRECOPY;
		source->may_follow = true; /* should the rounds not get anywhere */
		snprintf(reason, room, "%llu MiB of memory are copied while it runs, changes found by %s", mib, rt_tracker_kind_name(source->tracking));
	} else {
		source->mode = RT_MODE_POSTCOPY;
		snprintf(reason, room, "%llu MiB of memory follow it, as changes can't be found cheaply: %s", mib, why_not);
	}
}

struct rt_error *rt_source_choose(struct rt_source *source)
{
	const struct rt_migrate_values *values = source->values;
	const struct rt_spec_namespace *network = &source->spec->namespaces[RT_NS_NETWORK];
	_cleanup_free_ char *reason = NULL;
	struct rt_error *err = read_words(source);
	bool usable = false;

	if (!err)
		err = measure_memory(source);
	if (!err)
		err = choose_tracker(source, &usable, &reason);
	if (err)
		return err;
	if (!usable && values->track)
		return rt_fail(RT_SYSTEM, "--track %s can't be used: %s", values->track, reason);
	if (source->mode != RT_MODE_AUTO && source->mode != RT_MODE_STOP && !may_be_lazy(source))
		return rt_fail(RT_SYSTEM, "--mode %s can't be used: %s", values->mode, no_uffd);
	if (source->mode == RT_MODE_AUTO)
		choose_for_me(source, usable, reason ? reason : "no tracker works here");
	else
		snprintf(source->report.reason, sizeof(source->report.reason), "asked for");
	source->may_follow = source->may_follow || source->mode == RT_MODE_POSTCOPY || source->mode == RT_MODE_HYBRID;
	source->lazy = source->mode != RT_MODE_STOP || (source->memory >= SMALL && may_be_lazy(source));
	source->tcp_established = values->has_tcp_established ? values->tcp_established : network->wanted;
	source->precopy = (struct rt_precopy){
		.target_us = (values->has_downtime ? values->downtime : DOWNTIME_MS) * 1000ull,
		/* CRIU: what it takes anyway, and to look at each page. */
		.fixed_us = 50000 + (source->memory >> 20) * 100,
		.max_rounds = values->has_max_rounds ? values->max_rounds : ROUNDS,
	};
	source->report.memory = source->memory;
	source->report.mode = rt_move_mode_name(source->mode);
	source->report.tracker = source->lazy ? rt_tracker_kind_name(source->tracking) : "none";
	source->report.compression = rt_compression_name(source->compression);
	source->report.rootfs = values->rootfs ? values->rootfs : "none";
	rt_progress_note(source->progress, "mode %s: %s", source->report.mode, source->report.reason);
	return NULL;
}
