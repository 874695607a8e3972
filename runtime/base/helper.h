/* Finding the helper programs of `rt`: what a small static binary does not carry lives in libexec. */
#pragma once

#include "runtime/base/error.h"

/* Where a helper was installed, or, for a build that is not, beside `rt` or in `folder` there (the build directory's layout). `needed_by` is for the
 * message: "archives". The caller frees *ret. */
struct rt_error *rt_helper_find(const char *name, const char *folder, const char *needed_by, char **ret) _must_check_;
