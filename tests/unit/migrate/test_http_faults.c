/* What goes wrong between two hosts: silence, cancellation, ends, limits, and peers that don't play by the rules. */
#include "http_test.h"

#include <signal.h>

struct asking {
	struct pair *pair;
	const char *path;
	struct source *source; /* NULL: GET */
	bool may_stall;
	struct rt_error *err;
	double ended;
	pthread_t thread;
};

static void *run_asking(void *userdata)
{
	struct asking *asking = userdata;
	struct rt_http_request request = { .method = "GET", .path = asking->path, .may_stall = asking->may_stall };

	if (asking->source) {
		request.method = "POST";
		request.pull = pull_source;
		request.pull_userdata = asking->source;
	}
	asking->err = rt_http_ask(asking->pair->connection, &request, 0, NULL);
	asking->ended = seconds();
	return NULL;
}

static void begin_asking(struct asking *asking)
{
	assert_int_equal(pthread_create(&asking->thread, NULL, run_asking, asking), 0);
}

/* Sooner than the next look of a poll of 100 ms. */
static void cancelling_ends_a_request_at_once(void **state)
{
	struct pair pair;
	struct asking asking = { .pair = &pair, .path = "/v1/block", .may_stall = true };
	double begin;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	begin_asking(&asking);
	eventually(service.blocked == 1);
	begin = seconds();
	rt_http_cancel(pair.connection);
	pthread_join(asking.thread, NULL);
	fails(asking.err, RT_PEER, "GET /v1/block was cancelled");
	assert_true(asking.ended - begin < 0.09);
	fails(get(&pair, "/v1/health", NULL), RT_PEER, "was cancelled");
	/* The server's handler learns of it. */
	eventually(service.finished == 1);
	disconnect(&pair);
	stop();
}

static void cancelling_ends_a_body_that_nobody_takes(void **state)
{
	struct source source = { .left = 1ull << 40 };
	struct pair pair;
	struct asking asking = { .pair = &pair, .path = "/v1/sink", .source = &source };

	start_with((struct rt_http_server_options){ 0 });
	service.stop_reading_at = 1;
	pair = connect_with((struct rt_http_client_options){ 0 });
	begin_asking(&asking);
	eventually(service.received > 0);
	pause_ms(100);
	rt_http_cancel(pair.connection);
	pthread_join(asking.thread, NULL);
	fails(asking.err, RT_PEER, "POST /v1/sink was cancelled");
	disconnect(&pair);
	stop();
	assert_int_equal(service.completed, 0);
}

static void silence_of_the_peer_is_a_stall(void **state)
{
	struct source source = { .left = 1ull << 40 };
	struct rt_http_request patient = { .method = "GET", .path = "/v1/block", .may_stall = true, .timeout_ms = 900 };
	struct rt_error *err;
	struct pair pair;
	double begin;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ .stall_timeout_ms = 300 });
	begin = seconds();
	fails(get(&pair, "/v1/block", NULL), RT_PEER, "nothing came or went for 300 ms");
	assert_true(seconds() - begin >= 0.3);
	service.stop_reading_at = 1;
	/* By us or, as libcurl 8.14 goes on to fill the kernel's buffers, by the kernel, which has the same limit. */
	begin = seconds();
	err = upload(&pair, "/v1/sink", &source, NULL);
	assert_true(err && (strstr(err->message, "nothing came or went for 300 ms") || strstr(err->message, "timed out")));
	rt_error_free(err);
	assert_true(seconds() - begin >= 0.3 && seconds() - begin < 5);
	service.stop_reading_at = 0;
	/* A long poll waits on; its own limit is another thing. */
	begin = seconds();
	fails(rt_http_ask(pair.connection, &patient, 0, NULL), RT_PEER, "GET /v1/block: ");
	assert_true(seconds() - begin >= 0.85);
	disconnect(&pair);
	stop();
}

static void our_own_pauses_are_no_stall(void **state)
{
	struct source source = { .left = 3000, .pause_ms = 500 };
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ .stall_timeout_ms = 200 });
	succeeds(upload(&pair, "/v1/sink", &source, NULL));
	disconnect(&pair);
	stop();
}

static void stopping_the_server_ends_what_blocks(void **state)
{
	struct source source = { .left = 1ull << 40 };
	struct pair pairs[3];
	struct asking asking[3] = {
		{ .pair = &pairs[0], .path = "/v1/block" },
		{ .pair = &pairs[1], .path = "/v1/things/wait/stream" },
		{ .pair = &pairs[2], .path = "/v1/sink", .source = &source },
	};
	double begin;
	int i;

	start_with((struct rt_http_server_options){ 0 });
	service.stop_reading_at = 1;
	for (i = 0; i < 3; i++) {
		pairs[i] = connect_with((struct rt_http_client_options){ 0 });
		begin_asking(&asking[i]);
	}
	eventually(service.blocked == 2 && service.received > 0);
	begin = seconds();
	stop();
	assert_true(seconds() - begin < 2);
	assert_int_equal(service.completed, 0);
	assert_int_equal(service.closed, 1);
	for (i = 0; i < 3; i++) {
		pthread_join(asking[i].thread, NULL);
		fails(asking[i].err, RT_PEER, asking[i].path);
		disconnect(&pairs[i]);
	}
}

static void slow_heads_and_silent_bodies_are_cut(void **state)
{
	static const char head[] = "GET /v1/health HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const char start[] = "POST /v1/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome";
	_cleanup_close_ int drip = -1, silent = -1, kept = -1;
	char answer[1000];
	double begin = seconds();
	unsigned i;

	start_with((struct rt_http_server_options){ .idle_timeout_s = 1 });
	drip = connect_raw();
	silent = connect_raw();
	kept = connect_raw();
	assert_int_equal(send(silent, start, sizeof(start) - 1, MSG_NOSIGNAL), sizeof(start) - 1);
	/* A byte now and then doesn't help. */
	for (i = 0; i < sizeof(head) - 1 && send(drip, head + i, 1, MSG_NOSIGNAL) == 1; i++)
		pause_ms(100);
	assert_in_range(i, 8, 25);
	read_raw(silent, answer, sizeof(answer));
	assert_string_equal(answer, "");
	read_raw(kept, answer, sizeof(answer));
	assert_string_equal(answer, "");
	assert_true(seconds() - begin < 4);
	eventually(service.finished == 1);
	assert_int_equal(service.completed, 0);
	stop();
}

static void *release_later(void *userdata)
{
	pause_ms(1600);
	service.stop_reading_at = 0;
	return NULL;
}

static struct rt_error *pull_slow(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct source *source = userdata;

	pause_ms(10);
	return pull_source(source, buffer, room, ret_size);
}

/* The time a handler takes is not the peer's: a server with an idle time of one second must not cut these. */
static void handlers_may_take_longer_than_the_idle_time(void **state)
{
	struct source source = { .left = 20 << 20 };
	struct rt_http_request request = { .method = "POST", .path = "/v1/sink", .pull = pull_slow, .pull_userdata = &source };
	struct rt_http_request lazy = { .method = "GET", .path = "/v1/things/lazy/stream" };
	struct rt_http_answer answer;
	struct pair pair;
	pthread_t thread;

	start_with((struct rt_http_server_options){ .idle_timeout_s = 1 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	service.stop_reading_at = 1 << 20;
	assert_int_equal(pthread_create(&thread, NULL, release_later, NULL), 0);
	succeeds(rt_http_ask(pair.connection, &request, 0, NULL));
	pthread_join(thread, NULL);
	succeeds(rt_http_ask(pair.connection, &lazy, 0, &answer));
	assert_string_equal(answer.body, "lazylazylazy");
	free(answer.body);
	disconnect(&pair);
	stop();
}

static void connections_over_the_limit_are_told_so(void **state)
{
	struct pair pairs[3];
	int i;

	start_with((struct rt_http_server_options){ .max_connections = 2 });
	for (i = 0; i < 3; i++)
		pairs[i] = connect_with((struct rt_http_client_options){ 0 });
	succeeds(get(&pairs[0], "/v1/health", NULL));
	succeeds(get(&pairs[1], "/v1/health", NULL));
	fails(get(&pairs[2], "/v1/health", NULL), RT_PEER, "there are 2 connections already, which is the limit (status 503");
	disconnect(&pairs[0]);
	/* The place of one that went is free. */
	for (i = 0; i < 100; i++) {
		struct rt_error *err = get(&pairs[2], "/v1/health", NULL);

		if (!err)
			break;
		rt_error_free(err);
		pause_ms(20);
	}
	assert_true(i < 100);
	disconnect(&pairs[1]);
	disconnect(&pairs[2]);
	stop();
}

static void *upload_one(void *userdata)
{
	struct source source = { .left = 1 << 20 };

	return upload(userdata, "/v1/sink", &source, NULL);
}

static void the_bandwidth_is_shared_by_all_connections(void **state)
{
	struct rt_http_client_options options = { .bandwidth = 4 << 20 };
	struct pair pairs[4];
	pthread_t threads[4];
	struct rt_http_client *client;
	double begin, took;
	void *err;
	int i;

	start_with((struct rt_http_server_options){ 0 });
	options.url = service.url;
	succeeds(rt_http_client_new(&options, &client));
	begin = seconds();
	for (i = 0; i < 4; i++) {
		succeeds(rt_http_connect(client, &pairs[i].connection));
		assert_int_equal(pthread_create(&threads[i], NULL, upload_one, &pairs[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &err);
		succeeds(err);
		rt_http_disconnect(pairs[i].connection);
	}
	took = seconds() - begin;
	rt_http_client_free(client);
	/* 4 MiB at 4 MiB/s. */
	assert_true(took > 0.85);
	assert_true(took < 2.5);
	stop();
}

/* A host that answers one connection after the other with what it is told. */
struct impostor {
	const char *answers[4]; /* one for each connection; NULL ends */
	atomic_uint accepted;
	bool keep; /* a second request on the connection is read, and not answered */
	unsigned repeat; /* the answer's last byte is sent so often */
	int fd;
	pthread_t thread;
};

static void serve(struct impostor *impostor, int fd, const char *answer)
{
	char request[4096], block[4096];
	unsigned i;

	if (recv(fd, request, sizeof(request), 0) <= 0)
		return;
	send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	memset(block, answer[strlen(answer) - 1], sizeof(block));
	for (i = 0; i < impostor->repeat / sizeof(block); i++) {
		if (send(fd, block, sizeof(block), MSG_NOSIGNAL) < 0)
			return;
	}
	if (impostor->keep && recv(fd, request, sizeof(request), 0) <= 0)
		return;
}

static void *run_impostor(void *userdata)
{
	struct impostor *impostor = userdata;
	int i;

	for (i = 0; i < 4 && impostor->answers[i]; i++) {
		_cleanup_close_ int fd = accept(impostor->fd, NULL, NULL);

		if (fd < 0)
			break;
		impostor->accepted++;
		serve(impostor, fd, impostor->answers[i]);
	}
	return NULL;
}

static void start_impostor(struct impostor *impostor)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);

	impostor->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(impostor->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(impostor->fd, 4), 0);
	assert_int_equal(getsockname(impostor->fd, (struct sockaddr *)&address, &size), 0);
	snprintf(service.url, sizeof(service.url), "http://127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(pthread_create(&impostor->thread, NULL, run_impostor, impostor), 0);
}

static void stop_impostor(struct impostor *impostor)
{
	shutdown(impostor->fd, SHUT_RDWR);
	pthread_join(impostor->thread, NULL);
	close(impostor->fd);
}

/* Asks an impostor once. */
static struct rt_error *ask_impostor(const char *answer, unsigned repeat)
{
	struct impostor impostor = { .answers = { answer }, .repeat = repeat };
	struct rt_error *err;
	struct pair pair;

	start_impostor(&impostor);
	pair = connect_with((struct rt_http_client_options){ .stall_timeout_ms = 2000 });
	err = get(&pair, "/x", NULL);
	disconnect(&pair);
	stop_impostor(&impostor);
	return err;
}

static void hostile_answers_are_errors(void **state)
{
	fails(ask_impostor("HTTP/1.1 500 No\r\nContent-Length: 24\r\n\r\n\033[31mbad\nsecond line....", 0), RT_PEER, "': ?[31mbad (status 500 of GET /x)");
	fails(ask_impostor("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0), RT_PEER, "(status 302 of GET /x)");
	fails(ask_impostor("nonsense\r\n\r\n", 0), RT_PEER, "GET /x: ");
	fails(ask_impostor("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", 0), RT_PEER, "GET /x: ");
	fails(ask_impostor("HTTP/1.1 200 OK\r\nX: aaaa", 1 << 20), RT_PEER, "GET /x: ");
	fails(ask_impostor("HTTP/1.1 200 OK\r\n\r\nb", 17 << 20), RT_PEER, "the answer is larger than 16777216 bytes");
	fails(ask_impostor("HTTP/1.1 500 No\r\n\r\nbad\nb", 10 << 20), RT_PEER, "bad (status 500 of GET /x)");
}

static void a_message_is_not_repeated_when_the_connection_breaks(void **state)
{
	static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	struct impostor impostor = { .answers = { fine, fine }, .keep = true };
	struct pair pair;

	start_impostor(&impostor);
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(post(&pair, "/v1/commit", "please", NULL));
	/* It may have been carried out: only the caller knows whether it may be said twice. */
	fails(post(&pair, "/v1/commit", "please", NULL), RT_PEER, "closed before an answer came");
	assert_int_equal(impostor.accepted, 1);
	stop_impostor(&impostor);
	disconnect(&pair);
}

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
	struct source source = { .left = 100000 };
	struct pair pair;

	start_with((struct rt_http_server_options){ .idle_timeout_s = 1 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(post(&pair, "/v1/echo/w", "x", NULL));
	pause_ms(1500);
	succeeds(post(&pair, "/v1/echo/w", "x", NULL));
	pause_ms(1500);
	succeeds(upload(&pair, "/v1/sink", &source, NULL));
	disconnect(&pair);
	stop();
}

static void hosts_that_are_not_there_are_named(void **state)
{
	struct pair pair;

	/* A port that was free a moment ago. */
	start_with((struct rt_http_server_options){ 0 });
	stop();
	pair = connect_with((struct rt_http_client_options){ 0 });
	fails(get(&pair, "/v1/health", NULL), RT_PEER, strrchr(service.url, '/') + 1);
	fails(get(&pair, "/v1/health", NULL), RT_PEER, "onnect");
	disconnect(&pair);
}

static void the_environment_has_no_say(void **state)
{
	struct pair pair;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(get(&pair, "/v1/health", NULL));
	disconnect(&pair);
	stop();
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

static struct rt_error *new_client(const char *url, bool insecure)
{
	struct rt_http_client_options options = { .url = url, .insecure = insecure };
	struct rt_http_client *client;
	struct rt_error *err = rt_http_client_new(&options, &client);

	if (!err)
		rt_http_client_free(client);
	return err;
}

static void urls_are_checked(void **state)
{
	succeeds(new_client("https://hostb:7443", false));
	succeeds(new_client("https://hostb:7443/", false));
	succeeds(new_client("https://[2001:db8::1]:7443", false));
	succeeds(new_client("http://localhost:7443", false));
	succeeds(new_client("http://127.1.2.3:7443", false));
	succeeds(new_client("http://[::1]:7443", false));
	succeeds(new_client("http://hostb:7443", true));
	fails(new_client("http://hostb:7443", false), RT_USAGE, "plain http to host 'hostb'");
	fails(new_client("http://127.0.0.1.example.com:7443", false), RT_USAGE, "plain http to host");
	fails(new_client("http://localhost.example.com", false), RT_USAGE, "plain http to host");
	fails(new_client("https://hostb:7443/v1", false), RT_USAGE, "nothing behind the port");
	fails(new_client("https://hostb:7443?x", false), RT_USAGE, "nothing behind the port");
	fails(new_client("https://hostb:7443#x", false), RT_USAGE, "nothing behind the port");
	fails(new_client("ftp://hostb", false), RT_USAGE, "must begin with https://");
	fails(new_client("hostb:7443", false), RT_USAGE, "is not the URL of a host");
	fails(new_client("", false), RT_USAGE, "is not the URL of a host");
	fails(new_client("https://", false), RT_USAGE, "is not the URL of a host");
	fails(new_client("https://hostb:99999", false), RT_USAGE, "is not the URL of a host");
	fails(new_client("https://user:secret@hostb", false), RT_USAGE, "must not hold a user or password");
}

static void nobody_dies_of_a_broken_pipe(void **state)
{
	_cleanup_close_ int fd = -1;
	static const char head[] = "GET /v1/things/endless/stream HTTP/1.1\r\nHost: x\r\n\r\n";
	struct linger now = { .l_onoff = 1 };

	signal(SIGPIPE, SIG_DFL);
	start_with((struct rt_http_server_options){ 0 });
	fd = connect_raw();
	assert_int_equal(send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL), sizeof(head) - 1);
	eventually(service.begun == 1);
	pause_ms(50);
	/* A reset, while the server is writing. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(rt_take_fd(fd));
	eventually(service.finished == 1);
	assert_int_equal(service.closed, 1);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancelling_ends_a_request_at_once),
		cmocka_unit_test(cancelling_ends_a_body_that_nobody_takes),
		cmocka_unit_test(silence_of_the_peer_is_a_stall),
		cmocka_unit_test(our_own_pauses_are_no_stall),
		cmocka_unit_test(stopping_the_server_ends_what_blocks),
		cmocka_unit_test(slow_heads_and_silent_bodies_are_cut),
		cmocka_unit_test(handlers_may_take_longer_than_the_idle_time),
		cmocka_unit_test(connections_over_the_limit_are_told_so),
		cmocka_unit_test(the_bandwidth_is_shared_by_all_connections),
		cmocka_unit_test(hostile_answers_are_errors),
		cmocka_unit_test(a_message_is_not_repeated_when_the_connection_breaks),
		cmocka_unit_test(a_kept_connection_that_was_closed_is_replaced),
		cmocka_unit_test(hosts_that_are_not_there_are_named),
		cmocka_unit_test(the_environment_has_no_say),
		cmocka_unit_test(urls_are_checked),
		cmocka_unit_test(nobody_dies_of_a_broken_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
