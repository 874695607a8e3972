#include "runtime/netns/address.h"

#include "runtime/base/str.h"

#include <arpa/inet.h>

unsigned rt_address_width(int family)
{
	return family == AF_INET ? 32 : 128;
}

size_t rt_address_size(int family)
{
	return rt_address_width(family) / 8;
}

static const char *family_name(int family)
{
	return family == AF_INET ? "IPv4 " : family == AF_INET6 ? "IPv6 " : "";
}

static bool parse_as(const char *text, int family, struct rt_address *ret)
{
	struct rt_address address = { .family = family };

	if (inet_pton(family, text, address.bytes) != 1)
		return false;
	*ret = address;
	return true;
}

struct rt_error *rt_address_parse(const char *text, int family, struct rt_address *ret)
{
	if (family != AF_INET6 && parse_as(text, AF_INET, ret))
		return NULL;
	if (family != AF_INET && parse_as(text, AF_INET6, ret))
		return NULL;
	return rt_fail(RT_USAGE, "'%s' is no %saddress", text, family_name(family));
}

struct rt_error *rt_prefix_parse(const char *text, int family, struct rt_prefix *ret)
{
	const char *slash = strchr(text, '/');
	struct rt_prefix prefix;
	char address[RT_ADDRESS_ROOM];
	struct rt_error *err;
	uint64_t length;

	if (!slash || slash - text >= RT_ADDRESS_ROOM)
		return rt_fail(RT_USAGE, "'%s' is no %sprefix, ADDRESS/LENGTH", text, family_name(family));
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	err = rt_address_parse(address, family, &prefix.address);
	if (err)
		return rt_while(err, "reading prefix '%s'", text);
	if (!rt_str_to_u64(slash + 1, &length) || length > rt_address_width(prefix.address.family))
		return rt_fail(RT_USAGE, "prefix '%s': its length is not between 0 and %u", text,
			       rt_address_width(prefix.address.family));
	prefix.length = (unsigned)length;
	*ret = prefix;
	return NULL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct rt_error *rt_mac_parse(const char *text, struct rt_mac *ret)
{
	struct rt_mac mac;
	const char *at = text;

	for (size_t i = 0; i < sizeof(mac.bytes); i++) {
		int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);

		if (low < 0 || at[2] != (i == sizeof(mac.bytes) - 1 ? '\0' : ':'))
			return rt_fail(RT_USAGE, "'%s' is no hardware address, such as 02:00:5e:10:00:01", text);
		mac.bytes[i] = (uint8_t)(high << 4 | low);
		at += 3;
	}
	if (mac.bytes[0] & 1)
		return rt_fail(RT_USAGE, "'%s' is a group's hardware address, which no device can have", text);
	if (!rt_mac_is_set(&mac))
		return rt_fail(RT_USAGE, "'%s' is no hardware address that a device can have", text);
	*ret = mac;
	return NULL;
}

struct rt_address_text rt_address_text(const struct rt_address *address)
{
	struct rt_address_text ret = { "" };

	if (address->family != AF_UNSPEC)
		inet_ntop(address->family, address->bytes, ret.text, sizeof(ret.text));
	return ret;
}

struct rt_address_text rt_prefix_text(const struct rt_prefix *prefix)
{
	struct rt_address_text ret = rt_address_text(&prefix->address);
	size_t length = strlen(ret.text);

	snprintf(ret.text + length, sizeof(ret.text) - length, "/%u", prefix->length);
	return ret;
}

struct rt_address_text rt_mac_text(const struct rt_mac *mac)
{
	const uint8_t *b = mac->bytes;
	struct rt_address_text ret;

	snprintf(ret.text, sizeof(ret.text), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
	return ret;
}

bool rt_address_equal(const struct rt_address *a, const struct rt_address *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool rt_address_is_any(const struct rt_address *address)
{
	static const uint8_t zero[sizeof(address->bytes)];

	return memcmp(address->bytes, zero, sizeof(zero)) == 0;
}

struct rt_prefix rt_prefix_network(const struct rt_prefix *prefix)
{
	struct rt_prefix ret = *prefix;

	for (unsigned bit = prefix->length; bit < rt_address_width(prefix->address.family); bit++)
		ret.address.bytes[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	return ret;
}

bool rt_prefix_contains(const struct rt_prefix *prefix, const struct rt_address *address)
{
	struct rt_prefix of_address = { .address = *address, .length = prefix->length }, network = rt_prefix_network(prefix);

	if (address->family != prefix->address.family)
		return false;
	of_address = rt_prefix_network(&of_address);
	return rt_address_equal(&of_address.address, &network.address);
}

bool rt_mac_is_set(const struct rt_mac *mac)
{
	static const struct rt_mac none;

	return memcmp(mac, &none, sizeof(none)) != 0;
}
