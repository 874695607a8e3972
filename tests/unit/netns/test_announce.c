#include "runtime/netns/announce.h"

#include "tests/unit/netns/expect.h"

static const struct rt_mac mac = { { 0x02, 0x72, 0xac, 0x13, 0x00, 0x05 } };

static struct rt_address address_of(const char *text)
{
	struct rt_address address;

	assert_null(rt_address_parse(text, AF_UNSPEC, &address));
	return address;
}

static void a_gratuitous_arp_request_is_as_the_rfc_has_it(void **state)
{
	static const uint8_t expected[RT_ARP_FRAME] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x72, 0xac, 0x13, 0x00, 0x05, 0x08, 0x06, /* Ethernet */
		0x00, 0x01, 0x08, 0x00, 6,    4,    0x00, 0x01, /* Ethernet, IPv4, request */
		0x02, 0x72, 0xac, 0x13, 0x00, 0x05, 172,  19,	0,    5, /* who says so */
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 172,  19,	0,    5, /* of whom */
	};
	struct rt_address address = address_of("172.19.0.5");
	uint8_t frame[RT_ARP_FRAME];

	rt_announce_arp(&mac, &address, RT_ARP_REQUEST, frame);
	assert_memory_equal(frame, expected, sizeof(expected));
}

static void a_gratuitous_arp_reply_is_to_everybody(void **state)
{
	struct rt_address address = address_of("172.19.0.5");
	uint8_t frame[RT_ARP_FRAME], request[RT_ARP_FRAME];

	rt_announce_arp(&mac, &address, RT_ARP_REPLY, frame);
	rt_announce_arp(&mac, &address, RT_ARP_REQUEST, request);
	assert_int_equal(frame[21], 2);
	for (size_t i = 32; i < 38; i++)
		assert_int_equal(frame[i], 0xff);
	assert_memory_equal(frame, request, 21);
	assert_memory_equal(frame + 22, request + 22, 10);
	assert_memory_equal(frame + 38, request + 38, 4);
}

static void an_advertisement_is_as_the_rfc_has_it(void **state)
{
	/* The checksum was computed apart, with Python. */
	static const uint8_t expected[RT_ADVERTISEMENT_FRAME] = {
		0x33, 0x33, 0,	  0,	0,    1,    0x02, 0x72, 0xac, 0x13, 0x00, 0x05, 0x86, 0xdd, /* Ethernet */
		0x60, 0,    0,	  0,	0,    32,   58,	  255, /* IPv6: 32 bytes of ICMPv6, hop limit 255 */
		0xfd, 0,    0,	  0,	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0,    0,	  5, /* source */
		0xff, 0x02, 0,	  0,	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0,    0,	  1, /* all nodes */
		136,  0,    0xae, 0x9, 0x20, 0, 0, 0, /* override */
		0xfd, 0,    0,	  0,	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0,    0,	  5, /* target */
		2,    1,    0x02, 0x72, 0xac, 0x13, 0x00, 0x05, /* its link-layer address */
	};
	struct rt_address address = address_of("fd00::5");
	uint8_t frame[RT_ADVERTISEMENT_FRAME];

	rt_announce_advertisement(&mac, &address, frame);
	assert_memory_equal(frame, expected, sizeof(expected));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_gratuitous_arp_request_is_as_the_rfc_has_it),
		cmocka_unit_test(a_gratuitous_arp_reply_is_to_everybody),
		cmocka_unit_test(an_advertisement_is_as_the_rfc_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
