/* What the files of `rt spec generate` share. */
#pragma once

#include "runtime/spec/edit.h"
#include "runtime/spec/generate.h"
#include "runtime/spec/spec.h"

struct rt_generator {
	struct rt_edit edit;
	bool has_args; /* the first --args replaces the template's, the others follow it */
};

struct rt_flag {
	enum rt_generate_stage stage;
	const char *name, *argument; /* as in the help */
	void (*apply)(struct rt_generator *generator, const struct rt_flag *flag, const char *text);
	const char *data;
};

/* One function for each name in the table. */
#define FLAG(stage, kind, name, argument, function, data, help)                                                        \
	void rt_flag_##function(struct rt_generator *generator, const struct rt_flag *flag, const char *text);
#include "runtime/spec/generate_flags.h"

/* The argument is not of the flag's form. */
void rt_flag_reject(struct rt_generator *generator, const struct rt_flag *flag, const char *text);

/* A whole number; NULL (and the generator stopped) where it is none. -1 and the like only where `negative`. */
json_t *rt_flag_number(struct rt_generator *generator, const struct rt_flag *flag, const char *text, bool negative);

/* Takes over `value`, NULL where that has failed already. */
void rt_flag_set(struct rt_generator *generator, const char *path, json_t *value);
void rt_flag_field(struct rt_generator *generator, json_t *object, const char *key, json_t *value);

/* A JSON object out of an argument; NULL (and the generator stopped) where it is none. The caller decrefs it. */
json_t *rt_flag_json(struct rt_generator *generator, const struct rt_flag *flag, const char *text);

/* Stops without memory. */
json_t *rt_flag_new_object(struct rt_generator *generator);
