#include "runtime/netns/catch.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/netns/announce.h"
#include "runtime/netns/endpoint.h"
#include "runtime/netns/link.h"
#include "runtime/netns/neighbour.h"
#include "runtime/netns/pool.h"
#include "runtime/netns/ring.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

#define MOST_FRAMES 16384
#define MOST_BYTES (8 << 20)
/* A frame may be a bundle of many that the kernel has not cut yet (GSO). */
#define FRAME_ROOM (sizeof(struct virtio_net_hdr) + (68 << 10))
/* Under a flood the container gets its own port at last, even if something is still on its way here. */
#define MOST_AT_ONCE (4 * MOST_FRAMES)
#define LONGEST_WAIT_MS 1000
#define LINE_ROOM 4096

struct catch {
	const char *state_directory, *id;
	const struct rt_network *network;
	struct rt_link link; /* of the host */
	int namespace_fd; /* of the far end; nothing else holds it */
	int socket; /* at the far end */
	int out; /* at the host's end of the container's own veth; -1: has not joined */
	int out_index, port, far_index;
	struct rt_ring ring;
	char *room;
	uint64_t kept;
	bool started, gone;
	char words[LINE_ROOM]; /* heard, but not to the end of a line */
	size_t heard;
};

static void catch_deinit(struct catch *catch)
{
	struct rt_error *err = catch->port ? rt_link_delete(&catch->link, catch->port) : NULL;

	rt_warn_ignored(err);
	rt_link_close(&catch->link);
	rt_closep(&catch->socket);
	rt_closep(&catch->out);
	rt_closep(&catch->namespace_fd);
	rt_ring_deinit(&catch->ring);
	free(catch->room);
}

static struct rt_error *say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct rt_error *say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	return fflush(stdout) == 0 ? NULL : rt_fail_errno("cannot write to standard output");
}

/* ---- the pair ---- */

/* A port takes its share of the traffic only from the moment that the kernel has noticed that the other end is up. */
static struct rt_error *wait_until_running(struct rt_link *link, const char *name)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct rt_link_device device = { .running = false };
	struct rt_error *err = NULL;
	bool found = true;

	for (int waited_ms = 0; !err && found && !device.running && waited_ms < LONGEST_WAIT_MS; waited_ms++) {
		err = rt_link_find(link, name, &device, &found);
		if (!err && found && !device.running)
			nanosleep(&pause, NULL);
	}
	if (!err && !device.running)
		err = rt_fail(RT_SYSTEM, "veth '%s' does not come up", name);
	return err;
}

static struct rt_error *bring_up(struct rt_link *link, const char *name, int *ret_index)
{
	struct rt_link_device device;
	bool found = false;
	struct rt_error *err = rt_link_find(link, name, &device, &found);

	if (!err && !found)
		err = rt_fail(RT_SYSTEM, "veth '%s' vanished", name);
	if (!err)
		err = rt_link_without_addresses(link, device.index);
	if (!err)
		err = rt_link_up(link, device.index);
	if (!err)
		*ret_index = device.index;
	return err;
}

static struct rt_error *find_bridge(struct catch *catch, struct rt_link_device *ret)
{
	bool found = false;
	struct rt_error *err = rt_link_find(&catch->link, catch->network->bridge, ret, &found);

	if (!err && (!found || !rt_str_equal(ret->kind, "bridge")))
		err = rt_fail(RT_WRONG_STATE, "there is no bridge '%s'", catch->network->bridge);
	return err;
}

static struct rt_error *make_pair(struct catch *catch)
{
	_cleanup_link_ struct rt_link far = RT_LINK_NULL;
	struct rt_link_device bridge, stale;
	struct rt_error *err = find_bridge(catch, &bridge);
	char name[IFNAMSIZ];
	bool found = false;

	rt_record_catcher_ifname(catch->state_directory, catch->id, name);
	if (!err)
		err = rt_link_find(&catch->link, name, &stale, &found);
	/* Of one that was killed: the kernel takes its time. */
	if (!err && found)
		err = rt_link_delete(&catch->link, stale.index);
	if (!err)
		err = rt_sys_make_network_namespace(&catch->namespace_fd);
	if (!err)
		err = rt_link_open_in(catch->namespace_fd, &far);
	/* The bridge's MTU is that of its smallest port. */
	if (!err)
		err = rt_link_add_veth(&catch->link, &(struct rt_link_veth){
			.name = name, .mac = rt_pool_port_mac(name), .peer_name = "far", .peer_namespace = catch->namespace_fd, .mtu = bridge.mtu,
		});
	if (!err)
		err = bring_up(&far, "far", &catch->far_index);
	if (!err)
		err = bring_up(&catch->link, name, &catch->port);
	return err ? err : wait_until_running(&catch->link, name);
}

/* With the kernel's word on each frame, as it may have neither been cut nor got its checksum yet. */
static struct rt_error *open_socket(int namespace_fd, int index, int protocol, int *ret)
{
	const struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol), .sll_ifindex = index };
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	int one = 1;

	if (namespace_fd >= 0)
		err = rt_sys_socket_in(namespace_fd, AF_PACKET, SOCK_RAW, 0, &fd);
	else
		err = (fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) < 0 ? rt_fail_errno("cannot open a packet socket") : NULL;
	if (err)
		return err;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0)
		return rt_fail_errno("cannot prepare a packet socket");
	if (protocol && bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return rt_fail_errno("cannot bind a packet socket");
	*ret = rt_take_fd(fd);
	return NULL;
}

static struct rt_error *prepare(struct catch *catch)
{
	int room = MOST_BYTES;
	struct rt_error *err = rt_record_id_check(catch->id);

	if (!err && !rt_mac_is_set(&catch->network->mac))
		err = rt_fail(RT_CONFIG, "'mac' is missing");
	if (!err)
		err = rt_ring_init(&catch->ring, MOST_FRAMES, MOST_BYTES);
	catch->room = malloc(FRAME_ROOM);
	if (!err && !catch->room)
		err = rt_error_oom();
	if (!err)
		err = rt_link_open(&catch->link);
	if (!err)
		err = make_pair(catch);
	if (!err)
		err = open_socket(catch->namespace_fd, catch->far_index, ETH_P_ALL, &catch->socket);
	/* We may be slow to be woken. */
	if (!err && setsockopt(catch->socket, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		rt_debug("the catcher's socket keeps its small buffer");
	return err ? err : say("ready");
}

/* ---- frames ---- */

/* Its header comes before it. */
static struct rt_error *send_whole(int fd, int index, const void *bytes, size_t size)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = index, .sll_halen = 6 };

	memcpy(&to.sll_protocol, (const char *)bytes + sizeof(struct virtio_net_hdr) + 12, sizeof(to.sll_protocol));
	if (sendto(fd, bytes, size, 0, (const struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
		return rt_fail_errno("cannot send");
	return NULL;
}

/* A small one of our own, into the bridge. */
static struct rt_error *send_own(void *userdata, const void *frame, size_t size)
{
	const struct catch *catch = userdata;
	char whole[sizeof(struct virtio_net_hdr) + RT_ADVERTISEMENT_FRAME] = { 0 };

	memcpy(whole + sizeof(struct virtio_net_hdr), frame, size);
	return send_whole(catch->socket, catch->far_index, whole, sizeof(struct virtio_net_hdr) + size);
}

/* Once the container's own end is on the bridge too, it hears for itself what is for everybody. */
static void judge(struct catch *catch, size_t size)
{
	const uint8_t *frame = (const uint8_t *)catch->room + sizeof(struct virtio_net_hdr);
	struct rt_neighbour_answer answer;

	switch (rt_neighbour_judge(catch->network, frame, size - sizeof(struct virtio_net_hdr), &answer)) {
	case RT_NEIGHBOUR_PASS:
		break;
	case RT_NEIGHBOUR_ANSWER:
		if (catch->out < 0 || !(frame[0] & 1))
			rt_warn_ignored(send_own(catch, answer.frame, answer.size));
		break;
	case RT_NEIGHBOUR_KEEP:
		catch->kept++;
		rt_ring_push(&catch->ring, catch->room, size);
		break;
	}
}

/* What there is at the moment. */
static struct rt_error *take_frames(struct catch *catch)
{
	for (int i = 0; i < MOST_FRAMES; i++) {
		ssize_t got = recv(catch->socket, catch->room, FRAME_ROOM, MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return NULL;
		/* Its removal by `rt-netns rm`: there is no container to wait for any more. */
		catch->gone = got < 0 && (errno == ENETDOWN || errno == ENODEV);
		if (got < 0 && !catch->gone)
			return rt_fail_errno("cannot receive what is sent to the container");
		if (got < 0)
			return NULL;
		if ((size_t)got > sizeof(struct virtio_net_hdr))
			judge(catch, (size_t)got);
	}
	return NULL;
}

/* All that is kept and all that comes meanwhile, in order, into the container as if from the bridge. */
static struct rt_error *pass_on(struct catch *catch)
{
	struct rt_ring_frame frame;
	struct rt_error *err = take_frames(catch);

	for (int i = 0; i < MOST_AT_ONCE && !err && rt_ring_pop(&catch->ring, &frame); i++) {
		err = send_whole(catch->out, catch->out_index, frame.bytes, frame.size);
		/* One that it can't take is lost, as on any wire. */
		if (err && err->errnum != ENXIO && err->errnum != ENODEV) {
			rt_debug("a frame of %zu bytes is lost: %s", frame.size, strerror(err->errnum));
			catch->ring.dropped++;
			err = rt_error_free(err);
		}
		free(frame.bytes);
		if (!err && catch->ring.count == 0)
			err = take_frames(catch);
	}
	return err;
}

/* ---- the words ---- */

static struct rt_error *start(struct catch *catch)
{
	struct rt_link_device bridge;
	struct rt_error *err = find_bridge(catch, &bridge);

	if (!err)
		err = rt_link_join(&catch->link, catch->port, bridge.index);
	if (!err)
		err = rt_announce_each(catch->network, send_own, catch);
	catch->started = true;
	return err ? rt_while(err, "standing in for it on bridge '%s'", catch->network->bridge) : NULL;
}

static struct rt_error *join(struct catch *catch)
{
	struct rt_link_device veth;
	char name[IFNAMSIZ];
	bool found = false;
	struct rt_error *err;

	rt_record_host_ifname(catch->state_directory, catch->id, name);
	err = rt_link_find(&catch->link, name, &veth, &found);
	if (!err && !found)
		err = rt_fail(RT_WRONG_STATE, "its device '%s' is not there yet", name);
	if (!err)
		err = open_socket(-1, veth.index, 0, &catch->out);
	catch->out_index = err ? 0 : veth.index;
	if (!err)
		err = rt_endpoint_join(catch->state_directory, catch->id, catch->started ? RT_ENDPOINT_QUIETLY : 0);
	return err;
}

/* What is on its way here while the bridge learns the container's own port comes last; it is a matter of microseconds. */
static struct rt_error *release(struct catch *catch)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct rt_error *err = catch->out < 0 ? join(catch) : NULL;

	if (!err)
		err = pass_on(catch);
	if (!err && catch->started)
		err = rt_endpoint_join(catch->state_directory, catch->id, 0);
	if (!err)
		err = pass_on(catch);
	nanosleep(&moment, NULL);
	if (!err)
		err = pass_on(catch);
	return err ? err : say("released: %llu frames, %llu lost", (unsigned long long)catch->kept, (unsigned long long)catch->ring.dropped);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As if it had come to the far end. */
static struct rt_error *take_told(struct catch *catch, const char *hex)
{
	size_t size = 0;

	for (; *hex; hex += 2, size++) {
		int high = digit(hex[0]), low = high < 0 ? -1 : digit(hex[1]);

		if (low < 0 || size == FRAME_ROOM)
			return rt_fail(RT_USAGE, "standard input has a frame that is no hexadecimal text of even length");
		catch->room[size] = (char)(high << 4 | low);
	}
	if (size <= sizeof(struct virtio_net_hdr) + ETH_HLEN)
		return rt_fail(RT_USAGE, "standard input has a frame of %zu bytes only", size);
	judge(catch, size);
	return NULL;
}

static struct rt_error *obey(struct catch *catch, const char *word, bool *ret_end)
{
	struct rt_error *err;

	if (rt_str_starts(word, "frame "))
		return take_told(catch, word + strlen("frame "));

	if (rt_str_equal(word, "start")) {
		err = catch->started ? NULL : start(catch);
		return err ? err : say("started");
	}
	if (rt_str_equal(word, "join")) {
		err = catch->out < 0 ? join(catch) : NULL;
		return err ? err : say("joined");
	}
	if (!rt_str_equal(word, "release"))
		return *word ? rt_fail(RT_USAGE, "standard input says '%s', not start, frame, join or release", word) : NULL;
	*ret_end = true;
	return release(catch);
}

/* Line by line, what is left over with the rest that comes later; *ret_end too where there are no more. */
static struct rt_error *hear(struct catch *catch, bool *ret_end)
{
	ssize_t got = read(STDIN_FILENO, catch->words + catch->heard, sizeof(catch->words) - 1 - catch->heard);
	char *line = catch->words, *end;
	struct rt_error *err = NULL;

	if (got < 0 && errno == EINTR)
		return NULL;
	if (got < 0)
		return rt_fail_errno("cannot read standard input");
	*ret_end = got == 0;
	catch->heard += (size_t)got;
	catch->words[catch->heard] = '\0';
	while (!err && !*ret_end && (end = strchr(line, '\n'))) {
		*end = '\0';
		err = obey(catch, line, ret_end);
		line = end + 1;
	}
	catch->heard -= (size_t)(line - catch->words);
	memmove(catch->words, line, catch->heard + 1);
	if (!err && catch->heard == sizeof(catch->words) - 1)
		err = rt_fail(RT_USAGE, "standard input has a line of over %zu bytes", catch->heard);
	return err;
}

static struct rt_error *run(struct catch *catch)
{
	struct rt_error *err = prepare(catch);
	bool end = false;

	while (!err && !end) {
		struct pollfd fds[] = {
			{ .fd = STDIN_FILENO, .events = POLLIN },
			{ .fd = catch->gone ? -1 : catch->socket, .events = POLLIN },
		};

		if (poll(fds, RT_ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return rt_fail_errno("cannot wait");
		if (fds[1].revents)
			err = take_frames(catch);
		if (!err && fds[0].revents)
			err = hear(catch, &end);
	}
	return err;
}

struct rt_error *rt_catch(const char *state_directory, const char *id, const struct rt_network *network)
{
	_cleanup_(catch_deinit) struct catch catch = {
		.state_directory = state_directory, .id = id, .network = network,
		.link = RT_LINK_NULL, .namespace_fd = -1, .socket = -1, .out = -1, .ring = RT_RING_NULL,
	};
	struct rt_error *err = run(&catch);

	return err ? rt_while(err, "catching what is sent to '%s'", id) : NULL;
}
