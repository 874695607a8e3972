#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/output.h"

struct list_values {
	const char *format;
	bool quiet;
};

enum { COLUMNS = 6, MIN_WIDTH = 12, GAP = 3 };

struct row {
	char pid[24];
	const char *cells[COLUMNS];
};

static const char *text_of(const json_t *state, const char *key)
{
	const char *text = json_string_value(json_object_get(state, key));

	return text ? text : "";
}

static void fill_row(struct row *row, const json_t *state)
{
	snprintf(row->pid, sizeof(row->pid), "%" JSON_INTEGER_FORMAT,
		 json_integer_value(json_object_get(state, "pid")));
	row->cells[0] = text_of(state, "id");
	row->cells[1] = row->pid;
	row->cells[2] = text_of(state, "status");
	row->cells[3] = text_of(state, "bundle");
	row->cells[4] = text_of(state, "created");
	row->cells[5] = text_of(state, "owner");
}

static void print_row(const struct row *row, const int widths[COLUMNS])
{
	for (int column = 0; column < COLUMNS - 1; column++)
		printf("%-*s", widths[column], row->cells[column]);
	printf("%s\n", row->cells[COLUMNS - 1]);
}

/* Columns as wide as their widest cell, 12 at least: scripts written for runc's list find them where they were. */
static struct rt_error *print_table(const json_t *states)
{
	static const struct row header = { .cells = { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" } };
	size_t count = json_array_size(states);
	_cleanup_free_ struct row *rows = calloc(count + 1, sizeof(*rows));
	int widths[COLUMNS];

	if (!rows)
		return rt_error_oom();
	for (int column = 0; column < COLUMNS; column++)
		widths[column] = MIN_WIDTH;
	for (size_t i = 0; i < count; i++) {
		fill_row(&rows[i], json_array_get(states, i));
		for (int column = 0; column < COLUMNS; column++) {
			int width = (int)strlen(rows[i].cells[column]) + GAP;

			widths[column] = width > widths[column] ? width : widths[column];
		}
	}
	print_row(&header, widths);
	for (size_t i = 0; i < count; i++)
		print_row(&rows[i], widths);
	return rt_output_finish();
}

static struct rt_error *run_list(const struct rt_invocation *invocation, int *ret_status)
{
	const struct list_values *values = invocation->values;
	const char *format = values->format ? values->format : "table";
	bool json = rt_str_equal(format, "json");
	_cleanup_json_ json_t *states = NULL;
	struct rt_error *err;

	if (!json && !rt_str_equal(format, "table"))
		return rt_fail(RT_USAGE, "option '--format' takes table or json, not '%s'", format);
	err = rt_container_list(invocation->context, &states);
	if (err)
		return err;
	if (values->quiet) {
		for (size_t i = 0; i < json_array_size(states); i++)
			puts(text_of(json_array_get(states, i), "id"));
		return rt_output_finish();
	}
	return json ? rt_output_json(states, JSON_COMPACT) : print_table(states);
}

static const struct rt_option options[] = {
	{ "format", 'f', RT_OPTION_STRING, .argument = "table|json", .offset = offsetof(struct list_values, format),
	  .help = "how to print the list (default: table)" },
	{ "quiet", 'q', RT_OPTION_FLAG, .offset = offsetof(struct list_values, quiet), .help = "print only the ids" },
	{ NULL },
};

const struct rt_command rt_cmd_list = {
	.name = "list",
	.operands = "",
	.summary = "list the containers below --root",
	.options = options,
	.values_size = sizeof(struct list_values),
	.run = run_list,
};
