#include "checkpoint/images.h"

#include "runtime/base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC_COMMON 0x54564319U /* precedes the magic number of every image but the inventory */
#define MAGIC_SERVICE 0x55105940U /* the same before what is no part of the process tree: statistics */

/* Longest entry that is believed: an address space of a million areas is about this. */
#define ENTRY_MAX (64U << 20)
#define BUFFER_ROOM ((size_t)64 << 10)

static const struct {
	const char *stem; /* of the file's name, before the number and ".img" */
	uint32_t magic;
	const ProtobufCMessageDescriptor *first; /* of the first entry, where it differs from the rest; else NULL */
	const ProtobufCMessageDescriptor *entry;
	char number; /* 'd', 'x', or 0: the name has none */
	bool one; /* a single entry; what follows is raw */
} kinds[RT_IMAGE_KINDS] = {
	[RT_IMAGE_INVENTORY] = { "inventory", 0x58313116, NULL, &img__inventory__descriptor, 0, true },
	[RT_IMAGE_PSTREE] = { "pstree", 0x50273030, NULL, &img__process__descriptor, 0, false },
	[RT_IMAGE_CORE] = { "core-", 0x55053847, NULL, &img__core__descriptor, 'd', true },
	[RT_IMAGE_IDS] = { "ids-", 0x54432030, NULL, &img__kernel_ids__descriptor, 'd', true },
	[RT_IMAGE_MM] = { "mm-", 0x57492820, NULL, &img__address_space__descriptor, 'd', true },
	[RT_IMAGE_PAGEMAP] = { "pagemap-", 0x56084025, &img__pagemap_head__descriptor, &img__pagemap_entry__descriptor, 'd',
			       false },
	[RT_IMAGE_FDINFO] = { "fdinfo-", 0x56213732, NULL, &img__descriptor__descriptor, 'd', false },
	[RT_IMAGE_FILES] = { "files", 0x56303138, NULL, &img__file__descriptor, 0, false },
	[RT_IMAGE_FS] = { "fs-", 0x51403912, NULL, &img__fs__descriptor, 'd', true },
	[RT_IMAGE_TTY_INFO] = { "tty-info", 0x59453036, NULL, &img__tty_info__descriptor, 0, false },
	[RT_IMAGE_TCP_STREAM] = { "tcp-stream-", 0x51465506, NULL, &img__tcp_stream__descriptor, 'x', true },
	[RT_IMAGE_REMAP_FPATH] = { "remap-fpath", 0x59133954, NULL, &img__remap_path__descriptor, 0, false },
	[RT_IMAGE_GHOST_FILE] = { "ghost-file-", 0x52583605, NULL, &img__ghost_file__descriptor, 'x', true },
	[RT_IMAGE_MOUNTPOINTS] = { "mountpoints-", 0x55563928, NULL, &img__mount_point__descriptor, 'd', false },
	[RT_IMAGE_NETDEV] = { "netdev-", 0x57373951, NULL, &img__net_device__descriptor, 'd', false },
	[RT_IMAGE_NETNS] = { "netns-", 0x55933752, NULL, &img__net_namespace__descriptor, 'd', true },
	[RT_IMAGE_UTSNS] = { "utsns-", 0x54473203, NULL, &img__uts_namespace__descriptor, 'd', true },
	[RT_IMAGE_TIMENS] = { "timens-", 0x43114433, NULL, &img__time_namespace__descriptor, 'd', true },
	[RT_IMAGE_USERNS] = { "userns-", 0x55474906, NULL, &img__user_namespace__descriptor, 'd', true },
	[RT_IMAGE_SECCOMP] = { "seccomp", 0x64413049, NULL, &img__seccomp__descriptor, 0, true },
	[RT_IMAGE_CGROUP] = { "cgroup", 0x59383330, NULL, &img__cgroups__descriptor, 0, true },
	[RT_IMAGE_FILELOCKS] = { "filelocks", 0x54323616, NULL, &img__file_lock__descriptor, 0, false },
	[RT_IMAGE_STATS] = { "stats-", 0x57093306, NULL, &img__stats__descriptor, 0, true },
};

/* Reads a file through a buffer, or bytes that are all in it. */
struct rt_image {
	char *name; /* for messages */
	enum rt_image_kind kind;
	int fd; /* -1: from memory */
	const uint8_t *buffer;
	uint8_t *owned; /* the buffer where it is ours */
	size_t at, filled; /* in the buffer */
	uint64_t left; /* bytes of the file that are not yet taken out of the buffer */
	size_t entries;
};

size_t rt_image_magic(enum rt_image_kind kind, uint32_t ret[2])
{
	size_t count = 0;

	if (kind != RT_IMAGE_INVENTORY)
		ret[count++] = kind == RT_IMAGE_STATS ? MAGIC_SERVICE : MAGIC_COMMON;
	ret[count++] = kinds[kind].magic;
	return count;
}

static struct rt_error *damaged(const struct rt_image *image, const char *what)
{
	return rt_fail(RT_CONFIG, "image '%s' is damaged: %s", image->name, what);
}

static struct rt_error *refill(struct rt_image *image)
{
	ssize_t got;

	do {
		got = read(image->fd, image->owned, BUFFER_ROOM);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return rt_while(rt_fail_errno("cannot read"), "image '%s'", image->name);
	if (got == 0)
		return damaged(image, "it ends early");
	image->at = 0;
	image->filled = (size_t)got;
	return NULL;
}

static struct rt_error *take(struct rt_image *image, void *bytes, size_t size)
{
	uint8_t *to = bytes;

	if (size > image->left)
		return damaged(image, "it ends in the middle of an entry");
	image->left -= size;
	while (size > 0) {
		size_t here = image->filled - image->at;

		if (here == 0) {
			struct rt_error *err = refill(image);

			if (err)
				return err;
			continue;
		}
		if (here > size)
			here = size;
		memcpy(to, image->buffer + image->at, here);
		image->at += here;
		to += here;
		size -= here;
	}
	return NULL;
}

/* Numbers in images are in the byte order of the machine, which is little-endian wherever CRIU runs but on s390. */
static struct rt_error *take_u32(struct rt_image *image, uint32_t *ret)
{
	return take(image, ret, sizeof(*ret));
}

static struct rt_error *check_magic(struct rt_image *image)
{
	uint32_t magic = 0;
	struct rt_error *err;

	err = take_u32(image, &magic);
	if (!err && image->kind != RT_IMAGE_INVENTORY && (magic == MAGIC_COMMON || magic == MAGIC_SERVICE))
		err = take_u32(image, &magic);
	if (err)
		return err;
	if (magic != kinds[image->kind].magic)
		return damaged(image, "its magic number is wrong");
	return NULL;
}

static struct rt_error *image_new(const char *name, enum rt_image_kind kind, struct rt_image **ret)
{
	struct rt_image *image = calloc(1, sizeof(*image));

	if (image)
		image->name = strdup(name);
	if (!image || !image->name) {
		free(image);
		return rt_error_oom();
	}
	image->kind = kind;
	image->fd = -1;
	*ret = image;
	return NULL;
}

struct rt_error *rt_image_from_bytes(const void *bytes, size_t size, const char *name, enum rt_image_kind kind,
				     struct rt_image **ret)
{
	_cleanup_image_ struct rt_image *image = NULL;
	struct rt_error *err;

	err = image_new(name, kind, &image);
	if (err)
		return err;
	image->buffer = bytes;
	image->filled = size;
	image->left = size;
	err = check_magic(image);
	if (err)
		return err;
	*ret = rt_take_ptr(image);
	return NULL;
}

struct rt_error *rt_image_open(int dir_fd, const char *name, enum rt_image_kind kind, struct rt_image **ret)
{
	/* O_NONBLOCK: somebody's FIFO under this name must not hold us up before we see what it is. */
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	_cleanup_image_ struct rt_image *image = NULL;
	struct rt_error *err;
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		*ret = NULL;
		return NULL;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open image '%s'", name);
	if (!S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "image '%s' is no regular file", name);
	err = image_new(name, kind, &image);
	if (err)
		return err;
	image->owned = malloc(BUFFER_ROOM);
	if (!image->owned)
		return rt_error_oom();
	image->buffer = image->owned;
	image->fd = rt_take_fd(fd);
	image->left = (uint64_t)st.st_size;
	err = check_magic(image);
	if (err)
		return err;
	*ret = rt_take_ptr(image);
	return NULL;
}

void rt_image_close(struct rt_image *image)
{
	int saved = errno;

	if (!image)
		return;
	rt_closep(&image->fd);
	free(image->owned);
	free(image->name);
	free(image);
	errno = saved;
}

struct rt_error *rt_image_next(struct rt_image *image, ProtobufCMessage **ret)
{
	const ProtobufCMessageDescriptor *descriptor = kinds[image->kind].entry;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct rt_error *err;
	uint32_t size = 0;

	if (image->entries == 0 && kinds[image->kind].first)
		descriptor = kinds[image->kind].first;
	if (image->left == 0 || (kinds[image->kind].one && image->entries > 0)) {
		*ret = NULL;
		return NULL;
	}
	err = take_u32(image, &size);
	if (err)
		return err;
	if (size > image->left || size > ENTRY_MAX)
		return damaged(image, "an entry claims to be longer than the file");
	bytes = malloc(size ? size : 1);
	if (!bytes)
		return rt_error_oom();
	err = take(image, bytes, size);
	if (err)
		return err;
	err = rt_unpack(descriptor, bytes, size, ret);
	if (err)
		return rt_while(err, "image '%s' is damaged", image->name);
	image->entries++;
	return NULL;
}

struct rt_error *rt_image_read_one(int dir_fd, const char *name, enum rt_image_kind kind, ProtobufCMessage **ret)
{
	_cleanup_image_ struct rt_image *image = NULL;
	struct rt_error *err;

	err = rt_image_open(dir_fd, name, kind, &image);
	if (err)
		return err;
	if (!image) {
		*ret = NULL;
		return NULL;
	}
	err = rt_image_next(image, ret);
	if (!err && !*ret)
		return damaged(image, "it is empty");
	return err;
}

struct rt_error *rt_image_each(int dir_fd, const char *name, enum rt_image_kind kind, rt_image_fn each, void *userdata)
{
	_cleanup_image_ struct rt_image *image = NULL;
	struct rt_error *err;

	err = rt_image_open(dir_fd, name, kind, &image);
	if (err || !image)
		return err;
	for (;;) {
		_cleanup_unpacked_ ProtobufCMessage *entry = NULL;

		err = rt_image_next(image, &entry);
		if (err || !entry)
			return err;
		err = each(userdata, entry);
		if (err)
			return err;
	}
}

/* Digits of the base, at least one, up to `end`. */
static bool parse_number(const char *text, const char *end, unsigned base, uint64_t *ret)
{
	uint64_t value = 0;

	if (text == end)
		return false;
	for (; text < end; text++) {
		unsigned digit;

		if (*text >= '0' && *text <= '9')
			digit = (unsigned)(*text - '0');
		else if (base == 16 && *text >= 'a' && *text <= 'f')
			digit = (unsigned)(*text - 'a' + 10);
		else
			return false;
		if (value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	*ret = value;
	return true;
}

bool rt_image_kind_of(const char *name, enum rt_image_kind *ret, uint64_t *ret_number)
{
	size_t length = strlen(name);
	const char *end = name + length - 4;

	if (strcmp(name, "stats-dump") == 0 || strcmp(name, "stats-restore") == 0) {
		*ret = RT_IMAGE_STATS;
		*ret_number = 0;
		return true;
	}
	if (length < 5 || strcmp(end, ".img") != 0)
		return false;
	for (enum rt_image_kind kind = 0; kind < RT_IMAGE_KINDS; kind++) {
		size_t stem = strlen(kinds[kind].stem);
		const char *rest = name + stem;
		uint64_t number = 0;

		if (kind == RT_IMAGE_STATS || strncmp(name, kinds[kind].stem, stem) != 0 || rest > end)
			continue;
		if (kind == RT_IMAGE_PAGEMAP && strncmp(rest, "shmem-", 6) == 0)
			rest += 6;
		if (kinds[kind].number ? !parse_number(rest, end, kinds[kind].number == 'x' ? 16 : 10, &number) : rest != end)
			continue;
		*ret = kind;
		*ret_number = number;
		return true;
	}
	return false;
}

struct rt_error *rt_image_names(int dir_fd, enum rt_image_kind kind, rt_image_name_fn each, void *userdata)
{
	int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = own < 0 ? NULL : fdopendir(own);
	const struct dirent *entry;
	struct rt_error *err = NULL;
	enum rt_image_kind found;
	uint64_t number;

	if (!dir) {
		rt_closep(&own);
		return rt_fail_errno("cannot read the image directory");
	}
	while (!err && (entry = readdir(dir)))
		if (rt_image_kind_of(entry->d_name, &found, &number) && found == kind)
			err = each(userdata, entry->d_name);
	return err;
}

uint64_t rt_pagemap_pages(const Img__PagemapEntry *entry)
{
	return entry->has_nr_pages_64 ? entry->nr_pages_64 : entry->nr_pages_32;
}

struct rt_error *rt_images_inventory(int dir_fd, Img__Inventory **ret)
{
	_cleanup_unpacked_ ProtobufCMessage *message = NULL;
	struct rt_error *err;
	uint32_t version;

	err = rt_image_read_one(dir_fd, "inventory.img", RT_IMAGE_INVENTORY, &message);
	if (err)
		return err;
	if (!message)
		return rt_fail(RT_CONFIG, "there is no checkpoint: 'inventory.img' is missing");
	version = ((Img__Inventory *)message)->img_version;
	if (version < 1 || version > 2)
		return rt_fail(RT_CONFIG, "the images are of version %u, which this rt does not know", version);
	*ret = (Img__Inventory *)rt_take_ptr(message);
	return NULL;
}
