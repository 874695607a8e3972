/* What a container gets, of what is wanted, what others have and what the bridge is like. Changes nothing. */
#pragma once

#include "runtime/netns/bridge.h"
#include "runtime/netns/request.h"

struct rt_allotment {
	const struct rt_store *store; /* locked */
	struct rt_link *link; /* of the host */
	const struct rt_record *records; /* all; that of the container itself does not count */
	size_t count;
	const char *id;
	const struct rt_request *request;
};

/* Addresses, gateways and MAC are filled in; RT_EXISTS names who has what was asked for. */
struct rt_error *rt_allot(const struct rt_allotment *allotment, struct rt_network *ret, struct rt_bridge *ret_bridge) _must_check_;
