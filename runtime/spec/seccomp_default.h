/* The seccomp profile of a container that says nothing else: what programs need, and none of what was made to run the machine.
 *
 * Data, kept in seccomp_default.c by purpose. A capability that the container keeps brings the calls it is for: who may mount must
 * be able to say so. Whoever changes the capabilities makes the profile anew. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>
#include <stdint.h>

/* linux.seccomp as config.json has it, for this machine's architecture and the ones it can run besides. Bit n of `bounding` is
 * capability n. The caller decrefs *ret. */
struct rt_error *rt_seccomp_default(uint64_t bounding, json_t **ret) _must_check_;

/* Every name in the profile, whatever the capabilities: `visit` once each. For tests. */
void rt_seccomp_default_names(void (*visit)(void *userdata, const char *name), void *userdata);
