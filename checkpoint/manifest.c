#include "checkpoint/manifest.h"

#include "checkpoint/cpu.h"
#include "checkpoint/digestfile.h"
#include "checkpoint/unpack.h"
#include "rt-config.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>

#define FILES_MAX 1000000 /* of one checkpoint: four or five a process */

/* ---- making one ---- */

struct rt_error *rt_manifest_set(char **field, const char *value)
{
	char *copy = (char *)protobuf_c_empty_string;

	if (value && *value) {
		copy = strdup(value);
		if (!copy)
			return rt_error_oom();
	}
	if (*field != protobuf_c_empty_string)
		free(*field);
	*field = copy;
	return NULL;
}

struct rt_error *rt_manifest_set_bytes(ProtobufCBinaryData *field, const void *bytes, size_t size)
{
	uint8_t *copy = NULL;

	if (size > 0) {
		copy = malloc(size);
		if (!copy)
			return rt_error_oom();
		memcpy(copy, bytes, size);
	}
	free(field->data);
	*field = (ProtobufCBinaryData){ .len = size, .data = copy };
	return NULL;
}

static ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *descriptor)
{
	ProtobufCMessage *message = malloc(descriptor->sizeof_message);

	if (message)
		protobuf_c_message_init(descriptor, message);
	return message;
}

static struct rt_error *grow(void *array, size_t count)
{
	void **old = *(void ***)array, **grown;

	/* One at a time: an array that came from unpacking has no room to spare, and realloc() grows cheaply. */
	grown = reallocarray(old, count + 1, sizeof(*grown));
	if (!grown)
		return rt_error_oom();
	*(void ***)array = grown;
	return NULL;
}

struct rt_error *rt_manifest_append_message(ProtobufCMessage ***array, size_t *count, const ProtobufCMessageDescriptor *descriptor,
					    ProtobufCMessage **ret)
{
	struct rt_error *err = grow(array, *count);
	ProtobufCMessage *message;

	if (err)
		return err;
	message = message_new(descriptor);
	if (!message)
		return rt_error_oom();
	(*array)[(*count)++] = message;
	*ret = message;
	return NULL;
}

struct rt_error *rt_manifest_append_string(char ***array, size_t *count, const char *value)
{
	struct rt_error *err = grow(array, *count);
	char *copy;

	if (err)
		return err;
	copy = strdup(value);
	if (!copy)
		return rt_error_oom();
	(*array)[(*count)++] = copy;
	return NULL;
}

static struct rt_error *draw_id(char **field)
{
	unsigned char random[16];
	char text[2 * sizeof(random) + 1];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return rt_fail_errno("cannot draw a random id");
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(text + 2 * i, 3, "%02x", random[i]);
	return rt_manifest_set(field, text);
}

static struct rt_error *set_created(char **field)
{
	char text[48], zone[32];
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(zone, sizeof(zone), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text, sizeof(text), "%s.%09ldZ", zone, now.tv_nsec);
	return rt_manifest_set(field, text);
}

static struct rt_error *set_maker(Rt__Maker *maker, uint32_t criu_version)
{
	struct utsname host;
	struct rt_error *err;

	if (uname(&host) < 0)
		return rt_fail_errno("cannot ask for the kernel's name");
	maker->criu_version = criu_version;
	maker->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	err = rt_manifest_set(&maker->rt_version, RT_VERSION);
	if (!err)
		err = rt_manifest_set(&maker->rt_commit, RT_COMMIT);
	if (!err)
		err = rt_manifest_set(&maker->kernel_release, host.release);
	if (!err)
		err = rt_manifest_set(&maker->architecture, host.machine);
	if (!err)
		err = rt_manifest_set(&maker->host, host.nodename);
	return err;
}

/* The parts every checkpoint has. */
static bool make_parts(Rt__Manifest *manifest)
{
	manifest->maker = (Rt__Maker *)message_new(&rt__maker__descriptor);
	manifest->cpu = (Rt__Cpu *)message_new(&rt__cpu__descriptor);
	manifest->options = (Rt__Options *)message_new(&rt__options__descriptor);
	manifest->timings = (Rt__Timings *)message_new(&rt__timings__descriptor);
	manifest->container = (Rt__Container *)message_new(&rt__container__descriptor);
	if (manifest->container)
		manifest->container->cgroup = (Rt__Cgroup *)message_new(&rt__cgroup__descriptor);
	return manifest->maker && manifest->cpu && manifest->options && manifest->timings && manifest->container &&
	       manifest->container->cgroup;
}

struct rt_error *rt_manifest_new(uint32_t criu_version, Rt__Manifest **ret)
{
	_cleanup_manifest_ Rt__Manifest *manifest = (Rt__Manifest *)message_new(&rt__manifest__descriptor);
	struct rt_error *err;

	if (!manifest || !make_parts(manifest))
		return rt_error_oom();
	manifest->format = RT_MANIFEST_FORMAT;
	err = draw_id(&manifest->id);
	if (!err)
		err = set_created(&manifest->created);
	if (!err)
		err = set_maker(manifest->maker, criu_version);
	if (!err)
		err = rt_cpu_describe(manifest->cpu);
	if (err)
		return err;
	*ret = rt_take_ptr(manifest);
	return NULL;
}

void rt_manifest_free(Rt__Manifest *manifest)
{
	rt_unpack_free(manifest ? &manifest->base : NULL);
}

/* ---- to and from the disk ---- */

struct rt_error *rt_manifest_store(int dir_fd, const Rt__Manifest *manifest)
{
	_cleanup_free_ void *bytes = NULL;
	struct rt_error *err;
	size_t size;

	err = rt_pack(&manifest->base, &bytes, &size);
	if (err)
		return err;
	if (size > RT_MANIFEST_MAX)
		return rt_fail(RT_SYSTEM, "the manifest has grown to %zu bytes, more than a restore takes", size);
	return rt_replace_file_at(dir_fd, RT_MANIFEST_NAME, bytes, size, 0600);
}

/* Of an image in the directory itself, nowhere else. */
static bool good_name(const char *name)
{
	size_t length = strlen(name);

	return length > 4 && length < 256 && name[0] != '.' && !strchr(name, '/') && strcmp(name + length - 4, ".img") == 0;
}

static struct rt_error *check(const Rt__Manifest *manifest)
{
	if (manifest->format != RT_MANIFEST_FORMAT)
		return rt_fail(RT_CONFIG, "the manifest is of format %u, this rt knows %u", manifest->format,
			       RT_MANIFEST_FORMAT);
	if (manifest->n_files > FILES_MAX)
		return rt_fail(RT_CONFIG, "the manifest names too many files");
	for (size_t i = 0; i < manifest->n_files; i++) {
		const Rt__File *file = manifest->files[i];

		if (!good_name(file->name))
			return rt_fail(RT_CONFIG, "the manifest names '%.64s', which is no image", file->name);
		if (file->sha256.len != 0 && file->sha256.len != SHA256_DIGEST_SIZE)
			return rt_fail(RT_CONFIG, "the manifest has a digest of the wrong length for '%s'", file->name);
		/* Sorted, so that a name twice shows. */
		if (i > 0 && strcmp(manifest->files[i - 1]->name, file->name) >= 0)
			return rt_fail(RT_CONFIG, "the manifest names '%s' twice or out of order", file->name);
	}
	return NULL;
}

struct rt_error *rt_manifest_parse(const void *bytes, size_t size, Rt__Manifest **ret)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	ProtobufCMessage *message;
	struct rt_error *err;

	err = rt_unpack(&rt__manifest__descriptor, bytes, size, &message);
	if (err)
		return rt_while(err, "the manifest is damaged");
	manifest = (Rt__Manifest *)message;
	err = check(manifest);
	if (err)
		return err;
	*ret = rt_take_ptr(manifest);
	return NULL;
}

struct rt_error *rt_manifest_load(int dir_fd, Rt__Manifest **ret)
{
	_cleanup_close_ int fd = openat(dir_fd, RT_MANIFEST_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *bytes = NULL;
	struct rt_error *err;
	struct stat st;
	size_t size;

	if (fd < 0 && errno == ENOENT) {
		*ret = NULL;
		return NULL;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open the manifest");
	if (!S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "the manifest is no regular file");
	err = rt_read_all(fd, RT_MANIFEST_MAX, &bytes, &size);
	if (err)
		return rt_while(err, "reading the manifest");
	return rt_manifest_parse(bytes, size, ret);
}

/* ---- files ---- */

static int is_image(const struct dirent *entry)
{
	return good_name(entry->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

struct names {
	struct dirent **entries;
	int count;
};

static void names_deinit(struct names *names)
{
	for (int i = 0; i < names->count; i++)
		free(names->entries[i]);
	free(names->entries);
}

static struct rt_error *list_images(int dir_fd, struct names *ret)
{
	struct names names = { 0 };

	names.count = scandirat(dir_fd, ".", &names.entries, is_image, by_name);
	if (names.count < 0)
		return rt_fail_errno("cannot list the images");
	*ret = names;
	return NULL;
}

static bool is_memory(const char *name)
{
	return rt_str_starts(name, "pages-") || rt_str_starts(name, "pagemap-");
}

static struct rt_error *digest_into(int dir_fd, Rt__File *file, unsigned flags)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct rt_error *err;
	bool taken = false;
	uint64_t limit = flags & RT_DIGEST_ALL ? UINT64_MAX : RT_MANIFEST_SMALL;

	if (flags & RT_DIGEST_NO_MEMORY && is_memory(file->name))
		limit = 0;
	err = rt_digest_file(dir_fd, file->name, limit, &file->size, digest, &taken);
	if (err || !taken)
		return err;
	return rt_manifest_set_bytes(&file->sha256, digest, sizeof(digest));
}

static void drop_files(Rt__Manifest *manifest)
{
	for (size_t i = 0; i < manifest->n_files; i++)
		rt_unpack_free(&manifest->files[i]->base);
	free(manifest->files);
	manifest->files = NULL;
	manifest->n_files = 0;
}

struct rt_error *rt_manifest_digest(int dir_fd, Rt__Manifest *manifest, unsigned flags)
{
	_cleanup_(names_deinit) struct names names = { 0 };
	struct rt_error *err;

	err = list_images(dir_fd, &names);
	if (err)
		return err;
	drop_files(manifest);
	for (int i = 0; i < names.count; i++) {
		Rt__File *file;

		err = rt_manifest_append(&manifest->files, &manifest->n_files, &rt__file__descriptor, &file);
		if (!err)
			err = rt_manifest_set(&file->name, names.entries[i]->d_name);
		if (!err)
			err = digest_into(dir_fd, file, flags);
		if (err)
			return err;
	}
	return NULL;
}

struct rt_error *rt_manifest_complete(int dir_fd, Rt__Manifest *manifest)
{
	for (size_t i = 0; i < manifest->n_files; i++) {
		Rt__File *file = manifest->files[i];
		uint64_t size = file->size;
		struct rt_error *err;

		if (file->sha256.len > 0)
			continue;
		err = digest_into(dir_fd, file, RT_DIGEST_ALL);
		if (err)
			return err;
		if (file->size != size)
			return rt_fail(RT_CONFIG, "image '%s' has changed since the checkpoint was made", file->name);
	}
	return NULL;
}

static struct rt_error *verify_file(int dir_fd, const Rt__File *file, unsigned flags)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct rt_error *err;
	bool taken = false;
	uint64_t size = 0, limit = 0;

	/* Where there is nothing to compare with, the size alone is looked at. */
	if (file->sha256.len > 0)
		limit = flags & RT_DIGEST_ALL ? UINT64_MAX : RT_MANIFEST_SMALL;
	if (file->size > limit)
		limit = 0;
	err = rt_digest_file(dir_fd, file->name, limit, &size, digest, &taken);
	if (err)
		return err;
	if (size != file->size)
		return rt_fail(RT_CONFIG, "image '%s' is damaged: it has %llu bytes, the manifest says %llu", file->name,
			       (unsigned long long)size, (unsigned long long)file->size);
	if (taken && file->sha256.len > 0 && memcmp(digest, file->sha256.data, sizeof(digest)) != 0)
		return rt_fail(RT_CONFIG, "image '%s' is damaged: its digest is not that of the manifest", file->name);
	return NULL;
}

struct rt_error *rt_manifest_verify(int dir_fd, const Rt__Manifest *manifest, unsigned flags)
{
	_cleanup_(names_deinit) struct names names = { 0 };
	struct rt_error *err;
	size_t at = 0;

	for (size_t i = 0; i < manifest->n_files; i++) {
		err = verify_file(dir_fd, manifest->files[i], flags);
		if (err)
			return err;
	}
	err = list_images(dir_fd, &names);
	if (err)
		return err;
	/* Both are sorted, and every name of the manifest is there: what is left over was added. Memory may be, from a page server. */
	for (int i = 0; i < names.count; i++) {
		if (at < manifest->n_files && strcmp(manifest->files[at]->name, names.entries[i]->d_name) == 0)
			at++;
		else if (!manifest->options || !manifest->options->page_server || !is_memory(names.entries[i]->d_name))
			return rt_fail(RT_CONFIG, "image '%s' is no part of the checkpoint", names.entries[i]->d_name);
	}
	return NULL;
}
