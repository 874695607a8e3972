/* The limits a container has, where they are no longer those of its config.json: what `rt update` changed, or what a restore took over
 * from its checkpoint. They are kept beside config.json as limits.json, a resources object in full; config.json stays what it was
 * created with, so that it can still be told who wanted what.
 *
 * The files of the cgroup are not asked: what somebody else writes there is that somebody's to write again. */
#pragma once

#include "runtime/container/private.h"

/* The resources in force: those of limits.json, or a copy of the config's. The caller decrefs *ret. */
struct rt_error *rt_in_force_load(struct rt_container *container, json_t **ret) _must_check_;
struct rt_error *rt_in_force_store(int dir_fd, const json_t *resources) _must_check_;
/* True where they are others than the config's. */
bool rt_in_force_differs(const struct rt_container *container);

/* Pure. Objects are merged, everything else is replaced: what `update` leaves out stays as it was. */
struct rt_error *rt_in_force_merge(json_t *into, json_t *update) _must_check_;

/* Pure: the limits for a restore, value by value. `created` are those of the config that the container was created with, `in_force` those it
 * had when it was frozen, `wanted` those of the config to restore with: where `wanted` is as `created` nobody asks for another
 * limit, and the one in force stands; where it is not, it is what somebody asks for now. Any may be NULL: none. The caller decrefs *ret. */
struct rt_error *rt_in_force_carry(const json_t *created, const json_t *in_force, const json_t *wanted, json_t **ret) _must_check_;

/* linux.resources of a config document; NULL: it has none. Borrowed. */
json_t *rt_in_force_of_config(const json_t *config);
