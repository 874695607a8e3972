/* A server with one route of each kind, in the process of the tests. */
#pragma once

#include "migrate/http_client.h"
#include "migrate/http_server.h"
#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define TOKEN "0123456789abcdef-token"

/* What the handlers saw; zeroed by start(). */
struct service {
	atomic_uint begun, finished, completed, closed, blocked;
	atomic_ullong received;
	atomic_ullong refuse_at; /* bytes of /v1/sink; 0: never */
	atomic_ullong stop_reading_at; /* bytes of /v1/sink after which the handler just waits; 0: never */
	char peer[512], word[256];
	struct rt_http_server *server;
	char url[128];
};
static struct service service;
static pthread_mutex_t service_lock = PTHREAD_MUTEX_INITIALIZER; /* of its strings */

struct echo {
	struct rt_http_exchange *exchange;
	char *bytes;
	size_t size;
	unsigned sent;
};

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void pause_ms(long ms)
{
	struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

/* Waits up to 5 s for what another thread counts. */
#define eventually(condition)                                   \
	do {                                                    \
		double until_ = seconds() + 5;                  \
		while (!(condition) && seconds() < until_)      \
			pause_ms(5);                            \
		assert_true(condition);                         \
	} while (0)

static inline struct rt_error *begin_echo(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	struct echo *echo = calloc(1, sizeof(*echo));

	service.begun++;
	pthread_mutex_lock(&service_lock);
	snprintf(service.peer, sizeof(service.peer), "%s", rt_http_exchange_peer(exchange));
	snprintf(service.word, sizeof(service.word), "%s", rt_http_exchange_word(exchange));
	pthread_mutex_unlock(&service_lock);
	if (!echo)
		return rt_error_oom();
	echo->exchange = exchange;
	*ret_state = echo;
	return NULL;
}

static inline struct rt_error *data_echo(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	struct echo *echo = state;
	char *larger = realloc(echo->bytes, echo->size + size);

	if (!larger)
		return rt_error_oom();
	echo->bytes = larger;
	memcpy(larger + echo->size, bytes, size);
	echo->size += size;
	return NULL;
}

/* The word, a colon, and the body. */
static inline struct rt_error *end_echo(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct echo *echo = state;
	_cleanup_free_ char *text = NULL;
	const char *word = rt_http_exchange_word(exchange);
	size_t length = strlen(word);

	text = malloc(length + 1 + echo->size);
	if (!text)
		return rt_error_oom();
	memcpy(text, word, length);
	text[length] = ':';
	if (echo->size > 0)
		memcpy(text + length + 1, echo->bytes, echo->size);
	return rt_http_reply(exchange, 200, "application/octet-stream", text, length + 1 + echo->size);
}

static inline void finish_echo(void *userdata, void *state, bool complete)
{
	struct echo *echo = state;

	service.completed += complete;
	free(echo->bytes);
	free(echo);
	service.finished++;
}

static inline struct rt_error *begin_sink(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	service.begun++;
	return NULL;
}

static inline struct rt_error *data_sink(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	unsigned long long received = atomic_fetch_add(&service.received, size) + size;

	if (service.refuse_at > 0 && received >= service.refuse_at)
		return rt_fail(RT_PEER, "the disk of this host is full after %llu bytes", (unsigned long long)service.refuse_at);
	while (service.stop_reading_at > 0 && received >= service.stop_reading_at && !rt_http_exchange_gone(exchange))
		pause_ms(10);
	return NULL;
}

static inline struct rt_error *end_sink(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)service.received);
	return rt_http_reply(exchange, 201, "text/plain", text, strlen(text));
}

static inline void finish_sink(void *userdata, void *state, bool complete)
{
	service.completed += complete;
	service.finished++;
}

/* A few words, "million", or nothing until the peer goes. */
static inline struct rt_error *pull_stream(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct echo *echo = userdata;
	const char *word = rt_http_exchange_word(echo->exchange);

	*ret_size = 0;
	if (rt_str_equal(word, "words") && echo->sent < 3) {
		if (echo->sent > 0)
			pause_ms(100);
		*ret_size = (size_t)snprintf(buffer, room, "word%u ", echo->sent++);
	} else if (rt_str_equal(word, "lazy") && echo->sent++ < 3) {
		pause_ms(1300);
		*ret_size = (size_t)snprintf(buffer, room, "lazy");
	} else if (rt_str_equal(word, "many") && echo->sent < 1000) {
		*ret_size = room < 100000 ? room : 100000;
		memset(buffer, 'm', *ret_size);
		echo->sent++;
	} else if (rt_str_equal(word, "endless")) {
		memset(buffer, 'e', room);
		*ret_size = room;
	} else if (rt_str_equal(word, "cut") && echo->sent++ < 3) {
		*ret_size = (size_t)snprintf(buffer, room, "piece ");
	} else if (rt_str_equal(word, "cut")) {
		return rt_fail(RT_SYSTEM, "no more of it");
	} else if (rt_str_equal(word, "wait")) {
		if (echo->sent++ == 0) {
			*ret_size = (size_t)snprintf(buffer, room, "first");
			return NULL;
		}
		service.blocked++;
		while (!rt_http_exchange_gone(echo->exchange))
			pause_ms(10);
		service.blocked--;
		return rt_fail(RT_PEER, "the peer has gone");
	}
	return NULL;
}

static inline void close_stream(void *userdata)
{
	service.closed++;
}

static inline struct rt_error *end_stream(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	return rt_http_reply_stream(exchange, "application/octet-stream", pull_stream, close_stream, state);
}

/* Blocks until the peer is gone. */
static inline struct rt_error *end_block(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	service.blocked++;
	while (!rt_http_exchange_gone(exchange))
		pause_ms(10);
	service.blocked--;
	return rt_fail(RT_PEER, "gone");
}

static inline struct rt_error *end_nothing(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	return NULL;
}

static inline struct rt_error *begin_error(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	const char *word = rt_http_exchange_word(exchange);

	if (rt_str_equal(word, "usage"))
		return rt_fail(RT_USAGE, "usage");
	if (rt_str_equal(word, "config"))
		return rt_fail(RT_CONFIG, "config");
	if (rt_str_equal(word, "not-found"))
		return rt_fail(RT_NOT_FOUND, "there is no 'web' here");
	if (rt_str_equal(word, "exists"))
		return rt_fail(RT_EXISTS, "exists");
	if (rt_str_equal(word, "state"))
		return rt_fail(RT_WRONG_STATE, "state");
	if (rt_str_equal(word, "peer"))
		return rt_fail(RT_PEER, "peer");
	return rt_fail_with(ENOSPC, "writing");
}

static const struct rt_http_route routes[] = {
	{ .method = "GET", .path = "/v1/health", .open = true, .begin = begin_echo, .end = end_echo, .finish = finish_echo },
	{ .method = "POST", .path = "/v1/echo/*", .body_limit = 1 << 20, .begin = begin_echo, .data = data_echo, .end = end_echo, .finish = finish_echo },
	{ .method = "GET", .path = "/v1/echo/*", .begin = begin_echo, .end = end_echo, .finish = finish_echo },
	{ .method = "POST", .path = "/v1/sink", .body_limit = 1ull << 40, .begin = begin_sink, .data = data_sink, .end = end_sink, .finish = finish_sink },
	{ .method = "GET", .path = "/v1/things/*/stream", .begin = begin_echo, .end = end_stream, .finish = finish_echo },
	{ .method = "GET", .path = "/v1/block", .begin = begin_echo, .end = end_block, .finish = finish_echo },
	{ .method = "GET", .path = "/v1/nothing", .begin = begin_sink, .end = end_nothing, .finish = finish_sink },
	{ .method = "POST", .path = "/v1/error/*", .body_limit = 1 << 20, .begin = begin_error, .data = data_sink, .end = end_sink, .finish = finish_sink },
	{ 0 },
};

static inline void succeeds(struct rt_error *err)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	if (err)
		fail_msg("%s", text);
}

/* Fails with this code and with a sentence that holds `part`. */
static inline void fails(struct rt_error *err, enum rt_code code, const char *part)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	if (!err)
		fail_msg("no error, where '%s' was expected", part);
	if (err->code != code || !strstr(text, part))
		fail_msg("error %d '%s' is not %d '...%s...'", err->code, text, code, part);
	rt_error_free(err);
}

static inline void start_with(struct rt_http_server_options options)
{
	memset(&service, 0, sizeof(service));
	if (!options.listen)
		options.listen = "127.0.0.1:0";
	succeeds(rt_http_server_start(&options, routes, NULL, &service.server));
	snprintf(service.url, sizeof(service.url), "http%s://%s", options.cert_file ? "s" : "", rt_http_server_address(service.server));
}

static inline void stop(void)
{
	rt_http_server_stop(rt_take_ptr(service.server));
	assert_int_equal(service.begun, service.finished);
}

/* Client and connection of one test. */
struct pair {
	struct rt_http_client *client;
	struct rt_http_connection *connection;
};

static inline struct pair connect_with(struct rt_http_client_options options)
{
	struct pair pair;

	if (!options.url)
		options.url = service.url;
	succeeds(rt_http_client_new(&options, &pair.client));
	succeeds(rt_http_connect(pair.client, &pair.connection));
	return pair;
}

static inline void disconnect(struct pair *pair)
{
	rt_http_disconnect(pair->connection);
	rt_http_client_free(pair->client);
}

static inline struct rt_error *post(struct pair *pair, const char *path, const char *body, struct rt_http_answer *ret)
{
	struct rt_http_request request = { .method = "POST", .path = path, .body = body, .body_size = body ? strlen(body) : 0 };

	return rt_http_ask(pair->connection, &request, 0, ret);
}

static inline struct rt_error *get(struct pair *pair, const char *path, struct rt_http_answer *ret)
{
	struct rt_http_request request = { .method = "GET", .path = path };

	return rt_http_ask(pair->connection, &request, 0, ret);
}

/* What a client with ideas of its own sends. */
static inline int connect_raw(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_port = htons((uint16_t)atoi(strrchr(service.url, ':') + 1));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Reads to the end of the connection, at most 10 s. */
static inline void read_raw(int fd, char *ret, size_t room)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };
	size_t used = 0;
	ssize_t n = 1;

	while (used + 1 < room && n > 0) {
		if (poll(&entry, 1, 10000) != 1)
			fail_msg("the connection was not closed");
		n = recv(fd, ret + used, room - 1 - used, 0);
		used += n > 0 ? (size_t)n : 0;
	}
	ret[used] = 0;
}

/* Sends `size` bytes; the answer must begin with `expected`. */
static inline void ask_raw(const char *bytes, size_t size, const char *expected)
{
	_cleanup_close_ int fd = connect_raw();
	char answer[8192];

	assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
	read_raw(fd, answer, sizeof(answer));
	if (!rt_str_starts(answer, expected))
		fail_msg("'%.200s' does not begin with '%s'", answer, expected);
}

static inline void ask_text(const char *text, const char *expected)
{
	ask_raw(text, strlen(text), expected);
}

static inline void ask_path(const char *method, const char *path, const char *expected)
{
	_cleanup_free_ char *text = NULL;

	succeeds(rt_format(&text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path));
	ask_text(text, expected);
}

struct source {
	unsigned long long left, fail_below;
	int pause_ms;
};

static inline struct rt_error *pull_source(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct source *source = userdata;
	size_t size = source->left < room ? (size_t)source->left : room;

	if (source->pause_ms > 0)
		pause_ms(source->pause_ms);
	if (source->left < source->fail_below)
		return rt_fail(RT_CRIU, "the source has failed");
	memset(buffer, 's', size);
	source->left -= size;
	*ret_size = size;
	return NULL;
}

static inline struct rt_error *upload(struct pair *pair, const char *path, struct source *source, struct rt_http_answer *ret)
{
	struct rt_http_request request = { .method = "POST", .path = path, .pull = pull_source, .pull_userdata = source };

	return rt_http_ask(pair->connection, &request, 0, ret);
}
