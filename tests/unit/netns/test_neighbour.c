#include "runtime/netns/neighbour.h"

#include "tests/unit/netns/expect.h"

static const struct rt_mac asker = { { 0x02, 1, 2, 3, 4, 5 } };

static struct rt_address address_of(const char *text)
{
	struct rt_address address;

	assert_null(rt_address_parse(text, AF_UNSPEC, &address));
	return address;
}

static struct rt_network network_of(const char *four, const char *six)
{
	struct rt_network network = { .mac = { { 0x02, 0x72, 0xac, 0x13, 0x00, 0x05 } } };

	if (four)
		network.legs[RT_IPV4].address.address = address_of(four);
	if (six)
		network.legs[RT_IPV6].address.address = address_of(six);
	return network;
}

/* An ARP request of 172.19.0.9 for the address. */
static void ask_arp(const char *who_has, uint8_t ret[RT_ARP_FRAME])
{
	struct rt_address own = address_of("172.19.0.9"), wanted = address_of(who_has);

	rt_announce_arp(&asker, &own, RT_ARP_REQUEST, ret);
	memcpy(ret + 38, wanted.bytes, 4);
}

/* A neighbour solicitation of fd00::9 for the address. */
static void solicit(const char *from, const char *who_has, uint8_t ret[RT_ADVERTISEMENT_FRAME])
{
	struct rt_address own = address_of(from), wanted = address_of(who_has);

	rt_announce_advertisement(&asker, &own, ret);
	ret[54] = 135;
	memcpy(ret + 62, wanted.bytes, 16);
}

static void a_frame_to_its_hardware_address_is_kept(void **state)
{
	struct rt_network network = network_of("172.19.0.5", "fd00::5");
	struct rt_neighbour_answer answer;
	uint8_t frame[60] = { 0 };

	memcpy(frame, network.mac.bytes, 6);
	memcpy(frame + 6, asker.bytes, 6);
	frame[12] = 8;
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_KEEP);
	/* The least that can be one. */
	assert_int_equal(rt_neighbour_judge(&network, frame, 14, &answer), RT_NEIGHBOUR_KEEP);
	assert_int_equal(rt_neighbour_judge(&network, frame, 13, &answer), RT_NEIGHBOUR_PASS);
}

static void a_frame_to_another_to_all_or_of_its_own_is_passed_over(void **state)
{
	struct rt_network network = network_of("172.19.0.5", "fd00::5");
	struct rt_neighbour_answer answer;
	uint8_t frame[60];

	memset(frame, 0xff, sizeof(frame));
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_PASS);
	memcpy(frame, asker.bytes, 6);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_PASS);
	memcpy(frame, network.mac.bytes, 6);
	memcpy(frame + 6, network.mac.bytes, 6);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_PASS);
}

static void who_asks_for_its_ipv4_address_is_answered(void **state)
{
	static const uint8_t expected[RT_ARP_FRAME] = {
		0x02, 1,    2,	  3,	4,    5,    0x02, 0x72, 0xac, 0x13, 0x00, 0x05, 0x08, 0x06, /* Ethernet, to who asked */
		0x00, 0x01, 0x08, 0x00, 6,    4,    0x00, 0x02, /* a reply */
		0x02, 0x72, 0xac, 0x13, 0x00, 0x05, 172,  19,	0,    5,
		0x02, 1,    2,	  3,	4,    5,    172,  19,	0,    9,
	};
	struct rt_network network = network_of("172.19.0.5", NULL);
	struct rt_neighbour_answer answer;
	uint8_t frame[RT_ARP_FRAME];

	ask_arp("172.19.0.5", frame);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_ANSWER);
	assert_int_equal(answer.size, sizeof(expected));
	assert_memory_equal(answer.frame, expected, sizeof(expected));
	/* Also one that was sent to it alone, as for refreshing what one knows. */
	memcpy(frame, network.mac.bytes, 6);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_ANSWER);
}

static void other_arp_is_not_answered(void **state)
{
	struct rt_network network = network_of("172.19.0.5", NULL), only_six = network_of(NULL, "fd00::5");
	struct rt_neighbour_answer answer;
	uint8_t frame[RT_ARP_FRAME];

	ask_arp("172.19.0.6", frame);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_PASS);
	ask_arp("172.19.0.5", frame);
	assert_int_equal(rt_neighbour_judge(&only_six, frame, sizeof(frame), &answer), RT_NEIGHBOUR_PASS);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame) - 1, &answer), RT_NEIGHBOUR_PASS);
	frame[21] = 2; /* a reply, which the container may wait for */
	memcpy(frame, network.mac.bytes, 6);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_KEEP);
}

/* RFC 1071: over all of it, the checksum included, nothing remains. */
static unsigned rest_of_checksum(const uint8_t *frame)
{
	uint32_t sum = 32 + 58;

	for (unsigned i = 22; i < RT_ADVERTISEMENT_FRAME; i += 2)
		sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum ^ 0xffff;
}

static void who_solicits_its_ipv6_address_is_answered(void **state)
{
	struct rt_network network = network_of("172.19.0.5", "fd00::5");
	struct rt_address from = address_of("fd00::9"), own = address_of("fd00::5");
	struct rt_neighbour_answer answer;
	uint8_t frame[RT_ADVERTISEMENT_FRAME];

	solicit("fd00::9", "fd00::5", frame);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_ANSWER);
	assert_int_equal(answer.size, RT_ADVERTISEMENT_FRAME);
	assert_memory_equal(answer.frame, asker.bytes, 6);
	assert_memory_equal(answer.frame + 6, network.mac.bytes, 6);
	assert_memory_equal(answer.frame + 22, own.bytes, 16);
	assert_memory_equal(answer.frame + 38, from.bytes, 16);
	assert_int_equal(answer.frame[54], 136);
	assert_int_equal(answer.frame[58], 0x60); /* solicited, override */
	assert_int_equal(rest_of_checksum(answer.frame), 0);
}

static void who_wants_its_ipv6_address_for_itself_hears_it_with_all(void **state)
{
	static const uint8_t all[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct rt_network network = network_of(NULL, "fd00::5");
	struct rt_neighbour_answer answer;
	uint8_t frame[RT_ADVERTISEMENT_FRAME];

	solicit("::", "fd00::5", frame);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_ANSWER);
	assert_memory_equal(answer.frame, all, 6);
	assert_int_equal(answer.frame[58], 0x20);
	assert_int_equal(rest_of_checksum(answer.frame), 0);
}

static void other_solicitations_are_not_answered(void **state)
{
	struct rt_network network = network_of("172.19.0.5", "fd00::5");
	struct rt_neighbour_answer answer;
	uint8_t frame[RT_ADVERTISEMENT_FRAME];

	solicit("fd00::9", "fd00::6", frame);
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_PASS);
	solicit("fd00::9", "fd00::5", frame);
	frame[21] = 64; /* a router had it in its hands */
	assert_int_equal(rt_neighbour_judge(&network, frame, sizeof(frame), &answer), RT_NEIGHBOUR_PASS);
	solicit("fd00::9", "fd00::5", frame);
	assert_int_equal(rt_neighbour_judge(&network, frame, 77, &answer), RT_NEIGHBOUR_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_to_its_hardware_address_is_kept),
		cmocka_unit_test(a_frame_to_another_to_all_or_of_its_own_is_passed_over),
		cmocka_unit_test(who_asks_for_its_ipv4_address_is_answered),
		cmocka_unit_test(other_arp_is_not_answered),
		cmocka_unit_test(who_solicits_its_ipv6_address_is_answered),
		cmocka_unit_test(who_wants_its_ipv6_address_for_itself_hears_it_with_all),
		cmocka_unit_test(other_solicitations_are_not_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
