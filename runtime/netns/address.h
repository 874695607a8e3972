/* IPv4 and IPv6 addresses, prefixes and hardware addresses as values: parsing, printing, comparing.
 *
 * Pure: no I/O, no memory. Uses runtime/base only. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

struct rt_address {
	int family; /* AF_INET, AF_INET6; AF_UNSPEC: none */
	uint8_t bytes[16]; /* network order; IPv4 uses the first four, the rest is zero */
};

struct rt_prefix {
	struct rt_address address; /* with its host bits, where it says where somebody lives: 10.0.0.5/24 */
	unsigned length;
};

struct rt_mac {
	uint8_t bytes[6];
};

/* Room for the text of any of them, NUL included. */
#define RT_ADDRESS_ROOM 64
struct rt_address_text {
	char text[RT_ADDRESS_ROOM];
};

/* RT_USAGE errors that quote the text. `family` AF_UNSPEC takes both. */
struct rt_error *rt_address_parse(const char *text, int family, struct rt_address *ret) _must_check_;
struct rt_error *rt_prefix_parse(const char *text, int family, struct rt_prefix *ret) _must_check_;
/* A unicast one that is not all zeroes. */
struct rt_error *rt_mac_parse(const char *text, struct rt_mac *ret) _must_check_;

struct rt_address_text rt_address_text(const struct rt_address *address);
struct rt_address_text rt_prefix_text(const struct rt_prefix *prefix);
struct rt_address_text rt_mac_text(const struct rt_mac *mac);

unsigned rt_address_width(int family); /* in bits: 32 or 128 */
size_t rt_address_size(int family); /* in bytes */
bool rt_address_equal(const struct rt_address *a, const struct rt_address *b);
bool rt_address_is_any(const struct rt_address *address); /* 0.0.0.0, ::, or none */
bool rt_prefix_contains(const struct rt_prefix *prefix, const struct rt_address *address);
/* The prefix without its host bits: 10.0.0.5/24 -> 10.0.0.0/24. */
struct rt_prefix rt_prefix_network(const struct rt_prefix *prefix);
bool rt_mac_is_set(const struct rt_mac *mac);
