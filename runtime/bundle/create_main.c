/* rt-bundle: what `rt bundle create` runs. Not for people: `rt` checks its options before. One line on standard error says why it
 * failed; then nothing is left behind. */
#include "runtime/bundle/config.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/layer.h"

#include "runtime/base/digest.h"
#include "runtime/base/fs.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

/* What the specification makes registries take, twice. */
#define JSON_MAX ((size_t)8 << 20)
#define PASSWD_MAX ((size_t)16 << 20)
#define ENTRIES_MAX 5000000

struct creation {
	struct rt_bundle_create options;
	struct rt_id_map map;
	struct rt_source source;
	struct rt_arena arena;
	json_t *documents[RT_IMAGE_INDEX_DEPTH + 2]; /* what structs below point into */
	size_t document_count;
	struct rt_image_platform platform;
	struct rt_image_manifest manifest;
	struct rt_image_config image;
	bool is_image;
	int bundle_fd, root_fd;
	struct rt_unpack unpack;
	struct rt_layer_totals totals;
};

/* ---- the image's JSON ---- */

static struct rt_error *keep(struct creation *creation, const char *text, size_t size, const char *name, json_t **ret)
{
	struct rt_error *err = rt_json_parse(text, size, name, ret);

	if (!err)
		creation->documents[creation->document_count++] = *ret;
	return err;
}

static struct rt_error *load_plain(struct creation *creation, const char *path, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	struct rt_error *err = rt_source_read(&creation->source, path, JSON_MAX, &text, &size);

	return err ? err : keep(creation, text, size, path, ret);
}

static struct rt_error *blob_path(struct creation *creation, const struct rt_image_descriptor *descriptor, const char **ret)
{
	*ret = descriptor->path ? descriptor->path : rt_arena_printf(&creation->arena, "blobs/sha256/%s", descriptor->hex);
	return *ret ? NULL : rt_error_oom();
}

static struct rt_error *load_blob(struct creation *creation, const struct rt_image_descriptor *descriptor, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	char digest[RT_DIGEST_TEXT_ROOM];
	const char *path;
	size_t size;
	struct rt_error *err = blob_path(creation, descriptor, &path);

	if (!err)
		err = rt_source_read(&creation->source, path, JSON_MAX, &text, &size);
	if (err)
		return err;
	if (descriptor->has_size && size != descriptor->size)
		return rt_fail(RT_CONFIG, "'%s' has %zu bytes, where the image says %llu", path, size,
			       (unsigned long long)descriptor->size);
	rt_digest_bytes(text, size, digest);
	if (descriptor->hex && !rt_str_equal(digest, descriptor->hex))
		return rt_fail(RT_CONFIG, "'%s' is sha256:%s, which is not the digest that the image says", path, digest);
	return keep(creation, text, size, path, ret);
}

static struct rt_error *find_manifest(struct creation *creation)
{
	const struct rt_image_descriptor *chosen = NULL;
	const char *tag = creation->source.tag;
	struct rt_image_index index;
	json_t *document;
	struct rt_error *err = load_plain(creation, "index.json", &document);

	for (int depth = 0; !err && depth < RT_IMAGE_INDEX_DEPTH; depth++) {
		err = rt_image_read_index(document, &creation->arena, &index);
		if (!err)
			err = rt_image_choose(&index, tag, &creation->platform, &chosen);
		if (!err)
			err = load_blob(creation, chosen, &document);
		if (!err && chosen->kind == RT_IMAGE_MANIFEST)
			return rt_image_read_manifest(document, &creation->arena, &creation->manifest);
		tag = NULL;
	}
	return err ? err : rt_fail(RT_CONFIG, "its indexes are nested too deep");
}

static struct rt_error *load_image(struct creation *creation)
{
	json_t *document;
	struct rt_error *err;

	creation->is_image = true;
	if (creation->source.kind == RT_SOURCE_LAYOUT) {
		err = find_manifest(creation);
	} else {
		err = load_plain(creation, "manifest.json", &document);
		if (!err)
			err = rt_image_read_docker(document, &creation->arena, creation->source.tag, &creation->manifest);
	}
	if (!err)
		err = load_blob(creation, &creation->manifest.config, &document);
	if (!err)
		err = rt_image_read_config(document, &creation->arena, &creation->image);
	if (!err && creation->image.diff_id_count != creation->manifest.layer_count)
		err = rt_fail(RT_CONFIG, "its configuration is for %zu layers, its manifest has %zu", creation->image.diff_id_count,
			      creation->manifest.layer_count);
	return err;
}

static struct rt_error *note(struct creation *creation, const char *text)
{
	_cleanup_close_ int fd = openat(creation->bundle_fd, "notes", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return rt_fail_errno("cannot create 'notes'");
	return rt_write_all(fd, text, strlen(text));
}

static struct rt_error *note_count(struct creation *creation, size_t count, const char *what)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = count ? rt_format(&text, "%zu %s\n", count, what) : NULL;

	return err || !count ? err : note(creation, text);
}

/* One image alone is taken whatever it is for; but what was asked for is what must come. */
static struct rt_error *check_platform(struct creation *creation)
{
	const struct rt_image_platform *has = &creation->image.platform, *wanted = &creation->platform;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	int score;

	if (rt_image_platform_fits(wanted, has, &score))
		return NULL;
	if (creation->options.platform)
		return rt_fail(RT_NOT_FOUND, "it is for %s/%s, not for %s", has->os ? has->os : "?",
			       has->architecture ? has->architecture : "?", creation->options.platform);
	err = rt_format(&text, "the image is for %s/%s, this machine is %s/%s\n", has->os ? has->os : "?",
			has->architecture ? has->architecture : "?", wanted->os, wanted->architecture);
	return err ? err : note(creation, text);
}

/* ---- the root filesystem ---- */

static struct rt_error *set_limits(struct creation *creation)
{
	struct statvfs fs;

	if (fstatvfs(creation->bundle_fd, &fs) < 0)
		return rt_fail_errno("cannot ask how much room there is");
	creation->unpack.limit = creation->options.max_size;
	creation->totals.any_ratio = creation->options.max_size > 0;
	/* Some must be left for everybody else. */
	if (!creation->unpack.limit)
		creation->unpack.limit = (uint64_t)fs.f_bavail * fs.f_frsize / 10 * 9 + 1;
	creation->totals.entries_max = fs.f_files && fs.f_favail < ENTRIES_MAX ? fs.f_favail : ENTRIES_MAX;
	return NULL;
}

static struct rt_error *apply_layers(struct creation *creation)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < creation->manifest.layer_count; i++) {
		const struct rt_image_descriptor *descriptor = &creation->manifest.layers[i];
		struct rt_layer layer = { .hex = descriptor->hex, .diff_hex = creation->image.diff_ids[i], .has_size = descriptor->has_size,
					  .size = descriptor->size, .whiteouts = i > 0 };

		err = blob_path(creation, descriptor, &layer.path);
		if (!err)
			err = rt_layer_apply(&creation->source, &layer, &creation->unpack, &creation->totals);
		if (err)
			return rt_while(err, "layer %zu of %zu, '%s'", i + 1, creation->manifest.layer_count, layer.path);
	}
	return err;
}

static struct rt_error *unpack_root(struct creation *creation)
{
	static const struct rt_layer plain = { .path = NULL };
	struct rt_unpack *unpack = &creation->unpack;
	struct rt_error *err;

	unpack->root_fd = creation->root_fd;
	unpack->flags = RT_UNPACK_XATTRS | RT_UNPACK_EXACT |
			(creation->options.rootless ? RT_UNPACK_AS_USER | RT_UNPACK_NO_DEVICES : RT_UNPACK_DEVICES);
	if (creation->options.ids)
		unpack->shift.uids = unpack->shift.gids = (struct rt_id_maps){ &creation->map, 1 };
	err = rt_unpack_init(unpack);
	if (!err)
		err = set_limits(creation);
	if (!err && creation->is_image)
		err = apply_layers(creation);
	else if (!err && creation->source.kind == RT_SOURCE_TREE)
		err = rt_layer_copy(creation->source.path, unpack, &creation->totals);
	else if (!err)
		err = rt_layer_apply(&creation->source, &plain, unpack, &creation->totals);
	if (!err)
		err = rt_unpack_finish(unpack);
	if (!err)
		err = note_count(creation, unpack->left_out, "device nodes were left out: only root on the host can make them");
	if (!err)
		err = note_count(creation, unpack->acls_left_out, "ACLs were left out: they name users instead of ids");
	return err;
}

/* ---- the configuration ---- */

/* *ret is "" where the image has no such file. */
static struct rt_error *read_of_root(struct creation *creation, const char *path, char **ret)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_open_in_root(creation->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	struct stat st;

	if (!err && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		return rt_fail(RT_CONFIG, "the image's '%s' is no regular file", path);
	if (!err)
		return rt_read_all(fd, PASSWD_MAX, ret, NULL);
	if (err->errnum != ENOENT && err->errnum != ENOTDIR && err->errnum != ELOOP)
		return err;
	rt_error_free(err);
	*ret = strdup("");
	return *ret ? NULL : rt_error_oom();
}

static struct rt_error *find_user(struct creation *creation, struct rt_image_user *ret)
{
	_cleanup_free_ char *passwd = NULL, *group = NULL;
	struct rt_error *err = read_of_root(creation, "/etc/passwd", &passwd);

	if (!err)
		err = read_of_root(creation, "/etc/group", &group);
	return err ? err : rt_image_user_find(creation->image.user, passwd, group, &creation->arena, ret);
}

static struct rt_error *write_config(struct creation *creation)
{
	struct rt_bundle_config options = { .image = creation->is_image ? &creation->image : NULL,
					    .ids = creation->options.ids ? &creation->map : NULL,
					    .rootless = creation->options.rootless,
					    .uid = geteuid(),
					    .gid = getegid(),
					    .terminal = creation->options.terminal };
	_cleanup_json_ json_t *config = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_image_user user;
	struct rt_error *err = NULL;

	if (creation->is_image) {
		err = find_user(creation, &user);
		options.user = &user;
	}
	if (!err)
		err = rt_bundle_config(&options, &config);
	if (err)
		return err;
	text = json_dumps(config, JSON_INDENT(4));
	if (!text)
		return rt_error_oom();
	return rt_replace_file_at(creation->bundle_fd, "config.json", text, strlen(text), 0644);
}

/* ---- the whole ---- */

static struct rt_error *load(struct creation *creation)
{
	struct utsname machine;
	struct rt_error *err = NULL;

	if (creation->options.platform) {
		err = rt_image_platform_parse(creation->options.platform, &creation->arena, &creation->platform);
	} else {
		uname(&machine);
		creation->platform = rt_image_platform_of(rt_arena_printf(&creation->arena, "%s", machine.machine));
	}
	if (!err)
		err = rt_source_open(creation->options.image, &creation->source);
	if (!err && (creation->source.kind == RT_SOURCE_LAYOUT || creation->source.kind == RT_SOURCE_DOCKER))
		err = load_image(creation);
	return err;
}

static struct rt_error *fill(struct creation *creation, const char *partial)
{
	struct rt_error *err;

	/* What is in an image may be set-user-id, a device, or somebody's secret: not for every user of the host. */
	creation->bundle_fd = open(partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (creation->bundle_fd < 0 || flock(creation->bundle_fd, LOCK_EX | LOCK_NB) < 0)
		return rt_fail_errno("cannot lock '%s'", partial);
	if (mkdirat(creation->bundle_fd, "rootfs", 0755) < 0)
		return rt_fail_errno("cannot make '%s/rootfs'", partial);
	creation->root_fd = openat(creation->bundle_fd, "rootfs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (creation->root_fd < 0)
		return rt_fail_errno("cannot open '%s/rootfs'", partial);
	/* The container's root must get to its root filesystem. */
	if (creation->options.ids && (fchown(creation->root_fd, creation->map.host_id, creation->map.host_id) < 0 ||
				      fchown(creation->bundle_fd, (uid_t)-1, creation->map.host_id) < 0 ||
				      fchmod(creation->bundle_fd, 0710) < 0))
		return rt_fail_errno("cannot set the owner of '%s'", partial);
	err = creation->is_image ? check_platform(creation) : NULL;
	if (!err)
		err = unpack_root(creation);
	return err ? err : write_config(creation);
}

/* A tree that is copied into itself would never end. */
static struct rt_error *check_places(struct creation *creation)
{
	_cleanup_free_ char *tree = NULL, *parent = NULL, *text = NULL;
	struct rt_error *err;
	char *slash;

	if (creation->source.kind != RT_SOURCE_TREE)
		return NULL;
	err = rt_bundle_partial_name(creation->options.directory, &text);
	if (err)
		return err;
	slash = strrchr(text, '/');
	if (slash)
		slash[slash == text] = '\0';
	err = rt_real_path(creation->source.path, &tree);
	if (!err)
		err = rt_real_path(slash ? text : ".", &parent);
	if (!err && rt_str_starts(parent, tree) &&
	    (rt_str_equal(tree, "/") || parent[strlen(tree)] == '/' || parent[strlen(tree)] == '\0'))
		err = rt_fail(RT_USAGE, "'%s' is inside of the root filesystem that would be copied into it", creation->options.directory);
	return err;
}

/* Fails before anything is unpacked; rename() would, too, but late. */
static struct rt_error *check_free(const char *directory)
{
	_cleanup_closedir_ DIR *dir = opendir(directory);
	const struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? NULL : rt_fail_errno("cannot make the bundle '%s'", directory);
	while ((entry = readdir(dir)))
		if (!rt_str_equal(entry->d_name, ".") && !rt_str_equal(entry->d_name, ".."))
			return rt_fail(RT_EXISTS, "'%s' exists, and is not empty", directory);
	return NULL;
}

static struct rt_error *create(struct creation *creation)
{
	_cleanup_free_ char *partial = NULL;
	struct rt_error *err = check_free(creation->options.directory);

	if (!err)
		err = load(creation);
	if (!err)
		err = check_places(creation);
	if (!err)
		err = rt_bundle_partial_name(creation->options.directory, &partial);
	if (!err)
		err = rt_bundle_sweep(partial);
	if (err)
		return err;
	if (mkdir(partial, 0700) < 0)
		return rt_fail_errno("cannot make '%s'", partial);
	err = fill(creation, partial);
	if (!err)
		err = rt_interrupt_check();
	if (!err && rename(partial, creation->options.directory) < 0)
		err = rt_fail_errno("cannot rename '%s' to '%s'", partial, creation->options.directory);
	/* The failure counts, not how cleaning up went; what it left, if anything, the next one sweeps. */
	if (err)
		rt_error_free(rt_remove_tree_at(AT_FDCWD, partial));
	return err;
}

static void creation_deinit(struct creation *creation)
{
	rt_unpack_deinit(&creation->unpack);
	rt_source_deinit(&creation->source);
	for (size_t i = 0; i < creation->document_count; i++)
		json_decref(creation->documents[i]);
	rt_arena_deinit(&creation->arena);
	rt_closep(&creation->root_fd);
	rt_closep(&creation->bundle_fd);
}

/* ---- the command line ---- */

enum choice { PLATFORM = 256, MAX_SIZE, IDROOT, IDLEN, ROOTLESS, TERMINAL };

static const struct option long_options[] = {
	{ "platform", required_argument, NULL, PLATFORM }, { "max-size", required_argument, NULL, MAX_SIZE },
	{ "idroot", required_argument, NULL, IDROOT },	   { "idlen", required_argument, NULL, IDLEN },
	{ "rootless", no_argument, NULL, ROOTLESS },	   { "terminal", no_argument, NULL, TERMINAL },
	{ 0 },
};

static struct rt_error *parse_number(const char *text, uint64_t most, uint64_t *ret)
{
	if (!rt_str_to_u64(text, ret) || *ret > most)
		return rt_fail(RT_USAGE, "'%s' is no number that fits", text);
	return NULL;
}

static struct rt_error *parse(int argc, char **argv, struct creation *creation)
{
	struct rt_error *err = NULL;
	uint64_t number = 0;
	int option;

	while (!err && (option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		switch (option) {
		case PLATFORM:
			creation->options.platform = optarg;
			break;
		case MAX_SIZE:
			err = parse_number(optarg, UINT64_MAX, &creation->options.max_size);
			break;
		case IDROOT:
			creation->options.ids = &creation->map;
			err = parse_number(optarg, UINT32_MAX, &number);
			creation->map.host_id = (uint32_t)number;
			break;
		case IDLEN:
			err = parse_number(optarg, UINT32_MAX, &number);
			creation->map.size = (uint32_t)number;
			break;
		case ROOTLESS:
			creation->options.rootless = true;
			break;
		case TERMINAL:
			creation->options.terminal = true;
			break;
		default:
			err = rt_fail(RT_USAGE, "cannot understand the options");
		}
	}
	if (err)
		return err;
	if (argc - optind != 2)
		return rt_fail(RT_USAGE, "usage: rt-bundle IMAGE DIRECTORY [--platform P] [--max-size BYTES] [--idroot N --idlen L] "
					 "[--rootless] [--terminal]");
	creation->options.image = argv[optind];
	creation->options.directory = argv[optind + 1];
	return NULL;
}

int main(int argc, char **argv)
{
	struct creation creation = { .source = RT_SOURCE_NULL, .bundle_fd = -1, .root_fd = -1 };
	struct rt_error *err;
	char *text;

	creation.unpack.parent.fd = -1;
	umask(022);
	/* Names in tars are UTF-8, most of them; in any other locale libarchive would have none for those. */
	setlocale(LC_CTYPE, "C.UTF-8");
	err = rt_interrupt_defer();
	if (!err)
		err = parse(argc, argv, &creation);
	if (!err)
		err = create(&creation);
	creation_deinit(&creation);
	if (!err)
		return EXIT_SUCCESS;
	text = rt_error_text(err);
	fprintf(stderr, "%s\n", text ? text : "out of memory");
	free(text);
	rt_error_free(err);
	return EXIT_FAILURE;
}
