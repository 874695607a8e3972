#include "runtime/netns/pool.h"

#include "runtime/base/str.h"

#include <sys/socket.h>

/* What is given out of a larger IPv6 prefix: 16 bits keep the addresses short. */
#define MOST_IPV6_BITS 16

/* Offsets from the network's own address that hosts may have: first..last. */
struct range {
	uint64_t first, last;
};

static struct range range_of(const struct rt_prefix *prefix)
{
	int family = prefix->address.family;
	unsigned bits = rt_address_width(family) - prefix->length;

	if (bits == 0)
		return (struct range){ 0, 0 };
	if (bits == 1)
		return (struct range){ 0, 1 };
	if (family == AF_INET6)
		return (struct range){ 1, (UINT64_C(1) << (bits < MOST_IPV6_BITS ? bits : MOST_IPV6_BITS)) - 1 };
	return (struct range){ 1, (UINT64_C(1) << bits) - 2 };
}

static struct rt_address at_offset(const struct rt_prefix *prefix, uint64_t offset)
{
	struct rt_address address = rt_prefix_network(prefix).address;
	size_t last = rt_address_size(address.family) - 1;

	for (size_t i = 0; i < 4; i++)
		address.bytes[last - i] |= (uint8_t)(offset >> 8 * i);
	return address;
}

uint32_t rt_pool_hash(const void *bytes, size_t size)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * 16777619u;
	return hash;
}

struct rt_address rt_pool_gateway(const struct rt_prefix *prefix)
{
	struct range range = range_of(prefix);

	if (range.first == range.last)
		return (struct rt_address){ .family = AF_UNSPEC };
	return at_offset(prefix, range.first);
}

bool rt_pool_is_taken(const struct rt_pool *pool, const struct rt_address *address)
{
	for (size_t i = 0; i < pool->taken_count; i++)
		if (rt_address_equal(&pool->taken[i], address))
			return true;
	return false;
}

struct rt_error *rt_pool_choose(const struct rt_pool *pool, const char *name, struct rt_address *ret)
{
	struct range range = range_of(&pool->prefix);
	uint64_t count = range.last - range.first + 1, start = rt_pool_hash(name, strlen(name)) % count;

	/* One try more than there are taken addresses finds a free one, if there is any. */
	for (uint64_t i = 0; i < count && i <= pool->taken_count; i++) {
		struct rt_address address = at_offset(&pool->prefix, range.first + (start + i) % count);

		if (!rt_pool_is_taken(pool, &address)) {
			*ret = address;
			return NULL;
		}
	}
	struct rt_prefix network = rt_prefix_network(&pool->prefix);

	return rt_fail(RT_SYSTEM, "no address is left in %s", rt_prefix_text(&network).text);
}

static bool all_host_bits_are(const struct rt_prefix *prefix, const struct rt_address *address, bool value)
{
	for (unsigned bit = prefix->length; bit < rt_address_width(address->family); bit++)
		if (!!(address->bytes[bit / 8] & 0x80 >> bit % 8) != value)
			return false;
	return true;
}

struct rt_error *rt_pool_check(const struct rt_prefix *prefix, const struct rt_address *address)
{
	unsigned bits = rt_address_width(prefix->address.family) - prefix->length;
	struct rt_prefix network = rt_prefix_network(prefix);
	struct rt_address_text text = rt_address_text(address), of = rt_prefix_text(&network);

	if (!rt_prefix_contains(prefix, address))
		return rt_fail(RT_USAGE, "address %s is not in %s", text.text, of.text);
	if (bits > 1 && all_host_bits_are(prefix, address, false))
		return rt_fail(RT_USAGE, "address %s is that of the network %s itself", text.text, of.text);
	if (bits > 1 && address->family == AF_INET && all_host_bits_are(prefix, address, true))
		return rt_fail(RT_USAGE, "address %s is the broadcast address of %s", text.text, of.text);
	return NULL;
}

struct rt_mac rt_pool_mac(const struct rt_address *address)
{
	struct rt_mac mac = { { 0x02, 0x72 } };
	uint32_t hash;

	if (address->family == AF_INET) {
		memcpy(mac.bytes + 2, address->bytes, 4);
		return mac;
	}
	/* 128 bits do not fit: neighbours that share a prefix still differ. */
	hash = rt_pool_hash(address->bytes, sizeof(address->bytes));
	mac.bytes[1] = 0x73;
	for (size_t i = 0; i < 4; i++)
		mac.bytes[2 + i] = (uint8_t)(hash >> 8 * i);
	return mac;
}

struct rt_mac rt_pool_port_mac(const char *name)
{
	uint32_t hash = rt_pool_hash(name, strlen(name));
	struct rt_mac mac = { { 0xfe, 0x72 } };

	memcpy(mac.bytes + 2, &hash, sizeof(hash));
	return mac;
}
