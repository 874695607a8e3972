#include "migrate/link.h"
#include "tree_made.h"

#include <sys/socket.h>

static void close_both(int ends[2])
{
	rt_closep(&ends[0]);
	rt_closep(&ends[1]);
}

static void a_message_arrives_with_all_its_parts(void **state)
{
	struct rt_link_message sent = { .word = RT_LINK_WANT, .a = 1, .b = UINT64_MAX, .c = 3, .text = "text" }, got;
	int ends[2], pipe_ends[2];
	bool there;

	assert_works(rt_link_pair(ends));
	assert_return_code(pipe2(pipe_ends, O_CLOEXEC), errno);
	sent.fds[0] = pipe_ends[0];
	sent.fd_count = 1;
	assert_works(rt_link_send(ends[0], &sent));
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_true(there);
	assert_int_equal(got.word, RT_LINK_WANT);
	assert_true(got.a == 1 && got.b == UINT64_MAX && got.c == 3);
	assert_string_equal(got.text, "text");
	assert_int_equal(got.fd_count, 1);
	assert_true(got.fds[0] >= 0 && got.fds[0] != pipe_ends[0]);
	close(got.fds[0]);
	close_both(pipe_ends);
	close_both(ends);
}

static void nothing_to_hear_is_an_answer(void **state)
{
	struct rt_link_message got;
	bool there = true;
	int ends[2];

	assert_works(rt_link_pair(ends));
	assert_works(rt_link_receive(ends[1], 1, &got, &there));
	assert_false(there);
	close_both(ends);
}

static void an_end_is_a_word(void **state)
{
	struct rt_link_message got;
	bool there;
	int ends[2];

	assert_works(rt_link_pair(ends));
	rt_closep(&ends[0]);
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_true(there);
	assert_int_equal(got.word, RT_LINK_END);
	assert_int_equal(got.fd_count, 0);
	close_both(ends);
}

/* It died while something of ours was on its way. */
static void a_reset_is_an_end(void **state)
{
	struct rt_link_message got;
	bool there;
	int ends[2];

	assert_works(rt_link_pair(ends));
	assert_works(rt_link_say(ends[1], RT_LINK_GO));
	rt_closep(&ends[0]);
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_int_equal(got.word, RT_LINK_END);
	close_both(ends);
}

/* The kernel tells of the reset first. */
static void what_it_said_before_a_reset_is_heard(void **state)
{
	struct rt_link_message got;
	bool there;
	int ends[2];

	assert_works(rt_link_pair(ends));
	assert_works(rt_link_say(ends[1], RT_LINK_GO));
	assert_works(rt_link_say(ends[0], RT_LINK_RUNNING));
	assert_works(rt_link_say(ends[0], RT_LINK_DONE));
	rt_closep(&ends[0]);
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_int_equal(got.word, RT_LINK_RUNNING);
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_int_equal(got.word, RT_LINK_DONE);
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_int_equal(got.word, RT_LINK_END);
	close_both(ends);
}

static void a_failure_keeps_its_code_and_sentence(void **state)
{
	struct rt_error *err;
	int ends[2];

	assert_works(rt_link_pair(ends));
	rt_link_send_failure(ends[0], rt_fail(RT_CRIU, "it can't be dumped"));
	err = rt_link_expect(ends[1], RT_LINK_COMPLETE, "dumper");
	assert_non_null(err);
	assert_int_equal(err->code, RT_CRIU);
	assert_says(err, "it can't be dumped");
	close_both(ends);
}

static void a_sentence_that_is_too_long_is_cut(void **state)
{
	char text[RT_LINK_TEXT * 2];
	struct rt_link_message got;
	bool there;
	int ends[2];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_works(rt_link_pair(ends));
	rt_link_send_failure(ends[0], rt_fail(RT_PEER, "%s", text));
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_int_equal(got.word, RT_LINK_FAILED);
	assert_int_equal(strlen(got.text), RT_LINK_TEXT - 1);
	close_both(ends);
}

static void what_is_not_expected_is_told(void **state)
{
	int ends[2];

	assert_works(rt_link_pair(ends));
	assert_works(rt_link_say(ends[0], RT_LINK_READY));
	assert_works(rt_link_expect(ends[1], RT_LINK_READY, "worker"));
	assert_works(rt_link_say(ends[0], RT_LINK_DONE));
	assert_says(rt_link_expect(ends[1], RT_LINK_READY, "worker"), "the worker said word");
	rt_closep(&ends[0]);
	assert_says(rt_link_expect(ends[1], RT_LINK_READY, "worker"), "the worker has ended");
	close_both(ends);
}

static void a_datagram_that_is_too_short_is_an_end(void **state)
{
	struct rt_link_message got;
	bool there;
	int ends[2];

	assert_works(rt_link_pair(ends));
	assert_int_equal(send(ends[0], "x", 1, 0), 1);
	assert_works(rt_link_receive(ends[1], 1000, &got, &there));
	assert_int_equal(got.word, RT_LINK_END);
	close_both(ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_arrives_with_all_its_parts),
		cmocka_unit_test(nothing_to_hear_is_an_answer),
		cmocka_unit_test(an_end_is_a_word),
		cmocka_unit_test(a_reset_is_an_end),
		cmocka_unit_test(what_it_said_before_a_reset_is_heard),
		cmocka_unit_test(a_failure_keeps_its_code_and_sentence),
		cmocka_unit_test(a_sentence_that_is_too_long_is_cut),
		cmocka_unit_test(what_is_not_expected_is_told),
		cmocka_unit_test(a_datagram_that_is_too_short_is_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
