/* From an image's configuration to config.json, as the image specification's "Conversion to OCI Runtime Configuration" says, on top
 * of the template of `rt spec`. Pure. */
#pragma once

#include "runtime/bundle/image.h"
#include "runtime/bundle/users.h"
#include "runtime/spec/spec.h"

struct rt_bundle_config {
	const struct rt_image_config *image; /* NULL: a bare root filesystem */
	const struct rt_image_user *user; /* NULL: root */
	const struct rt_id_map *ids; /* of the user namespace, for users and groups alike; NULL: none */
	bool rootless; /* as `rt spec --rootless`, for uid and gid */
	uid_t uid;
	gid_t gid;
	bool terminal;
};

/* The caller decrefs *ret. */
struct rt_error *rt_bundle_config(const struct rt_bundle_config *options, json_t **ret) _must_check_;

/* Puts a user namespace with these maps into a config, in place of what maps it has. */
struct rt_error *rt_bundle_config_map(json_t *config, const struct rt_id_maps *uids, const struct rt_id_maps *gids) _must_check_;
