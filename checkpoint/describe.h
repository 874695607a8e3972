/* What a running container holds that CRIU cannot make again by itself: mounts from the host, namespaces it joined, its standard
 * streams, its cgroup. Written down in the manifest at the dump; connect.h makes CRIU's options of it, at dump and restore.
 *
 * Asks the kernel about the live process, not the config: symlinked destinations, mounts below rbinds and what an engine
 * added later are all in there. */
#pragma once

#include "runtime/container/container.h"
#include "proto/manifest.pb-c.h"

/* Most entries in `streams`: init's three, then files of the host that others have as theirs. */
#define RT_DESCRIBED_STREAMS 16

/* Fills id, paths, config, mounts, namespaces, maps, streams, cgroup and labels. `config` is the text of config.json. */
struct rt_error *rt_describe_container(struct rt_container *container, const struct rt_spec *spec, const char *config,
				       size_t config_size, Rt__Container *into) _must_check_;

/* Adds the tmpfs mounts that a migration moves by itself (rt_criu_settings.tmpfs_elsewhere): those the container has for itself, whole, and only once. */
struct rt_error *rt_describe_tmpfs(const struct rt_container *container, const struct rt_spec *spec, Rt__Container *into) _must_check_;
bool rt_mount_is_elsewhere(const Rt__Mount *mount);
