#include "migrate/progress.h"
#include "tree_made.h"

static char *page_of(const struct rt_report *report)
{
	struct made made = make_both();
	char path[PATH_MAX], *text = NULL;

	snprintf(path, sizeof(path), "%s/report.html", made.to);
	assert_works(rt_report_write_html(report, path));
	assert_works(rt_read_file_at(made.to_fd, "report.html", 16 << 20, &text, NULL));
	remove_both(&made);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("the page lacks '%s'", part);
}

static struct rt_report made_up(void)
{
	struct rt_report report = {
		.id = "web", .target_id = "web", .url = "https://b:7443", .mode = "pre-copy", .tracker = "uffd-wp", .compression = "none", .rootfs = "none",
		.reason = "asked for", .memory = 100 << 20, .frozen_at_us = 800000, .freeze_us = 1000, .dump_us = 2000, .send_us = 3000, .restore_us = 4000,
		.resume_us = 10000, .downtime_us = 20000, .round_count = 2, .total_us = 1000000, .moved = true,
	};

	report.rounds[0] = (struct rt_report_round){ .us = 500000, .wire = 100 << 20, .dirty = 2560, .predicted_us = 150000 };
	report.rounds[1] = (struct rt_report_round){ .begin_us = 500000, .us = 100000, .wire = 10 << 20, .dirty = 256, .predicted_us = 70000 };
	return report;
}

static void it_tells_the_rounds_and_the_downtime(void **state)
{
	struct rt_report report = made_up();
	_cleanup_free_ char *page = page_of(&report);

	assert_has(page, "<h1>Migration of web</h1>");
	assert_has(page, "it runs there");
	assert_has(page, "Downtime: 20.0 ms");
	assert_has(page, "round 2: 10.0 MiB in 100.0 ms");
	assert_has(page, "downtime would be");
	assert_has(page, "</html>");
}

/* Nothing is fetched, whoever opens it. */
static void it_is_one_file(void **state)
{
	struct rt_report report = made_up();
	_cleanup_free_ char *page = page_of(&report);

	assert_null(strstr(page, "<script"));
	assert_null(strstr(page, "src="));
	assert_null(strstr(page, "<link"));
	assert_null(strstr(page, "href="));
}

static void text_stays_text(void **state)
{
	struct rt_report report = made_up();
	_cleanup_free_ char *page = NULL;

	report.id = "<script>alert(\"1\")</script>";
	report.url = "https://b/?a&b";
	snprintf(report.reason, sizeof(report.reason), "</table><b>");
	page = page_of(&report);
	assert_null(strstr(page, "<script>"));
	assert_null(strstr(page, "<b>"));
	assert_has(page, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;");
	assert_has(page, "https://b/?a&amp;b");
}

/* It failed before anything was known. */
static void an_empty_one_divides_by_nothing(void **state)
{
	const struct rt_report report = { .id = "web", .target_id = "web", .url = "u" };
	_cleanup_free_ char *page = page_of(&report);

	assert_has(page, "it runs here");
	assert_null(strstr(page, "nan"));
	assert_null(strstr(page, "inf"));
	assert_null(strstr(page, "Downtime"));
}

static void a_place_that_can_t_be_written_is_named(void **state)
{
	const struct rt_report report = { .id = "web", .target_id = "web", .url = "u" };

	assert_says(rt_report_write_html(&report, "/no/such/place.html"), "writing the report '/no/such/place.html'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_tells_the_rounds_and_the_downtime),	 cmocka_unit_test(it_is_one_file),
		cmocka_unit_test(text_stays_text),			 cmocka_unit_test(an_empty_one_divides_by_nothing),
		cmocka_unit_test(a_place_that_can_t_be_written_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
