/* What registry.c (who we are), registry_line.c (a request and its answer) and registry_blobs.c (what is asked) share. Nobody else includes this. */
#pragma once

#include "migrate/http_client.h"
#include "migrate/registry.h"
#include "migrate/registry_challenge.h"
#include "migrate/registry_credentials.h"

#include <pthread.h>

#define RT_REGISTRY_PATH_MAX 4096

/* A URL of the registry's, taken apart. */
struct rt_registry_url {
	bool https;
	char origin[512]; /* "https://host:443" */
	char target[RT_REGISTRY_PATH_MAX]; /* "/path?query" */
};

struct rt_registry {
	const struct rt_registry_reference *reference;
	struct rt_registry_options options;
	char origin[512];
	bool https;
	struct rt_http_client *client;
	struct rt_registry_credentials credentials;
	pthread_mutex_t lock; /* of what follows */
	char *authorization; /* the whole header, a secret; NULL: none */
	unsigned generation; /* counts what `authorization` has been */
	struct rt_registry_challenge bearer; /* the last that told where tokens are to be had, if one did */
	bool has_bearer;
};

struct rt_registry_line {
	struct rt_registry *registry;
	struct rt_http_connection *connection;
	/* To where the registry sent us last. */
	char elsewhere[512];
	struct rt_http_client *other_client;
	struct rt_http_connection *other;
	struct rt_http_connection *answered; /* which of the two did: borrowed */
	bool broken; /* there was no answer to the last request, or not all of one */
};

/* `reference` as it stands in an answer to a request for `target` at `origin`; false: it is no http or https URL, or has a user in it. */
bool rt_registry_resolve(const char *origin, const char *target, const char *reference, struct rt_registry_url *ret);

/* Says who we are as the challenges in the answer on this connection want it, unless another thread has since `generation`. */
struct rt_error *rt_registry_authorize(struct rt_registry *registry, const struct rt_http_connection *connection, unsigned generation) _must_check_;

/* Before something is tried again: 0.2, 0.6, 1.8 ... seconds. */
void rt_registry_wait(unsigned number);

/* With our authorization, once more where that has to be renewed, and a few times more where the registry is busy. Any status but 401 is an answer. */
struct rt_error *rt_registry_ask(struct rt_registry_line *line, struct rt_http_request *request, struct rt_http_answer *ret) _must_check_;
/* GET or HEAD: redirects are followed. */
struct rt_error *rt_registry_fetch(struct rt_registry_line *line, struct rt_http_request *request, struct rt_http_answer *ret) _must_check_;

/* The registry's "no", as a sentence: its code and message where it sent them as JSON, else the beginning of what it sent. */
struct rt_error *rt_registry_refused(const struct rt_registry *registry, const struct rt_http_request *request,
				     const struct rt_http_answer *answer) _must_check_;
