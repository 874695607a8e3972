/* What somebody wants for a container, put together from the words of the command line, from JSON (`load`, the annotation) and from
 * what the container had before. Pure: which of it can be had is endpoint.h's to find out. */
#pragma once

#include "runtime/netns/network.h"

/* As the options' parser stores them. NULL or zero: not given. */
struct rt_request_words {
	const char *bridge, *ifname;
	const char *subnet, *subnet6; /* "none": no addresses of the family */
	const char *ip, *ip6; /* ADDRESS or ADDRESS/LENGTH */
	const char *gateway, *gateway6;
	const char *mac;
	unsigned mtu;
	bool nat, nat_given, hostless, hostless_given, hold;
	const char *const *publish;
	const char *const *routes;
};

struct rt_request {
	struct rt_network network; /* addresses and gateways where they are fixed, the MAC where it is given */
	struct rt_prefix pools[RT_FAMILIES]; /* where an address that is not fixed comes from; AF_UNSPEC: no address of the family */
	/* The gateway was another host's, perhaps: what the bridge has counts more. */
	bool gateway_is_wish[RT_FAMILIES];
	bool hold;
};

/* `saved` is what `load` read, NULL for none; what an option says counts more. */
struct rt_error *rt_request_make(const struct rt_request_words *words, const struct rt_network *saved, struct rt_request *ret) _must_check_;

/* Takes addresses and MAC of an annotation in the place of what the options say, and the gateways, as wishes, where no option says any. */
void rt_request_follow(struct rt_request *request, const struct rt_network *annotated);

/* Takes what the container had where nothing is fixed and it is still possible: the address if it is in the pool, the MAC if the addresses
 * stay the same. */
void rt_request_keep(struct rt_request *request, const struct rt_network *earlier);
