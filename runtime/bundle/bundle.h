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

/* What a shift does to one file, as --check tells it. */
struct rt_shift_change {
	const char *path; /* in the tree, "." is its root */
	uint32_t uid, gid, new_uid, new_gid;
	bool attributes; /* its ACL or capabilities change, too */
	bool outside; /* an id of its is in no range: `outside_id`, of `outside_what` */
	uint32_t outside_id;
	const char *outside_what; /* "owner", "group", "ACL", "capabilities" */
};

struct rt_bundle_shift {
	const char *directory; /* a bundle, or a tree */
	struct rt_id_shift shift; /* of nobody's concern with `undo` */
	bool undo; /* the shift that was done last, or was interrupted */
	bool config; /* config.json gets, or loses, the maps, too */
	bool idmap; /* the files stay as they are: config.json has them mounted with other ids */
	/* Only tells, and changes nothing. NULL: shifts. */
	void (*check)(void *userdata, const struct rt_shift_change *change);
	void *userdata;
};
struct rt_shift_result {
	uint64_t files, changed, outside;
	bool already; /* done before: nothing changed */
	bool mapped; /* it was of the kind `idmap` */
};
/* Interrupted, whatever by, it ends right when it is run again: a journal beside the tree (<tree>.rt-shift.journal) has what each
 * file was before it is touched. What was done is in <tree>.rt-shift. Files outside of the ranges: nothing is begun. */
struct rt_error *rt_bundle_shift(const struct rt_bundle_shift *options, struct rt_shift_result *ret) _must_check_;
