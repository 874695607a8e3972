/* The table of commands: what no compiler checks of it. */
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void commands_are_sorted_and_found_by_name(void **state)
{
	for (size_t i = 0; rt_commands[i]; i++) {
		assert_ptr_equal(rt_command_find(rt_commands[i]->name), rt_commands[i]);
		if (i > 0)
			assert_true(strcmp(rt_commands[i - 1]->name, rt_commands[i]->name) < 0);
	}
	assert_null(rt_command_find("nope"));
}

static void every_command_can_be_explained(void **state)
{
	for (size_t i = 0; rt_commands[i]; i++) {
		const struct rt_command *command = rt_commands[i];

		assert_true(command->run || rt_command_has_subcommands(command));
		assert_non_null(command->operands);
		assert_true(command->max_operands >= command->min_operands);
		assert_true(islower((unsigned char)command->summary[0]));
		assert_int_not_equal(command->summary[strlen(command->summary) - 1], '.');
		assert_true(strlen(command->summary) < 80);
	}
}

static void sub_commands_have_a_command_and_follow_it(void **state)
{
	size_t found = 0;

	for (size_t i = 0; rt_commands[i]; i++) {
		const char *blank = strchr(rt_commands[i]->name, ' ');
		const struct rt_command *parent;
		char *first;

		if (!blank) {
			assert_null(rt_command_subword(NULL, rt_commands[i]));
			continue;
		}
		first = strndup(rt_commands[i]->name, (size_t)(blank - rt_commands[i]->name));
		parent = rt_command_find(first);
		free(first);
		assert_non_null(parent);
		assert_true(rt_command_has_subcommands(parent));
		assert_false(rt_command_has_subcommands(rt_commands[i]));
		assert_string_equal(rt_command_subword(parent, rt_commands[i]), blank + 1);
		assert_non_null(rt_commands[i]->run);
		/* Another's word could be one of its operands. */
		assert_true(parent->max_operands == 0 || !parent->run);
		found++;
	}
	assert_true(found > 0);
	assert_false(rt_command_has_subcommands(rt_command_find("kill")));
}

static void a_sub_command_is_named_by_two_words(void **state)
{
	static const struct {
		const char *words[4], *name;
		size_t count;
	} cases[] = {
		{ { "spec", "validate", "dir" }, "spec validate", 2 },
		{ { "spec", "validate" }, "spec validate", 2 },
		{ { "spec", "--bundle", "validate" }, "spec", 1 },
		{ { "spec", "valid" }, "spec", 1 },
		{ { "spec" }, "spec", 1 },
		{ { "kill", "validate" }, "kill", 1 },
		{ { "validate" }, NULL, 0 },
		{ { "spec validate" }, "spec validate", 1 },
		{ { NULL }, NULL, 0 },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		size_t count;
		const struct rt_command *command = rt_command_find_words(cases[i].words, &count);

		assert_int_equal(count, cases[i].count);
		assert_int_equal(command == NULL, cases[i].name == NULL);
		if (command)
			assert_string_equal(command->name, cases[i].name);
	}
}

static void assert_options(const struct rt_option *options, size_t values_size)
{
	for (size_t i = 0; options && options[i].name; i++) {
		const struct rt_option *option = &options[i];

		assert_true(option->offset < values_size || option->flags & RT_OPTION_IGNORED);
		assert_true(option->given < values_size);
		assert_int_equal(option->argument == NULL, option->kind == RT_OPTION_FLAG);
		assert_non_null(option->help);
		assert_false(rt_str_equal(option->name, "help"));
		assert_int_not_equal(option->letter, 'h');
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(options[j].name, option->name);
			assert_true(!option->letter || options[j].letter != option->letter);
		}
	}
}

static void options_are_unique_and_point_into_the_values(void **state)
{
	for (size_t i = 0; rt_commands[i]; i++) {
		assert_true(rt_commands[i]->values_size <= RT_VALUES_ROOM);
		assert_options(rt_commands[i]->options, rt_commands[i]->values_size);
	}
	assert_options(rt_global_options, sizeof(struct rt_global_values));
}

static void commands_that_enter_a_container_are_sealed(void **state)
{
	static const char *const names[] = { "create", "run", "exec" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		assert_true(rt_command_find(names[i])->flags & RT_CMD_ENTERS_CONTAINER);
}

static void engines_find_the_options_they_use(void **state)
{
	static const char *const uses[][2] = {
		{ "create", "bundle" },
		{ "create", "pid-file" },
		{ "create", "console-socket" },
		{ "create", "no-pivot" },
		{ "create", "no-new-keyring" },
		{ "create", "preserve-fds" },
		{ "create", "pidfd-socket" },
		{ "run", "detach" },
		{ "run", "keep" },
		{ "run", "no-subreaper" },
		{ "exec", "process" },
		{ "exec", "detach" },
		{ "exec", "tty" },
		{ "exec", "console-socket" },
		{ "exec", "pid-file" },
		{ "exec", "preserve-fds" },
		{ "kill", "all" },
		{ "delete", "force" },
		{ "update", "resources" },
		{ "ps", "format" },
		{ "list", "format" },
		{ "events", "stats" },
		{ "events", "interval" },
		{ "spec", "rootless" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(uses); i++) {
		const struct rt_option *option = rt_command_find(uses[i][0])->options;

		while (option->name && !rt_str_equal(option->name, uses[i][1]))
			option++;
		assert_non_null(option->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_sorted_and_found_by_name),
		cmocka_unit_test(every_command_can_be_explained),
		cmocka_unit_test(sub_commands_have_a_command_and_follow_it),
		cmocka_unit_test(a_sub_command_is_named_by_two_words),
		cmocka_unit_test(options_are_unique_and_point_into_the_values),
		cmocka_unit_test(commands_that_enter_a_container_are_sealed),
		cmocka_unit_test(engines_find_the_options_they_use),
	};

	return cmocka_run_group_tests_name("cmd/commands", tests, NULL, NULL);
}
