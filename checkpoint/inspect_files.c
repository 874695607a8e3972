#include "checkpoint/inspect_private.h"

#include "runtime/base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static const char *const kind_names[] = { "unknown",   "file",	  "pipe",     "fifo",	 "inet",  "unix",     "eventfd",
					  "epoll",     "inotify", "signalfd", "packet",	 "tty",	  "fanotify", "netlink",
					  "namespace", "tun",	  "external", "timerfd", "memfd", "bpfmap",   "pidfd" };

static const char *tcp_state(uint32_t state)
{
	static const char *const names[] = { "unknown",	   "established", "syn-sent",  "syn-recv",
					     "fin-wait-1", "fin-wait-2",  "time-wait", "close",
					     "close-wait", "last-ack",	  "listen",    "closing" };

	return state < RT_ARRAY_SIZE(names) ? names[state] : "unknown";
}

#define ENDPOINT_ROOM (INET6_ADDRSTRLEN + 16)

/* "127.0.0.1:80", "[::1]:80"; the words are in network byte order. */
static const char *endpoint(uint32_t family, const uint32_t *words, size_t count, uint32_t port,
			    char text[ENDPOINT_ROOM])
{
	char address[INET6_ADDRSTRLEN] = "?";

	if (family == AF_INET && count >= 1)
		inet_ntop(AF_INET, words, address, sizeof(address));
	else if (family == AF_INET6 && count >= 4)
		inet_ntop(AF_INET6, words, address, sizeof(address));
	snprintf(text, ENDPOINT_ROOM, family == AF_INET6 ? "[%s]:%u" : "%s:%u", address, port);
	return text;
}

static const char *protocol(const Img__InetSocket *socket)
{
	switch (socket->protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_UDPLITE:
		return "udplite";
	default:
		return "raw";
	}
}

/* Bytes that wait in the queues of a connection. */
static struct rt_error *add_queues(struct rt_inspection *inspection, const Img__InetSocket *socket, json_t *about)
{
	_cleanup_unpacked_ ProtobufCMessage *message = NULL;
	const Img__TcpStream *stream;
	struct rt_error *err;
	char name[32];

	snprintf(name, sizeof(name), "tcp-stream-%x.img", socket->inode);
	err = rt_image_read_one(inspection->dir_fd, name, RT_IMAGE_TCP_STREAM, &message);
	if (err || !message)
		return err;
	stream = (const Img__TcpStream *)message;
	err = rt_inspect_put(about, "receive_queue", json_integer(stream->in_length));
	return err ? err : rt_inspect_put(about, "send_queue", json_integer(stream->out_length));
}

static struct rt_error *add_inet(struct rt_inspection *inspection, const Img__InetSocket *socket, json_t **ret)
{
	char local[ENDPOINT_ROOM], peer[ENDPOINT_ROOM];
	bool connected = socket->destination_port != 0;
	struct rt_error *err;
	json_t *about;

	endpoint(socket->family, socket->source, socket->n_source, socket->source_port, local);
	endpoint(socket->family, socket->destination, socket->n_destination, socket->destination_port, peer);
	about = json_pack("{s:s,s:s,s:s,s:s}", "kind", protocol(socket), "local", local, "peer", connected ? peer : "",
			  "state",
			  socket->protocol == IPPROTO_TCP ? tcp_state(socket->state)
			  : connected			  ? "connected"
							  : "open");
	if (!about)
		return rt_error_oom();
	err = add_queues(inspection, socket, about);
	if (!err)
		err = rt_inspect_add(json_object_get(inspection->document, "sockets"), json_incref(about));
	if (err) {
		json_decref(about);
		return err;
	}
	*ret = json_sprintf("%s %s%s%s (%s)", protocol(socket), local, connected ? " -> " : "", connected ? peer : "",
			    json_string_value(json_object_get(about, "state")));
	json_decref(about);
	return NULL;
}

static struct rt_error *add_unix(struct rt_inspection *inspection, const Img__UnixSocket *socket, json_t **ret)
{
	static const char *const types[] = { "?", "stream", "datagram", "raw", "?", "seqpacket" };
	const char *type = socket->type < RT_ARRAY_SIZE(types) ? types[socket->type] : "?";
	const char *bytes = (const char *)socket->name.data;
	size_t size = socket->name.len;
	_cleanup_json_ json_t *name = NULL;
	struct rt_error *err;

	/* An abstract name starts with a NUL byte, which everybody writes as "@"; a path may end with one. */
	if (size > 0 && bytes[0] == '\0') {
		_cleanup_json_ json_t *rest = rt_json_visible(bytes + 1, size - 1);

		name = rest ? json_sprintf("@%s", json_string_value(rest)) : NULL;
	} else {
		name = rt_json_visible(bytes, size > 0 && bytes[size - 1] == '\0' ? size - 1 : size);
	}
	if (!name)
		return rt_error_oom();
	err = rt_inspect_add(json_object_get(inspection->document, "sockets"),
			     json_pack("{s:s,s:s,s:O,s:s,s:b}", "kind", "unix", "type", type, "name", name, "state",
				       tcp_state(socket->state), "external", socket->uflags & 1));
	if (!err)
		*ret = json_sprintf("unix %s %s%s", type, json_string_value(name),
				    socket->uflags & 1 ? " (external)" : "");
	return err;
}

static struct rt_error *describe(struct rt_inspection *inspection, const Img__File *file, json_t **ret)
{
	if (file->regular)
		*ret = rt_json_visible_string(file->regular->name);
	else if (file->inet)
		return add_inet(inspection, file->inet, ret);
	else if (file->unix_socket)
		return add_unix(inspection, file->unix_socket, ret);
	else if (file->pipe)
		*ret = json_sprintf("pipe:[%u]", file->pipe->pipe_id);
	else if (file->tty)
		*ret = json_sprintf("tty %#x", file->tty->info_id);
	else if (file->tun)
		*ret = rt_json_visible_string(file->tun->device);
	else if (file->epoll)
		*ret = json_sprintf("epoll of %zu", file->epoll->n_targets);
	else
		*ret = json_string("");
	return NULL;
}

static struct rt_error *add_file(void *userdata, const ProtobufCMessage *entry)
{
	struct rt_inspection *inspection = userdata;
	const Img__File *file = (const Img__File *)entry;
	json_t *text = NULL;
	struct rt_error *err;
	char id[16];

	err = describe(inspection, file, &text);
	if (err)
		return err;
	snprintf(id, sizeof(id), "%u", file->id);
	return rt_inspect_put(inspection->files, id,
			      json_pack("{s:s,s:o}", "kind",
					file->kind < RT_ARRAY_SIZE(kind_names) ? kind_names[file->kind] : "unknown",
					"text", text));
}

/* Open files whose name is gone: the checkpoint carries their content or a link. */
static struct rt_error *add_remap(void *userdata, const ProtobufCMessage *entry)
{
	static const char *const kinds[] = { "linked", "ghost", "procfs" };
	struct rt_inspection *inspection = userdata;
	const Img__RemapPath *remap = (const Img__RemapPath *)entry;
	json_t *file;
	char id[16];

	snprintf(id, sizeof(id), "%u", remap->original_id);
	file = json_object_get(inspection->files, id);
	if (!file)
		return NULL;
	return rt_inspect_put(file, "deleted",
			      json_string(remap->kind < RT_ARRAY_SIZE(kinds) ? kinds[remap->kind] : "unknown"));
}

struct rt_error *rt_inspect_files(struct rt_inspection *inspection)
{
	struct rt_error *err = rt_image_each(inspection->dir_fd, "files.img", RT_IMAGE_FILES, add_file, inspection);

	if (!err)
		err = rt_image_each(inspection->dir_fd, "remap-fpath.img", RT_IMAGE_REMAP_FPATH, add_remap, inspection);
	return err;
}
