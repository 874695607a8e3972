#include "runtime/bundle/bundle.h"

#include "runtime/base/helper.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/cred.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define HELPER "rt-bundle"
#define ARGUMENTS_MAX 24

struct arguments {
	const char *list[ARGUMENTS_MAX];
	size_t count;
	char numbers[3][24];
};

static void add(struct arguments *arguments, const char *name, const char *value)
{
	if (!value)
		return;
	arguments->list[arguments->count++] = name;
	arguments->list[arguments->count++] = value;
}

static void add_number(struct arguments *arguments, size_t which, const char *name, uint64_t value)
{
	snprintf(arguments->numbers[which], sizeof(arguments->numbers[which]), "%llu", (unsigned long long)value);
	add(arguments, name, arguments->numbers[which]);
}

/* In the child. Interrupted, `rt` is gone, and the helper cleans up: it takes SIGTERM for that. */
static int die_with_parent(void *userdata)
{
	struct rt_error *err = rt_sys_set_parent_death_signal(SIGTERM);

	rt_error_free(err);
	return err ? 1 : 0;
}

/* Beside the bundle's parts while it is made: lines that the helper would have people know. */
static struct rt_error *tell_notes(const char *directory)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct rt_error *err = rt_format(&path, "%s/notes", directory);
	char *save = NULL;

	if (err)
		return err;
	err = rt_read_file_at(AT_FDCWD, path, 65536, &text, NULL);
	if (err && err->errnum == ENOENT)
		return rt_error_free(err);
	if (err)
		return err;
	unlink(path);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		rt_warn("%s", line);
	return NULL;
}

/* What it said is the reason; that it was another program's is nobody's concern. */
static struct rt_error *helpers_own(struct rt_error *err)
{
	static const char before[] = "exited with 1: ";
	const char *said = strstr(err->message, before);
	struct rt_error *own = said ? rt_fail(err->code, "%s", said + strlen(before)) : NULL;

	if (!own)
		return err;
	rt_error_free(err);
	return own;
}

struct rt_error *rt_bundle_create(const struct rt_bundle_create *options)
{
	struct arguments arguments = { .list = { HELPER, options->image, options->directory }, .count = 3 };
	_cleanup_free_ char *path = NULL, *partial = NULL;
	struct rt_error *err = rt_helper_find(HELPER, "runtime", "images", &path);

	if (!err)
		err = rt_bundle_partial_name(options->directory, &partial);
	if (err)
		return err;
	add(&arguments, "--platform", options->platform);
	if (options->max_size)
		add_number(&arguments, 0, "--max-size", options->max_size);
	if (options->ids) {
		add_number(&arguments, 1, "--idroot", options->ids->host_id);
		add_number(&arguments, 2, "--idlen", options->ids->size);
	}
	if (options->rootless)
		arguments.list[arguments.count++] = "--rootless";
	if (options->terminal)
		arguments.list[arguments.count++] = "--terminal";
	err = rt_run_program(&(struct rt_run_options){ .path = path, .argv = arguments.list, .before_exec = die_with_parent });
	if (!err)
		return tell_notes(options->directory);
	/* It has cleaned up, unless it was killed itself. */
	rt_error_free(rt_bundle_sweep(partial));
	return rt_while(helpers_own(err), "making a bundle of '%s'", options->image);
}
