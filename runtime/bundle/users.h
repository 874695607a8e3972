/* The user of an image, looked up in the image's own passwd and group files. Pure: the texts are given. */
#pragma once

#include "runtime/base/arena.h"

#include <stdint.h>

struct rt_image_user {
	uint32_t uid, gid;
	const uint32_t *additional_gids; /* in the arena */
	size_t additional_gid_count;
	const char *home; /* in the arena; NULL: passwd does not tell */
};

/* `user` is the image's "User": "name", "id", each with ":group" behind; NULL or "" is root. Names must be in the files, numbers
 * need not. Supplementary groups are those of the user where no group was named. */
struct rt_error *rt_image_user_find(const char *user, const char *passwd, const char *group, struct rt_arena *arena,
				    struct rt_image_user *ret) _must_check_;
