/* The target's hold on `rt-netns catch`: a child that stands in for the container on its network while nobody has it, from the freeze over there
 * until it runs here. It ends with us, and takes what it made along.
 *
 * Where it can't do its work that is a warning: then what is sent meanwhile is lost, as on any network that is down for a moment. */
#pragma once

#include "migrate/network.h"

#include <sys/types.h>

struct rt_catcher {
	int to, from; /* its standard input and output; -1: there is none */
	pid_t pid;
	bool started;
};

#define RT_CATCHER_NULL ((struct rt_catcher){ .to = -1, .from = -1 })

/* Makes all ready; `log_fd` takes its last words. Does nothing where the network is not ours, or no address came along. */
struct rt_error *rt_catcher_prepare(struct rt_catcher *catcher, const struct rt_network *network, const char *id, int log_fd) _must_check_;
/* Frozen over there: the container's address is here from now on. Waits for nothing. `frames` (tap.h, may be NULL) came before that, and were brought along; called again, it has more of them. */
void rt_catcher_start(struct rt_catcher *catcher, const void *frames, size_t size);
/* The container is about to run: its own device joins the bridge. *ret_joined false: it didn't, and somebody else has to see to it. */
void rt_catcher_join(struct rt_catcher *catcher, bool *ret_joined);
/* It runs: it gets what was kept. Waits for nothing. False: the catcher is gone. */
bool rt_catcher_release(struct rt_catcher *catcher);
/* Until it has ended: what it has not been told to hand over is gone with it. */
void rt_catcher_end(struct rt_catcher *catcher);
