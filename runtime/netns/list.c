#include "runtime/netns/list.h"

#include "runtime/base/str.h"
#include "runtime/netns/endpoint.h"

enum { COLUMNS = 7, GAP = 3 };

struct row {
	char *cells[COLUMNS]; /* owned */
};

static void row_deinit(struct row *row)
{
	for (int i = 0; i < COLUMNS; i++)
		free(row->cells[i]);
}

struct rt_error *rt_list_finish(void)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return rt_fail_errno("cannot write to standard output");
	return NULL;
}

struct rt_error *rt_list_print_json(const json_t *json)
{
	if (json_dumpf(json, stdout, JSON_INDENT(2)) < 0)
		return rt_fail_errno("cannot write to standard output");
	putchar('\n');
	return rt_list_finish();
}

static const char *status_of(const struct rt_record *record)
{
	if (record->phase == RT_RECORD_MAKING)
		return "half made";
	return rt_endpoint_is_alive(record) ? rt_record_phase_name(record->phase) : "gone";
}

static struct rt_error *print_json(const struct rt_record *records, size_t count)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *one = json_pack("{s:s, s:i, s:s, s:s}", "id", records[i].id, "pid", (int)records[i].pid, "netns", records[i].path,
					"status", status_of(&records[i]));
		struct rt_error *err = one ? rt_network_to_json(&records[i].network, one) : rt_error_oom();

		if (!err && json_array_append(list, one) < 0)
			err = rt_error_oom();
		json_decref(one);
		if (err)
			return err;
	}
	return list ? rt_list_print_json(list) : rt_error_oom();
}

/* Several in one cell, with commas. */
static struct rt_error *join_text(char **cell, const char *text)
{
	_cleanup_free_ char *before = *cell;

	return rt_format(cell, "%s%s%s", before ? before : "", before ? "," : "", text);
}

static struct rt_error *fill_row(struct row *row, const struct rt_record *record)
{
	const struct rt_network *network = &record->network;
	struct rt_error *err;

	err = rt_format(&row->cells[0], "%s", record->id);
	if (!err)
		err = record->pid ? rt_format(&row->cells[1], "%d", record->pid) : rt_format(&row->cells[1], "-");
	for (int family = 0; family < RT_FAMILIES && !err; family++)
		if (network->legs[family].address.address.family != AF_UNSPEC)
			err = join_text(&row->cells[2], rt_prefix_text(&network->legs[family].address).text);
	if (!err)
		err = rt_format(&row->cells[3], "%s", rt_mac_text(&network->mac).text);
	if (!err)
		err = rt_format(&row->cells[4], "%s", network->bridge);
	for (size_t i = 0; i < network->port_count && !err; i++)
		err = join_text(&row->cells[5], rt_port_text(&network->ports[i]).text);
	if (!err && !row->cells[5])
		err = rt_format(&row->cells[5], "-");
	return err ? err : rt_format(&row->cells[6], "%s", status_of(record));
}

static void print_row(char *const cells[COLUMNS], const int widths[COLUMNS])
{
	for (int column = 0; column < COLUMNS - 1; column++)
		printf("%-*s", widths[column], cells[column]);
	printf("%s\n", cells[COLUMNS - 1]);
}

static struct rt_error *print_table(const struct rt_record *records, size_t count)
{
	char *header[COLUMNS] = { (char[]){ "ID" }, (char[]){ "PID" }, (char[]){ "ADDRESS" }, (char[]){ "MAC" }, (char[]){ "BRIDGE" },
				  (char[]){ "PORTS" }, (char[]){ "STATUS" } };
	_cleanup_free_ struct row *rows = calloc(count + 1, sizeof(*rows));
	struct rt_error *err = NULL;
	int widths[COLUMNS];

	if (!rows)
		return rt_error_oom();
	for (int column = 0; column < COLUMNS; column++)
		widths[column] = (int)strlen(header[column]) + GAP;
	for (size_t i = 0; i < count && !err; i++) {
		err = fill_row(&rows[i], &records[i]);
		for (int column = 0; column < COLUMNS && !err; column++) {
			int width = (int)strlen(rows[i].cells[column]) + GAP;

			widths[column] = width > widths[column] ? width : widths[column];
		}
	}
	if (!err)
		print_row(header, widths);
	for (size_t i = 0; i < count; i++) {
		if (!err)
			print_row(rows[i].cells, widths);
		row_deinit(&rows[i]);
	}
	return err ? err : rt_list_finish();
}

struct rt_error *rt_list(const char *state_directory, const char *format, bool quiet)
{
	_cleanup_store_ struct rt_store store = RT_STORE_NULL;
	_cleanup_free_ struct rt_record *records = NULL;
	bool json = rt_str_equal(format, "json");
	struct rt_error *err;
	size_t count;

	if (!json && !rt_str_equal(format, "table"))
		return rt_fail(RT_USAGE, "option '--format' takes table or json, not '%s'", format);
	err = rt_store_look(state_directory, &store);
	if (!err)
		err = rt_store_list(&store, &records, &count);
	if (err)
		return err;
	if (quiet) {
		for (size_t i = 0; i < count; i++)
			puts(records[i].id);
		return rt_list_finish();
	}
	return json ? print_json(records, count) : print_table(records, count);
}
