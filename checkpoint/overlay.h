/* What layers an overlay has, as mountinfo tells it. */
#pragma once

#include "runtime/base/error.h"

/* Of the last mount on `path`, which is clean and absolute. *ret_upper and *ret_lowers (a list with colons, still escaped) are the caller's to free; NULL
 * where there is no overlay, or it has none. */
struct rt_error *rt_overlay_find(const char *path, char **ret_upper, char **ret_lowers) _must_check_;

/* overlayfs puts a backslash before commas, colons and backslashes. In place. */
void rt_overlay_unescape(char *text);
