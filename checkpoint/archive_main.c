/* rt-archive: what `rt checkpoint --export`, `rt restore --import` and `rt checkpoint inspect ARCHIVE` run, and the first start from a
 * snapshot with changes of its root filesystem. Not for people: `rt` checks its options before. One line on standard error says why it failed. */
#include "checkpoint/archive_helper.h"

#include "runtime/base/str.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>

enum choice { OUTPUT = 256, IMAGES, WORK, ROOTFS, UPPER, COMPRESSION, INPUT, DIRECTORY, SIZE_LIMIT, METADATA_ONLY };

static const struct option long_options[] = {
	{ "output", required_argument, NULL, OUTPUT },
	{ "images", required_argument, NULL, IMAGES },
	{ "work", required_argument, NULL, WORK },
	{ "rootfs", required_argument, NULL, ROOTFS },
	{ "upper", required_argument, NULL, UPPER },
	{ "compression", required_argument, NULL, COMPRESSION },
	{ "input", required_argument, NULL, INPUT },
	{ "directory", required_argument, NULL, DIRECTORY },
	{ "size-limit", required_argument, NULL, SIZE_LIMIT },
	{ "metadata-only", no_argument, NULL, METADATA_ONLY },
	{ 0 },
};

static bool parse_compression(const char *name, enum rt_archive_compression *ret)
{
	if (rt_str_equal(name, "none"))
		*ret = RT_ARCHIVE_NONE;
	else if (rt_str_equal(name, "gzip"))
		*ret = RT_ARCHIVE_GZIP;
	else if (rt_str_equal(name, "zstd"))
		*ret = RT_ARCHIVE_ZSTD;
	else
		return false;
	return true;
}

static struct rt_error *parse(int argc, char **argv, struct rt_archive_export *export, struct rt_archive_import *import)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		switch (option) {
		case OUTPUT:
			export->file = optarg;
			break;
		case IMAGES:
			export->images = optarg;
			break;
		case WORK:
			export->work = optarg;
			break;
		case ROOTFS:
			export->rootfs = import->rootfs = optarg;
			break;
		case UPPER:
			export->upper = optarg;
			break;
		case COMPRESSION:
			if (!parse_compression(optarg, &export->compression))
				return rt_fail(RT_USAGE, "there is no compression '%s': use none, gzip or zstd",
					       optarg);
			break;
		case INPUT:
			import->file = optarg;
			break;
		case DIRECTORY:
			import->directory = optarg;
			break;
		case SIZE_LIMIT:
			if (!rt_str_to_u64(optarg, &import->size_limit))
				return rt_fail(RT_USAGE, "'%s' is no number of bytes", optarg);
			break;
		case METADATA_ONLY:
			import->metadata_only = true;
			break;
		default:
			return rt_fail(RT_USAGE, "cannot understand the options");
		}
	}
	return optind < argc ? rt_fail(RT_USAGE, "'%s' is too much", argv[optind]) : NULL;
}

static struct rt_error *apply(const char *tar, const char *rootfs)
{
	_cleanup_close_ int fd = open(tar, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? rt_fail_errno("cannot open '%s'", tar) : rt_archive_apply(rootfs, fd, -1);
}

static struct rt_error *run(int argc, char **argv)
{
	struct rt_archive_export export = { 0 };
	struct rt_archive_import import = { 0 };
	const char *verb = argc > 1 ? argv[1] : "";
	struct rt_error *err = argc > 1 ? parse(argc - 1, argv + 1, &export, &import) : NULL;

	if (err)
		return err;
	if (rt_str_equal(verb, "export") && export.file && export.images)
		return rt_archive_do_export(&export);
	if (rt_str_equal(verb, "import") && import.file && import.directory)
		return rt_archive_do_import(&import);
	if (rt_str_equal(verb, "apply") && import.file && import.rootfs)
		return apply(import.file, import.rootfs);
	return rt_fail(RT_USAGE, "usage: rt-archive export --output FILE --images DIRECTORY [...] | "
				 "import --input FILE --directory DIRECTORY [...] | apply --input TAR --rootfs DIRECTORY");
}

int main(int argc, char **argv)
{
	struct rt_error *err;
	char *text;

	/* What is written here holds a container's memory. */
	umask(077);
	err = run(argc, argv);
	if (!err)
		return EXIT_SUCCESS;
	text = rt_error_text(err);
	fprintf(stderr, "%s\n", text ? text : "out of memory");
	free(text);
	rt_error_free(err);
	return EXIT_FAILURE;
}
