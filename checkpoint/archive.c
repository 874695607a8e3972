#include "checkpoint/archive.h"

#include "runtime/base/helper.h"
#include "runtime/base/proc.h"

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

static struct rt_error *run(const struct arguments *arguments, bool interruptible)
{
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = rt_helper_find(HELPER, "checkpoint", "archives", &path);

	if (err)
		return err;
	return rt_run_program(&(struct rt_run_options){ .path = path, .argv = arguments->list, .interruptible = interruptible });
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
	/* Not to be stopped half way: the container may be gone, and this be its only copy. */
	err = run(&arguments, false);
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
	err = run(&arguments, true);
	return err ? rt_while(err, "importing the checkpoint from '%s'", options->file) : NULL;
}

struct rt_error *rt_archive_unpack_changes(const char *tar, const char *directory)
{
	const struct arguments arguments = { .list = { "rt-archive", "apply", "--input", tar, "--rootfs", directory }, .count = 6 };
	struct rt_error *err = run(&arguments, true);

	return err ? rt_while(err, "unpacking changes of a root filesystem") : NULL;
}
