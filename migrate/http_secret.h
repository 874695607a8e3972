/* Files with secrets, for both sides of HTTP: tokens and keys. What is read here is never logged, and wiped before it is freed. */
#pragma once

#include "runtime/base/error.h"

/* The one line of a token file. RT_CONFIG where others than its owner may read it, or it is no token. *ret goes to rt_secret_free(). */
struct rt_error *rt_secret_load_token(const char *path, char **ret) _must_check_;

/* A private key, PEM: RT_CONFIG where everybody may read it (a group may: that is how keys are shared among daemons). */
struct rt_error *rt_secret_load_key(const char *path, char **ret) _must_check_;

/* Wipes. NULL is fine. */
void rt_secret_free(char *secret);
static inline void rt_secret_freep(char **secret)
{
	rt_secret_free(*secret);
}
