#include "migrate/http_peer.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#define HEAD_SIZE_MAX (16u << 10)
#define STREAM_BLOCK (256u << 10)
/* The slowest peer that an answer is sent to; streams are watched piece by piece. */
#define REPLY_BYTES_PER_MS 64
#define TEXT "text/plain; charset=utf-8"

static unsigned status_of(const struct rt_error *err)
{
	switch (err->code) {
	case RT_USAGE:
	case RT_CONFIG: return 400;
	case RT_NOT_FOUND: return 404;
	case RT_EXISTS:
	case RT_WRONG_STATE: return 409;
	case RT_PEER: return 422;
	case RT_SYSTEM:
	case RT_CRIU: return 500;
	}
	return 500;
}

/* Takes the handler's error over. */
static void refuse_with(struct rt_http_exchange *exchange, struct rt_error *err)
{
	_cleanup_free_ char *text = rt_error_text(err);

	rt_http_refuse(exchange, status_of(err), "%s", text ? text : "out of memory");
	rt_error_free(err);
}

/* Sets the route and the word, or refuses. */
static bool find_route(struct rt_http_exchange *exchange, const char *method, const char *path)
{
	const struct rt_http_route *route;
	const char *allow = NULL;

	for (route = exchange->peer->server->routes; route->method; route++) {
		if (!rt_http_path_match(route->path, path, exchange->word))
			continue;
		if (rt_str_equal(route->method, method)) {
			exchange->route = route;
			return true;
		}
		allow = route->method;
	}
	if (!allow) {
		rt_http_refuse(exchange, 404, "there is nothing at this path");
		return false;
	}
	exchange->allow = allow;
	rt_http_refuse(exchange, 405, "this path does not take this method");
	return false;
}

/* What a Content-Length announces is refused before any of it comes; chunks are counted as they do. */
static bool size_allowed(struct rt_http_exchange *exchange, uint64_t size)
{
	uint64_t limit = exchange->route->data ? exchange->route->body_limit : 0;

	if (size <= limit)
		return true;
	rt_http_refuse(exchange, 413, "the body is larger than the %llu bytes this path takes", (unsigned long long)limit);
	return false;
}

static uint64_t announced(struct MHD_Connection *connection, bool *ret_body)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
	bool chunked = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
	uint64_t size = 0;

	if (length && !rt_str_to_u64(length, &size))
		size = UINT64_MAX;
	*ret_body = chunked || size > 0;
	return chunked ? 0 : size;
}

/* Everything that is decided by the head of a request. False: refused. */
static bool admit(struct rt_http_exchange *exchange, const char *method, const char *path, uint64_t size)
{
	struct rt_http_server *server = exchange->peer->server;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	size_t head_size = info ? info->header_size : 0; /* now: the next question to the library is answered in the same place (1.0) */
	struct rt_error *err;
	bool found;

	if (exchange->peer->excess) {
		rt_http_refuse(exchange, 503, "there are %u connections already, which is the limit", server->max_connections);
		return false;
	}
	/* A stranger learns from no answer which paths there are. */
	found = find_route(exchange, method, path);
	if (!(found && exchange->route->open) && !rt_http_authenticated(exchange))
		return false;
	if (!found)
		return false;
	if (head_size > HEAD_SIZE_MAX) {
		rt_http_refuse(exchange, 431, "the head of the request is larger than %u bytes", HEAD_SIZE_MAX);
		return false;
	}
	if (MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL) > 0) {
		rt_http_refuse(exchange, 400, "no path takes a query");
		return false;
	}
	if (!size_allowed(exchange, size))
		return false;
	err = exchange->route->begin ? exchange->route->begin(server->userdata, exchange, &exchange->state) : NULL;
	if (err) {
		refuse_with(exchange, err);
		return false;
	}
	exchange->begun = true;
	return true;
}

static enum MHD_Result head(struct rt_http_server *server, struct MHD_Connection *connection, const char *path, const char *method,
			    struct rt_http_exchange **ret)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct rt_http_exchange *exchange = info && info->socket_context ? calloc(1, sizeof(*exchange)) : NULL;
	bool body;
	uint64_t size;

	if (!exchange)
		return MHD_NO;
	exchange->peer = info->socket_context;
	exchange->connection = connection;
	*ret = exchange;
	size = announced(connection, &body);
	rt_http_peer_wait(exchange->peer, RT_HTTP_HANDLER, 0);
	if (!admit(exchange, method, path, size) && body) {
		rt_http_refuse_now(exchange);
		return MHD_NO;
	}
	rt_http_peer_wait(exchange->peer, RT_HTTP_BODY, 0);
	return MHD_YES;
}

static enum MHD_Result body(struct rt_http_exchange *exchange, const char *bytes, size_t *size)
{
	struct rt_http_server *server = exchange->peer->server;
	struct rt_error *err;

	rt_http_peer_wait(exchange->peer, RT_HTTP_HANDLER, 0);
	exchange->received += *size;
	if (!exchange->refused && size_allowed(exchange, exchange->received)) {
		err = exchange->route->data(server->userdata, exchange, exchange->state, bytes, *size);
		if (err)
			refuse_with(exchange, err);
	}
	*size = 0;
	if (exchange->refused) {
		rt_http_refuse_now(exchange);
		return MHD_NO;
	}
	rt_http_peer_wait(exchange->peer, RT_HTTP_BODY, 0);
	return MHD_YES;
}

static struct rt_error *make_reply(struct rt_http_exchange *exchange, unsigned status, const char *content_type, struct MHD_Response *response)
{
	if (!response)
		return rt_error_oom();
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) != MHD_YES) {
		MHD_destroy_response(response);
		return rt_error_oom();
	}
	exchange->response = response;
	exchange->status = status;
	return NULL;
}

struct rt_error *rt_http_reply(struct rt_http_exchange *exchange, unsigned status, const char *content_type, const void *body, size_t size)
{
	if (exchange->response)
		return rt_fail(RT_WRONG_STATE, "the request has been answered already");
	exchange->reply_ms = (int64_t)(size / REPLY_BYTES_PER_MS);
	return make_reply(exchange, status, content_type, MHD_create_response_from_buffer(size, (void *)body, MHD_RESPMEM_MUST_COPY));
}

/* libmicrohttpd tells the kernel to wait for more after the headers and keeps small chunks back: setting TCP_NODELAY anew sends what there is, before we
 * may block for long. */
static void push_out(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static ssize_t pull_stream(void *userdata, uint64_t position, char *buffer, size_t room)
{
	struct rt_http_exchange *exchange = userdata;
	struct rt_error *err;
	size_t size = 0;

	if (atomic_load(&exchange->peer->server->stopping))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	push_out(exchange->peer->fd);
	rt_http_peer_wait(exchange->peer, RT_HTTP_HANDLER, 0);
	err = exchange->pull(exchange->pull_userdata, buffer, room, &size);
	rt_http_peer_wait(exchange->peer, RT_HTTP_REPLY, 0);
	if (err) {
		_cleanup_free_ char *text = rt_error_text(err);

		/* The status has been sent long ago: a chunked body without its end is how the peer learns. */
		rt_debug("http: %s: answer cut: %s", exchange->peer->name, text ? text : "out of memory");
		rt_error_free(err);
		exchange->failed = true;
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	return size > 0 ? (ssize_t)size : MHD_CONTENT_READER_END_OF_STREAM;
}

struct rt_error *rt_http_reply_stream(struct rt_http_exchange *exchange, const char *content_type,
				      struct rt_error *(*pull)(void *userdata, void *buffer, size_t room, size_t *ret_size), void (*close)(void *userdata),
				      void *userdata)
{
	struct rt_error *err;

	if (exchange->response)
		return rt_fail(RT_WRONG_STATE, "the request has been answered already");
	err = make_reply(exchange, 200, content_type, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, pull_stream, exchange, NULL));
	if (err)
		return err;
	exchange->pull = pull;
	exchange->close = close;
	exchange->pull_userdata = userdata;
	return NULL;
}

/* Exactly once, before the handler's finish(). */
static void close_stream(struct rt_http_exchange *exchange)
{
	void (*close)(void *userdata) = rt_take_ptr(exchange->close);

	if (close)
		close(exchange->pull_userdata);
}

static void drop_reply(struct rt_http_exchange *exchange)
{
	close_stream(exchange);
	if (exchange->response)
		MHD_destroy_response(rt_take_ptr(exchange->response));
}

static enum MHD_Result send_refusal(struct rt_http_exchange *exchange)
{
	struct MHD_Response *response;
	_cleanup_free_ char *text = NULL;
	_cleanup_error_ struct rt_error *err = rt_format(&text, "%s\n", exchange->sentence);
	enum MHD_Result result;

	if (err)
		return MHD_NO;
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, TEXT);
	if (exchange->refused == 401)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (exchange->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, exchange->allow);
	/* Strangers and those who are too many keep no connection. */
	if (exchange->refused == 401 || exchange->refused == 403 || exchange->refused == 503)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	rt_http_peer_wait(exchange->peer, RT_HTTP_REPLY, 0);
	result = MHD_queue_response(exchange->connection, exchange->refused, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result complete(struct rt_http_exchange *exchange)
{
	enum MHD_Result result;
	struct rt_error *err;

	if (exchange->refused)
		return send_refusal(exchange);
	rt_http_peer_wait(exchange->peer, RT_HTTP_HANDLER, 0);
	err = exchange->route->end(exchange->peer->server->userdata, exchange, exchange->state);
	if (!err && !exchange->response)
		err = rt_fail(RT_SYSTEM, "the request was carried out, but got no answer");
	if (err) {
		drop_reply(exchange);
		refuse_with(exchange, err);
		return send_refusal(exchange);
	}
	rt_http_peer_wait(exchange->peer, RT_HTTP_REPLY, exchange->reply_ms);
	result = MHD_queue_response(exchange->connection, exchange->status, exchange->response);
	MHD_destroy_response(rt_take_ptr(exchange->response));
	return result;
}

enum MHD_Result rt_http_handle(void *server, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *bytes,
			       size_t *size, void **exchange)
{
	if (!*exchange)
		return head(server, connection, url, method, (struct rt_http_exchange **)exchange);
	return *size > 0 ? body(*exchange, bytes, size) : complete(*exchange);
}

void rt_http_completed(void *userdata, struct MHD_Connection *connection, void **ret, enum MHD_RequestTerminationCode why)
{
	struct rt_http_exchange *exchange = rt_take_ptr(*ret);
	struct rt_http_server *server = userdata;

	if (!exchange)
		return;
	rt_http_peer_wait(exchange->peer, RT_HTTP_HANDLER, 0);
	drop_reply(exchange);
	if (exchange->begun && exchange->route->finish)
		exchange->route->finish(server->userdata, exchange->state, why == MHD_REQUEST_TERMINATED_COMPLETED_OK && !exchange->failed);
	rt_http_peer_wait(exchange->peer, RT_HTTP_HEAD, 0);
	free(exchange);
}

const char *rt_http_exchange_word(const struct rt_http_exchange *exchange)
{
	return exchange->word;
}

const char *rt_http_exchange_peer(const struct rt_http_exchange *exchange)
{
	return exchange->peer->name;
}

bool rt_http_exchange_gone(const struct rt_http_exchange *exchange)
{
	struct pollfd entry = { .fd = exchange->peer->fd, .events = POLLRDHUP };

	return atomic_load(&exchange->peer->server->stopping) || poll(&entry, 1, 0) != 0;
}
