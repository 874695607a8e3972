#include "migrate/network.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct answer {
	_Alignas(struct nlmsghdr) char bytes[1024];
	size_t size;
};

static void add(struct answer *answer, uint16_t type, uint32_t queue)
{
	struct inet_diag_msg listener = { .idiag_state = 10, .idiag_rqueue = queue };
	struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_len = NLMSG_LENGTH(sizeof(listener)) };

	memcpy(answer->bytes + answer->size, &header, sizeof(header));
	memcpy(answer->bytes + answer->size + NLMSG_HDRLEN, &listener, sizeof(listener));
	answer->size += NLMSG_SPACE(sizeof(listener));
}

static void a_listener_with_a_queue_waits(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = true;

	add(&answer, SOCK_DIAG_BY_FAMILY, 0);
	assert_false(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_false(end);
	add(&answer, SOCK_DIAG_BY_FAMILY, 3);
	add(&answer, SOCK_DIAG_BY_FAMILY, 0);
	assert_true(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_false(end);
}

static void the_end_is_told_behind_one_that_waits_too(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = false;

	add(&answer, SOCK_DIAG_BY_FAMILY, 1);
	add(&answer, NLMSG_DONE, 0);
	assert_true(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_true(end);
}

static void an_error_is_an_end(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = false;

	add(&answer, NLMSG_ERROR, 7);
	assert_false(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_true(end);
}

static void what_is_cut_off_is_not_read(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = false;

	add(&answer, SOCK_DIAG_BY_FAMILY, 1);
	assert_false(rt_network_answer_waits(answer.bytes, answer.size - 8, &end));
	assert_false(rt_network_answer_waits(answer.bytes, 0, &end));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_with_a_queue_waits),
		cmocka_unit_test(the_end_is_told_behind_one_that_waits_too),
		cmocka_unit_test(an_error_is_an_end),
		cmocka_unit_test(what_is_cut_off_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
