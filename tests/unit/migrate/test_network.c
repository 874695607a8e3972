#include "migrate/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

static void a_listener_with_a_queue_waits(void **state)
{
	assert_true(rt_network_table_waits(HEAD "   0: 00000000:0050 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"));
	/* IPv6, and not the first line. */
	assert_true(rt_network_table_waits(HEAD
		"   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
		"   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 2 1\n"));
}

static void what_is_read_later_does_not(void **state)
{
	assert_false(rt_network_table_waits(HEAD));
	assert_false(rt_network_table_waits(""));
	assert_false(rt_network_table_waits("no table at all"));
	assert_false(rt_network_table_waits(HEAD "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"));
	/* An established connection's bytes are dumped with it. */
	assert_false(rt_network_table_waits(HEAD "   0: 0A0013AC:0050 C80013AC:9E9C 01 00000000:00000033 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_with_a_queue_waits),
		cmocka_unit_test(what_is_read_later_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
