#include "runtime/netns/neighbour.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#define ETHERNET 14
#define IPV6 40
#define SOLICITATION_FRAME (ETHERNET + IPV6 + 24)

enum { SOLICITATION = 135, SOLICITED = 0x40, HOP_LIMIT = 255 };

static unsigned u16_at(const uint8_t *at)
{
	return (unsigned)(at[0] << 8 | at[1]);
}

/* An ARP request for our IPv4 address. */
static bool is_request(const struct rt_network *network, const uint8_t *frame, size_t size)
{
	const struct rt_address *address = &network->legs[RT_IPV4].address.address;
	const uint8_t *arp = frame + ETHERNET;

	if (address->family != AF_INET || size < RT_ARP_FRAME || u16_at(frame + 12) != ETH_P_ARP)
		return false;
	return u16_at(arp) == 1 && u16_at(arp + 2) == ETH_P_IP && arp[4] == 6 && arp[5] == 4 && u16_at(arp + 6) == RT_ARP_REQUEST &&
	       memcmp(arp + 24, address->bytes, 4) == 0;
}

static bool is_solicitation(const struct rt_network *network, const uint8_t *frame, size_t size)
{
	const struct rt_address *address = &network->legs[RT_IPV6].address.address;
	const uint8_t *ip = frame + ETHERNET, *message = ip + IPV6;

	if (address->family != AF_INET6 || size < SOLICITATION_FRAME || u16_at(frame + 12) != ETH_P_IPV6)
		return false;
	return ip[6] == IPPROTO_ICMPV6 && ip[7] == HOP_LIMIT && message[0] == SOLICITATION && message[1] == 0 &&
	       memcmp(message + 8, address->bytes, 16) == 0;
}

static void answer_arp(const struct rt_network *network, const uint8_t *request, struct rt_neighbour_answer *ret)
{
	rt_announce_arp(&network->mac, &network->legs[RT_IPV4].address.address, RT_ARP_REPLY, ret->frame);
	memcpy(ret->frame, request + 6, 6);
	memcpy(ret->frame + ETHERNET + 18, request + ETHERNET + 8, 10); /* who asked, both of its addresses */
	ret->size = RT_ARP_FRAME;
}

/* Who asks without an address of its own wants it for itself (duplicate address detection): all shall hear that it is taken. */
static void answer_solicitation(const struct rt_network *network, const uint8_t *request, struct rt_neighbour_answer *ret)
{
	struct rt_address asker = { .family = AF_INET6 };

	memcpy(asker.bytes, request + ETHERNET + 8, 16);
	rt_announce_advertisement(&network->mac, &network->legs[RT_IPV6].address.address, ret->frame);
	ret->size = RT_ADVERTISEMENT_FRAME;
	if (rt_address_is_any(&asker))
		return;
	memcpy(ret->frame, request + 6, 6);
	rt_announce_redirect(ret->frame, &asker, SOLICITED);
}

enum rt_neighbour_verdict rt_neighbour_judge(const struct rt_network *network, const uint8_t *frame, size_t size,
					     struct rt_neighbour_answer *ret)
{
	if (size < ETHERNET || memcmp(frame + 6, network->mac.bytes, 6) == 0)
		return RT_NEIGHBOUR_PASS;
	if (is_request(network, frame, size)) {
		answer_arp(network, frame, ret);
		return RT_NEIGHBOUR_ANSWER;
	}
	if (is_solicitation(network, frame, size)) {
		answer_solicitation(network, frame, ret);
		return RT_NEIGHBOUR_ANSWER;
	}
	return memcmp(frame, network->mac.bytes, 6) == 0 ? RT_NEIGHBOUR_KEEP : RT_NEIGHBOUR_PASS;
}
