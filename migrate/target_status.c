#include "migrate/target_private.h"

#include "runtime/base/clock.h"
#include "runtime/base/str.h"

#include <jansson.h>

static json_t *describe(struct rt_move *move)
{
	struct rt_pageset_usage usage = { 0 };
	_cleanup_free_ char *reason = rt_move_reason(move);
	json_t *json;

	pthread_mutex_lock(&move->lock);
	if (move->sets)
		rt_pagesets_usage(move->sets, &usage);
	json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:f}", "migration", move->offer->migration, "id", move->offer->id, "state",
			 rt_move_state_name(move->state), "bundle", move->bundle, "pagesHeld", (json_int_t)usage.data, "zeroPages", (json_int_t)usage.zero,
			 "restoreMicroseconds", (json_int_t)move->restore_us, "resumeMicroseconds", (json_int_t)move->resume_us, "ageSeconds",
			 (double)(rt_now_us() - move->began_us) / 1e6);
	pthread_mutex_unlock(&move->lock);
	if (json && reason)
		json_object_set_new(json, "reason", json_string(reason));
	return json;
}

char *rt_target_move_json(struct rt_move *move)
{
	_cleanup_json_ json_t *json = describe(move);

	return json ? json_dumps(json, JSON_INDENT(1)) : NULL;
}

char *rt_target_status_json(struct rt_target *target)
{
	_cleanup_json_ json_t *moves = json_array(), *status = NULL;

	pthread_mutex_lock(&target->lock);
	for (struct rt_move *move = target->moves; move; move = move->next)
		json_array_append_new(moves, describe(move));
	status = json_pack("{s:i, s:s, s:s, s:s, s:O, s:I, s:I}", "protocol", RT_MIGRATE_PROTOCOL, "version", target->self->maker->rt_version, "host",
			   target->self->maker->host, "bundles", target->bundles, "migrations", moves, "accepted", (json_int_t)target->count_accepted, "refused",
			   (json_int_t)target->count_refused);
	pthread_mutex_unlock(&target->lock);
	return status ? json_dumps(status, JSON_INDENT(1)) : NULL;
}

/* Prometheus' text format, version 0.0.4. */
char *rt_target_metrics(struct rt_target *target)
{
	unsigned states[RT__MOVE_STATE__MOVE_ABORTED + 1] = { 0 };
	uint64_t held = 0;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	pthread_mutex_lock(&target->lock);
	for (struct rt_move *move = target->moves; move; move = move->next) {
		struct rt_pageset_usage usage = { 0 };

		pthread_mutex_lock(&move->lock);
		states[move->state]++;
		if (move->sets)
			rt_pagesets_usage(move->sets, &usage);
		pthread_mutex_unlock(&move->lock);
		held += usage.data * RT_PAGESET_PAGE;
	}
	fprintf(out, "# HELP rt_migrations_offered_total Offers, by what was answered.\n# TYPE rt_migrations_offered_total counter\n");
	fprintf(out, "rt_migrations_offered_total{answer=\"accepted\"} %llu\n", (unsigned long long)target->count_accepted);
	fprintf(out, "rt_migrations_offered_total{answer=\"refused\"} %llu\n", (unsigned long long)target->count_refused);
	fprintf(out, "# HELP rt_migrations Migrations known, by state.\n# TYPE rt_migrations gauge\n");
	for (int state = RT__MOVE_STATE__MOVE_RECEIVING; state <= RT__MOVE_STATE__MOVE_ABORTED; state++)
		fprintf(out, "rt_migrations{state=\"%s\"} %u\n", rt_move_state_name((Rt__MoveState)state), states[state]);
	fprintf(out, "# HELP rt_received_bytes_total Bytes of bodies received.\n# TYPE rt_received_bytes_total counter\nrt_received_bytes_total %llu\n",
		(unsigned long long)target->bytes_received);
	fprintf(out, "# HELP rt_held_bytes Memory held for containers that are on their way.\n# TYPE rt_held_bytes gauge\nrt_held_bytes %llu\n",
		(unsigned long long)held);
	pthread_mutex_unlock(&target->lock);
	fclose(out);
	return text;
}
