#include "runtime/bundle/ids.h"

#include "runtime/base/str.h"

#include <endian.h>
#include <linux/capability.h>
#include <string.h>

/* linux/posix_acl_xattr.h and posix_acl.h are not for user space; the format is fixed. */
#define ACL_VERSION 2
#define ACL_TAG_USER 0x02
#define ACL_TAG_GROUP 0x08
#define ACL_HEADER 4
#define ACL_ENTRY 8

#define CAPS_SIZE_2 20
#define CAPS_SIZE_3 24

bool rt_id_map(const struct rt_id_maps *ranges, uint32_t id, uint32_t *ret)
{
	if (ranges->count == 0) {
		*ret = id;
		return true;
	}
	for (size_t i = 0; i < ranges->count; i++) {
		const struct rt_id_map *range = &ranges->entries[i];

		if (id >= range->container_id && id - range->container_id < range->size) {
			*ret = range->host_id + (id - range->container_id);
			return true;
		}
	}
	return false;
}

static bool is_target(const struct rt_id_maps *ranges, uint32_t id)
{
	for (size_t i = 0; i < ranges->count; i++)
		if (id >= ranges->entries[i].host_id && id - ranges->entries[i].host_id < ranges->entries[i].size)
			return true;
	return false;
}

static bool map_or_keep(const struct rt_id_shift *shift, const struct rt_id_maps *ranges, uint32_t id, uint32_t *ret)
{
	if (rt_id_map(ranges, id, ret))
		return true;
	if (!shift->keep_others || is_target(ranges, id))
		return false;
	*ret = id;
	return true;
}

bool rt_id_shift_uid(const struct rt_id_shift *shift, uint32_t uid, uint32_t *ret)
{
	return map_or_keep(shift, &shift->uids, uid, ret);
}

bool rt_id_shift_gid(const struct rt_id_shift *shift, uint32_t gid, uint32_t *ret)
{
	return map_or_keep(shift, &shift->gids, gid, ret);
}

bool rt_id_range_parse(const char *text, uint32_t *ret_base, uint32_t *ret_length)
{
	const char *colon = strchr(text, ':');
	uint64_t base, length;
	char first[16];

	if (!colon || (size_t)(colon - text) >= sizeof(first))
		return false;
	memcpy(first, text, (size_t)(colon - text));
	first[colon - text] = '\0';
	if (!rt_str_to_u64(first, &base) || !rt_str_to_u64(colon + 1, &length) || base >= UINT32_MAX || length == 0 ||
	    length > UINT32_MAX - base)
		return false;
	*ret_base = (uint32_t)base;
	*ret_length = (uint32_t)length;
	return true;
}

void rt_id_maps_invert(const struct rt_id_maps *ranges, struct rt_id_map *entries)
{
	for (size_t i = 0; i < ranges->count; i++) {
		entries[i] = (struct rt_id_map){ .container_id = ranges->entries[i].host_id,
						 .host_id = ranges->entries[i].container_id,
						 .size = ranges->entries[i].size };
	}
}

static bool share_an_id(uint32_t a, uint32_t b, uint32_t a_size, uint32_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

bool rt_id_maps_overlap(const struct rt_id_maps *ranges)
{
	for (size_t i = 0; i < ranges->count; i++) {
		for (size_t j = i + 1; j < ranges->count; j++) {
			const struct rt_id_map *a = &ranges->entries[i], *b = &ranges->entries[j];

			if (share_an_id(a->container_id, b->container_id, a->size, b->size) ||
			    share_an_id(a->host_id, b->host_id, a->size, b->size))
				return true;
		}
	}
	return false;
}

static uint32_t get_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static void put_u32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

enum rt_id_result rt_acl_shift(uint8_t *bytes, size_t size, const struct rt_id_shift *shift, uint32_t *ret_id)
{
	enum rt_id_result result = RT_ID_SAME;

	if (size < ACL_HEADER || (size - ACL_HEADER) % ACL_ENTRY || get_u32(bytes) != ACL_VERSION)
		return RT_ID_DAMAGED;
	for (uint8_t *entry = bytes + ACL_HEADER; entry < bytes + size; entry += ACL_ENTRY) {
		unsigned tag = entry[0] | (unsigned)entry[1] << 8;
		uint32_t id = get_u32(entry + 4), fresh;

		if (tag != ACL_TAG_USER && tag != ACL_TAG_GROUP)
			continue;
		if (!map_or_keep(shift, tag == ACL_TAG_USER ? &shift->uids : &shift->gids, id, &fresh)) {
			*ret_id = id;
			return RT_ID_OUTSIDE;
		}
		if (fresh != id)
			result = RT_ID_CHANGED;
		put_u32(entry + 4, fresh);
	}
	return result;
}

enum rt_id_result rt_caps_shift(uint8_t *bytes, size_t *size, const struct rt_id_shift *shift, uint32_t *ret_id)
{
	uint32_t magic = *size >= 4 ? get_u32(bytes) : 0, root = 0, fresh;
	uint32_t version = magic & VFS_CAP_REVISION_MASK;

	/* Version 1 has not been written since 2008; it is for the real root alone. */
	if (version == VFS_CAP_REVISION_1 && *size == 12)
		return RT_ID_SAME;
	if (version == VFS_CAP_REVISION_3 && *size == CAPS_SIZE_3)
		root = get_u32(bytes + CAPS_SIZE_2);
	else if (version != VFS_CAP_REVISION_2 || *size != CAPS_SIZE_2)
		return RT_ID_DAMAGED;
	if (!rt_id_shift_uid(shift, root, &fresh)) {
		*ret_id = root;
		return RT_ID_OUTSIDE;
	}
	if (fresh == root)
		return RT_ID_SAME;
	magic = (magic & ~(uint32_t)VFS_CAP_REVISION_MASK) | (fresh ? VFS_CAP_REVISION_3 : VFS_CAP_REVISION_2);
	put_u32(bytes, magic);
	put_u32(bytes + CAPS_SIZE_2, fresh);
	*size = fresh ? CAPS_SIZE_3 : CAPS_SIZE_2;
	return RT_ID_CHANGED;
}
