/* Where ids are kept in a file, and what they become under other ids: owners, POSIX ACLs, file capabilities.
 *
 * Pure: bytes in, bytes out; who reads and writes the attributes is elsewhere (unpack_entry.c, shift_file.c). A shift is a list
 * of ranges, in the spec's own struct: container_id is what an id is now, host_id what it becomes. No ranges: every id stays. */
#pragma once

#include "runtime/spec/spec.h"

#define RT_XATTR_CAPS "security.capability"
#define RT_XATTR_ACL_ACCESS "system.posix_acl_access"
#define RT_XATTR_ACL_DEFAULT "system.posix_acl_default"

struct rt_id_shift {
	struct rt_id_maps uids, gids;
	bool keep_others; /* ids in none of the ranges stay, unless others are shifted to where they are: who could tell them apart? */
};

/* False: the id is in none of the ranges; *ret stays as it was. */
bool rt_id_map(const struct rt_id_maps *ranges, uint32_t id, uint32_t *ret);
bool rt_id_shift_uid(const struct rt_id_shift *shift, uint32_t uid, uint32_t *ret);
bool rt_id_shift_gid(const struct rt_id_shift *shift, uint32_t gid, uint32_t *ret);

/* "BASE:LENGTH" to two numbers that stay below 2^32 - 1 (which is no id). False: it is none. */
bool rt_id_range_parse(const char *text, uint32_t *ret_base, uint32_t *ret_length);

/* The other way round, into `entries`, which has room for all of them. */
void rt_id_maps_invert(const struct rt_id_maps *ranges, struct rt_id_map *entries);

/* Whether two ranges share an id, on either side: then it isn't clear what becomes of it. */
bool rt_id_maps_overlap(const struct rt_id_maps *ranges);

enum rt_id_result {
	RT_ID_SAME,
	RT_ID_CHANGED,
	RT_ID_OUTSIDE, /* *ret_id is in no range */
	RT_ID_DAMAGED, /* it isn't what it should be */
};

/* A POSIX ACL as the kernel keeps it in an extended attribute; changed where it stands. */
enum rt_id_result rt_acl_shift(uint8_t *bytes, size_t size, const struct rt_id_shift *shift, uint32_t *ret_id);

/* File capabilities: the id of the root they are for. Version 2 is for root itself, and becomes version 3 where that is another
 * id; the other way round, too, so that a shift that is undone leaves what was there. `bytes` has room for RT_CAPS_ROOM. */
#define RT_CAPS_ROOM 24
enum rt_id_result rt_caps_shift(uint8_t *bytes, size_t *size, const struct rt_id_shift *shift, uint32_t *ret_id);
