/* The configuration of a container that is started from a snapshot: that of the snapshot, or one that was given, made its own. Pure. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>

struct rt_clone_config {
	const char *id;
	const char *rootfs; /* absolute */
	const char *hostname; /* NULL: as it is */
	const char *hook; /* program that is run at poststop, with these arguments */
	const char *const *hook_args; /* NULL-terminated */
};

/* The mount that gives the root filesystem other ids (docs/decisions/0018), or NULL. Borrowed. */
const json_t *rt_clone_root_mount(const json_t *config);

/* Changes `config`: root.path, and no mount of the root any more; the last component of linux.cgroupsPath; hostname; without the address of the original (annotation org.rt.netns); with the hook. */
struct rt_error *rt_clone_config_apply(json_t *config, const struct rt_clone_config *clone) _must_check_;

/* The annotation org.rt.snapshot-resume, a JSON array of strings: what is to be run in the container once it runs. *ret: NULL-terminated, freed by
 * rt_clone_command_free(); NULL: there is none. */
#define RT_CLONE_RESUME "org.rt.snapshot-resume"
struct rt_error *rt_clone_resume_command(const json_t *config, char ***ret) _must_check_;
void rt_clone_command_free(char **command);
