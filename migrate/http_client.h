/* HTTP/1.1 to the other host, over libcurl: messages, and bodies that are streamed. Knows nothing of what they mean.
 *
 * One `struct rt_http_client` per peer, made once; one `struct rt_http_connection` per thread, each with a connection that is kept between
 * requests. libcurl can only be told to stop: the reason a callback gave is kept and reported first, then curl's own words. Every failure is an RT_PEER error that names
 * the host, and for an answer other than 2xx quotes the one sentence in its body. */
#pragma once

#include "runtime/base/error.h"

#include <stdatomic.h>
#include <stdint.h>

struct rt_http_client_options {
	const char *url; /* "https://hostb:7443"; a path is refused */
	const char *ca_file; /* NULL: the system's */
	const char *cert_file, *key_file; /* a client certificate; NULL: none */
	const char *token_file; /* one line of 16 to 512 characters, sent as "Authorization: Bearer"; its mode must be 0600 */
	bool insecure; /* plain http to another host than this one is allowed */
	unsigned connect_timeout_ms; /* 0: 5000 */
	unsigned stall_timeout_ms; /* a request with no byte in either direction for so long has failed, the time of callbacks excepted; 0: 30000 */
	uint64_t bandwidth; /* bytes per second over all connections; 0: no limit. What a `pull` gives waits for it, a message only counts */
};

struct rt_http_client;
/* RT_USAGE: a bad URL; plain http without being allowed to; a file that can't be read. Connects to nobody. */
struct rt_error *rt_http_client_new(const struct rt_http_client_options *options, struct rt_http_client **ret) _must_check_;
void rt_http_client_free(struct rt_http_client *client);

struct rt_http_connection;
struct rt_error *rt_http_connect(struct rt_http_client *client, struct rt_http_connection **ret) _must_check_;
void rt_http_disconnect(struct rt_http_connection *connection);

/* Produces the next bytes of a body: at most `room`. 0 bytes: the end. May block. An error ends the request with it. */
typedef struct rt_error *(*rt_http_pull_fn)(void *userdata, void *buffer, size_t room, size_t *ret_size);
/* Takes bytes of an answer. An error ends the request with it; *ret_enough ends it with success. */
typedef struct rt_error *(*rt_http_push_fn)(void *userdata, const void *bytes, size_t size, bool *ret_enough);

struct rt_http_request {
	const char *method; /* "GET", "HEAD", "POST", "PUT" */
	const char *path; /* "/v1/migrations" */
	const void *body; /* or NULL */
	size_t body_size;
	rt_http_pull_fn pull; /* in place of body: chunked */
	void *pull_userdata;
	rt_http_push_fn push; /* NULL: the answer is collected in rt_http_answer */
	void *push_userdata;
	const char *content_type; /* of body or pull; NULL: application/octet-stream */
	const char *const *headers; /* further ones, "Name: value", NULL-terminated; or NULL. May be secrets */
	size_t answer_max; /* bytes of an answer that is collected; 0: RT_HTTP_ANSWER_MAX */
	unsigned timeout_ms; /* for the whole request; 0: none but stall_timeout_ms */
	bool repeatable; /* it may reach the peer twice, as GET and HEAD may */
	bool may_stall; /* a long poll: stall_timeout_ms doesn't count, TCP keep-alive finds a dead peer */
};

#define RT_HTTP_ANSWER_MAX (16u << 20)
struct rt_http_answer {
	unsigned status;
	char *body; /* malloc()ed, with a 0 behind it; the caller's */
	size_t size;
};

/* For `accept`: whatever the status is, it is the caller's to judge. Of a body that comes with another than 2xx only the beginning is kept. */
#define RT_HTTP_ANY_STATUS ~0u

/* `ret` may be NULL. Where the peer answered other than 2xx this fails, unless `accept` is that status. A request that may have reached the peer is not sent
 * again, except GET, HEAD and what is `repeatable`: the caller knows what may be said twice. */
struct rt_error *rt_http_ask(struct rt_http_connection *connection, const struct rt_http_request *request, unsigned accept,
			     struct rt_http_answer *ret) _must_check_;

/* The header of the last answer, of those of this name the one with this number; NULL: there is none. The connection's, until the next request. */
const char *rt_http_header(const struct rt_http_connection *connection, const char *name, size_t number);

/* Bytes a second that a connection to this peer has got from the link: this one, if something waits there now, or else the last one that had to wait, which is kept in `shared`; 0:
 * none had to. From a `pull` of its request, or between requests. struct tcp_info, Linux 4.10. */
uint64_t rt_http_link_rate(const struct rt_http_connection *connection, _Atomic uint64_t *shared);

/* Microseconds for which a link that delivers `rate` bytes a second is busy with what this connection has sent and the peer has not, beyond what is on its way anyhow. The
 * same holds. struct tcp_info, Linux 4.6. */
uint64_t rt_http_queue(const struct rt_http_connection *connection, uint64_t rate);

/* Microseconds to this peer and back, smoothed, as the kernel measures it; 0: it has not. From a `pull` of its request, or between requests. */
uint64_t rt_http_round_trip(const struct rt_http_connection *connection);

/* Whether anything of the last request may have reached the peer. */
bool rt_http_was_sent(const struct rt_http_connection *connection);

/* From another thread: the request at hand on this connection, and all later ones, end at once; where a `pull` or `push` of the caller's is running, when that
 * returns. */
void rt_http_cancel(struct rt_http_connection *connection);
