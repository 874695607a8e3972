#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoint/known.h"
#include "runtime/container/private.h"

#include "images_made.h"

#define MAGIC_MM 0x57492820U
#define MAGIC_PAGEMAP 0x56084025U
#define PAGE 4096u
#define PARENT 1u
#define LAZY 2u
#define PRESENT 4u
#define PRIVATE_FILE (1u << 6)
#define PRIVATE_ANONYMOUS (1u << 9)

/* We are the only task of the container, with an area of three anonymous pages, and behind it two that can't be restored lazily. */
struct subject {
	struct made made;
	struct rt_container container;
	char *memory;
};

static void name_of(const char *kind, char *ret, size_t room)
{
	snprintf(ret, room, "%s-%d.img", kind, getpid());
}

static struct subject begin(void)
{
	struct subject subject = { .made = make_directory(), .container = RT_CONTAINER_NULL };
	Img__Area areas[] = { IMG__AREA__INIT, IMG__AREA__INIT };
	Img__Area *list[] = { &areas[0], &areas[1] };
	Img__AddressSpace space = IMG__ADDRESS_SPACE__INIT;
	char name[32];

	subject.container.state.pid = getpid();
	subject.memory = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(subject.memory, MAP_FAILED);
	for (int i = 0; i < 5; i++)
		memset(subject.memory + i * PAGE, 'a' + i, PAGE);
	for (int i = 0; i < 2; i++) {
		areas[i].start = (uintptr_t)subject.memory + (i ? 3 * PAGE : 0);
		areas[i].end = (uintptr_t)subject.memory + (i ? 5 * PAGE : 3 * PAGE);
		areas[i].has_flags = areas[i].has_status = 1;
		areas[i].flags = MAP_PRIVATE | (i ? 0 : MAP_ANONYMOUS);
		areas[i].status = i ? PRIVATE_FILE : PRIVATE_ANONYMOUS;
	}
	space.areas = list;
	space.n_areas = 2;
	name_of("mm", name, sizeof(name));
	write_image(&subject.made, name, MAGIC_COMMON, MAGIC_MM, 1, &space);
	return subject;
}

static void end(struct subject *subject)
{
	munmap(subject->memory, 5 * PAGE);
	remove_directory(&subject->made);
}

static Img__PagemapEntry entry(const struct subject *subject, unsigned page, unsigned count, uint32_t flags)
{
	Img__PagemapEntry made = IMG__PAGEMAP_ENTRY__INIT;

	made.vaddr = (uintptr_t)subject->memory + page * PAGE;
	made.has_nr_pages_64 = 1;
	made.nr_pages_64 = count;
	made.has_flags = 1;
	made.flags = flags;
	return made;
}

static void is_entry(struct rt_image *image, const struct subject *subject, unsigned page, unsigned count, uint32_t flags)
{
	ProtobufCMessage *message;
	const Img__PagemapEntry *got;

	assert_null(rt_image_next(image, &message));
	assert_non_null(message);
	got = (const Img__PagemapEntry *)message;
	assert_int_equal(got->vaddr, (uintptr_t)subject->memory + page * PAGE);
	assert_int_equal(rt_pagemap_pages(got), count);
	assert_int_equal(got->nr_pages_32, count);
	assert_int_equal(got->flags, flags);
	rt_unpack_free(message);
}

static void is_end(struct rt_image *image)
{
	ProtobufCMessage *message;

	assert_null(rt_image_next(image, &message));
	assert_null(message);
}

static void what_the_parent_has_comes_lazily_or_is_read(void **state)
{
	struct subject subject = begin();
	Img__PagemapHead head = IMG__PAGEMAP_HEAD__INIT;
	/* One page dirty, one known, one dirty; then one that CRIU wrote, and one it thinks the parent has. */
	Img__PagemapEntry entries[] = { entry(&subject, 0, 1, LAZY), entry(&subject, 1, 1, PARENT), entry(&subject, 2, 1, LAZY), entry(&subject, 3, 1, PRESENT),
					entry(&subject, 4, 1, PARENT) };
	_cleanup_free_ char *pages = NULL;
	struct rt_image *image;
	ProtobufCMessage *message;
	char name[32], old[PAGE];
	size_t size;

	memset(old, 'D', sizeof(old));
	write_file(&subject.made, "pages-7.img", old, sizeof(old));
	head.pages_id = 7;
	name_of("pagemap", name, sizeof(name));
	write_image(&subject.made, name, MAGIC_COMMON, MAGIC_PAGEMAP, 6, &head, &entries[0], &entries[1], &entries[2], &entries[3], &entries[4]);
	assert_null(rt_known_claim(subject.made.fd, &subject.container, false));
	assert_null(rt_known_correct(subject.made.fd, &subject.container));

	assert_null(rt_image_open(subject.made.fd, name, RT_IMAGE_PAGEMAP, &image));
	assert_null(rt_image_next(image, &message));
	assert_int_equal(((Img__PagemapHead *)message)->pages_id, 7);
	rt_unpack_free(message);
	is_entry(image, &subject, 0, 3, LAZY);
	is_entry(image, &subject, 3, 2, PRESENT);
	is_end(image);
	rt_image_close(image);
	assert_null(rt_read_file_at(subject.made.fd, "pages-7.img", 1 << 20, &pages, &size));
	assert_int_equal(size, 2 * PAGE);
	assert_int_equal(pages[0], 'D');
	assert_int_equal(pages[PAGE - 1], 'D');
	assert_int_equal(pages[PAGE], 'e');
	assert_int_equal(pages[2 * PAGE - 1], 'e');
	assert_int_equal(faccessat(subject.made.fd, RT_KNOWN_PARENT, F_OK, 0), -1);
	end(&subject);
}

static void the_parent_claims_all_memory(void **state)
{
	struct subject subject = begin();
	ProtobufCMessage *message;
	struct rt_image *image;
	uint64_t end_of_last = 0;
	char name[64];
	int dir_fd;

	assert_null(rt_known_claim(subject.made.fd, &subject.container, false));
	dir_fd = openat(subject.made.fd, RT_KNOWN_PARENT, O_RDONLY | O_DIRECTORY);
	assert_true(dir_fd >= 0);
	name_of("pagemap", name, sizeof(name));
	assert_null(rt_image_open(dir_fd, name, RT_IMAGE_PAGEMAP, &image));
	assert_null(rt_image_next(image, &message));
	rt_unpack_free(message);
	for (;;) {
		assert_null(rt_image_next(image, &message));
		if (!message)
			break;
		assert_int_equal(((Img__PagemapEntry *)message)->vaddr, end_of_last);
		assert_int_equal(((Img__PagemapEntry *)message)->flags, PRESENT);
		end_of_last += rt_pagemap_pages((Img__PagemapEntry *)message) * PAGE;
		rt_unpack_free(message);
	}
	assert_int_equal(end_of_last, 1ull << 47);
	rt_image_close(image);
	name_of("pages", name, sizeof(name));
	assert_int_equal(faccessat(dir_fd, name, F_OK, 0), 0);
	assert_null(rt_images_inventory(dir_fd, (Img__Inventory **)&message));
	assert_true(((Img__Inventory *)message)->dump_uptime > 0);
	rt_unpack_free(message);
	close(dir_fd);
	end(&subject);
}

static void a_page_in_no_mapping_is_an_error(void **state)
{
	struct subject subject = begin();
	Img__PagemapHead head = IMG__PAGEMAP_HEAD__INIT;
	Img__PagemapEntry beyond = entry(&subject, 4, 2, PARENT);
	struct rt_error *err;
	char name[32];

	head.pages_id = 1;
	name_of("pagemap", name, sizeof(name));
	write_image(&subject.made, name, MAGIC_COMMON, MAGIC_PAGEMAP, 2, &head, &beyond);
	err = rt_known_correct(subject.made.fd, &subject.container);
	assert_non_null(err);
	assert_int_equal(err->code, RT_CRIU);
	rt_error_free(err);
	end(&subject);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_parent_has_comes_lazily_or_is_read),
		cmocka_unit_test(the_parent_claims_all_memory),
		cmocka_unit_test(a_page_in_no_mapping_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
