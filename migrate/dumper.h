/* The process on the source that freezes and dumps the container, and keeps it frozen until it is decided where it lives on.
 *
 * A process of its own, for two reasons. The tool has threads, and what a dump does to namespaces and children is for a process with one.
 * And it outlives the tool: before the commit it revives the container when the tool is gone; after RT_LINK_HOLD it may not, as the other host may have it
 * running: then it waits for rt_dumper_decide(), that is `rt migrate --recover`.
 *
 *	tool		dumper
 *	GO		starts CRIU, looks at everything
 *			PREPARED
 *	PROCEED		freezes
 *			FROZEN
 *	PROCEED		CRIU dumps
 *			COMPLETE
 *	HOLD
 *			HELD
 *	COMMIT | ABORT	the tree is killed | revived
 *			DONE | FAILED */
#pragma once

#include "checkpoint/checkpoint.h"
#include "migrate/network.h"

#include <sys/types.h>

struct rt_dumper {
	int fd; /* -1: not there */
	pid_t pid;
};
#define RT_DUMPER_NULL ((struct rt_dumper){ .fd = -1 })

struct rt_dumper_options {
	const struct rt_context *context;
	const char *id;
	const struct rt_criu_settings *settings; /* image_path must be absolute */
	unsigned flags; /* RT_DUMP_* */
	const char *directory; /* of the migration: removed by the dumper where the tool can't any more */
	int diag_fd; /* rt_network_open_diag(); -1: its network does not move along, or is nobody's */
	const struct rt_network *network; /* attached again by the dumper where the tool can't any more */
};

/* Forks it: before there are threads. It does nothing until GO. */
struct rt_error *rt_dumper_start(const struct rt_dumper_options *options, struct rt_dumper *ret) _must_check_;

/* Hangs up and waits for its end. False: it was killed. */
bool rt_dumper_end(struct rt_dumper *dumper);
void rt_dumper_deinit(struct rt_dumper *dumper);

/* Tells a dumper whose tool has died what was decided. *ret_there is false where there is none for this container. Returns when it has acted. */
struct rt_error *rt_dumper_decide(const struct rt_context *context, const char *id, bool commit, bool *ret_there) _must_check_;
