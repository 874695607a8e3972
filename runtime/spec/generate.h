/* `rt spec generate`: a config.json made or changed by the flags of a command line.
 *
 * Pure: it works on the document, knows nothing of command lines but the names of the flags, and asks nobody. What a flag
 * doesn't speak of stays as it is, whether this runtime knows it or not. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>

/* Flags are applied by stage, within a stage in the order they are given: "remove all" and then "add", whatever comes first on
 * the command line; and system call rules after the capabilities that the default profile depends on. */
enum rt_generate_stage {
	RT_GENERATE_CLEAR,
	RT_GENERATE_CHANGE,
	RT_GENERATE_SECCOMP_CLEAR,
	RT_GENERATE_SECCOMP_CHANGE,
	RT_GENERATE_STAGES,
};

/* Indexes of the table of flags, generate_flags.h. */
struct rt_generate_flag {
	size_t flag;
	const char *argument; /* "true" or "false" where the flag takes none; the content, not the name, of an --env-file */
};

/* What it starts from without a template: what `rt spec` writes, but for a program that is no shell: without a terminal, with a
 * root filesystem that can be written, and with the capabilities that engines leave to root. The profile of system calls is made
 * by rt_generate(). The caller decrefs it. */
struct rt_error *rt_generate_base(json_t **ret) _must_check_;

/* Changes `config`. `fresh`: it is rt_generate_base()'s, and gets the default seccomp profile for the capabilities it ends up with.
 * RT_USAGE names the flag, RT_CONFIG the field that stands in the way. The result is not checked: rt_spec_load_text() does. */
struct rt_error *rt_generate(json_t *config, bool fresh, const struct rt_generate_flag *flags, size_t count) _must_check_;
