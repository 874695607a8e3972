#include "checkpoint/known.h"

#include "checkpoint/images.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/pagemap.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define PAGE 4096u
#define PIECE (64u * PAGE)
/* Of an area: criu/include/image.h */
#define AREA_VSYSCALL (1u << 2)
#define AREA_VDSO (1u << 3)
#define AREA_ANON_PRIVATE (1u << 9)
/* What one entry of the claim covers, and all of them. */
#define CLAIM_PAGES (1u << 28)
#define CLAIM_END (1ull << 47)

#define CORRECTED_PAGEMAP ".pagemap"
#define CORRECTED_PAGES ".pages"

/* ---- writing images ---- */

static struct rt_error *put(FILE *file, const void *bytes, size_t size)
{
	return fwrite(bytes, size, 1, file) == 1 ? NULL : rt_fail_errno("cannot write");
}

static struct rt_error *put_message(FILE *file, const ProtobufCMessage *message)
{
	_cleanup_free_ void *bytes = NULL;
	size_t size;
	struct rt_error *err = rt_pack(message, &bytes, &size);
	uint32_t length;

	if (err)
		return err;
	length = (uint32_t)size;
	err = put(file, &length, sizeof(length));
	return err || size == 0 ? err : put(file, bytes, size);
}

static struct rt_error *put_magic(FILE *file, enum rt_image_kind kind)
{
	uint32_t magic[2];

	return put(file, magic, rt_image_magic(kind, magic) * sizeof(*magic));
}

/* Both fields, as CRIU 4.2 looks at the one and older ones at the other. */
static struct rt_error *put_entry(FILE *file, uint64_t address, uint64_t pages, uint32_t flags)
{
	Img__PagemapEntry entry = IMG__PAGEMAP_ENTRY__INIT;

	entry.vaddr = address;
	entry.has_nr_pages_32 = pages <= UINT32_MAX;
	entry.nr_pages_32 = (uint32_t)pages;
	entry.has_nr_pages_64 = 1;
	entry.nr_pages_64 = pages;
	entry.has_flags = 1;
	entry.flags = flags;
	return put_message(file, &entry.base);
}

static struct rt_error *create(int dir_fd, const char *name, FILE **ret)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	*ret = fd < 0 ? NULL : fdopen(fd, "w");
	if (*ret)
		return NULL;
	rt_closep(&fd);
	return rt_fail_errno("cannot create '%s'", name);
}

/* Takes the file, whatever came before. */
static struct rt_error *finish(FILE *file, struct rt_error *err)
{
	if (file && fclose(file) != 0 && !err)
		return rt_fail_errno("cannot write");
	return err;
}

/* ---- the claim ---- */

/* Tasks that are younger than this are none of the parent's. */
static struct rt_error *claim_inventory(int dir_fd)
{
	Img__Inventory inventory = IMG__INVENTORY__INIT;
	struct timespec now;
	FILE *file;
	struct rt_error *err = create(dir_fd, "inventory.img", &file);

	clock_gettime(CLOCK_BOOTTIME, &now);
	inventory.img_version = 2;
	inventory.has_dump_uptime = 1;
	inventory.dump_uptime = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	if (!err)
		err = put_magic(file, RT_IMAGE_INVENTORY);
	if (!err)
		err = put_message(file, &inventory.base);
	return finish(file, err);
}

static struct rt_error *claim_all(FILE *file, uint64_t id)
{
	Img__PagemapHead head = IMG__PAGEMAP_HEAD__INIT;
	struct rt_error *err = put_magic(file, RT_IMAGE_PAGEMAP);

	head.pages_id = (uint32_t)id;
	if (!err)
		err = put_message(file, &head.base);
	for (uint64_t at = 0; at < CLAIM_END && !err; at += (uint64_t)CLAIM_PAGES * PAGE)
		err = put_entry(file, at, CLAIM_PAGES, RT_ENTRY_PRESENT);
	return err;
}

static struct rt_error *claim_task(int dir_fd, pid_t pid)
{
	char name[64];
	FILE *file = NULL;
	uint64_t inner;
	struct rt_error *err = rt_member_inner_pid(pid, &inner);

	if (err || !inner)
		return err;
	snprintf(name, sizeof(name), "pages-%" PRIu64 ".img", inner);
	err = create(dir_fd, name, &file);
	err = finish(file, err);
	if (err)
		return err;
	snprintf(name, sizeof(name), "pagemap-%" PRIu64 ".img", inner);
	err = create(dir_fd, name, &file);
	if (!err)
		err = claim_all(file, inner);
	return finish(file, err);
}

static struct rt_error *wipe_marks(pid_t pid)
{
	int result = rt_sys_clear_soft_dirty(pid);

	return result < 0 && result != -ENOENT && result != -ESRCH ? rt_fail_with(-result, "cannot write '/proc/%d/clear_refs'", pid) : NULL;
}

struct rt_error *rt_known_claim(int image_fd, const struct rt_container *container, bool wipe)
{
	_cleanup_(rt_members_deinit) struct rt_members members = RT_MEMBERS_NULL;
	_cleanup_close_ int dir_fd = -1;
	struct rt_error *err = rt_members_find(container, &members);

	if (err)
		return err;
	if (mkdirat(image_fd, RT_KNOWN_PARENT, 0700) < 0)
		return rt_fail_errno("cannot make '" RT_KNOWN_PARENT "'");
	dir_fd = openat(image_fd, RT_KNOWN_PARENT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return rt_fail_errno("cannot open '" RT_KNOWN_PARENT "'");
	err = claim_inventory(dir_fd);
	for (size_t i = 0; i < members.count && !err; i++) {
		err = claim_task(dir_fd, members.pids[i]);
		if (!err && wipe)
			err = wipe_marks(members.pids[i]);
	}
	return err ? rt_while(err, "making a parent for CRIU") : NULL;
}

/* ---- the correction ---- */

struct correction {
	Img__AddressSpace *space; /* of the task */
	size_t area; /* the one at hand: entries and areas are in the order of addresses */
	int memory_fd; /* of the task */
	int old_fd; /* pages as CRIU wrote them; -1: it wrote none */
	uint64_t old_at; /* read so far, bytes */
	FILE *pagemap, *pages;
	/* The entry that is being put together. */
	uint64_t start, count;
	uint32_t flags;
};

static void correction_deinit(struct correction *correction)
{
	rt_unpack_free((ProtobufCMessage *)correction->space);
	rt_closep(&correction->memory_fd);
	rt_closep(&correction->old_fd);
	rt_error_free(finish(correction->pagemap, NULL));
	rt_error_free(finish(correction->pages, NULL));
}

/* As strict as CRIU, which has only such areas watched by userfaultfd when it restores. */
static bool may_be_lazy(const Img__Area *area)
{
	return (area->status & AREA_ANON_PRIVATE) && !(area->status & (AREA_VSYSCALL | AREA_VDSO)) && (area->flags & MAP_ANONYMOUS) &&
	       (area->flags & MAP_PRIVATE) && !(area->flags & (MAP_LOCKED | MAP_HUGETLB));
}

static struct rt_error *flush(struct correction *correction)
{
	struct rt_error *err = correction->count ? put_entry(correction->pagemap, correction->start, correction->count, correction->flags) : NULL;

	correction->count = 0;
	return err;
}

static struct rt_error *add(struct correction *correction, uint64_t start, uint64_t count, uint32_t flags)
{
	struct rt_error *err = NULL;

	if (correction->flags != flags || correction->start + correction->count * PAGE != start)
		err = flush(correction);
	if (correction->count == 0)
		correction->start = start;
	correction->flags = flags;
	correction->count += count;
	return err;
}

static struct rt_error *copy(int fd, uint64_t at, uint64_t size, FILE *to)
{
	_cleanup_free_ char *buffer = malloc(PIECE);
	struct rt_error *err = buffer ? NULL : rt_error_oom();

	while (size > 0 && !err) {
		ssize_t got = pread(fd, buffer, size < PIECE ? size : PIECE, (off_t)at);

		if (got <= 0)
			return got < 0 ? rt_fail_errno("cannot read memory at %#" PRIx64, at) : rt_fail(RT_CRIU, "memory ends at %#" PRIx64, at);
		err = put(to, buffer, (size_t)got);
		at += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return err;
}

/* Stays as it is, with its content. */
static struct rt_error *keep(struct correction *correction, uint64_t start, uint64_t count, uint32_t flags)
{
	struct rt_error *err = add(correction, start, count, flags);

	if (err || !(flags & RT_ENTRY_PRESENT))
		return err;
	err = copy(correction->old_fd, correction->old_at, count * PAGE, correction->pages);
	correction->old_at += count * PAGE;
	return err;
}

static struct rt_error *correct_range(struct correction *correction, uint64_t start, uint64_t count)
{
	const Img__AddressSpace *space = correction->space;
	struct rt_error *err = NULL;

	while (count > 0 && !err) {
		const Img__Area *area;
		uint64_t pages;

		while (correction->area < space->n_areas && space->areas[correction->area]->end <= start)
			correction->area++;
		area = correction->area < space->n_areas ? space->areas[correction->area] : NULL;
		if (!area || area->start > start)
			return rt_fail(RT_CRIU, "the page at %#" PRIx64 " is in no mapping", start);
		pages = (area->end - start) / PAGE < count ? (area->end - start) / PAGE : count;
		if (may_be_lazy(area)) {
			err = add(correction, start, pages, RT_ENTRY_LAZY);
		} else {
			err = add(correction, start, pages, RT_ENTRY_PRESENT);
			if (!err)
				err = copy(correction->memory_fd, start, pages * PAGE, correction->pages);
		}
		start += pages * PAGE;
		count -= pages;
	}
	return err;
}

static bool is_in_parent(const Img__PagemapEntry *entry)
{
	return entry->in_parent || (entry->flags & RT_ENTRY_IN_PARENT);
}

static struct rt_error *correct_entries(struct correction *correction, struct rt_image *image)
{
	struct rt_error *err;

	for (;;) {
		_cleanup_unpacked_ ProtobufCMessage *message = NULL;
		const Img__PagemapEntry *entry;

		err = rt_image_next(image, &message);
		if (err || !message)
			return err ? err : flush(correction);
		entry = (const Img__PagemapEntry *)message;
		if (is_in_parent(entry))
			err = correct_range(correction, entry->vaddr, rt_pagemap_pages(entry));
		else
			err = keep(correction, entry->vaddr, rt_pagemap_pages(entry), entry->flags);
		if (err)
			return err;
	}
}

static struct rt_error *open_task(int image_fd, uint64_t inner, pid_t pid, struct correction *correction)
{
	char name[64];
	struct rt_error *err;

	snprintf(name, sizeof(name), "mm-%" PRIu64 ".img", inner);
	err = rt_image_read_one(image_fd, name, RT_IMAGE_MM, (ProtobufCMessage **)&correction->space);
	if (!err && !correction->space)
		err = rt_fail(RT_CRIU, "there is no image '%s'", name);
	if (err)
		return err;
	snprintf(name, sizeof(name), "/proc/%d/mem", pid);
	correction->memory_fd = open(name, O_RDONLY | O_CLOEXEC);
	return correction->memory_fd < 0 ? rt_fail_errno("cannot open '%s'", name) : NULL;
}

static struct rt_error *open_pages(int image_fd, struct rt_image *image, struct correction *correction, char *ret_pages, size_t room)
{
	_cleanup_unpacked_ ProtobufCMessage *message = NULL;
	struct rt_error *err = rt_image_next(image, &message);

	if (err)
		return err;
	if (!message)
		return rt_fail(RT_CRIU, "it is empty");
	snprintf(ret_pages, room, "pages-%u.img", ((const Img__PagemapHead *)message)->pages_id);
	correction->old_fd = openat(image_fd, ret_pages, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (correction->old_fd < 0 && errno != ENOENT)
		return rt_fail_errno("cannot open '%s'", ret_pages);
	err = create(image_fd, CORRECTED_PAGES, &correction->pages);
	if (!err)
		err = create(image_fd, CORRECTED_PAGEMAP, &correction->pagemap);
	if (!err)
		err = put_magic(correction->pagemap, RT_IMAGE_PAGEMAP);
	return err ? err : put_message(correction->pagemap, message);
}

static struct rt_error *put_in_place(int image_fd, struct correction *correction, const char *pagemap, const char *pages)
{
	struct rt_error *err = finish(rt_take_ptr(correction->pagemap), NULL);

	err = finish(rt_take_ptr(correction->pages), err);
	if (err)
		return err;
	if (renameat(image_fd, CORRECTED_PAGES, image_fd, pages) < 0 || renameat(image_fd, CORRECTED_PAGEMAP, image_fd, pagemap) < 0)
		return rt_fail_errno("cannot rename it");
	return NULL;
}

static struct rt_error *correct_task(int image_fd, pid_t pid)
{
	_cleanup_(correction_deinit) struct correction correction = { .memory_fd = -1, .old_fd = -1 };
	_cleanup_image_ struct rt_image *image = NULL;
	char name[64], pages[64];
	uint64_t inner;
	struct rt_error *err = rt_member_inner_pid(pid, &inner);

	if (err || !inner)
		return err;
	snprintf(name, sizeof(name), "pagemap-%" PRIu64 ".img", inner);
	err = rt_image_open(image_fd, name, RT_IMAGE_PAGEMAP, &image);
	if (err || !image) /* one that has ended has no memory */
		return err;
	err = open_task(image_fd, inner, pid, &correction);
	if (!err)
		err = open_pages(image_fd, image, &correction, pages, sizeof(pages));
	if (!err)
		err = correct_entries(&correction, image);
	if (!err)
		err = put_in_place(image_fd, &correction, name, pages);
	return err ? rt_while(err, "correcting image '%s'", name) : NULL;
}

struct rt_error *rt_known_correct(int image_fd, const struct rt_container *container)
{
	_cleanup_(rt_members_deinit) struct rt_members members = RT_MEMBERS_NULL;
	struct rt_error *err = rt_members_find(container, &members);

	for (size_t i = 0; i < members.count && !err; i++)
		err = correct_task(image_fd, members.pids[i]);
	if (!err)
		err = rt_remove_tree_at(image_fd, RT_KNOWN_PARENT);
	if (!err && unlinkat(image_fd, "parent", 0) < 0 && errno != ENOENT) /* CRIU's link to it */
		err = rt_fail_errno("cannot remove 'parent'");
	return err;
}
