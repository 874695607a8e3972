/* What went wrong, as a chain: each link says what was being tried, the last one why it failed.
 *
 * A function that can fail returns `struct rt_error *`; NULL means success. The caller owns the error and either
 * returns it (wrapped by rt_while() where it knows a name the callee did not), or frees it. An answer such as "not
 * there" is an output parameter, never an error. Printing happens once, in main(); see rt_error_text(). */
#pragma once

#include "runtime/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

enum rt_code {
	RT_SYSTEM = 1, /* the kernel or the machine refused */
	RT_USAGE, /* the command line is wrong */
	RT_CONFIG, /* config.json, or another file from the user, is wrong */
	RT_NOT_FOUND, /* there is no such container */
	RT_EXISTS, /* the id is taken */
	RT_WRONG_STATE, /* the container exists but is not in a state that allows this */
	RT_CRIU, /* CRIU refused or failed */
	RT_PEER, /* the other host refused or failed */
};

struct rt_error {
	enum rt_code code;
	int errnum; /* errno of the failure, 0 where none applies */
	const char *file; /* where in the source, for --debug */
	int line;
	struct rt_error *cause; /* owned */
	char *message; /* owned; lower case, no full stop, without the errno text */
};

#define rt_fail(code, ...) rt_error_make(__FILE__, __LINE__, (code), 0, NULL, __VA_ARGS__)
#define rt_fail_errno(...) rt_error_make(__FILE__, __LINE__, RT_SYSTEM, errno, NULL, __VA_ARGS__)
/* For calls that return an error number instead of setting errno. */
#define rt_fail_with(errnum, ...) rt_error_make(__FILE__, __LINE__, RT_SYSTEM, (errnum), NULL, __VA_ARGS__)
#define rt_while(cause, ...)                                                                                  \
	({                                                                                                    \
		struct rt_error *cause_ = (cause);                                                            \
		rt_error_make(__FILE__, __LINE__, cause_->code, cause_->errnum, cause_, __VA_ARGS__);         \
	})

/* Makes an error; takes over `cause`. Never returns NULL: without memory it is rt_error_oom(), and `cause` is freed. */
struct rt_error *rt_error_make(const char *file, int line, enum rt_code code, int errnum, struct rt_error *cause,
			       const char *format, ...) _must_check_ __attribute__((format(printf, 6, 7), cold));

/* The one static "out of memory" error; rt_error_free() accepts it. */
struct rt_error *rt_error_oom(void) _must_check_;

/* Frees the whole chain. NULL is fine. Keeps errno. Returns NULL, so that `err = rt_error_free(err)` reads well. */
struct rt_error *rt_error_free(struct rt_error *err);

/* The chain as one sentence, "doing x: doing y: why: Errno text". The caller frees it; NULL without memory. */
char *rt_error_text(const struct rt_error *err);

static inline void rt_error_freep(struct rt_error **err)
{
	rt_error_free(*err);
}
#define _cleanup_error_ _cleanup_(rt_error_freep)
