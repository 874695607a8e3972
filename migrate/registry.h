/* One repository of an OCI registry, over HTTP (migrate/http_client.h): blobs and manifests in and out, and who we are to the registry. Knows
 * nothing of snapshots.
 *
 * A registry is somebody else: whatever it sends is bounded before it is read, and held against its digest before it is handed on; a redirect to
 * another host is followed without our credentials, never from https to http, and never with a body of ours.
 *
 * One `struct rt_registry`, one `struct rt_registry_line` a thread. Errors are RT_PEER, and name the host. */
#pragma once

#include "migrate/registry_reference.h"

#include <stdint.h>

struct rt_registry_options {
	const char *ca_file; /* NULL: the system's */
	const char *authfile; /* NULL: the usual ones (registry_credentials.h) */
	bool plain_http; /* plain http to any host, in place of https */
	bool push; /* the right to write is asked for, too */
};

struct rt_registry;
/* Asks the registry who it wants us to be, where there are credentials for it. To a loopback address https is tried first, then http. Borrows the reference. */
struct rt_error *rt_registry_open(const struct rt_registry_reference *reference, const struct rt_registry_options *options,
				  struct rt_registry **ret) _must_check_;
void rt_registry_close(struct rt_registry *registry);
static inline void rt_registry_closep(struct rt_registry **registry)
{
	rt_registry_close(*registry);
}

struct rt_registry_line;
struct rt_error *rt_registry_line_open(struct rt_registry *registry, struct rt_registry_line **ret) _must_check_;
void rt_registry_line_close(struct rt_registry_line *line);
static inline void rt_registry_line_closep(struct rt_registry_line **line)
{
	rt_registry_line_close(*line);
}

/* Digests are "sha256:..." here. */
struct rt_error *rt_registry_has_blob(struct rt_registry_line *line, const char *digest, uint64_t size, bool *ret) _must_check_;
struct rt_error *rt_registry_put_blob(struct rt_registry_line *line, const char *digest, const void *bytes, size_t size) _must_check_;
/* Exactly of this size and digest. The caller frees *ret. */
struct rt_error *rt_registry_get_blob(struct rt_registry_line *line, const char *digest, size_t size, uint8_t **ret) _must_check_;

/* Under the reference's tag. */
struct rt_error *rt_registry_put_manifest(struct rt_registry_line *line, const char *type, const void *bytes, size_t size) _must_check_;
/* Of this media type and at most `limit` bytes; where the reference has a digest, of that. */
struct rt_error *rt_registry_get_manifest(struct rt_registry_line *line, const char *type, size_t limit, char **ret, size_t *ret_size) _must_check_;

/* Calls `each` for 0 to count - 1, in several threads with a line each. The first error ends it. */
typedef struct rt_error *(*rt_registry_each_fn)(void *userdata, struct rt_registry_line *line, size_t number);
struct rt_error *rt_registry_each(struct rt_registry *registry, size_t count, rt_registry_each_fn each, void *userdata) _must_check_;
