/* What a Docker daemon knows of a container, over its socket: the program rt-docker does the asking. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>

/* As `docker inspect` prints it: an array, with the container and, as often as `missing` names another one, that too. `missing` may
 * be NULL; it is given what there is so far. The caller decrefs *ret. */
struct rt_error *rt_docker_inspect(const char *container, const char *(*missing)(json_t *document, const void *userdata),
				   const void *userdata, json_t **ret) _must_check_;
