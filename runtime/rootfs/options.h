/* Mount options: the words of config.json and what each of them means, in one table.
 *
 * Words that are in no table belong to the file system and are handed to it as they are. Pure. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/base/error.h"

#include <stdint.h>

#define RT_MOST_PROPAGATIONS 4

struct rt_mount_options {
	/* MOUNT_ATTR_* of the mount itself; where an atime mode is asked for, `clear` holds MOUNT_ATTR__ATIME. */
	uint64_t set, clear;
	/* the same for the mount and everything below ("rro") */
	uint64_t recursive_set, recursive_clear;
	bool bind, recursive, remount; /* "rbind" is bind and recursive */
	bool idmap, recursive_idmap;
	bool copy_up; /* "tmpcopyup" */
	bool copy_symlink, source_nofollow, destination_nofollow;
	struct {
		uint64_t type; /* MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE */
		bool recursive;
	} propagations[RT_MOST_PROPAGATIONS]; /* done one after the other: "slave" and then "shared" makes both */
	size_t propagation_count;
	const char *const *data; /* for the file system; strings of the arena or of the words given */
	size_t data_count;
	const char *const *wishes; /* words mount(2) takes for any file system and many don't know: not worth failing for */
	size_t wish_count;
};

/* Later words win over earlier ones. RT_CONFIG where words contradict each other. */
struct rt_error *rt_mount_options_parse(const char *const *words, size_t count, struct rt_arena *arena,
					struct rt_mount_options *ret) _must_check_;

/* The words of the table, for `rt features`. Fills up to `room`, returns how many there are. */
size_t rt_mount_option_names(const char **names, size_t room);
