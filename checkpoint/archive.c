#include "checkpoint/archive.h"

#include "rt-config.h"
#include "runtime/base/proc.h"

#include <limits.h>
#include <string.h>

#define HELPER "rt-archive"
#define ARGUMENTS_MAX 24

struct arguments {
	const char *list[ARGUMENTS_MAX];
	size_t count;
};

static void add(struct arguments *arguments, const char *name, const char *value)
{
	if (!value)
		return;
	arguments->list[arguments->count++] = name;
	arguments->list[arguments->count++] = value;
}

/* Where it was installed, or where a build leaves it. */
static struct rt_error *find_helper(char path[PATH_MAX])
{
	static const char *const below[] = { "", "checkpoint/", "../checkpoint/" };
	char own[PATH_MAX];
	ssize_t length;
	char *slash;

	snprintf(path, PATH_MAX, "%s", RT_LIBEXEC "/" HELPER);
	if (access(path, X_OK) == 0)
		return NULL;
	length = readlink("/proc/self/exe", own, sizeof(own) - 1);
	if (length > 0) {
		own[length] = '\0';
		slash = strrchr(own, '/');
		if (slash)
			slash[1] = '\0';
		for (size_t i = 0; slash && i < RT_ARRAY_SIZE(below); i++) {
			if (snprintf(path, PATH_MAX, "%s%s%s", own, below[i], HELPER) < PATH_MAX && access(path, X_OK) == 0)
				return NULL;
		}
	}
	return rt_fail(RT_SYSTEM, "'%s' is not installed, which archives need", RT_LIBEXEC "/" HELPER);
}

static struct rt_error *run(const struct arguments *arguments)
{
	char path[PATH_MAX];
	struct rt_run_options options = { .path = path, .argv = arguments->list };
	struct rt_error *err = find_helper(path);

	return err ? err : rt_run_program(&options);
}

struct rt_error *rt_archive_export(const struct rt_archive_export *options)
{
	static const char *const compressions[] = {
		[RT_ARCHIVE_BY_NAME] = NULL,
		[RT_ARCHIVE_NONE] = "none",
		[RT_ARCHIVE_GZIP] = "gzip",
		[RT_ARCHIVE_ZSTD] = "zstd",
	};
	struct arguments arguments = { .list = { "rt-archive", "export" }, .count = 2 };
	struct rt_error *err;

	add(&arguments, "--output", options->file);
	add(&arguments, "--images", options->images);
	add(&arguments, "--work", options->work);
	add(&arguments, "--rootfs", options->rootfs);
	add(&arguments, "--upper", options->upper);
	add(&arguments, "--compression", compressions[options->compression]);
	err = run(&arguments);
	return err ? rt_while(err, "exporting the checkpoint to '%s'", options->file) : NULL;
}

struct rt_error *rt_archive_import(const struct rt_archive_import *options)
{
	struct arguments arguments = { .list = { "rt-archive", "import" }, .count = 2 };
	struct rt_error *err;
	char limit[24];

	add(&arguments, "--input", options->file);
	add(&arguments, "--directory", options->directory);
	add(&arguments, "--rootfs", options->rootfs);
	snprintf(limit, sizeof(limit), "%llu", (unsigned long long)options->size_limit);
	add(&arguments, "--size-limit", options->size_limit ? limit : NULL);
	if (options->metadata_only)
		arguments.list[arguments.count++] = "--metadata-only";
	err = run(&arguments);
	return err ? rt_while(err, "importing the checkpoint from '%s'", options->file) : NULL;
}
