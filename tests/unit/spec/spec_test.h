/* Helpers of the spec tests: documents are written with single quotes, and fail with one sentence. */
#pragma once

#include "runtime/spec/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A config around a part of it: what every document needs, then `...` as further members. */
#define CONFIG(members) "{'ociVersion':'1.3.0','root':{'path':'rootfs'}" members "}"
#define PROCESS(members) CONFIG(",'process':{'cwd':'/','args':['sh']" members "}")
#define LINUX(members) CONFIG(",'linux':{" members "}")

struct refusal {
	const char *config, *message;
};

static inline char *with_double_quotes(const char *text)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	for (char *at = copy; *at; at++) {
		if (*at == '\'')
			*at = '"';
	}
	return copy;
}

typedef struct rt_error *load_function(const char *text, size_t size, const char *name, struct rt_spec **ret);

static inline struct rt_spec *load_with(load_function *load, const char *config)
{
	_cleanup_free_ char *text = with_double_quotes(config);
	struct rt_spec *spec = NULL;
	_cleanup_error_ struct rt_error *err = load(text, strlen(text), "test", &spec);

	if (err) {
		_cleanup_free_ char *why = rt_error_text(err);

		fail_msg("%s\n%s", config, why);
	}
	return spec;
}

static inline struct rt_spec *load(const char *config)
{
	return load_with(rt_spec_load_text, config);
}

static inline void assert_refused_by(load_function *load, const char *config, const char *message)
{
	_cleanup_free_ char *text = with_double_quotes(config), *why = NULL;
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	_cleanup_error_ struct rt_error *err = load(text, strlen(text), "test", &spec);

	if (!err)
		fail_msg("accepted: %s", config);
	assert_null(spec);
	assert_int_equal(err->code, RT_CONFIG);
	why = rt_error_text(err);
	assert_non_null(why);
	if (!strstr(why, message))
		fail_msg("%s\nsays \"%s\"\nnot  \"%s\"", config, why, message);
}

static inline void assert_refused(const char *config, const char *message)
{
	assert_refused_by(rt_spec_load_text, config, message);
}

#define assert_all_refused(list)                                                                                       \
	do {                                                                                                           \
		for (size_t i_ = 0; i_ < RT_ARRAY_SIZE(list); i_++)                                                    \
			assert_refused((list)[i_].config, (list)[i_].message);                                         \
	} while (0)
