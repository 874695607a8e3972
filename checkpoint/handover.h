/* Images of a container with a user namespace of its own: CRIU opens some of them when it is root of that namespace only. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

/* Lets the container's root, as a group, read the directory and the regular files in it, and nobody else: images hold the secrets of
 * its processes. They stay the property of the host's root, as who is born into a new user namespace is that until its ids
 * are mapped, and reads an image by then. Without a user namespace of its own nothing happens. */
struct rt_error *rt_images_hand_over(int image_fd, const struct rt_spec *spec) _must_check_;
