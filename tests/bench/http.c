/* How fast migrate/http_*.c are over loopback: streams, against a plain TCP copy in the same run, and small messages. Not part of the tests:
 *
 *     ninja -C build tests/bench-http && build/tests/bench-http [MIB [CERTIFICATE KEY TOKEN_FILE]]
 *
 * Each figure is the best of five. With a certificate (of 'localhost', its own CA) the streams go over TLS. */
#include "migrate/http_client.h"
#include "migrate/http_server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define ROUNDS 5
#define MESSAGES 5000
#define BLOCK (1u << 20)

static unsigned long long total = 1024ull << 20;
static char block[BLOCK];

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Of both sides: what remains comparable on a machine that is not idle. */
static double processor_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void check(struct rt_error *err)
{
	_cleanup_free_ char *text = NULL;

	if (!err)
		return;
	text = rt_error_text(err);
	fprintf(stderr, "%s\n", text);
	exit(1);
}

static struct rt_error *take(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	return NULL;
}

static struct rt_error *answer(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	return rt_http_reply(exchange, 200, "text/plain", "ok", 2);
}

static struct rt_error *pull_block(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	unsigned long long *left = userdata;

	if (room > BLOCK)
		room = BLOCK;
	if (room > *left)
		room = (size_t)*left;
	memcpy(buffer, block, room);
	*left -= room;
	*ret_size = room;
	return NULL;
}

static struct rt_error *stream(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	static unsigned long long left;

	left = total;
	return rt_http_reply_stream(exchange, "application/octet-stream", pull_block, NULL, &left);
}

static struct rt_error *push(void *userdata, const void *bytes, size_t size, bool *ret_enough)
{
	*(unsigned long long *)userdata += size;
	return NULL;
}

static const struct rt_http_route routes[] = {
	{ .method = "POST", .path = "/sink", .body_limit = UINT64_MAX, .data = take, .end = answer },
	{ .method = "GET", .path = "/stream", .end = stream },
	{ 0 },
};

static void *tcp_receive(void *userdata)
{
	_cleanup_close_ int fd = accept(*(int *)userdata, NULL, NULL);
	static char buffer[BLOCK];

	while (fd >= 0 && recv(fd, buffer, sizeof(buffer), 0) > 0)
		;
	return NULL;
}

static double tcp_copy(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int server = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(address);
	unsigned long long left = total;
	static char buffer[BLOCK];
	pthread_t thread;
	double begin;

	if (bind(server, (struct sockaddr *)&address, size) < 0 || listen(server, 1) < 0 || getsockname(server, (struct sockaddr *)&address, &size) < 0 ||
	    pthread_create(&thread, NULL, tcp_receive, &server) != 0 || connect(fd, (struct sockaddr *)&address, size) < 0) {
		perror("tcp");
		exit(1);
	}
	begin = seconds();
	while (left > 0) {
		ssize_t n;

		/* Produced anew, as the streams are. */
		memcpy(buffer, block, sizeof(buffer));
		n = send(fd, buffer, left < BLOCK ? (size_t)left : BLOCK, MSG_NOSIGNAL);
		if (n <= 0)
			exit(1);
		left -= (unsigned long long)n;
	}
	shutdown(fd, SHUT_WR);
	pthread_join(thread, NULL);
	return seconds() - begin;
}

static double upload(struct rt_http_connection *connection)
{
	unsigned long long left = total;
	struct rt_http_request request = { .method = "POST", .path = "/sink", .pull = pull_block, .pull_userdata = &left };
	double begin = seconds();

	check(rt_http_ask(connection, &request, 0, NULL));
	return seconds() - begin;
}

static double copy(struct rt_http_connection *connection)
{
	return tcp_copy();
}

static double download(struct rt_http_connection *connection)
{
	unsigned long long got = 0;
	struct rt_http_request request = { .method = "GET", .path = "/stream", .push = push, .push_userdata = &got };
	double begin = seconds();

	check(rt_http_ask(connection, &request, 0, NULL));
	if (got != total)
		exit(1);
	return seconds() - begin;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void messages(struct rt_http_connection *connection)
{
	struct rt_http_request request = { .method = "POST", .path = "/sink", .body = block, .body_size = 200 };
	static double took[MESSAGES];
	unsigned i;

	for (i = 0; i < MESSAGES; i++) {
		double begin = seconds();

		check(rt_http_ask(connection, &request, 0, NULL));
		took[i] = seconds() - begin;
	}
	qsort(took, MESSAGES, sizeof(took[0]), compare);
	printf("message of 200 bytes: median %.3f ms, 99 %% %.3f ms, worst %.3f ms\n", took[MESSAGES / 2] * 1e3, took[MESSAGES * 99 / 100] * 1e3,
	       took[MESSAGES - 1] * 1e3);
}

struct way {
	const char *name;
	double (*run)(struct rt_http_connection *connection);
	double best, processor;
};

static void run(struct way *way, struct rt_http_connection *connection)
{
	double processor = processor_seconds(), took = way->run(connection);

	processor = processor_seconds() - processor;
	if (way->best == 0 || took < way->best)
		way->best = took;
	if (way->processor == 0 || processor < way->processor)
		way->processor = processor;
}

int main(int argc, char **argv)
{
	bool tls = argc > 4;
	struct rt_http_server_options options = { .listen = "127.0.0.1:0", .cert_file = tls ? argv[2] : NULL, .key_file = tls ? argv[3] : NULL,
						  .token_file = tls ? argv[4] : NULL };
	struct rt_http_client_options client_options = { .ca_file = options.cert_file, .token_file = options.token_file };
	struct way ways[] = { { "plain TCP copy", copy }, { "POST", upload }, { "streamed answer", download } };
	struct rt_http_connection *connection;
	struct rt_http_server *server;
	struct rt_http_client *client;
	char url[64];
	size_t i;

	if (argc > 1)
		total = strtoull(argv[1], NULL, 10) << 20;
	memset(block, 'x', sizeof(block));
	check(rt_http_server_start(&options, routes, NULL, &server));
	snprintf(url, sizeof(url), "%s:%s", tls ? "https://localhost" : "http://127.0.0.1", strrchr(rt_http_server_address(server), ':') + 1);
	client_options.url = url;
	check(rt_http_client_new(&client_options, &client));
	check(rt_http_connect(client, &connection));
	messages(connection);
	for (i = 0; i < ROUNDS * RT_ARRAY_SIZE(ways); i++)
		run(&ways[i % RT_ARRAY_SIZE(ways)], connection);
	for (i = 0; i < RT_ARRAY_SIZE(ways); i++)
		printf("%-16s%6.0f MB/s (%3.0f %% of TCP), %5.0f ms of processor time per GB%s\n", ways[i].name, (double)total / ways[i].best / 1e6,
		       ways[0].best / ways[i].best * 100, ways[i].processor * 1e12 / (double)total, tls && i > 0 ? ", over TLS" : "");
	rt_http_disconnect(connection);
	rt_http_client_free(client);
	rt_http_server_stop(server);
	return 0;
}
