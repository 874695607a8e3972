/* What the files of this folder read config.json with: typed fields that go into a spec, and one place for what is
 * wrong.
 *
 * Private to runtime/spec. A reader is a list of fields, not of error checks: the first violation stays in the loader,
 * every later call does nothing, and whoever made the loader asks for it at the end. With a visitor the loader
 * collects instead: each violation is told and reading goes on with the field as if it were absent, so readers and
 * rules must live with NULL where a required field is missing.
 *
 * An empty string is an absent one, as for runc and the engines that write its files, except in arrays and maps. */
#pragma once

#include "runtime/base/str.h"
#include "runtime/spec/spec.h"

struct rt_loader {
	struct rt_spec *spec;		       /* borrowed; what is being filled */
	const struct rt_spec_visitor *visitor; /* NULL: stop at the first violation */
	struct rt_error *err;		       /* owned; the violation that stopped it */
};

/* A violation of the specification. */
void rt_load_reject(struct rt_loader *loader, struct rt_error *err);
#define rt_load_fail(loader, ...)                                                                                      \
	do {                                                                                                           \
		if (!(loader)->err)                                                                                    \
			rt_load_reject((loader), rt_json_fail(__VA_ARGS__));                                           \
	} while (0)

/* Something tolerated: a line in the log, or a finding for the visitor. */
void rt_load_warn(struct rt_loader *loader, const struct rt_json *at, const char *key, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

/* Something only an auditor wants to know: nothing without a visitor. */
void rt_load_remark(struct rt_loader *loader, const struct rt_json *at, const char *key, const char *what);

/* Zeroed memory that lives as long as the spec; NULL (and the loader stopped) without memory. */
void *rt_load_memory(struct rt_loader *loader, size_t count, size_t size);

/* A required field: a violation where it is absent, null or an empty string. Says whether it is there. */
bool rt_load_needs(struct rt_loader *loader, const struct rt_json *object, const char *key);

/* Fields; an absent one leaves the output as it is. */
struct rt_json rt_load_object(struct rt_loader *loader, const struct rt_json *object, const char *key);
void rt_load_bool(struct rt_loader *loader, const struct rt_json *object, const char *key, bool *ret);
void rt_load_string(struct rt_loader *loader, const struct rt_json *object, const char *key, const char **ret);
void rt_load_i32(struct rt_loader *loader, const struct rt_json *object, const char *key, int32_t *ret);
void rt_load_u32(struct rt_loader *loader, const struct rt_json *object, const char *key, uint32_t *ret);
void rt_load_i64(struct rt_loader *loader, const struct rt_json *object, const char *key, int64_t *ret);
void rt_load_u64(struct rt_loader *loader, const struct rt_json *object, const char *key, uint64_t *ret);

/* The same for optional numbers where zero means something: *ret stays NULL where absent. */
void rt_load_bool_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const bool **ret);
void rt_load_i64_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const int64_t **ret);
void rt_load_u64_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const uint64_t **ret);
void rt_load_u32_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const uint32_t **ret);

/* An array of objects: returns memory for its elements, *ret_count of them, NULL where it is absent or empty. `array`
 * is for rt_load_element(). */
void *rt_load_array(struct rt_loader *loader, const struct rt_json *object, const char *key, size_t size,
		    struct rt_json *array, size_t *ret_count);
/* Its element; value is NULL where that isn't an object. */
struct rt_json rt_load_element(struct rt_loader *loader, const struct rt_json *array, size_t index);

/* An array of strings, NULL-terminated; *ret stays NULL where it is absent, but not where it is empty. */
void rt_load_strings(struct rt_loader *loader, const struct rt_json *object, const char *key, const char *const **ret,
		     size_t *ret_count);

/* An object of strings, in the order of the file. */
void rt_load_map(struct rt_loader *loader, const struct rt_json *object, const char *key,
		 const struct rt_spec_key_value **ret, size_t *ret_count);

/* A field of a fixed set of words; NULL-ended tables in names.c. Unknown ones are a violation that lists the set. *ret
 * is left where the field is absent. Says whether it was there and known. */
struct rt_word {
	const char *name;
	uint64_t value;
};
bool rt_load_word(struct rt_loader *loader, const struct rt_json *object, const char *key, const struct rt_word *words,
		  uint64_t *ret);
/* An array of such words, or-ed together. */
void rt_load_word_set(struct rt_loader *loader, const struct rt_json *object, const char *key,
		      const struct rt_word *words, uint64_t *ret);
bool rt_word_find(const struct rt_word *words, const char *name, uint64_t *ret);

extern const struct rt_word rt_words_namespace[], rt_words_rlimit[], rt_words_scheduler_policy[],
	rt_words_scheduler_flag[], rt_words_io_class[], rt_words_seccomp_action[], rt_words_seccomp_op[],
	rt_words_seccomp_arch[], rt_words_seccomp_flag[], rt_words_memory_mode[], rt_words_memory_flag[],
	rt_words_personality[], rt_words_propagation[];

/* "0-3,7": lists of CPUs or memory nodes. */
bool rt_number_list_valid(const char *list);

/* The parts of the document. */
void rt_load_spec_process(struct rt_loader *loader, const struct rt_json *process);
void rt_load_spec_mounts(struct rt_loader *loader, const struct rt_json *root);
void rt_load_spec_linux(struct rt_loader *loader, const struct rt_json *root);
void rt_load_spec_resources(struct rt_loader *loader, const struct rt_json *resources);
void rt_load_spec_seccomp(struct rt_loader *loader, const struct rt_json *linux_object);
struct rt_id_maps rt_load_id_maps(struct rt_loader *loader, const struct rt_json *object, const char *key);

/* What no single field can tell: rules between the parts (validate.c). */
void rt_validate(struct rt_loader *loader);
/* The section of the specification that a field belongs to, "config-linux.md#memory". */
const char *rt_spec_section(const char *path);
