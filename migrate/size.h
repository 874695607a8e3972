/* Numbers of bytes as people write them: "4096", "64K", "100M", "2G", powers of 1024. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

/* `option` is for the message. RT_USAGE. */
struct rt_error *rt_size_option(const char *option, const char *text, uint64_t *ret) _must_check_;
