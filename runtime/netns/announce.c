#include "runtime/netns/announce.h"

#include "runtime/base/str.h"
#include "runtime/netns/link.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <time.h>

/* Between two rounds: a switch or a host may have lost the first. */
#define PAUSE_MS 100
#define LONGEST_WAIT_MS 1000

static void put_u16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint8_t *put_ethernet(uint8_t *at, const uint8_t destination[6], const struct rt_mac *source, unsigned protocol)
{
	memcpy(at, destination, 6);
	memcpy(at + 6, source->bytes, 6);
	put_u16(at + 12, protocol);
	return at + 14;
}

void rt_announce_arp(const struct rt_mac *mac, const struct rt_address *address, int operation, uint8_t ret[RT_ARP_FRAME])
{
	static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t *at = put_ethernet(ret, everybody, mac, ETH_P_ARP);

	put_u16(at, 1); /* Ethernet */
	put_u16(at + 2, ETH_P_IP);
	at[4] = 6;
	at[5] = 4;
	put_u16(at + 6, (unsigned)operation);
	memcpy(at + 8, mac->bytes, 6);
	memcpy(at + 14, address->bytes, 4);
	/* The hardware address asked for is nothing in a request, and everybody's in an answer to nobody. */
	memset(at + 18, operation == RT_ARP_REPLY ? 0xff : 0, 6);
	memcpy(at + 24, address->bytes, 4);
}

/* RFC 1071, over the pseudo header of RFC 8200 8.1 and the message. */
static unsigned checksum(const uint8_t addresses[32], const uint8_t *message, unsigned size)
{
	uint32_t sum = size + IPPROTO_ICMPV6;

	for (unsigned i = 0; i < 32; i += 2)
		sum += (uint32_t)(addresses[i] << 8 | addresses[i + 1]);
	for (unsigned i = 0; i < size; i += 2)
		sum += (uint32_t)(message[i] << 8 | message[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

void rt_announce_advertisement(const struct rt_mac *mac, const struct rt_address *address, uint8_t ret[RT_ADVERTISEMENT_FRAME])
{
	static const uint8_t all_nodes_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	static const uint8_t all_nodes[16] = { 0xff, 0x02, [15] = 1 };
	enum { MESSAGE = 32, OVERRIDE = 0x20, ADVERTISEMENT = 136, TARGET_LINK_ADDRESS = 2 };
	uint8_t *ip, *message;

	memset(ret, 0, RT_ADVERTISEMENT_FRAME);
	ip = put_ethernet(ret, all_nodes_mac, mac, ETH_P_IPV6);
	ip[0] = 6 << 4;
	put_u16(ip + 4, MESSAGE);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255; /* receivers drop what a router has touched */
	memcpy(ip + 8, address->bytes, 16);
	memcpy(ip + 24, all_nodes, 16);
	message = ip + 40;
	message[0] = ADVERTISEMENT;
	message[4] = OVERRIDE;
	memcpy(message + 8, address->bytes, 16);
	message[24] = TARGET_LINK_ADDRESS;
	message[25] = 1; /* in units of 8 bytes */
	memcpy(message + 26, mac->bytes, 6);
	put_u16(message + 2, checksum(ip + 8, message, MESSAGE));
}

void rt_announce_redirect(uint8_t advertisement[RT_ADVERTISEMENT_FRAME], const struct rt_address *to, unsigned flag)
{
	uint8_t *ip = advertisement + 14, *message = ip + 40;

	memcpy(ip + 24, to->bytes, 16);
	message[4] |= (uint8_t)flag;
	put_u16(message + 2, 0);
	put_u16(message + 2, checksum(ip + 8, message, RT_ADVERTISEMENT_FRAME - 54));
}

struct rt_error *rt_announce_each(const struct rt_network *network, struct rt_error *(*send)(void *userdata, const void *frame, size_t size),
				  void *userdata)
{
	const struct rt_address *four = &network->legs[RT_IPV4].address.address, *six = &network->legs[RT_IPV6].address.address;
	uint8_t arp[RT_ARP_FRAME], advertisement[RT_ADVERTISEMENT_FRAME];
	struct rt_error *err = NULL;

	for (int operation = RT_ARP_REQUEST; operation <= RT_ARP_REPLY && four->family == AF_INET && !err; operation++) {
		rt_announce_arp(&network->mac, four, operation, arp);
		err = send(userdata, arp, sizeof(arp));
	}
	if (err || six->family != AF_INET6)
		return err;
	rt_announce_advertisement(&network->mac, six, advertisement);
	return send(userdata, advertisement, sizeof(advertisement));
}

struct outlet {
	int fd, index;
};

static struct rt_error *send_frame(void *userdata, const void *frame, size_t size)
{
	const struct outlet *outlet = userdata;
	const struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = outlet->index, .sll_halen = 6 };

	if (sendto(outlet->fd, frame, size, 0, (const struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
		return rt_fail_errno("cannot send");
	return NULL;
}

static void pause_ms(long ms)
{
	const struct timespec pause = { .tv_nsec = ms * 1000000L };

	nanosleep(&pause, NULL);
}

/* The kernel drops what is sent before it has noticed, a moment later, that the other end came up. */
static struct rt_error *wait_for_device(struct rt_link *link, const char *name, int *ret_index)
{
	struct rt_link_device device;
	bool found = false;

	for (int waited_ms = 0; waited_ms < LONGEST_WAIT_MS; waited_ms++) {
		struct rt_error *err = rt_link_find(link, name, &device, &found);

		if (!err && !found)
			err = rt_fail(RT_NOT_FOUND, "the container has no device '%s'", name);
		if (err)
			return err;
		*ret_index = device.index;
		if (device.running)
			return NULL;
		pause_ms(1);
	}
	return rt_fail(RT_SYSTEM, "the container's device '%s' is not up", name);
}

/* Closing a packet socket waits for all processors, some 10 ms, in which a container may be waiting for us: a child of ours closes it last,
 * and waits instead. */
static void close_aside(int *fd)
{
	int ours[2];
	char byte;

	if (*fd < 0 || pipe2(ours, O_CLOEXEC) < 0) {
		rt_closep(fd);
		return;
	}
	if (fork() == 0) {
		for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
			close(i); /* nobody shall wait for their end */
		close(ours[1]);
		while (read(ours[0], &byte, 1) < 0 && errno == EINTR)
			;
		_exit(0);
	}
	rt_closep(fd);
	rt_closep(&ours[0]);
	rt_closep(&ours[1]);
}

struct rt_error *rt_announce_send(int namespace_fd, const struct rt_network *network, unsigned times)
{
	_cleanup_link_ struct rt_link link = RT_LINK_NULL;
	_cleanup_(close_aside) int fd = -1;
	struct rt_error *err;
	int index = 0;

	err = rt_link_open_in(namespace_fd, &link);
	if (!err)
		err = wait_for_device(&link, network->ifname, &index);
	if (!err)
		err = rt_sys_socket_in(namespace_fd, AF_PACKET, SOCK_RAW, 0, &fd);
	for (unsigned round = 0; round < times && !err; round++) {
		if (round > 0)
			pause_ms(PAUSE_MS);
		err = rt_announce_each(network, send_frame, &(struct outlet){ fd, index });
	}
	return err ? rt_while(err, "announcing the addresses") : NULL;
}
