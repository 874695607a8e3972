/* The tracker and the processes it is given. */
#include "tests/unit/migrate/tracker_test.h"

/* ---- both that run here ---- */

static long write_some(struct board *board, int command)
{
	char *memory = board->memory;

	if (command == 1) {
		memory[3 * 4096 + 100]++;
		memory[4 * 4096]++;
		memory[40 * 4096]++;
	}
	if (command == 2)
		memory[4 * 4096]++;
	return 0;
}

static void check_rounds(enum rt_tracker_kind kind)
{
	struct rt_tracker *tracker = open_kind(kind);
	struct rt_page_ranges ranges = { 0 };
	struct victim victim;
	struct rt_tracker_round report;

	if (!tracker)
		return;
	victim = victim_start(PAGES, write_some);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces, 1);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(report.spaces_whole, 0);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), PAGES);
	assert_true(report.pages > PAGES);
	send_all(tracker, &ranges);

	victim_do(&victim, 1);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 0);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), 3);
	assert_true(told(&ranges, victim.pid, page_at(&victim, 3)));
	assert_true(told(&ranges, victim.pid, page_at(&victim, 4)));
	assert_true(told(&ranges, victim.pid, page_at(&victim, 40)));
	send_all(tracker, &ranges);

	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), 0);
	assert_true(report.pages < 40);
	send_all(tracker, &ranges);

	victim_do(&victim, 2);
	look(tracker, victim.pid, RT_ROUND_FROZEN, &ranges);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), 1);
	rt_tracker_release(tracker);
	assert_int_equal(watched_mappings(victim.pid), 0);

	/* Anew. */
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), PAGES);

	victim_end(&victim);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces, 0);
	assert_int_equal(ranges.count, 0);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

static void uffd_wp_tells_what_was_written_and_nothing_else(void **state)
{
	check_rounds(RT_TRACKER_UFFD_WP);
}

static void hash_tells_what_was_written_and_nothing_else(void **state)
{
	check_rounds(RT_TRACKER_HASH);
}

/* Command n puts page 0 into another state and back; the test reads it in between. */
static long flip(struct board *board, int command)
{
	((char *)board->memory)[8] = command == 1 ? 'b' : 'a';
	return 0;
}

static void hash_compares_with_what_was_sent_not_with_what_it_saw(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_HASH);
	struct rt_page_ranges ranges = { 0 };
	struct victim victim = victim_start(4, flip);

	look(tracker, victim.pid, 0, &ranges); /* sees 'a' */
	assert_true(told(&ranges, victim.pid, victim.board->memory));
	victim_do(&victim, 1);
	send_all(tracker, &ranges); /* sends 'b' */
	victim_do(&victim, 2);
	look(tracker, victim.pid, 0, &ranges); /* 'a' again, as it saw before: but 'b' is what the other side has */
	assert_true(told(&ranges, victim.pid, victim.board->memory));
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, 4), 1);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

/* ---- processes ---- */

static long fork_and_exec(struct board *board, int command)
{
	pid_t pid;

	switch (command) {
	case 1: /* a child with the same memory */
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			((char *)board->memory)[5 * 4096]++;
			for (;;)
				pause();
		}
		return pid;
	case 2:
		((char *)board->memory)[6 * 4096]++;
		return 0;
	case 3:
		atomic_store(&board->done, command + 1);
		execl("/bin/sleep", "sleep", "1000", NULL);
		return -1;
	}
	return 0;
}

static void children_and_new_programs_are_told_whole(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct rt_tracker_round report;
	struct victim victim;
	const char *memory;
	size_t watched;
	pid_t pids[2];

	if (!tracker)
		return;
	victim = victim_start(PAGES, fork_and_exec);
	memory = victim.board->memory;
	pids[0] = victim.pid;
	look(tracker, victim.pid, 0, &ranges);
	pids[1] = (pid_t)victim_do(&victim, 1);
	usleep(10000);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_int_equal(report.spaces, 2);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(report.spaces_whole, 0);
	assert_int_equal(told_of(&ranges, pids[0], memory, PAGES), 0);
	assert_int_equal(told_of(&ranges, pids[1], memory, PAGES), PAGES);
	assert_true(watched_mappings(pids[1]) > 0);
	assert_int_equal(uffds_of(pids[1]), 0);
	victim_do(&victim, 2);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_int_equal(told_of(&ranges, pids[0], memory, PAGES), 1);
	assert_int_equal(told_of(&ranges, pids[1], memory, PAGES), 0);
	kill(pids[1], SIGKILL);

	atomic_store(&victim.board->command, 3);
	await(&victim.board->done, 4);
	usleep(50000);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(report.spaces_whole, 0);
	assert_true(report.pages > 5);
	watched = watched_mappings(victim.pid);
	assert_true(watched > 0);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 0);
	assert_int_equal(report.pages, 0);
	rt_tracker_close(tracker);
	assert_int_equal(watched_mappings(victim.pid), 0);
	assert_int_equal(uffds_of(victim.pid), 0);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
}

static long vfork_and_write(struct board *board, int command)
{
	pid_t pid;

	if (command == 1) {
		pid = vfork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			((char *)board->memory)[2 * 4096]++;
			board->result = getpid();
			atomic_store(&board->done, 2);
			await(&board->command, 2);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		atomic_store(&board->done, 3);
	}
	return 0;
}

static void a_parent_in_vfork_does_not_hold_anybody_up(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct rt_tracker_round report;
	struct victim victim;
	const char *memory;
	pid_t pids[2];

	if (!tracker)
		return;
	victim = victim_start(PAGES, vfork_and_write);
	memory = victim.board->memory;
	pids[0] = victim.pid;
	look(tracker, victim.pid, 0, &ranges);
	pids[1] = (pid_t)victim_do(&victim, 1);
	/* Two processes, one address space: told once. */
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_true(report.microseconds < 100000);
	assert_int_equal(told_of(&ranges, pids[0], memory, PAGES) + told_of(&ranges, pids[1], memory, PAGES), 1);
	/* And when nobody has seen the parent before. */
	rt_tracker_release(tracker);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_true(report.microseconds < 300000);
	assert_true(told_of(&ranges, pids[0], memory, PAGES) + told_of(&ranges, pids[1], memory, PAGES) >= PAGES);
	rt_tracker_close(tracker);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
}

static void an_inherited_descriptor_is_closed_where_it_went(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct victim first, second;

	if (!tracker)
		return;
	first = victim_start(PAGES, NULL);
	look(tracker, first.pid, 0, &ranges);
	/* A child of ours has copies of our descriptors: as a process forked in the middle of an injection would. */
	second = victim_start(PAGES, NULL);
	assert_int_equal(uffds_of(second.pid), 1);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, (pid_t[]){ first.pid, second.pid }, 2, 0, &ranges, NULL));
	assert_int_equal(uffds_of(second.pid), 0);
	rt_tracker_release(tracker);
	assert_int_equal(watched_mappings(first.pid), 0);
	assert_int_equal(watched_mappings(second.pid), 0);
	victim_end(&first);
	victim_end(&second);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

/* ---- words ---- */

static void kinds_have_names(void **state)
{
	enum rt_tracker_kind kind = RT_TRACKER_AUTO;
	struct rt_error *err;

	assert_null(rt_tracker_kind_parse("uffd-wp", &kind));
	assert_int_equal(kind, RT_TRACKER_UFFD_WP);
	assert_null(rt_tracker_kind_parse("auto", &kind));
	assert_int_equal(kind, RT_TRACKER_AUTO);
	assert_string_equal(rt_tracker_kind_name(RT_TRACKER_SOFT_DIRTY), "soft-dirty");
	assert_string_equal(rt_tracker_kind_name(RT_TRACKER_AUTO), "auto");
	err = rt_tracker_kind_parse("magic", &kind);
	assert_non_null(err);
	assert_int_equal(err->code, RT_USAGE);
	rt_error_free(err);
}

static void auto_finds_one_and_says_why(void **state)
{
	enum rt_tracker_kind kind;
	char *reason;
	bool usable;

	assert_null(rt_tracker_probe(RT_TRACKER_AUTO, &kind, &usable, &reason));
	assert_true(usable);
	assert_non_null(strstr(reason, rt_tracker_kind_name(kind)));
	free(reason);
}

static void soft_dirty_needs_a_way_to_pause(void **state)
{
	struct rt_tracker *tracker;
	struct rt_error *err = rt_tracker_open(RT_TRACKER_SOFT_DIRTY, NULL, &tracker);

	assert_non_null(err);
	rt_error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uffd_wp_tells_what_was_written_and_nothing_else),
		cmocka_unit_test(hash_tells_what_was_written_and_nothing_else),
		cmocka_unit_test(hash_compares_with_what_was_sent_not_with_what_it_saw),
		cmocka_unit_test(children_and_new_programs_are_told_whole),
		cmocka_unit_test(a_parent_in_vfork_does_not_hold_anybody_up),
		cmocka_unit_test(an_inherited_descriptor_is_closed_where_it_went),
		cmocka_unit_test(kinds_have_names),
		cmocka_unit_test(auto_finds_one_and_says_why),
		cmocka_unit_test(soft_dirty_needs_a_way_to_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
