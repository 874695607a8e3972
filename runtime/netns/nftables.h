/* nftables: commands as `nft` takes them, through libnftables, and whether a chain is there, by one message to the kernel.
 *
 * Most of what rt-netns is called for in a migration, while the container is frozen, has no rules to change. So libnftables is loaded by the first command only: with what it needs itself it is half
 * of the time that the program takes to start. And a look at a chain must not load it, nor have it read all rules of the host. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

/* In our own network namespace: all of them or none. */
struct rt_error *rt_nftables_run(const char *commands) _must_check_;

/* family: NFPROTO_*. False as well where that can't be found out. */
bool rt_nftables_has_chain(uint8_t family, const char *table, const char *chain);
