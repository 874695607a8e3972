/* Unix sockets by path. */
#pragma once

#include "runtime/base/error.h"

/* Connects to a listening stream socket. Paths longer than the kernel's 107 bytes will do. *ret is the caller's to
 * close. */
struct rt_error *rt_sys_connect(const char *path, int *ret) _must_check_;
