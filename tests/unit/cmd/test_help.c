#include "runtime/base/str.h"
#include "runtime/cmd/help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { ROOM = 65536 };

/* What a function prints; the caller frees it. */
static char *printed_command(const char *name)
{
	char *text = calloc(1, ROOM);
	FILE *stream = fmemopen(text, ROOM, "w");

	rt_help_command(stream, rt_command_find(name));
	assert_int_equal(fclose(stream), 0);
	return text;
}

static char *printed(void (*print)(FILE *stream))
{
	char *text = calloc(1, ROOM);
	FILE *stream = fmemopen(text, ROOM, "w");

	print(stream);
	assert_int_equal(fclose(stream), 0);
	return text;
}

static void version_has_the_lines_that_docker_parses(void **state)
{
	_cleanup_free_ char *text = printed(rt_help_version);

	assert_true(rt_str_starts(text, "rt version "));
	assert_non_null(strstr(text, "\nspec: " RT_SPEC_VERSION "\n"));
	assert_non_null(strstr(text, "\nlibseccomp: "));
}

static void overview_names_every_command_but_the_hidden_and_sub_commands(void **state)
{
	_cleanup_free_ char *text = printed(rt_help_overview);

	for (size_t i = 0; rt_commands[i]; i++) {
		_cleanup_free_ char *line = NULL;

		assert_true(asprintf(&line, "\n  %-12s%s\n", rt_commands[i]->name, rt_commands[i]->summary) > 0);
		assert_int_equal(strstr(text, line) == NULL,
				 rt_commands[i]->flags & RT_CMD_HIDDEN || rt_command_subword(NULL, rt_commands[i]));
	}
}

static void help_of_a_command_names_its_sub_commands(void **state)
{
	_cleanup_free_ char *parent = printed_command("spec"), *sub = printed_command("spec validate");

	assert_non_null(strstr(parent, "Usage: rt [global options] spec [options]\n"));
	assert_non_null(strstr(parent, "\n       rt [global options] spec <command> [options] [operands]\n"));
	assert_non_null(strstr(parent, "\nCommands:\n"));
	assert_non_null(strstr(parent, "\n  validate    "));
	assert_null(strstr(parent, "\n  kill "));
	assert_true(rt_str_starts(sub, "rt spec validate - "));
	assert_non_null(strstr(sub, "Usage: rt [global options] spec validate [options] [bundle|file|-]\n"));
	assert_null(strstr(sub, "Commands:"));
}

static void a_command_that_does_nothing_itself_asks_for_another(void **state)
{
	static const struct rt_command group = { .name = "group", .operands = "", .summary = "nothing" };
	_cleanup_free_ char *text = rt_help_synopsis(&group);

	assert_string_equal(text, "group <command> [options] [operands]");
}

static void help_of_a_command_has_its_options_but_the_hidden(void **state)
{
	_cleanup_free_ char *text = printed_command("update");

	assert_non_null(strstr(text, "Usage: rt [global options] update [options] <container-id>\n"));
	assert_non_null(strstr(text, "\n  -r, --resources FILE "));
	assert_non_null(strstr(text, "\n  -h, --help "));
	assert_null(strstr(text, "--kernel-memory"));
}

static void repeatable_options_say_so(void **state)
{
	_cleanup_free_ char *text = printed_command("exec");
	const char *line = strstr(text, "--env NAME=VALUE");

	assert_non_null(line);
	assert_true(strstr(line, "; may be repeated\n") < strchr(line, '\n'));
}

static void no_line_of_help_is_wider_than_120_columns(void **state)
{
	for (size_t i = 0; rt_commands[i]; i++) {
		_cleanup_free_ char *text = printed_command(rt_commands[i]->name);

		for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
			assert_true(strcspn(line, "\n") <= 120);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_has_the_lines_that_docker_parses),
		cmocka_unit_test(overview_names_every_command_but_the_hidden_and_sub_commands),
		cmocka_unit_test(help_of_a_command_names_its_sub_commands),
		cmocka_unit_test(a_command_that_does_nothing_itself_asks_for_another),
		cmocka_unit_test(help_of_a_command_has_its_options_but_the_hidden),
		cmocka_unit_test(repeatable_options_say_so),
		cmocka_unit_test(no_line_of_help_is_wider_than_120_columns),
	};

	return cmocka_run_group_tests_name("cmd/help", tests, NULL, NULL);
}
