/* From what describe.h found, the options that make CRIU leave it alone at the dump, and tie it to the host's things again at the
 * restore. Both directions stand in this one file, as each is only right with the other. */
#pragma once

#include "checkpoint/describe.h"
#include "checkpoint/options.h"
#include "proto/manifest.pb-c.h"

/* Dump: names what is external. */
struct rt_error *rt_connect_for_dump(struct rt_criu_opts *options, const Rt__Container *container) _must_check_;

/* What the restore may have to hand to CRIU by descriptor: CRIU inherits all of it, before it is known from the images what is needed. -1: not there. */
struct rt_connection {
	int streams[3]; /* our own, under numbers above them, as CRIU uses those itself */
	int namespaces[RT_NS_KINDS]; /* that the config joins by path */
};
#define RT_CONNECTION_MAX (3 + RT_NS_KINDS)
void rt_connection_init(struct rt_connection *connection);
void rt_connection_deinit(struct rt_connection *connection);

struct rt_error *rt_connection_open(struct rt_connection *connection, const struct rt_spec *spec) _must_check_;
/* Those that are there. Returns how many. */
size_t rt_connection_fds(const struct rt_connection *connection, int ret[RT_CONNECTION_MAX]);

/* Restore: mounts from where the new bundle has them (mount points that the root filesystem lacks are made), namespaces joined by the paths of the
 * new config, the container's standard streams replaced by our own where they came from outside, cgroups as planned. `described` is from the
 * manifest, or from rt_connect_assume() where the images are another runtime's. */
struct rt_error *rt_connect_for_restore(struct rt_criu_opts *options, const struct rt_container *container,
					const struct rt_spec *spec, int rootfs_fd, const Rt__Container *described,
					const struct rt_connection *connection) _must_check_;

/* For images without a manifest: what runc would have declared external for this config. Fills mounts and namespaces. */
struct rt_error *rt_connect_assume(const struct rt_spec *spec, Rt__Container *into) _must_check_;
