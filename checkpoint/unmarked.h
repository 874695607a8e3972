/* A CRIU that passes over memory (known.h) where the kernel keeps no marks of written pages: built without CONFIG_MEM_SOFT_DIRTY, or on a processor for which there are none (arm64).
 *
 * Such a kernel shows all pages as not written to since, which is what a parent that claims everything wants; but CRIU takes no parent then. It asks the kernel once a boot, and keeps the
 * answers in a file (inside.h). So it is born into a mount namespace of its own, where that file is a copy with this one answer changed. What it answers for itself, when it is
 * asked for what it can do, tells whether it has worked; whoever depends on it has to ask. */
#pragma once

#include "runtime/base/error.h"

/* What CRIU keeps; on a tmpfs. */
#define RT_CRIU_KERNEL_CACHE "/run/criu.kdat"

/* The file is there, is written as we know it, and says that the kernel keeps no marks. */
bool rt_unmarked_is_needed(void);
/* The same of its content. */
bool rt_unmarked_is_said(const void *bytes, size_t size);

/* Calls `start`, which starts CRIU, where the changed copy is. Without it where that can't be. */
struct rt_error *rt_unmarked_start(struct rt_error *(*start)(void *userdata), void *userdata) _must_check_;
