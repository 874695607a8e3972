/* descriptors.json: what runc writes beside the images of a container, and wants for a restore: the names of its standard streams,
 * as /proc/PID/fd has them. rt itself goes by its manifest; this is what lets checkpoints pass from one to the other. */
#pragma once

#include "runtime/base/error.h"
#include "proto/manifest.pb-c.h"

/* For runc: from the streams of a description. */
struct rt_error *rt_descriptors_store(int image_fd, const Rt__Container *container) _must_check_;

/* Of runc: adds the streams that are pipes, which a restore replaces; others runc does not replace either. Without the file, none. */
struct rt_error *rt_descriptors_load(int image_fd, Rt__Container *into) _must_check_;
