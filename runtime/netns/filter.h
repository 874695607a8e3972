/* NAT and published ports, as one table of nftables that is ours alone, written anew as a whole from all records.
 *
 * Nobody else's table is touched: CRIU keeps its network lock in one, inside the container. The rules, and why: see filter.c. */
#pragma once

#include "runtime/netns/store.h"

/* Whether the container needs any rule. */
bool rt_filter_is_needed(const struct rt_record *record);

/* One table a state directory; RT_FILTER_NAME_ROOM bytes. */
#define RT_FILTER_NAME_ROOM 32
void rt_filter_name(const char *state_directory, char ret[RT_FILTER_NAME_ROOM]);

/* The commands of nft that make the table say what the records want, or take it away where they want nothing. Pure; the caller frees
 * *ret. */
struct rt_error *rt_filter_text(const char *table, const struct rt_record *records, size_t count, char **ret) _must_check_;
