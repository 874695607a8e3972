/* HTTP/1.1 from other hosts, over libmicrohttpd: who may speak, and bodies that are streamed to handlers. Knows nothing of what they mean.
 *
 * A thread per connection: handlers may block, and a body is read only as fast as its handler takes it. Nothing reaches a handler before the peer is authenticated:
 * by a client certificate of the CA, or by the token, as the options say. Limits: connections in all and per address, header size, body size per route, idle time. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

struct rt_http_server_options {
	const char *listen; /* "ADDRESS:PORT", "[V6]:PORT"; port 0: any */
	const char *cert_file, *key_file; /* TLS; NULL: plain, only on loopback or with `insecure` */
	const char *client_ca_file; /* peers must have a certificate of it */
	const char *token_file; /* peers must know this token: one line of 16 to 512 characters, mode 0600. With TLS one of the two is needed; both narrow further */
	bool insecure;
	unsigned max_connections; /* 0: 256 */
	unsigned idle_timeout_s; /* 0: 60 */
};

struct rt_http_exchange; /* one request, valid until its `finish` has returned */

/* The answer of a handler: body is copied. */
struct rt_error *rt_http_reply(struct rt_http_exchange *exchange, unsigned status, const char *content_type, const void *body, size_t size) _must_check_;
/* An answer that is produced as long as the peer takes it: `pull` blocks until there is something; 0 bytes: the end; an error cuts the answer, which the peer
 * sees. `close` is called once, before the route's `finish`; not where this fails. */
struct rt_error *rt_http_reply_stream(struct rt_http_exchange *exchange, const char *content_type,
				      struct rt_error *(*pull)(void *userdata, void *buffer, size_t room, size_t *ret_size), void (*close)(void *userdata),
				      void *userdata) _must_check_;

/* Part of the path that a '*' of the route stands for; never NULL, checked to be [A-Za-z0-9_.-]{1,128} and not to begin with '.'. */
const char *rt_http_exchange_word(const struct rt_http_exchange *exchange);
/* "192.0.2.1:40312", with a client certificate "192.0.2.1:40312 (CN=hosta)": for logs. */
const char *rt_http_exchange_peer(const struct rt_http_exchange *exchange);
/* Whether the peer has closed the connection, or the server is being stopped: a handler or `pull` that waits for something else must ask now and then
 * (every 100 ms, say), since nothing else can wake it. Any thread, until `finish` is called. */
bool rt_http_exchange_gone(const struct rt_http_exchange *exchange);

struct rt_http_route {
	const char *method; /* "GET"; NULL ends the table */
	const char *path; /* "/v1/migrations/" followed by '*' and more, or an exact path; at most one '*' */
	uint64_t body_limit; /* bytes; 0: no body */
	bool open; /* may be asked by anybody (a health check) */
	/* When the head is there. *ret_state is handed to the others. An error is the answer: RT_USAGE, RT_CONFIG 400; RT_NOT_FOUND 404; RT_EXISTS, RT_WRONG_STATE
	 * 409; RT_PEER 422; else 500; its text the body. */
	struct rt_error *(*begin)(void *userdata, struct rt_http_exchange *exchange, void **ret_state);
	/* Bytes of the body, never 0. After an error the rest is not read: the answer is sent and the connection closed. NULL: no body. */
	struct rt_error *(*data)(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size);
	/* The body is complete: must call rt_http_reply() or rt_http_reply_stream(), or fail. */
	struct rt_error *(*end)(void *userdata, struct rt_http_exchange *exchange, void *state);
	/* Last, and always after a `begin` that succeeded. complete: `end` was fine and the answer has been sent; not where the connection broke. */
	void (*finish)(void *userdata, void *state, bool complete);
};

struct rt_http_server;
/* `routes` and userdata must outlive it. Its threads have the caller's signal mask. */
struct rt_error *rt_http_server_start(const struct rt_http_server_options *options, const struct rt_http_route *routes, void *userdata,
				      struct rt_http_server **ret) _must_check_;
/* "127.0.0.1:7443": with the port it got. */
const char *rt_http_server_address(const struct rt_http_server *server);
/* Ends the requests at hand and waits for their handlers: not from one of them. NULL is fine. */
void rt_http_server_stop(struct rt_http_server *server);
