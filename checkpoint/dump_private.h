/* A dump at hand, shared by its files only: dump.c has its order, dump_freeze.c how the container comes to stand still, and moves again. */
#pragma once

#include "checkpoint/checkpoint.h"
#include "checkpoint/exchange.h"
#include "checkpoint/rescue.h"
#include "checkpoint/rpc.h"
#include "runtime/container/private.h"
#include "proto/manifest.pb-c.h"

struct rt_dump {
	const struct rt_criu_settings *settings;
	const struct rt_dump_hooks *hooks; /* NULL: none */
	unsigned flags; /* RT_DUMP_* */
	int yard_fd; /* of yard.h */
	int nobody_fd; /* where CRIU listens for requests for memory that nobody makes; -1: not used */
	struct rt_criu_settings own_settings; /* with what was derived */
	struct rt_exchange exchange;
	struct rt_container container;
	const struct rt_spec *spec;
	char *config;
	size_t config_size;
	int image_fd, work_fd;
	struct rt_criu_opts options;
	struct rt_criu *criu;
	struct rt_rescue rescue;
	bool inside; /* see inside.h */
	bool knows; /* see known.h */
	bool unmarked; /* see unmarked.h */
	bool images_complete; /* CRIU has written them all */
	bool held; /* see rt_dump_hold() */
	bool given_away; /* the hook said that it lives elsewhere from here on: whatever CRIU does, it must not run here again */
	bool manifest_written;
	Rt__Manifest *manifest;
	uint64_t began; /* us */
};

/* Which cgroup CRIU freezes: none where it can't, as tasks are stopped one by one then. Comes first, as others depend on it. */
struct rt_error *rt_dump_set_freezer(struct rt_dump *dump) _must_check_;
enum rt_lock rt_dump_choose_lock(const struct rt_dump *dump);
bool rt_dump_keeps_door(const struct rt_dump *dump);

/* With the hooks of that time. */
struct rt_error *rt_dump_freeze(struct rt_dump *dump) _must_check_;

/* After rt_dump_hold(), where it was decided: err NULL, it lives elsewhere. Returns the failure to go on with. */
struct rt_error *rt_dump_end_hold(struct rt_dump *dump, struct rt_error *err) _must_check_;
