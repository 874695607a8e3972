/* Changing a config.json as the document it is: what nobody here knows of stays in it, in its place.
 *
 * Private to runtime/spec: generate and import write with it. As in the loader, the first error stays in the editor and every
 * later call does nothing, so that writers are lists of fields. Checks of values are the loader's business; only what would
 * not fit into JSON, or into the place in the document, is refused here. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"

struct rt_edit {
	json_t *config;	      /* borrowed; an object */
	struct rt_error *err; /* owned; what stopped it */
	struct rt_arena arena; /* owned: strings taken apart */
};
void rt_edit_deinit(struct rt_edit *edit);

void rt_edit_reject(struct rt_edit *edit, struct rt_error *err);
#define rt_edit_fail(edit, ...)                                                                                        \
	do {                                                                                                           \
		if (!(edit)->err)                                                                                      \
			rt_edit_reject((edit), rt_fail(__VA_ARGS__));                                                  \
	} while (0)

/* Paths are keys with dots between: "linux.resources.memory". What is missing on the way is made; NULL (and the editor
 * stopped) where something else than an object or array is in the way. The result belongs to the document. */
json_t *rt_edit_object(struct rt_edit *edit, const char *path);
json_t *rt_edit_array(struct rt_edit *edit, const char *path);

/* The value at a path, NULL where there is none. */
json_t *rt_edit_peek(const struct rt_edit *edit, const char *path);

/* Takes over `value`; NULL is a lack of memory. */
void rt_edit_set(struct rt_edit *edit, const char *path, json_t *value);
void rt_edit_set_string(struct rt_edit *edit, const char *path, const char *text);
void rt_edit_remove(struct rt_edit *edit, const char *path);

/* An entry of a map whose key may have dots in it. */
void rt_edit_put(struct rt_edit *edit, const char *path, const char *key, json_t *value);

/* Takes over `value`, and appends it. */
void rt_edit_append(struct rt_edit *edit, const char *path, json_t *value);
/* A string that is there once. */
void rt_edit_add_word(struct rt_edit *edit, const char *path, const char *word);
void rt_edit_remove_word(struct rt_edit *edit, const char *path, const char *word);

/* Of an array of objects: the one whose field `key` is this string, NULL where there is none. */
json_t *rt_edit_find(const struct rt_edit *edit, const char *path, const char *key, const char *text);
/* Takes over `entry`, in the place of the one with the same string in `key`, else at the end. */
void rt_edit_replace(struct rt_edit *edit, const char *path, const char *key, json_t *entry);
void rt_edit_remove_entry(struct rt_edit *edit, const char *path, const char *key, const char *text);

/* "a:b:c" in parts, the last of which takes the rest where there are more than `room`; 0 without memory. */
size_t rt_edit_split(struct rt_edit *edit, const char *text, char separator, const char **words, size_t room);

/* Bit n for each known capability of process.capabilities.<set>; and the other way, which makes the set. */
uint64_t rt_edit_caps(const struct rt_edit *edit, const char *set);
void rt_edit_set_caps(struct rt_edit *edit, const char *set, uint64_t caps);

/* linux.seccomp becomes the default profile for the bounding set there is. */
void rt_edit_default_seccomp(struct rt_edit *edit);
