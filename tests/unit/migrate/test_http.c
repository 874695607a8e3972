#include "http_test.h"

static void messages_go_both_ways_on_a_kept_connection(void **state)
{
	struct rt_http_answer answer;
	double best = 1, begin, took;
	struct pair pair;
	int i;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	for (i = 0; i < 200; i++) {
		begin = seconds();
		succeeds(post(&pair, "/v1/echo/a-word", "hello", &answer));
		took = seconds() - begin;
		best = took < best ? took : best;
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer.body, "a-word:hello");
		assert_int_equal(answer.size, 12);
		free(answer.body);
	}
	/* Nothing waits for a delayed acknowledgement (40 ms); the figure proper is for the benchmark. */
	assert_true(best < 0.005);
	print_message("# best of 200 messages: %.3f ms\n", best * 1000);
	succeeds(post(&pair, "/v1/echo/empty", NULL, &answer));
	assert_string_equal(answer.body, "empty:");
	free(answer.body);
	succeeds(get(&pair, "/v1/health", NULL));
	eventually(service.finished == 202);
	disconnect(&pair);
	stop();
	assert_int_equal(service.completed, 202);
}

struct source {
	unsigned long long left;
	unsigned long fail_at;
	int pause_ms;
};

static struct rt_error *pull_source(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct source *source = userdata;
	size_t size = source->left < room ? source->left : room;

	if (source->pause_ms > 0)
		pause_ms(source->pause_ms);
	memset(buffer, 's', size);
	source->left -= size;
	*ret_size = size;
	if (source->fail_at > 0 && source->left < source->fail_at)
		return rt_fail(RT_CRIU, "the source has failed");
	return NULL;
}

static struct rt_error *upload(struct pair *pair, struct source *source, struct rt_http_answer *ret)
{
	struct rt_http_request request = { .method = "POST", .path = "/v1/sink", .pull = pull_source, .pull_userdata = source };

	return rt_http_ask(pair->connection, &request, 0, ret);
}

static void a_body_is_streamed(void **state)
{
	struct source source = { .left = 64 << 20 };
	struct rt_http_answer answer;
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	succeeds(upload(&pair, &source, &answer));
	assert_int_equal(answer.status, 201);
	assert_string_equal(answer.body, "67108864");
	free(answer.body);
	eventually(service.finished == 1);
	disconnect(&pair);
	stop();
	assert_int_equal(service.completed, 1);
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
		fails(upload(&pair, &source, NULL), RT_PEER, "the disk of this host is full after ");
		assert_true(source.left > 0);
	}
	/* The connection is of no use any more, its successor is. */
	succeeds(get(&pair, "/v1/health", NULL));
	disconnect(&pair);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_go_both_ways_on_a_kept_connection),
		cmocka_unit_test(a_body_is_streamed),
		cmocka_unit_test(a_refusal_in_the_middle_reaches_a_client_that_still_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
