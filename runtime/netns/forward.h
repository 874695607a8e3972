/* Docker sets the policy of the host's forwarding to "drop", which no rule of our own table can undo. It keeps a chain for others to say
 * what passes all the same, DOCKER-USER: two rules for the bridge go there, with iptables, as Docker itself makes them. */
#pragma once

#include "runtime/netns/store.h"

/* Lets through what comes from the bridge and what goes to it, where there is such a chain. There already: fine. */
struct rt_error *rt_forward_let(const struct rt_store *store, const char *bridge) _must_check_;
/* Takes away what the note says that we added. */
struct rt_error *rt_forward_stop(const struct rt_store *store, const char *bridge) _must_check_;
