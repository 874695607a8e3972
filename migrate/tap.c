#include "migrate/tap.h"

#include "runtime/sys/ns.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if_arp.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER sizeof(struct virtio_net_hdr)
#define LENGTH sizeof(uint16_t)
#define TCP_FLAGS 13 /* offset in TCP's header */

/* TCP over IPv4, with options or without, or directly over IPv6; SYN without ACK; for this host. */
static const struct sock_filter syn_only[] = {
	/* 0 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
	/* 1 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 13),
	/* 2 */ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
	/* 3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 5, 0),
	/* 4 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 10),
	/* 5 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
	/* 6 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 8),
	/* 7 */ BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
	/* 8 */ BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0),
	/* 9 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),
	/* 10 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 4),
	/* 11 */ BPF_STMT(BPF_LDX | BPF_IMM, 40),
	/* 12 */ BPF_STMT(BPF_LD | BPF_B | BPF_IND, 14 + TCP_FLAGS),
	/* 13 */ BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
	/* 14 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 1, 0),
	/* 15 */ BPF_STMT(BPF_RET | BPF_K, 0),
	/* 16 */ BPF_STMT(BPF_RET | BPF_K, RT_TAP_FRAME_MAX),
};

static struct rt_error *listen_to(int fd, const struct sock_fprog *program)
{
	const struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof(*program)) < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return rt_fail_errno("cannot prepare a packet socket");
	return NULL;
}

struct rt_error *rt_tap_open(pid_t pid, int *ret)
{
	const struct sock_fprog program = { .len = RT_ARRAY_SIZE(syn_only), .filter = (struct sock_filter *)syn_only };
	_cleanup_close_ int fd = -1, network = -1;
	struct rt_error *err = rt_sys_open_namespace_of(pid, RT_NS_NETWORK, &network);

	if (!err)
		err = rt_sys_socket_in(network, AF_PACKET, SOCK_RAW, 0, &fd);
	if (!err)
		err = listen_to(fd, &program);
	if (!err)
		*ret = rt_take_fd(fd);
	return err;
}

struct rt_error *rt_tap_open_host(const uint8_t mac[6], int *ret)
{
	const uint32_t first = (uint32_t)mac[0] << 8 | mac[1];
	const uint32_t others = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5];
	const struct sock_filter to_it[] = {
		/* 0 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2),
		/* 1 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, others, 0, 9),
		/* 2 */ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
		/* 3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 0, 7),
		/* 4 */ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
		/* 5 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 3, 0),
		/* 6 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 4),
		/* 7 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
		/* 8 */ BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		/* 9 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),
		/* 10 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 1, 0),
		/* 11 */ BPF_STMT(BPF_RET | BPF_K, 0),
		/* 12 */ BPF_STMT(BPF_RET | BPF_K, RT_TAP_FRAME_MAX),
	};
	const struct sock_fprog program = { .len = RT_ARRAY_SIZE(to_it), .filter = (struct sock_filter *)to_it };
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct rt_error *err = fd < 0 ? rt_fail_errno("cannot open a packet socket") : listen_to(fd, &program);

	if (!err)
		*ret = rt_take_fd(fd);
	return err;
}

/* False: there are no more. What is too long, or from a device of another kind, has size 0 in *ret_size. */
static bool take_one(int fd, uint8_t *frame, size_t *ret_size)
{
	struct sockaddr_ll from;
	socklen_t length = sizeof(from);
	ssize_t got;

	do {
		got = recvfrom(fd, frame, HEADER + RT_TAP_FRAME_MAX, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &length);
	} while (got < 0 && errno == EINTR);
	*ret_size = 0;
	if (got > (ssize_t)HEADER && got <= (ssize_t)RT_TAP_FRAME_MAX && from.sll_hatype == ARPHRD_ETHER)
		*ret_size = (size_t)got;
	return got >= 0;
}

struct rt_error *rt_tap_take(int fd, void **ret, size_t *ret_size)
{
	uint8_t frame[HEADER + RT_TAP_FRAME_MAX];
	_cleanup_free_ uint8_t *all = malloc(RT_TAP_LIMIT);
	size_t used = 0, size;

	*ret = NULL;
	*ret_size = 0;
	if (!all)
		return rt_error_oom();
	while (used + LENGTH + sizeof(frame) <= RT_TAP_LIMIT && take_one(fd, frame, &size)) {
		if (size == 0)
			continue;
		all[used] = (uint8_t)size;
		all[used + 1] = (uint8_t)(size >> 8);
		memcpy(all + used + LENGTH, frame, size);
		used += LENGTH + size;
	}
	*ret_size = used;
	*ret = used ? rt_take_ptr(all) : NULL;
	return NULL;
}

struct rt_error *rt_tap_each(const void *bytes, size_t size, rt_tap_fn each, void *userdata)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		size_t length = size < LENGTH ? 0 : at[0] | (size_t)at[1] << 8;

		if (length <= HEADER + ETH_HLEN || length > RT_TAP_FRAME_MAX || length > size - LENGTH)
			return rt_fail(RT_PEER, "frames that are brought along must have %zu to %d bytes, and all of them", HEADER + ETH_HLEN + 1, RT_TAP_FRAME_MAX);
		if (each)
			each(userdata, at + LENGTH, length);
		at += LENGTH + length;
		size -= LENGTH + length;
	}
	return NULL;
}
