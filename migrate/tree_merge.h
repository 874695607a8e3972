/* What the entries of an overlay's upper directory mean where they are put on top of what its lower layers hold, with no overlay below (RT_TREE_MERGED): a
 * whiteout removes, an opaque directory hides. Inside tree_*.c. */
#pragma once

#include "migrate/tree.h"

#include <archive_entry.h>

enum rt_tree_meaning {
	RT_TREE_AS_IT_IS,
	RT_TREE_WHITEOUT, /* the name is gone */
	RT_TREE_OPAQUE, /* a directory, with nothing but what comes of the upper one */
};
/* RT_CONFIG for what can't be put into one directory: parts of files, and directories that are elsewhere. */
struct rt_error *rt_tree_merge_look(struct archive_entry *entry, enum rt_tree_meaning *ret) _must_check_;

/* This name came of the upper directory. */
struct rt_error *rt_tree_merge_note(struct rt_tree_merged *merged, const char *path) _must_check_;
/* Removes what did not from the directory, which is there. */
struct rt_error *rt_tree_merge_hide(const struct rt_tree_merged *merged, int root_fd, const char *path) _must_check_;
