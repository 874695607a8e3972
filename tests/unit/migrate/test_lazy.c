/* What can be tried of a lazy restore without root: hostile images and a hostile peer on the socket. The rest is tests/e2e/test_lazy.py. */
#include "migrate/lazy.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "tests/unit/checkpoint/images_made.h"

#define PAGEMAP 0x56084025
#define LAZY 2u
#define PRESENT 4u

struct fixture {
	struct made made;
	struct rt_pagesets *sets;
	struct rt_lazy *lazy;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture.lazy = NULL;
	fixture.made = make_directory();
	assert_null(rt_pagesets_new(1 << 20, &fixture.sets));
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	rt_lazy_free(fixture->lazy);
	rt_pagesets_free(fixture->sets);
	remove_directory(&fixture->made);
	return 0;
}

static struct rt_error *no_page(void *userdata, uint64_t space, uint64_t start, uint64_t pages)
{
	return rt_fail(RT_PEER, "nothing was to be asked for");
}

static void listen_to(struct fixture *fixture, bool may_want, const char *prefetch)
{
	struct rt_lazy_options options = {
		.work_fd = fixture->made.fd, .image_fd = fixture->made.fd, .sets = fixture->sets, .want = may_want ? no_page : NULL, .prefetch_file = prefetch,
	};

	assert_null(rt_lazy_listen(&options, &fixture->lazy));
}

static void write_pagemap(struct fixture *fixture, const char *name, size_t count, const uint64_t (*entries)[3])
{
	Img__PagemapHead head = IMG__PAGEMAP_HEAD__INIT;
	Img__PagemapEntry made[2] = { IMG__PAGEMAP_ENTRY__INIT, IMG__PAGEMAP_ENTRY__INIT };

	head.pages_id = 1;
	for (size_t i = 0; i < count; i++) {
		made[i].vaddr = entries[i][0];
		made[i].has_nr_pages_64 = made[i].has_flags = true;
		made[i].nr_pages_64 = entries[i][1];
		made[i].flags = (uint32_t)entries[i][2];
	}
	write_image(&fixture->made, name, MAGIC_COMMON, PAGEMAP, count + 1, &head.base, &made[0].base, &made[1].base);
}

static void expect_error(struct rt_error *err, enum rt_code code, const char *part)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	assert_non_null(err);
	if (!strstr(text, part))
		fail_msg("'%s' does not say '%s'", text, part);
	assert_int_equal(err->code, code);
	rt_error_free(err);
}

static void hostile_pagemaps_are_refused(void **state)
{
	static const struct {
		uint64_t entries[2][3];
		const char *says;
	} cases[] = {
		{ { { 0x1001, 1, LAZY }, { 0x9000, 1, LAZY } }, "outside of any address space" },
		{ { { 0x1000, UINT64_MAX, LAZY }, { 0x9000, 1, LAZY } }, "outside of any address space" },
		{ { { 0x1000, 1ull << 52, LAZY }, { 0x9000, 1, LAZY } }, "outside of any address space" },
		{ { { RT_PAGESET_ADDRESS_MAX, 1, LAZY }, { 0x9000, 1, LAZY } }, "outside of any address space" },
		{ { { UINT64_MAX - 4095, 1, LAZY }, { 0x9000, 1, LAZY } }, "outside of any address space" },
		{ { { 0x1000, 9, LAZY }, { 0x9000, 1, LAZY } }, "the pages at 0x9000 come after those before 0xa000" },
		{ { { 0x9000, 1, LAZY }, { 0x1000, 1, PRESENT } }, "the pages at 0x1000 come after those before 0xa000" },
		{ { { 0x1000, 1ull << 33, LAZY }, { 1ull << 46, 1, LAZY } }, "more than 4294967296 pages" },
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		write_pagemap(fixture, "pagemap-5.img", 2, cases[i].entries);
		listen_to(fixture, true, NULL);
		expect_error(rt_lazy_prepare(fixture->lazy), RT_CONFIG, cases[i].says);
		rt_lazy_free(fixture->lazy);
		fixture->lazy = NULL;
	}
	write_file(&fixture->made, "pagemap-5.img", "nonsense", 8);
	listen_to(fixture, true, NULL);
	expect_error(rt_lazy_prepare(fixture->lazy), RT_CONFIG, "pagemap-5.img");
}

static void every_lazy_page_must_be_held(void **state)
{
	static const uint64_t entries[2][3] = { { 0x10000, 4, LAZY | PRESENT }, { 0x20000, 4, PRESENT } }, shared[1][3] = { { 0, 4, LAZY } };
	static uint8_t data[4 * RT_PAGESET_PAGE];
	struct fixture *fixture = *state;
	struct rt_lazy_status status;
	struct rt_pageset *set;

	write_pagemap(fixture, "pagemap-5.img", 2, entries);
	write_pagemap(fixture, "pagemap-shmem-6.img", 1, shared);
	listen_to(fixture, false, NULL);
	expect_error(rt_lazy_prepare(fixture->lazy), RT_PEER, "the page at 0x10000 of task 5 has not come");
	rt_lazy_free(fixture->lazy);
	assert_null(rt_pagesets_get(fixture->sets, 5, &set));
	assert_null(rt_pageset_store(set, 0x10000, data, 0x3000));
	listen_to(fixture, false, NULL);
	expect_error(rt_lazy_prepare(fixture->lazy), RT_PEER, "the page at 0x13000 of task 5 has not come");
	rt_lazy_free(fixture->lazy);
	assert_null(rt_pageset_store_zero(set, 0x13000, 0x1000));
	listen_to(fixture, false, NULL);
	assert_null(rt_lazy_prepare(fixture->lazy));
	assert_null(rt_lazy_run(fixture->lazy, 0, &status));
	assert_int_equal(status.pages, 4);
	assert_false(status.restored || status.done);
}

static int dial(struct fixture *fixture)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/lazy-pages.socket", fixture->made.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, int32_t word)
{
	assert_int_equal(send(fd, &word, sizeof(word), 0), sizeof(word));
}

static void zombies_have_no_pages(void **state)
{
	struct fixture *fixture = *state;
	struct rt_lazy_status status;
	int fd;

	listen_to(fixture, true, NULL);
	assert_null(rt_lazy_prepare(fixture->lazy));
	fd = dial(fixture);
	say(fd, -7);
	assert_null(rt_lazy_run(fixture->lazy, 20, &status));
	assert_false(status.restored);
	/* In two pieces. */
	assert_int_equal(send(fd, "FT", 2, 0), 2);
	assert_null(rt_lazy_run(fixture->lazy, 20, &status));
	assert_false(status.restored);
	assert_int_equal(send(fd, "SR", 2, 0), 2);
	assert_int_equal(0x52535446, *(const uint32_t *)"FTSR");
	assert_null(rt_lazy_run(fixture->lazy, 1000, &status));
	assert_true(status.restored && status.done);
	close(fd);
}

static void a_peer_that_ends_early_or_talks_nonsense_is_told(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	for (int turn = 0; turn < 3; turn++) {
		listen_to(fixture, true, NULL);
		fd = dial(fixture);
		if (turn > 0)
			say(fd, 5);
		/* A byte without the descriptor that should come with it. */
		if (turn > 1)
			assert_int_equal(send(fd, "", 1, 0), 1);
		else
			close(fd);
		expect_error(rt_lazy_run(fixture->lazy, 1000, NULL), RT_CRIU, turn > 1 ? "another protocol" : "CRIU ended before the tasks were restored");
		rt_lazy_free(fixture->lazy);
		fixture->lazy = NULL;
		if (turn > 1)
			close(fd);
	}
}

static void a_task_without_an_image_is_refused(void **state)
{
	struct fixture *fixture = *state;
	int fd, pair[2];
	struct rt_error *err;

	listen_to(fixture, true, NULL);
	fd = dial(fixture);
	assert_int_equal(pipe(pair), 0);
	say(fd, 5);
	assert_null(rt_send_message(fd, "", 1, pair, 1));
	err = rt_lazy_run(fixture->lazy, 1000, NULL);
	expect_error(err, RT_CRIU, "task 5, of which there is no image of pages");
	close(pair[0]);
	close(pair[1]);
	close(fd);
}

static void a_bad_record_names_its_line(void **state)
{
	static const char *const bad[] = { "1 2\n", "1 2 3\n4 5 6 7\n", "1 2 -3\n", "1 2 99999999999999999999999\n", "x\n" };
	struct fixture *fixture = *state;
	char path[64];

	snprintf(path, sizeof(path), "%s/record", fixture->made.path);
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		struct rt_lazy_options options = { .work_fd = fixture->made.fd, .sets = fixture->sets, .prefetch_file = path };

		write_file(&fixture->made, "record", bad[i], strlen(bad[i]));
		expect_error(rt_lazy_listen(&options, &fixture->lazy), RT_CONFIG, i == 1 ? "line 2 of the record" : "line 1 of the record");
	}
	write_file(&fixture->made, "record", "1 0x1000 3\n\n2 4096 1", 20);
	listen_to(fixture, true, path);
}

static void what_arrives_wakes_it(void **state)
{
	struct fixture *fixture = *state;
	struct pollfd poller;

	listen_to(fixture, true, NULL);
	poller = (struct pollfd){ .fd = rt_lazy_fd(fixture->lazy), .events = POLLIN };
	assert_int_equal(poll(&poller, 1, 0), 0);
	rt_lazy_arrived(fixture->lazy, 1, 0x1000, 1);
	assert_int_equal(poll(&poller, 1, 0), 1);
	assert_null(rt_lazy_run(fixture->lazy, 0, NULL));
	assert_int_equal(poll(&poller, 1, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hostile_pagemaps_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(every_lazy_page_must_be_held, setup, teardown),
		cmocka_unit_test_setup_teardown(zombies_have_no_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(a_peer_that_ends_early_or_talks_nonsense_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_task_without_an_image_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_record_names_its_line, setup, teardown),
		cmocka_unit_test_setup_teardown(what_arrives_wakes_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
