/* Memory of this process goes to a server in it. */
#include "http_test.h"

#include "migrate/outflow.h"

#include <sys/mman.h>

#define MAPPED 3
#define ASKED 8
#define TURNS 4

struct asker {
	char *pages; /* MAPPED of them, and behind none that can be read */
	unsigned turns, came_too_late;
};

static struct rt_error *one_by_one(void *userdata, struct rt_page_ranges *ret)
{
	struct asker *asker = userdata;
	double until = seconds() + 2;

	while (service.received < (unsigned long long)asker->turns * MAPPED * RT_PAGE_SIZE && seconds() < until)
		pause_ms(1);
	if (service.received < (unsigned long long)asker->turns * MAPPED * RT_PAGE_SIZE)
		asker->came_too_late++;
	if (asker->turns == TURNS)
		return NULL;
	asker->turns++;
	return rt_page_ranges_add(ret, getpid(), (uintptr_t)asker->pages, ASKED);
}

static struct rt_error *refuse(void *userdata, struct rt_page_ranges *ret)
{
	return rt_fail(RT_SYSTEM, "nobody knows what else");
}

static void map_pages(struct asker *asker)
{
	asker->pages = mmap(NULL, ASKED * RT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(asker->pages, MAP_FAILED);
	for (size_t i = 0; i < MAPPED * RT_PAGE_SIZE; i++)
		asker->pages[i] = (char)(i % 251 + 1);
	/* Not unmapped: other threads of this process would find room there. */
	assert_int_equal(mprotect(asker->pages + MAPPED * RT_PAGE_SIZE, (ASKED - MAPPED) * RT_PAGE_SIZE, PROT_NONE), 0);
}

static struct rt_error *send_to(struct pair *pair, struct rt_outflow_options options, const struct rt_page_ranges *ranges, struct rt_outflow_totals *ret)
{
	const struct rt_outflow_space space = { .pid = getpid(), .space = 1 };
	_Atomic uint64_t link_rate = 0;
	struct rt_outflow *outflow;
	struct rt_error *err;

	options.client = pair->client;
	options.path = "/v1/sink";
	options.parallel = 1;
	options.link_rate = &link_rate;
	succeeds(rt_outflow_new(&options, &outflow));
	succeeds(rt_outflow_begin(outflow, ranges, &space, 1));
	err = rt_outflow_finish(outflow, ret);
	rt_outflow_free(outflow);
	return err;
}

/* A task over there waits for them. */
static void what_there_is_goes_out_before_more_is_waited_for(void **state)
{
	const struct rt_page_ranges none = { 0 };
	struct asker asker = { 0 };
	struct rt_outflow_totals totals;
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	map_pages(&asker);
	succeeds(send_to(&pair, (struct rt_outflow_options){ .more = one_by_one, .userdata = &asker }, &none, &totals));
	assert_int_equal(asker.turns, TURNS);
	assert_int_equal(asker.came_too_late, 0);
	assert_int_equal(totals.pages, TURNS * MAPPED);
	assert_int_equal(totals.gone, TURNS * (ASKED - MAPPED));
	assert_int_equal(totals.wire, service.received);
	disconnect(&pair);
	stop();
	assert_int_equal(service.begun, 1);
	munmap(asker.pages, ASKED * RT_PAGE_SIZE);
}

static void whoever_cannot_say_what_more_ends_it(void **state)
{
	const struct rt_page_ranges none = { 0 };
	struct pair pair;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	fails(send_to(&pair, (struct rt_outflow_options){ .more = refuse }, &none, NULL), RT_SYSTEM, "nobody knows what else");
	disconnect(&pair);
	stop();
}

/* They are in the way for as long as somebody is in a hurry; but even if that is for ever they arrive. */
static void a_hurry_of_others_delays_but_does_not_stop(void **state)
{
	_Atomic uint64_t until = UINT64_MAX;
	struct rt_page_ranges ranges = { 0 };
	struct asker asker = { 0 };
	struct rt_outflow_totals totals;
	struct pair pair;
	double began;

	start_with((struct rt_http_server_options){ 0 });
	pair = connect_with((struct rt_http_client_options){ 0 });
	map_pages(&asker);
	succeeds(rt_page_ranges_add(&ranges, getpid(), (uintptr_t)asker.pages, MAPPED));
	began = seconds();
	succeeds(send_to(&pair, (struct rt_outflow_options){ .hurry_until = &until }, &ranges, &totals));
	assert_true(seconds() - began >= 0.0025);
	assert_int_equal(totals.pages, MAPPED);
	disconnect(&pair);
	stop();
	rt_page_ranges_free(&ranges);
	munmap(asker.pages, ASKED * RT_PAGE_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_there_is_goes_out_before_more_is_waited_for),
		cmocka_unit_test(whoever_cannot_say_what_more_ends_it),
		cmocka_unit_test(a_hurry_of_others_delays_but_does_not_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
