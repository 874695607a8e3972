/* What CRIU need not look at: memory that travels by another way (rt_criu_settings.memory_elsewhere).
 *
 * CRIU puts every page of a lazy dump into a pipe, for whoever will come for it: 0.2 ms a MiB, in which the container is frozen, and nobody comes. It passes over pages
 * that its parent images have and that have not been written to since, as the kernel's marks say (soft-dirty, CONFIG_MEM_SOFT_DIRTY). So it gets a parent that claims
 * to have everything, and the marks are wiped while the container still runs. Afterwards the images are made into what they would have been: what "the parent has" may
 * come lazily; and what can't be restored lazily is read from the frozen tasks.
 *
 * No content depends on the marks: a page that they are wrong about costs time, and no more. */
#pragma once

#include "checkpoint/members.h"

/* In the image directory, where no other file begins with a dot. */
#define RT_KNOWN_PARENT ".known"

/* Before the freeze, as late as may be. `wipe` false: somebody else has wiped the marks, and needs what they say. */
struct rt_error *rt_known_claim(int image_fd, const struct rt_container *container, bool wipe) _must_check_;

/* CRIU has written all images, the tasks are frozen. */
struct rt_error *rt_known_correct(int image_fd, const struct rt_container *container) _must_check_;
