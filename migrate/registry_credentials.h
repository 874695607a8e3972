/* User and password for a registry, from the file that engines keep them in (containers-auth.json(5), Docker's config.json). What is read here is never
 * logged or told in an error. */
#pragma once

#include "runtime/base/error.h"

struct rt_registry_credentials {
	char *basic; /* base64 of "user:password"; NULL: there are none */
	char *identity; /* in place of a password: a token to get others with; or NULL */
	char *where; /* the file; NULL: there is none */
	char *helper; /* a program of Docker's that would know, and which is not asked; or NULL */
};

/* `authfile` NULL: $REGISTRY_AUTH_FILE, or the first of these that has something for the registry: $XDG_RUNTIME_DIR/containers/auth.json,
 * /run/containers/UID/auth.json, $XDG_CONFIG_HOME/containers/auth.json, ~/.config/containers/auth.json, $DOCKER_CONFIG/config.json,
 * ~/.docker/config.json. A file that was named must be there. The most specific entry counts: HOST/team/web, then HOST/team, then HOST. */
struct rt_error *rt_registry_find_credentials(const char *authfile, const char *host, const char *repository,
					      struct rt_registry_credentials *ret) _must_check_;
/* Wipes. */
void rt_registry_credentials_deinit(struct rt_registry_credentials *credentials);

/* The same from the text of one file; what it has is added to *ret. Pure. */
struct rt_error *rt_registry_read_credentials(const char *text, size_t size, const char *host, const char *repository,
					      struct rt_registry_credentials *ret) _must_check_;
