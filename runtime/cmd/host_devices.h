/* The devices of this machine, as an import asks for them (struct rt_import_host). */
#pragma once

#include "runtime/spec/import.h"

/* The device at a path, links followed; or all below a directory but those that every container has for itself. */
struct rt_error *rt_host_find_devices(void *userdata, const char *path,
				      void (*visit)(void *visitor, const struct rt_import_device *device), void *visitor) _must_check_;
