#include "migrate/progress.h"
#include "tree_made.h"

#include <jansson.h>

struct shown {
	char *text;
	size_t size;
	FILE *stream;
	struct rt_progress *progress;
};

static void begin(struct shown *shown, enum rt_progress_form form)
{
	shown->stream = open_memstream(&shown->text, &shown->size);
	assert_non_null(shown->stream);
	assert_works(rt_progress_new(form, shown->stream, &shown->progress));
}

static void end(struct shown *shown)
{
	rt_progress_free(shown->progress);
	fclose(shown->stream);
	free(shown->text);
}

static void assert_shown(const struct shown *shown, const char *part)
{
	fflush(shown->stream);
	if (!strstr(shown->text, part))
		fail_msg("'%s' lacks '%s'", shown->text, part);
}

static const struct rt_report_round first_round = { .us = 500000, .pages = 25600, .wire = 100 << 20, .dirty = 2560, .predicted_us = 150000 };
static const struct rt_report moved = {
	.id = "web", .target_id = "web2", .url = "https://b", .mode = "pre-copy", .reason = "asked for", .memory = 100 << 20, .freeze_us = 1000, .dump_us = 2000,
	.send_us = 3000, .restore_us = 4000, .resume_us = 10000, .downtime_us = 20000, .round_count = 1, .wire = 110 << 20, .total_us = 1500000, .moved = true,
};

static void a_file_gets_lines_without_any_escapes(void **state)
{
	struct shown shown;

	begin(&shown, RT_PROGRESS_LINES);
	rt_progress_step(shown.progress, "copying memory");
	rt_progress_note(shown.progress, "mode %s", "stop");
	rt_progress_amount(shown.progress, 1, 0, 100);
	rt_progress_amount(shown.progress, 1, 50, 100);
	rt_progress_round(shown.progress, 1, &first_round);
	rt_progress_finish(shown.progress, &moved, NULL);
	assert_shown(&shown, "mode stop\n");
	assert_shown(&shown, "round  1:  100.0 MiB in    500 ms (  210 MB/s),   10.0 MiB changed meanwhile, downtime would be 150 ms\n");
	assert_null(strchr(shown.text, '\033'));
	assert_null(strchr(shown.text, '\r'));
	end(&shown);
}

static void the_bar_is_redrawn_in_its_place(void **state)
{
	struct shown shown;

	begin(&shown, RT_PROGRESS_BAR);
	rt_progress_step(shown.progress, "copying memory");
	rt_progress_amount(shown.progress, 1, 0, 100 << 20);
	assert_shown(&shown, "round  1 ........................ 0/100 MiB");
	let_time_pass();
	usleep(120000);
	rt_progress_amount(shown.progress, 1, 50 << 20, 100 << 20);
	assert_shown(&shown, "\r\033[Kround  1 ############............ 50/100 MiB");
	rt_progress_amount(shown.progress, 1, 99 << 20, 100 << 20); /* at once: not drawn */
	fflush(shown.stream);
	assert_null(strstr(shown.text, "99/100"));
	end(&shown);
}

static void the_bar_has_what_the_last_round_told(void **state)
{
	struct shown shown;

	begin(&shown, RT_PROGRESS_BAR);
	rt_progress_round(shown.progress, 1, &first_round);
	rt_progress_step(shown.progress, "copying memory");
	rt_progress_amount(shown.progress, 2, 0, 10 << 20);
	fflush(shown.stream);
	/* 80 columns: there is no room for it. */
	assert_shown(&shown, "round  2 ........................ 0/10 MiB     0 MB/s");
	assert_null(strstr(shown.text, "written at"));
	end(&shown);
}

/* More than was expected, as it grew meanwhile. */
static void a_bar_is_never_longer_than_it_is(void **state)
{
	struct shown shown;

	begin(&shown, RT_PROGRESS_BAR);
	rt_progress_step(shown.progress, "copying memory");
	rt_progress_amount(shown.progress, 1, 300 << 20, 100 << 20);
	assert_shown(&shown, "round  1 ######################## 300/100 MiB");
	rt_progress_step(shown.progress, "copying the root filesystem");
	rt_progress_amount(shown.progress, 0, 5 << 20, 0);
	assert_shown(&shown, "copying the root filesystem  5 MiB");
	end(&shown);
}

static void the_table_adds_up_to_the_downtime(void **state)
{
	struct shown shown;

	begin(&shown, RT_PROGRESS_LINES);
	rt_progress_finish(shown.progress, &moved, NULL);
	assert_shown(&shown, "'web' runs on https://b as 'web2'\n");
	assert_shown(&shown, "  downtime          20.0 ms\n");
	assert_shown(&shown, "    freeze           1.0 ms    5 %  ");
	assert_shown(&shown, "    resume          10.0 ms   50 %  ");
	assert_shown(&shown, "  total             1.50 s    mode pre-copy: asked for\n");
	assert_shown(&shown, "  sent             110.0 MiB  of 100.0 MiB of memory, in 1 round\n");
	end(&shown);
}

static void a_failure_has_no_table(void **state)
{
	struct rt_report failed = moved;
	struct shown shown;

	failed.moved = false;
	begin(&shown, RT_PROGRESS_LINES);
	rt_progress_finish(shown.progress, &failed, "it went wrong");
	fflush(shown.stream);
	assert_int_equal(shown.size, 0); /* main() prints the error */
	end(&shown);
}

/* One event of each kind, and what they hold. */
static void events_are_one_object_a_line(void **state)
{
	static const char *const expected[] = { "step", "note", "round", "done" };
	struct shown shown;
	char *line, *rest;
	size_t count = 0;

	begin(&shown, RT_PROGRESS_JSON);
	rt_progress_step(shown.progress, "copying memory");
	rt_progress_note(shown.progress, "a \"quoted\"\nnote");
	rt_progress_amount(shown.progress, 1, 0, 100);
	rt_progress_round(shown.progress, 1, &first_round);
	rt_progress_finish(shown.progress, &moved, NULL);
	fflush(shown.stream);
	for (line = strtok_r(shown.text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), count++) {
		_cleanup_json_ json_t *event = json_loads(line, 0, NULL);

		assert_non_null(event);
		assert_true(count < RT_ARRAY_SIZE(expected));
		assert_string_equal(json_string_value(json_object_get(event, "event")), expected[count]);
		assert_true(json_is_real(json_object_get(event, "seconds")));
		if (count == 3)
			assert_int_equal(json_integer_value(json_object_get(json_object_get(event, "downtime"), "total")), 20000);
	}
	assert_int_equal(count, RT_ARRAY_SIZE(expected));
	end(&shown);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_gets_lines_without_any_escapes),
		cmocka_unit_test(the_bar_is_redrawn_in_its_place),
		cmocka_unit_test(the_bar_has_what_the_last_round_told),
		cmocka_unit_test(a_bar_is_never_longer_than_it_is),
		cmocka_unit_test(the_table_adds_up_to_the_downtime),
		cmocka_unit_test(a_failure_has_no_table),
		cmocka_unit_test(events_are_one_object_a_line),
	};

	setenv("LC_ALL", "C", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
