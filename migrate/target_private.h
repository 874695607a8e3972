/* What the files of the daemon share. */
#pragma once

#include "migrate/http_server.h"
#include "migrate/message.h"
#include "migrate/move.h"
#include "migrate/target.h"

struct rt_target {
	const struct rt_context *context;
	const struct rt_receive_values *values;
	const char *state_dir, *bundles;
	uint64_t max_memory, max_rootfs; /* bytes; 0: what there is */
	unsigned max_moves, timeout_s;
	pthread_mutex_t lock; /* of the list and the counters */
	struct rt_move *moves;
	uint64_t started_us;
	uint64_t count_accepted, count_refused, count_complete, count_aborted, bytes_received;
	Rt__Manifest *self; /* maker and cpu of this host */
};

/* target.c: by its id, with a reference; NULL: there is none. */
struct rt_move *rt_target_find(struct rt_target *target, const char *migration);
void rt_target_unref(struct rt_target *target, struct rt_move *move);
/* Puts it into the list; RT_EXISTS where its migration or its container's id is there, RT_WRONG_STATE where there are too many. */
struct rt_error *rt_target_add(struct rt_target *target, struct rt_move *move) _must_check_;

/* target_offer.c: judges, and where it is taken makes the migration ready for the rest. Takes the offer over. */
struct rt_error *rt_target_take_offer(struct rt_target *target, Rt__Offer *offer, Rt__Answer *answer) _must_check_;

/* target_rootfs.c: --rootfs diff changes a base that is the operator's, in its place. Whoever finds it changed is told, until the operator has renewed it. */
/* RT_CONFIG: there is no base, or one that is none any more. */
struct rt_error *rt_target_judge_base(const char *bundle, const char *rootfs) _must_check_;
/* Before the first byte. */
struct rt_error *rt_target_open_base(struct rt_move *move) _must_check_;

/* target_status.c: malloc()ed texts. */
char *rt_target_status_json(struct rt_target *target);
char *rt_target_metrics(struct rt_target *target);
char *rt_target_move_json(struct rt_move *move);

/* target_routes.c */
extern const struct rt_http_route rt_target_routes[];

#define RT_TARGET_OFFER_MAX (24u << 20)
