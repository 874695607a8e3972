#include "http_test.h"

static void messages_go_both_ways_on_a_kept_connection(void **state)
{
	struct rt_http_answer answer;
	double best = 1, begin, took;
	struct pair pair;
	char peer[512];
	int i;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	for (i = 0; i < 200; i++) {
		begin = seconds();
		succeeds(post(&pair, "/v1/echo/a-word", "hello", &answer));
		took = seconds() - begin;
		best = took < best ? took : best;
		assert_int_equal(answer.status, 200);
		assert_int_equal(answer.size, 12);
		assert_string_equal(answer.body, "a-word:hello");
		free(answer.body);
		if (i > 0)
			assert_string_equal(service.peer, peer);
		snprintf(peer, sizeof(peer), "%s", service.peer);
	}
	assert_true(rt_str_starts(peer, "127.0.0.1:"));
	/* Nothing waits for a delayed acknowledgement (40 ms); the figure proper is for the benchmark. */
	assert_true(best < 0.005);
	succeeds(post(&pair, "/v1/echo/empty", NULL, &answer));
	assert_string_equal(answer.body, "empty:");
	free(answer.body);
	succeeds(get(&pair, "/v1/health", NULL));
	eventually(service.finished == 202);
	disconnect(&pair);
	stop();
	assert_int_equal(service.completed, 202);
}

static void a_body_is_streamed(void **state)
{
	struct source source = { .left = 64 << 20 };
	struct rt_http_answer answer;
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(upload(&pair, "/v1/sink", &source, &answer));
	assert_int_equal(answer.status, 201);
	assert_string_equal(answer.body, "67108864");
	free(answer.body);
	/* The connection goes on with messages. */
	succeeds(get(&pair, "/v1/health", NULL));
	eventually(service.finished == 2);
	disconnect(&pair);
	stop();
	assert_int_equal(service.completed, 2);
}

struct drain {
	unsigned long long size, enough_at, fail_at;
	char first[64];
	unsigned pieces;
	double last;
};

static struct rt_error *push_drain(void *userdata, const void *bytes, size_t size, bool *ret_enough)
{
	struct drain *drain = userdata;

	if (drain->size + size < sizeof(drain->first))
		memcpy(drain->first + drain->size, bytes, size);
	drain->size += size;
	drain->pieces++;
	drain->last = seconds();
	if (drain->fail_at > 0 && drain->size >= drain->fail_at)
		return rt_fail(RT_CONFIG, "no place for it");
	*ret_enough = drain->enough_at > 0 && drain->size >= drain->enough_at;
	return NULL;
}

static struct rt_error *download(struct pair *pair, const char *path, struct drain *drain)
{
	struct rt_http_request request = { .method = "GET", .path = path, .push = push_drain, .push_userdata = drain };

	return rt_http_ask(pair->connection, &request, 0, NULL);
}

static void an_answer_is_streamed_as_it_comes(void **state)
{
	struct drain words = { 0 }, many = { 0 };
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(download(&pair, "/v1/things/words/stream", &words));
	assert_string_equal(words.first, "word0 word1 word2 ");
	assert_int_equal(words.pieces, 3);
	succeeds(download(&pair, "/v1/things/many/stream", &many));
	assert_int_equal(many.size, 100000000);
	eventually(service.finished == 2);
	assert_int_equal(service.closed, 2);
	disconnect(&pair);
	stop();
	assert_int_equal(service.completed, 2);
}

static void the_first_bytes_go_out_before_the_next_are_there(void **state)
{
	struct drain drain = { .enough_at = 1 };
	struct pair pair;
	double begin;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	begin = seconds();
	succeeds(download(&pair, "/v1/things/wait/stream", &drain));
	assert_string_equal(drain.first, "first");
	assert_true(drain.last - begin < 0.15); /* the kernel would keep them back for 200 ms */
	/* The client had enough and has closed: the producer sees it, and is closed once. */
	eventually(service.finished == 1);
	assert_int_equal(service.closed, 1);
	assert_int_equal(service.completed, 0);
	disconnect(&pair);
	stop();
}

static void a_client_that_has_enough_ends_an_endless_answer(void **state)
{
	struct drain drain = { .enough_at = 10 << 20 }, failing = { .fail_at = 1 };
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(download(&pair, "/v1/things/endless/stream", &drain));
	fails(download(&pair, "/v1/things/endless/stream", &failing), RT_CONFIG, "no place for it");
	eventually(service.finished == 2);
	assert_int_equal(service.closed, 2);
	succeeds(get(&pair, "/v1/health", NULL));
	disconnect(&pair);
	stop();
}

static void an_answer_that_is_cut_is_an_error(void **state)
{
	struct drain drain = { 0 };
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	fails(download(&pair, "/v1/things/cut/stream", &drain), RT_PEER, "GET /v1/things/cut/stream");
	assert_int_equal(drain.size, 18);
	eventually(service.finished == 1);
	assert_int_equal(service.completed, 0);
	assert_int_equal(service.closed, 1);
	disconnect(&pair);
	stop();
}

static void the_error_of_a_source_is_what_is_reported(void **state)
{
	struct source source = { .left = 10 << 20, .fail_below = 5 << 20 };
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	fails(upload(&pair, "/v1/sink", &source, NULL), RT_CRIU, "POST /v1/sink: the source has failed");
	/* The server must not take it for the end of the body. */
	eventually(service.finished == 1);
	assert_int_equal(service.completed, 0);
	disconnect(&pair);
	stop();
}

static void a_refusal_in_the_middle_reaches_a_client_that_still_sends(void **state)
{
	struct pair pair;
	int i;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	for (i = 0; i < 20; i++) {
		struct source source = { .left = 1ull << 30 };

		service.received = 0;
		service.refuse_at = 1 + (unsigned long long)i * 1234567;
		fails(upload(&pair, "/v1/sink", &source, NULL), RT_PEER, "the disk of this host is full after ");
		assert_true(source.left > 900ull << 20);
	}
	/* That connection is of no use any more, its successor is. */
	succeeds(get(&pair, "/v1/health", NULL));
	disconnect(&pair);
	stop();
	assert_int_equal(service.finished, 21);
}

static void a_refusal_by_the_head_reaches_a_client_that_still_sends(void **state)
{
	struct source source = { .left = 1ull << 30 };
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	fails(upload(&pair, "/v1/not-there", &source, NULL), RT_PEER, "there is nothing at this path (status 404 of POST /v1/not-there)");
	fails(upload(&pair, "/v1/error/exists", &source, NULL), RT_PEER, "exists (status 409");
	fails(upload(&pair, "/v1/health", &source, NULL), RT_PEER, "status 405");
	assert_true(source.left > 900ull << 20);
	disconnect(&pair);
	stop();
}

static void errors_of_handlers_have_their_status_and_sentence(void **state)
{
	static const struct {
		const char *path, *sentence;
	} cases[] = {
		{ "/v1/error/usage", "usage (status 400 of POST /v1/error/usage)" },
		{ "/v1/error/config", "config (status 400" },
		{ "/v1/error/not-found", "there is no 'web' here (status 404" },
		{ "/v1/error/exists", "exists (status 409" },
		{ "/v1/error/state", "state (status 409" },
		{ "/v1/error/peer", "peer (status 422" },
		{ "/v1/error/other", "writing: no space left on device (status 500" },
	};
	struct rt_http_request request = { .method = "POST", .path = "/v1/error/exists", .body = "x", .body_size = 1 };
	struct rt_http_answer answer;
	struct pair pair;
	size_t i;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	for (i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		fails(post(&pair, cases[i].path, "body", NULL), RT_PEER, cases[i].sentence);
		fails(post(&pair, cases[i].path, NULL, NULL), RT_PEER, cases[i].sentence);
	}
	fails(get(&pair, "/v1/nothing", NULL), RT_PEER, "got no answer (status 500");
	succeeds(rt_http_ask(pair.connection, &request, 409, &answer));
	assert_int_equal(answer.status, 409);
	assert_string_equal(answer.body, "exists\n");
	free(answer.body);
	disconnect(&pair);
	stop(); /* and counts: a begin that failed has no finish */
}

static void any_status_is_an_answer_for_who_asks_for_it(void **state)
{
	static const char *const headers[] = { "X-One: 1", "X-Two: 2", NULL };
	struct rt_http_request request = { .method = "GET", .path = "/v1/nowhere", .headers = headers };
	struct rt_http_answer answer;
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(rt_http_ask(pair.connection, &request, RT_HTTP_ANY_STATUS, &answer));
	assert_int_equal(answer.status, 404);
	assert_true(answer.size > 0);
	assert_true(rt_str_starts(rt_http_header(pair.connection, "content-type", 0), "text/plain"));
	assert_null(rt_http_header(pair.connection, "content-type", 1));
	assert_null(rt_http_header(pair.connection, "x-nothing", 0));
	free(answer.body);
	/* A head alone: what it says of the body does not come. */
	request.method = "HEAD";
	succeeds(rt_http_ask(pair.connection, &request, RT_HTTP_ANY_STATUS, &answer));
	assert_true(answer.status == 404 || answer.status == 405);
	assert_int_equal(answer.size, 0);
	free(answer.body);
	request = (struct rt_http_request){ .method = "PUT", .path = "/v1/echo/w", .body = "x", .body_size = 1, .content_type = "text/plain" };
	succeeds(rt_http_ask(pair.connection, &request, RT_HTTP_ANY_STATUS, &answer));
	assert_int_equal(answer.status, 405);
	free(answer.body);
	/* And the next is as ever. */
	request = (struct rt_http_request){ .method = "POST", .path = "/v1/echo/word", .body = "12345", .body_size = 5, .answer_max = 10 };
	succeeds(rt_http_ask(pair.connection, &request, RT_HTTP_ANY_STATUS, &answer));
	assert_string_equal(answer.body, "word:12345");
	free(answer.body);
	request.answer_max = 9;
	fails(rt_http_ask(pair.connection, &request, RT_HTTP_ANY_STATUS, &answer), RT_PEER, "the answer is larger than 9 bytes");
	disconnect(&pair);
	stop();
}

static void wrong_paths_and_methods_are_told_apart(void **state)
{
	static const char nul[] = "GET /v1/echo/a\0/../b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	static char long_word[200], head[40000];

	start_with((struct rt_http_server_options){ 0 });
	ask_path("GET", "/v1/health", "HTTP/1.1 200");
	ask_path("GET", "/v1/echo/w", "HTTP/1.1 200");
	ask_path("GET", "/", "HTTP/1.1 404");
	ask_path("GET", "/v1/health/", "HTTP/1.1 404");
	ask_path("GET", "//v1/health", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/..", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/.hidden", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/../health", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/a/b", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/a%2fb", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/a%2e", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/a%00", "HTTP/1.1 404");
	ask_path("GET", "/v1/%68ealth", "HTTP/1.1 404");
	ask_path("GET", "/v1/things/../stream", "HTTP/1.1 404");
	ask_path("GET", "/v1/things//stream", "HTTP/1.1 404");
	ask_path("GET", "/v1/echo/w?x=y", "HTTP/1.1 400");
	ask_path("PUT", "/v1/echo/w", "HTTP/1.1 405");
	ask_path("HEAD", "/v1/health", "HTTP/1.1 405");
	ask_path("get", "/v1/health", "HTTP/1.1 405");
	assert_int_equal(service.begun, 2);
	/* libmicrohttpd ends a path at a NUL byte, or from 1.0 on hangs up: nothing of what stands behind it may matter. */
	service.word[0] = 0;
	ask_raw(nul, sizeof(nul) - 1, "");
	assert_true(!*service.word || rt_str_equal(service.word, "a"));
	memset(long_word, 'a', 128);
	memcpy(head, "/v1/echo/", 10);
	ask_path("GET", strcat(head, long_word), "HTTP/1.1 200");
	ask_path("GET", strcat(head, "a"), "HTTP/1.1 404");
	/* A head that is too long. */
	memset(head, 'h', sizeof(head));
	memcpy(head, "GET /v1/health HTTP/1.1\r\nConnection: close\r\nHost: x\r\nX: ", 56);
	memcpy(head + sizeof(head) - 4, "\r\n\r\n", 4);
	ask_raw(head, sizeof(head), "HTTP/1.1 431");
	ask_text("\r\n\r\nnonsense\r\n\r\n", "");
	ask_text("GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400");
	stop();
}

static void bodies_over_the_limit_are_refused(void **state)
{
	static char body[(1 << 20) + 1];
	struct source source = { .left = 1ull << 30 };
	struct rt_http_request exact = { .method = "POST", .path = "/v1/echo/w", .body = body, .body_size = 1 << 20 }, over = exact;
	struct rt_http_answer answer;
	struct pair pair;

	over.body_size++;
	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(rt_http_ask(pair.connection, &exact, 0, &answer));
	assert_int_equal(answer.size, (1 << 20) + 2);
	free(answer.body);
	fails(rt_http_ask(pair.connection, &over, 0, NULL), RT_PEER, "larger than the 1048576 bytes");
	assert_int_equal(service.begun, 1); /* by its Content-Length, before there is a handler */
	fails(upload(&pair, "/v1/echo/w", &source, NULL), RT_PEER, "larger than the 1048576 bytes");
	assert_int_equal(service.begun, 2); /* by what came */
	ask_text("GET /v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 413");
	ask_text("POST /v1/echo/w HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\nx", "HTTP/1.1 4");
	assert_int_equal(service.begun, 2);
	disconnect(&pair);
	stop();
}

struct asker {
	int number;
	struct rt_http_client *client;
	pthread_t thread;
};

static void *ask_many(void *userdata)
{
	struct asker *asker = userdata;
	_cleanup_free_ char *path = NULL, *expected = NULL;
	struct rt_http_connection *connection;
	struct rt_http_request request = { .method = "POST", .body = "b", .body_size = 1 };
	int i;

	if (rt_http_connect(asker->client, &connection))
		return (char *)"connect";
	if (rt_format(&path, "/v1/echo/w%d", asker->number) || rt_format(&expected, "w%d:b", asker->number))
		return (char *)"memory";
	request.path = path;
	for (i = 0; i < 20; i++) {
		struct rt_http_answer answer;

		if (rt_http_ask(connection, &request, 0, &answer))
			return (char *)"ask";
		if (!rt_str_equal(answer.body, expected))
			return (char *)"mixed up";
		free(answer.body);
	}
	rt_http_disconnect(connection);
	return NULL;
}

static void many_connections_work_at_once(void **state)
{
	static struct asker askers[64];
	struct pair pair;
	int i;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	for (i = 0; i < 64; i++) {
		askers[i].number = i;
		askers[i].client = pair.client;
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_many, &askers[i]), 0);
	}
	for (i = 0; i < 64; i++) {
		void *what;

		pthread_join(askers[i].thread, &what);
		if (what)
			fail_msg("connection %d: %s", i, (const char *)what);
	}
	disconnect(&pair);
	eventually(service.finished == 64 * 20);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_go_both_ways_on_a_kept_connection),
		cmocka_unit_test(a_body_is_streamed),
		cmocka_unit_test(an_answer_is_streamed_as_it_comes),
		cmocka_unit_test(the_first_bytes_go_out_before_the_next_are_there),
		cmocka_unit_test(a_client_that_has_enough_ends_an_endless_answer),
		cmocka_unit_test(an_answer_that_is_cut_is_an_error),
		cmocka_unit_test(the_error_of_a_source_is_what_is_reported),
		cmocka_unit_test(a_refusal_in_the_middle_reaches_a_client_that_still_sends),
		cmocka_unit_test(a_refusal_by_the_head_reaches_a_client_that_still_sends),
		cmocka_unit_test(errors_of_handlers_have_their_status_and_sentence),
		cmocka_unit_test(any_status_is_an_answer_for_who_asks_for_it),
		cmocka_unit_test(wrong_paths_and_methods_are_told_apart),
		cmocka_unit_test(bodies_over_the_limit_are_refused),
		cmocka_unit_test(many_connections_work_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
