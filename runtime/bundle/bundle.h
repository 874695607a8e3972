/* Bundles, a directory with rootfs/ and config.json: made from an image, and given to other ids.
 *
 * Making one is the helper program's work (rt-bundle, which links libarchive); this is the side of `rt`, which runs it. Shifting
 * is done here. Neither knows anything of containers that run. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/bundle/ids.h"

struct rt_bundle_create {
	const char *image; /* as on the command line: [oci:|oci-archive:|docker-archive:|rootfs:]PATH[:TAG] */
	const char *directory; /* not there yet, or empty */
	const char *platform; /* "linux/arm64"; NULL: of this machine */
	uint64_t max_size; /* bytes of content unpacked in all; 0: what the file system has free, and no bomb */
	const struct rt_id_map *ids; /* container_id 0: owners are shifted, and a user namespace configured; NULL: neither */
	bool rootless; /* not as root: everything belongs to the caller */
	bool terminal; /* the process gets one */
};
/* All of it, or nothing is left behind. */
struct rt_error *rt_bundle_create(const struct rt_bundle_create *options) _must_check_;

/* Bundles come into being beside their place, under this name. */
struct rt_error *rt_bundle_partial_name(const char *directory, char **ret) _must_check_;
/* Removes what a create that was killed has left there; one that is at work is an error. Not there: fine. */
struct rt_error *rt_bundle_sweep(const char *partial) _must_check_;
