/* The state directory: one file a container, <id>.json, and notes on bridges, with a lock over all.
 *
 * A record is written before anything of it is made, and removed after all of it is gone: so a crash at any point leaves a record
 * by which `rm` finds everything. Files are replaced whole. The last to leave removes the directory. */
#pragma once

#include "runtime/netns/record.h"

struct rt_store {
	int dir_fd; /* -1: there is no directory, which reads as an empty one */
	int lock_fd; /* -1: not locked */
	const char *path; /* borrowed */
};

#define RT_STORE_NULL ((struct rt_store){ .dir_fd = -1, .lock_fd = -1 })

/* For changes: makes the directory where it is missing, and waits for the lock. */
struct rt_error *rt_store_open(const char *path, struct rt_store *ret) _must_check_;
/* For looking only: no lock; a missing directory reads as an empty one. */
struct rt_error *rt_store_look(const char *path, struct rt_store *ret) _must_check_;
/* Removes the directory where nothing but the lock is in it and we hold that. */
void rt_store_close(struct rt_store *store);
#define _cleanup_store_ _cleanup_(rt_store_close)

struct rt_error *rt_store_save(const struct rt_store *store, const struct rt_record *record) _must_check_;
struct rt_error *rt_store_load(const struct rt_store *store, const char *id, struct rt_record *ret, bool *ret_found) _must_check_;
struct rt_error *rt_store_remove(const struct rt_store *store, const char *id) _must_check_;

/* All of them, by id; *ret is the caller's to free. One that can't be read is a warning, so that it doesn't block the others. */
struct rt_error *rt_store_list(const struct rt_store *store, struct rt_record **ret, size_t *ret_count) _must_check_;

/* What we did to a bridge, and must undo when its last container has left. Noted before it is done. */
enum rt_note {
	RT_NOTE_MADE, /* <bridge>.bridge: we made it */
	RT_NOTE_LET_THROUGH, /* <bridge>.forward: see forward.h */
};
struct rt_error *rt_store_note(const struct rt_store *store, const char *bridge, enum rt_note note) _must_check_;
struct rt_error *rt_store_is_noted(const struct rt_store *store, const char *bridge, enum rt_note note, bool *ret) _must_check_;
struct rt_error *rt_store_forget(const struct rt_store *store, const char *bridge, enum rt_note note) _must_check_;
