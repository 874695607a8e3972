#include "runtime/cmd/parse.h"
#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct values {
	const char *bundle;
	bool detach, tty, has_tty;
	unsigned fds;
	const char *const *env;
	const struct rt_given_option *given;
};

static const struct rt_option options[] = {
	{ "bundle", 'b', RT_OPTION_STRING, .argument = "DIR", .offset = offsetof(struct values, bundle), .help = "" },
	{ "detach", 'd', RT_OPTION_FLAG, .offset = offsetof(struct values, detach), .help = "" },
	{ "tty", 't', RT_OPTION_FLAG, .offset = offsetof(struct values, tty), .given = offsetof(struct values, has_tty),
	  .help = "" },
	{ "preserve-fds", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = offsetof(struct values, fds), .help = "" },
	{ "env", 'e', RT_OPTION_LIST, .argument = "X", .offset = offsetof(struct values, env), .help = "" },
	{ "add", 0, RT_OPTION_LIST, RT_OPTION_ORDERED, .argument = "X", .offset = offsetof(struct values, given), .help = "" },
	{ "clear", 0, RT_OPTION_FLAG, RT_OPTION_ORDERED, .offset = offsetof(struct values, given), .help = "" },
	{ "criu", 0, RT_OPTION_STRING, RT_OPTION_IGNORED, .argument = "X", .help = "" },
	{ NULL },
};

struct fixture {
	struct rt_arena arena;
	struct values values;
	struct rt_parse parse;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->parse = (struct rt_parse){ .options = options, .values = &fixture->values, .arena = &fixture->arena };
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	rt_arena_deinit(&fixture->arena);
	free(fixture);
	return 0;
}

static void parse_fine(struct fixture *fixture, char **words)
{
	fixture->parse.words = words;
	assert_null(rt_parse_words(&fixture->parse));
}

static void parse_fails(struct fixture *fixture, char **words, const char *message)
{
	struct rt_error *err;

	fixture->parse.words = words;
	err = rt_parse_words(&fixture->parse);
	assert_non_null(err);
	assert_int_equal(err->code, RT_USAGE);
	assert_string_equal(err->message, message);
	rt_error_free(err);
}

#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })
#define W(text) ((char *)(text))

static void long_options_take_one_dash_or_two_and_both_forms_of_argument(void **state)
{
	static const char *const forms[][2] = {
		{ "--bundle=x", NULL }, { "-bundle=x", NULL }, { "--bundle", "x" },
		{ "-bundle", "x" },	{ "-b", "x" },	       { "-b=x", NULL },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(forms); i++) {
		struct fixture *fixture;

		set_up((void **)&fixture);
		parse_fine(fixture, WORDS(W(forms[i][0]), W(forms[i][1])));
		assert_string_equal(fixture->values.bundle, "x");
		assert_int_equal(fixture->parse.operand_count, 0);
		tear_down((void **)&fixture);
	}
}

static void the_last_of_a_repeated_option_counts(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("--bundle=a"), W("--bundle=b"), W("-d"), W("-d=false")));
	assert_string_equal(fixture->values.bundle, "b");
	assert_false(fixture->values.detach);
}

static void a_list_keeps_all_in_order(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("-e"), W("A=1"), W("--env=B=2"), W("-env"), W("C")));
	assert_string_equal(fixture->values.env[0], "A=1");
	assert_string_equal(fixture->values.env[1], "B=2");
	assert_string_equal(fixture->values.env[2], "C");
	assert_null(fixture->values.env[3]);
}

static void ordered_options_keep_the_order_they_have_among_each_other(void **state)
{
	struct fixture *fixture = *state;
	const struct rt_given_option *given;

	parse_fine(fixture, WORDS(W("--add=a"), W("--clear"), W("-d"), W("--add"), W("b"), W("--clear=0")));
	given = fixture->values.given;
	assert_string_equal(given[0].option->name, "add");
	assert_string_equal(given[0].argument, "a");
	assert_string_equal(given[1].option->name, "clear");
	assert_string_equal(given[1].argument, "true");
	assert_string_equal(given[2].argument, "b");
	assert_string_equal(given[3].argument, "false");
	assert_null(given[4].option);
	assert_true(fixture->values.detach);
}

static void letters_of_flags_can_be_joined(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("-dt")));
	assert_true(fixture->values.detach);
	assert_true(fixture->values.tty);
	assert_true(fixture->values.has_tty);
}

static void a_flag_that_is_cleared_counts_as_given(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("--tty=false")));
	assert_false(fixture->values.tty);
	assert_true(fixture->values.has_tty);
}

static void options_may_stand_after_operands(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("id"), W("--detach"), W("TERM")));
	assert_true(fixture->values.detach);
	assert_int_equal(fixture->parse.operand_count, 2);
	assert_string_equal(fixture->parse.operands[1], "TERM");
}

static void options_after_the_last_own_operand_belong_to_the_command(void **state)
{
	struct fixture *fixture = *state;

	fixture->parse.options_end = 1;
	parse_fine(fixture, WORDS(W("-t"), W("id"), W("ls"), W("-d"), W("--")));
	assert_false(fixture->values.detach);
	assert_int_equal(fixture->parse.operand_count, 4);
	assert_string_equal(fixture->parse.operands[2], "-d");
	assert_string_equal(fixture->parse.operands[3], "--");
}

static void two_dashes_end_the_options(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("--"), W("--detach")));
	assert_false(fixture->values.detach);
	assert_string_equal(fixture->parse.operands[0], "--detach");
}

static void a_lone_dash_and_negative_numbers_are_operands_and_arguments(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("--bundle"), W("-"), W("-9"), W("-")));
	assert_string_equal(fixture->values.bundle, "-");
	assert_string_equal(fixture->parse.operands[0], "-9");
	assert_string_equal(fixture->parse.operands[1], "-");
}

static void global_options_stop_at_the_command(void **state)
{
	struct fixture *fixture = *state;

	fixture->parse.stop_at_operand = true;
	parse_fine(fixture, WORDS(W("-d"), W("run"), W("--nope")));
	assert_int_equal(fixture->parse.consumed, 1);
}

static void an_unknown_option_is_named_without_its_argument(void **state)
{
	parse_fails(*state, WORDS(W("--nope=3")), "unknown option '--nope'");
}

static void a_misspelt_long_option_is_not_taken_for_letters(void **state)
{
	parse_fails(*state, WORDS(W("-detahc")), "unknown option '-detahc'");
}

static void a_missing_argument_is_told_in_the_words_podman_looks_for(void **state)
{
	parse_fails(*state, WORDS(W("--bundle")), "flag needs an argument: -bundle");
}

static void a_number_must_be_one(void **state)
{
	parse_fails(*state, WORDS(W("--preserve-fds=-1")), "option '--preserve-fds' takes a number, not '-1'");
}

static void a_number_must_fit(void **state)
{
	parse_fails(*state, WORDS(W("--preserve-fds=4294967296")),
		    "option '--preserve-fds' takes a number, not '4294967296'");
}

static void a_flag_takes_only_truth_values(void **state)
{
	parse_fails(*state, WORDS(W("--detach=maybe")), "option '--detach' takes true or false, not 'maybe'");
}

static void ignored_options_are_reported_and_eat_their_argument(void **state)
{
	struct fixture *fixture = *state;

	parse_fine(fixture, WORDS(W("--criu"), W("/bin/criu"), W("id")));
	assert_string_equal(fixture->parse.ignored[0], "criu");
	assert_null(fixture->parse.ignored[1]);
	assert_int_equal(fixture->parse.operand_count, 1);
}

static void help_is_seen_before_later_mistakes(void **state)
{
	static const char *const forms[] = { "--help", "-help", "-h" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(forms); i++) {
		struct fixture *fixture = *state;

		fixture->parse.consumed = 0;
		fixture->parse.help = false;
		parse_fine(fixture, WORDS(W(forms[i]), W("--nope")));
		assert_true(fixture->parse.help);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(long_options_take_one_dash_or_two_and_both_forms_of_argument),
		TEST(the_last_of_a_repeated_option_counts),
		TEST(a_list_keeps_all_in_order),
		TEST(ordered_options_keep_the_order_they_have_among_each_other),
		TEST(letters_of_flags_can_be_joined),
		TEST(a_flag_that_is_cleared_counts_as_given),
		TEST(options_may_stand_after_operands),
		TEST(options_after_the_last_own_operand_belong_to_the_command),
		TEST(two_dashes_end_the_options),
		TEST(a_lone_dash_and_negative_numbers_are_operands_and_arguments),
		TEST(global_options_stop_at_the_command),
		TEST(an_unknown_option_is_named_without_its_argument),
		TEST(a_misspelt_long_option_is_not_taken_for_letters),
		TEST(a_missing_argument_is_told_in_the_words_podman_looks_for),
		TEST(a_number_must_be_one),
		TEST(a_number_must_fit),
		TEST(a_flag_takes_only_truth_values),
		TEST(ignored_options_are_reported_and_eat_their_argument),
		TEST(help_is_seen_before_later_mistakes),
	};

	return cmocka_run_group_tests_name("cmd/parse", tests, NULL, NULL);
}
