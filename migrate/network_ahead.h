/* A container's network on the target, made while the container still runs on the source: its namespace, and in it what rt-netns makes. The hook finds it all done
 * when it is called for the restored process, and the restore has that much less to do. What it costs to undo: one call, and the namespace's last descriptor. */
#pragma once

#include "migrate/network.h"

/* *ret is -1 where it has to wait for the restore, as it is not ours, or the namespace is not to be made by the host. `bundle` has the configuration that the hook reads. */
struct rt_error *rt_network_ahead_make(const struct rt_network *network, const struct rt_spec *spec, const char *id, const char *bundle, int *ret) _must_check_;

/* What the configuration file of a container that is on its way says of its network. *ret_spec is freed by rt_spec_free(), and may be NULL where it is not wanted. */
struct rt_error *rt_network_read(const char *config, struct rt_network *ret, struct rt_spec **ret_spec) _must_check_;

/* Of a container that has not come to be. Nothing was made: fine. */
struct rt_error *rt_network_ahead_undo(const struct rt_network *network, const char *id) _must_check_;
