/* Images of a container with a user namespace of its own: CRIU opens some of them when it is root of that namespace only. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

/* Gives the directory and the regular files in it to the container's root, and to nobody else: images hold the secrets of its
 * processes. The host's root reads them all the same. Without a user namespace of its own nothing happens. */
struct rt_error *rt_images_hand_over(int image_fd, const struct rt_spec *spec) _must_check_;
