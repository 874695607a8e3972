/* The systemd driver: a scope (or slice) around the container's process, asked for through the helper program `rt-systemd`,
 * because `rt` itself is static and libsystemd is not. Directories and what systemd has no property for are done by the
 * rest of this folder, once the unit is there. */
#pragma once

#include "runtime/cgroup/private.h"

/* Names the unit and checks the annotations; nothing is asked of systemd yet. What the request points to must last until
 * rt_systemd_start(). */
struct rt_error *rt_systemd_plan(const struct rt_cgroup_request *request, struct rt_cgroup *cgroup, const char **ret_path) _must_check_;

/* Starts the unit with the process in it and waits for systemd to have done so. */
struct rt_error *rt_systemd_start(const struct rt_cgroup *cgroup, pid_t pid) _must_check_;

/* Tells systemd of new limits, so that its next reload doesn't undo them. */
struct rt_error *rt_systemd_update(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources) _must_check_;

/* Stops the unit and forgets its failure. Not there: fine. */
struct rt_error *rt_systemd_stop(const struct rt_cgroup *cgroup) _must_check_;

/* The request given to rt_systemd_plan(). */
const struct rt_cgroup_request *rt_systemd_request(const struct rt_cgroup *cgroup);

/* True where the unit is a slice, which systemd makes without moving a process. */
bool rt_systemd_is_slice(const struct rt_cgroup *cgroup);
