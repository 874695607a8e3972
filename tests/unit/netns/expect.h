/* For the tests of this folder: errors by what they say. */
#pragma once

#include "runtime/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The error says these words; it is freed. */
static inline void expect_error(struct rt_error *err, const char *words)
{
	char *text;

	assert_non_null(err);
	text = rt_error_text(err);
	if (!strstr(text, words))
		fail_msg("'%s' is not in '%s'", words, text);
	free(text);
	rt_error_free(err);
}
