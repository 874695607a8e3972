/* What http_server.c (the daemon and its connections), http_exchange.c (requests on them) and http_refuse.c (answers in the middle of a body) share. Nobody
 * else includes this. */
#pragma once

#include "migrate/http_parse.h"
#include "migrate/http_server.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

/* What a connection is waiting for. The watch ends it when that takes too long, except where it is for our own handler. */
enum rt_http_phase {
	RT_HTTP_HEAD, /* the TLS handshake, a request line and headers: all of it within the idle time, however slowly they drip */
	RT_HTTP_BODY, /* more of a body */
	RT_HTTP_HANDLER, /* us */
	RT_HTTP_REPLY, /* the peer to take the answer */
};

/* One connection, owned by the server's list from accept() to close(). */
struct rt_http_peer {
	struct rt_http_server *server;
	struct rt_http_peer *next, **link; /* under the server's lock */
	int fd; /* libmicrohttpd's */
	bool excess; /* one connection too many: told so, and closed */
	bool certified; /* its certificate has been verified */
	_Atomic(enum rt_http_phase) phase;
	_Atomic int64_t deadline_ms; /* CLOCK_MONOTONIC */
	char name[384]; /* see rt_http_exchange_peer() */
};

struct rt_http_server {
	const struct rt_http_route *routes;
	void *userdata;
	char *token, *client_ca; /* NULL: not asked for */
	unsigned max_connections;
	int64_t idle_ms;
	char address[300];
	struct MHD_Daemon *daemon;
	pthread_t watch;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* of the watch */
	struct rt_http_peer *peers;
	unsigned count;
	atomic_bool stopping;
};

struct rt_http_exchange {
	struct rt_http_peer *peer;
	struct MHD_Connection *connection;
	const struct rt_http_route *route; /* NULL: refused before there was one */
	void *state; /* the handler's */
	bool begun, failed;
	uint64_t received;
	char word[RT_HTTP_WORD_MAX + 1];
	/* The answer. */
	struct MHD_Response *response;
	unsigned status;
	int64_t reply_ms; /* what sending it may take more than the idle time */
	struct rt_error *(*pull)(void *userdata, void *buffer, size_t room, size_t *ret_size);
	void (*close)(void *userdata); /* NULL once it was called */
	void *pull_userdata;
	/* A refusal: status and one sentence. */
	unsigned refused; /* 0: not */
	bool hang_up;
	const char *allow; /* 405: the methods there are */
	char sentence[1024];
};

/* Tells what the connection waits for from now on, for `extra_ms` longer than the idle time. */
void rt_http_peer_wait(struct rt_http_peer *peer, enum rt_http_phase phase, int64_t extra_ms);
int64_t rt_http_now_ms(void);

enum MHD_Result rt_http_handle(void *server, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *bytes,
			       size_t *size, void **exchange);
void rt_http_completed(void *server, struct MHD_Connection *connection, void **exchange, enum MHD_RequestTerminationCode why);

/* Whether the peer may speak: its certificate and its token, as the options say. Otherwise the exchange is refused. */
bool rt_http_authenticated(struct rt_http_exchange *exchange);

/* Sends the refusal while the peer is still sending: libmicrohttpd takes an answer only before a body or after all of it. The
 * connection is of no further use. */
void rt_http_refuse_now(struct rt_http_exchange *exchange);

void rt_http_refuse(struct rt_http_exchange *exchange, unsigned status, const char *format, ...) __attribute__((format(printf, 3, 4)));
const char *rt_http_reason(unsigned status);
