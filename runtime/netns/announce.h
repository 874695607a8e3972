/* Telling neighbours and switches where an address lives now: gratuitous ARP (RFC 5227, RFC 826) and unsolicited neighbour
 * advertisements (RFC 4861 7.2.6), sent as frames from inside the container's network namespace, where no packet filter sees them. */
#pragma once

#include "runtime/netns/network.h"

enum { RT_ARP_REQUEST = 1, RT_ARP_REPLY = 2 };

#define RT_ARP_FRAME 42
#define RT_ADVERTISEMENT_FRAME 86

/* Pure: the bytes of the frames. `address` is IPv4, or IPv6. Switches learn of either ARP form; some hosts heed only one. */
void rt_announce_arp(const struct rt_mac *mac, const struct rt_address *address, int operation, uint8_t ret[RT_ARP_FRAME]);
void rt_announce_advertisement(const struct rt_mac *mac, const struct rt_address *address, uint8_t ret[RT_ADVERTISEMENT_FRAME]);

/* Sends all of them for all addresses of the network, out of its device in the namespace. The device must be up. */
struct rt_error *rt_announce_send(int namespace_fd, const struct rt_network *network, unsigned times) _must_check_;
