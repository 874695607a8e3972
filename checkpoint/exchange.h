/* Checkpoints in archives: a directory for the images while CRIU works, and what goes between it and the archive. */
#pragma once

#include "checkpoint/options.h"

/* A directory of our own for images, 0700, below $TMPDIR or /var/tmp; removed with all it holds by rt_exchange_deinit(). */
struct rt_exchange {
	char *directory; /* NULL: none was needed */
	char *images; /* where CRIU's images are: the directory, or "checkpoint" in it after an import */
	bool keep; /* left where it is: it holds the only copy */
};
#define RT_EXCHANGE_NULL ((struct rt_exchange){ .directory = NULL })
void rt_exchange_deinit(struct rt_exchange *exchange);

/* Before a dump: refuses an export_file that could not be written; where it is given without an image path, sets the latter to a fresh
 * directory. */
struct rt_error *rt_exchange_prepare(struct rt_exchange *exchange, struct rt_criu_settings *settings) _must_check_;

/* After it: writes the archive. Nothing happens without settings->export_file. When it fails the images stay, as the error says where. */
struct rt_error *rt_exchange_export(struct rt_exchange *exchange, const struct rt_criu_settings *settings, const char *rootfs) _must_check_;

/* Before a restore: unpacks settings->import_file, the changes of the root filesystem into `rootfs`, and sets the image path. Nothing
 * happens without one. */
struct rt_error *rt_exchange_import(struct rt_exchange *exchange, struct rt_criu_settings *settings, const char *rootfs) _must_check_;

/* Whether what CRIU writes beside the images, its log, is still there after rt_exchange_deinit(). */
bool rt_exchange_keeps_log(const struct rt_exchange *exchange, const struct rt_criu_settings *settings);

/* For inspect: everything of an archive but memory and root filesystem. */
struct rt_error *rt_exchange_look_into(struct rt_exchange *exchange, const char *file) _must_check_;
