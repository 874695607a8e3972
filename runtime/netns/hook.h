/* rt-netns as an OCI hook: the state of the container comes as JSON on standard input, and says by its status what to do.
 *
 * creating, created, running: the network is made (prestart, createRuntime). An annotation `org.rt.netns` of the state, or else of the bundle's config.json,
 * JSON as `save` prints it, says which addresses and which MAC the container must get, as after a migration; with "hold": true it stays
 * off the bridge until `release`, whatever the options say. stopped: it is removed (poststop). */
#pragma once

#include "runtime/netns/request.h"

#include <sys/types.h>

struct rt_hook_annotation {
	bool there; /* false: nothing of the rest */
	bool hold;
	struct rt_network network;
};

struct rt_hook_state {
	char *id, *bundle; /* owned */
	bool stopped;
	pid_t pid; /* 0 where it is stopped */
	struct rt_hook_annotation annotation; /* of the configuration that the container has, which may be another than its bundle's */
};
void rt_hook_state_deinit(struct rt_hook_state *state);

/* Pure. RT_CONFIG names the field. */
struct rt_error *rt_hook_state_parse(const char *text, size_t size, struct rt_hook_state *ret) _must_check_;

/* What the hook wants to know of config.json. */
struct rt_hook_config {
	char *netns; /* path of the network namespace that the container joins; NULL: one of its own. Owned */
	struct rt_hook_annotation annotation;
};
void rt_hook_config_deinit(struct rt_hook_config *config);

/* Pure. */
struct rt_error *rt_hook_config_parse(const char *text, size_t size, struct rt_hook_config *ret) _must_check_;

/* Reads the state on standard input, and does it. `netns`: a namespace in the place of its process's, which may be anything that lives; NULL: none. */
struct rt_error *rt_hook_run(const char *state_directory, const struct rt_request_words *words, const char *netns) _must_check_;
