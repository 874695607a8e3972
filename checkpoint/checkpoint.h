/* The verbs of this layer: `rt checkpoint` and `rt restore`. */
#pragma once

#include "checkpoint/options.h"
#include "checkpoint/preflight.h"
#include "runtime/container/container.h"

/* Dumps the container into settings->image_path: images, logs, and at the very end the manifest. Without leave_running and pre_dump
 * the container is gone afterwards. When it fails the container runs on as it did. RT_CRIU errors quote the line of CRIU's log
 * that explains them. */
struct rt_error *rt_container_checkpoint(const struct rt_context *context, const char *id,
					 const struct rt_criu_settings *settings) _must_check_;

/* Without touching it: every reason for which such a checkpoint would fail, in `report`. */
struct rt_error *rt_container_check(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings,
				    struct rt_preflight *report) _must_check_;

struct rt_restore_options {
	struct rt_criu_settings criu;
	struct rt_create_options create; /* bundle, console_socket, pid_file, detach, ... as in create */
};

/* A new container of this id out of images. *ret_status as of rt_container_run(). When it fails nothing is left. */
struct rt_error *rt_container_restore(const struct rt_context *context, const char *id, const struct rt_restore_options *options,
				      int *ret_status) _must_check_;
