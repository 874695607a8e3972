/* What http_client.c (peers and connections to them), http_request.c (requests on them) and http_link.c (what is under them) share. Nobody else includes this. */
#pragma once

#include "migrate/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

/* Sockets that libcurl may have open for one connection: two while it tries IPv6 and IPv4. */
#define RT_HTTP_SOCKETS_MAX 4

struct rt_http_client {
	char *base; /* "https://hostb:7443" */
	char *host; /* "hostb:7443" */
	char *ca_file, *cert_file, *key_file;
	char *authorization; /* the whole header, a secret; or NULL */
	unsigned connect_timeout_ms, stall_timeout_ms;
	/* The token bucket: bytes that were let through are paid off at this rate. */
	uint64_t bandwidth;
	pthread_mutex_t lock;
	int64_t paid_ns; /* when all that was let through so far is paid */
};

struct rt_http_connection {
	struct rt_http_client *client;
	CURL *easy;
	CURLM *multi;
	atomic_bool cancelled;
	int sockets[RT_HTTP_SOCKETS_MAX]; /* -1: none */
	char message[CURL_ERROR_SIZE];
	/* The request at hand. */
	const struct rt_http_request *request;
	unsigned accept;
	struct rt_error *err; /* the reason why a callback ended it */
	bool sent; /* something of the last request */
	bool enough; /* success, though the answer was not read to its end */
	bool stalled, repeated;
	int64_t last_ns; /* when a byte went either way, or we kept the peer waiting */
	curl_off_t last_bytes;
	size_t head_size;
	char *body;
	size_t size, room;
};

int64_t rt_http_client_now_ns(void);

/* How many of `room` bytes may go out now; waits for that, 0 only when the connection has been cancelled. */
size_t rt_http_client_allow(struct rt_http_connection *connection, size_t room);
/* They went out. */
void rt_http_client_charge(struct rt_http_client *client, size_t size);

/* Socket options for the request at hand. */
void rt_http_client_tune(struct rt_http_connection *connection, int fd);

/* The callbacks of libcurl for requests. */
void rt_http_request_callbacks(struct rt_http_connection *connection);
