/* Inside shift*.c. */
#pragma once

#include "runtime/bundle/bundle.h"

#include "runtime/base/json.h"

#include <sys/types.h>

/* What a file is, as far as ids go. */
struct rt_shift_file {
	uint64_t inode;
	int64_t born_s; /* with the inode it names one file for good; 0 where the file system doesn't know */
	uint32_t born_ns;
	uint32_t uid, gid, mode;
	uint8_t caps[RT_CAPS_ROOM];
	size_t caps_size;
	struct rt_shift_acl {
		uint8_t *bytes; /* owned */
		size_t size;
	} access, standard; /* "default" is a word of C */
};
void rt_shift_file_deinit(struct rt_shift_file *file);

/* By an O_PATH descriptor. */
struct rt_error *rt_shift_file_look(int fd, struct rt_shift_file *ret, nlink_t *ret_links) _must_check_;

/* Changes the struct. `change` gets old and new owner, and what is outside; its path is left alone. */
struct rt_error *rt_shift_file_shift(struct rt_shift_file *file, const struct rt_id_shift *shift, struct rt_shift_change *change)
	_must_check_;

/* Makes the file what the struct says, whatever of it is so already. */
struct rt_error *rt_shift_file_apply(int fd, const struct rt_shift_file *file) _must_check_;

/* Every file of a tree but what is mounted in it. `fd` is O_PATH and the visitor's to keep, with rt_take_fd. */
struct rt_shift_walk {
	struct rt_error *(*visit)(void *userdata, int *fd, const char *path);
	void *userdata;
};
struct rt_error *rt_shift_walk(int root_fd, const struct rt_shift_walk *walk) _must_check_;

/* A set of inodes, each with a number. */
struct rt_shift_inodes {
	struct rt_shift_inode {
		uint64_t inode, value; /* inode 0: empty */
	} *slots;
	size_t count, room;
};
struct rt_error *rt_shift_inodes_put(struct rt_shift_inodes *set, uint64_t inode, uint64_t value) _must_check_;
bool rt_shift_inodes_get(const struct rt_shift_inodes *set, uint64_t inode, uint64_t *ret);

/* What was done to a tree, newest last. */
struct rt_error *rt_shift_record_load(int dir_fd, const char *name, json_t **ret) _must_check_;
struct rt_error *rt_shift_record_store(int dir_fd, const char *name, json_t *record) _must_check_;
json_t *rt_shift_record_entry(const struct rt_id_shift *shift); /* NULL without memory */
/* Into ranges that the caller frees. */
struct rt_error *rt_shift_record_ranges(json_t *entry, struct rt_id_shift *ret) _must_check_;
void rt_shift_ranges_free(struct rt_id_shift *shift);

/* The journal: a head that says which shift it is, then a record for each file before it is touched. */
struct rt_shift_journal {
	int fd;
	int dir_fd; /* borrowed */
	char *name; /* owned */
	struct rt_shift_inodes known; /* inode -> offset of its record, of an earlier run */
	json_t *head; /* {"undo": false, "depth": 0, "shift": entry} ; owned */
	char *batch; /* records not written yet */
	size_t batch_size, batch_room;
};
void rt_shift_journal_deinit(struct rt_shift_journal *journal);
/* *ret_found is false where there is none. A torn record at the end is cut off: its file was not touched yet. */
struct rt_error *rt_shift_journal_load(struct rt_shift_journal *journal, bool *ret_found) _must_check_;
struct rt_error *rt_shift_journal_begin(struct rt_shift_journal *journal, json_t *head) _must_check_;
struct rt_error *rt_shift_journal_add(struct rt_shift_journal *journal, const struct rt_shift_file *file) _must_check_;
/* Until it returns nothing of what was added may be touched. */
struct rt_error *rt_shift_journal_sync(struct rt_shift_journal *journal) _must_check_;
/* What an earlier run wrote of this file; *ret_found is false where that was another one, or none. */
struct rt_error *rt_shift_journal_find(struct rt_shift_journal *journal, const struct rt_shift_file *now, struct rt_shift_file *ret,
				       bool *ret_found) _must_check_;
struct rt_error *rt_shift_journal_end(struct rt_shift_journal *journal) _must_check_;

/* config.json of a directory; NULL where there is none. The caller decrefs it. */
struct rt_error *rt_shift_config_load(const char *directory, json_t **ret) _must_check_;
struct rt_error *rt_shift_no_config(const char *directory) _must_check_;
/* Gives it a user namespace with these ranges; NULL: takes namespace and maps away. `mapped`: a mount of the root with these ids, too.
 * Without a config.json: an error. */
struct rt_error *rt_shift_config(const char *directory, const struct rt_id_shift *shift, bool mapped) _must_check_;

/* shift_bundle.c: what is not the tree itself. */

/* An entry of the record that stands for a mount with other ids. */
bool rt_shift_is_mapping(const json_t *entry);
json_t *rt_shift_mapping_entry(const struct rt_id_shift *shift); /* NULL without memory */
/* Whether both are the same shift, or mapping, of the same ids. */
bool rt_shift_same(const json_t *a, const json_t *b);
/* The file system can do it. */
struct rt_error *rt_shift_probe(int tree_fd, const struct rt_id_shift *shift) _must_check_;

/* A bundle that is closed to others, as we make them, must let the container's root through to its root filesystem. What it was before is
 * noted in the entry; *ret_noted: it was not in there, and the entry is to be stored before rt_shift_let_in(). */
struct rt_error *rt_shift_note_bundle(const char *directory, const struct rt_id_shift *shift, json_t *entry, bool *ret_noted) _must_check_;
struct rt_error *rt_shift_let_in(const char *directory, const struct rt_id_shift *shift) _must_check_;
/* As it was before. */
struct rt_error *rt_shift_shut(const char *directory, const json_t *entry) _must_check_;
