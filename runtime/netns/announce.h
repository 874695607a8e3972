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

/* Pure: makes an advertisement, of which it is told who asked for it, one to that address, with a further flag. */
void rt_announce_redirect(uint8_t advertisement[RT_ADVERTISEMENT_FRAME], const struct rt_address *to, unsigned flag);

/* Hands all frames for all addresses of the network to `send`, one after the other. */
struct rt_error *rt_announce_each(const struct rt_network *network, struct rt_error *(*send)(void *userdata, const void *frame, size_t size),
				  void *userdata) _must_check_;

/* Sends all of them for all addresses of the network, out of its device in the namespace. The device must be up. */
struct rt_error *rt_announce_send(int namespace_fd, const struct rt_network *network, unsigned times) _must_check_;
