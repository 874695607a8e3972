/* Fills the directory that the starts from one snapshot share: clone_cache.h. */
#pragma once

#include "checkpoint/snapshot.h"

/* `whole`: CRIU gets all of the memory in its images, and nothing is handed out lazily. */
struct rt_error *rt_clone_fill(const struct rt_store *store, const Rt__Snapshot *snapshot, bool whole, int dir_fd, const char *path) _must_check_;
