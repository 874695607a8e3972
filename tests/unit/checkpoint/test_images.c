#include "checkpoint/images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "images_made.h"

static struct rt_error *count_entry(void *userdata, const ProtobufCMessage *entry)
{
	(*(int *)userdata)++;
	return NULL;
}

static void entries_come_one_by_one(void **state)
{
	Img__Process first = IMG__PROCESS__INIT, second = IMG__PROCESS__INIT;
	struct made made = make_directory();
	int count = 0;

	first.pid = 1;
	second.pid = 2;
	second.ppid = 1;
	write_image(&made, "pstree.img", MAGIC_COMMON, 0x50273030, 2, &first.base, &second.base);
	assert_null(rt_image_each(made.fd, "pstree.img", RT_IMAGE_PSTREE, count_entry, &count));
	assert_int_equal(count, 2);
	remove_directory(&made);
}

static void an_image_that_is_not_there_is_an_answer(void **state)
{
	struct made made = make_directory();
	ProtobufCMessage *message = (void *)1;
	int count = 0;

	assert_null(rt_image_each(made.fd, "pstree.img", RT_IMAGE_PSTREE, count_entry, &count));
	assert_int_equal(count, 0);
	assert_null(rt_image_read_one(made.fd, "fs-1.img", RT_IMAGE_FS, &message));
	assert_null(message);
	remove_directory(&made);
}

static void every_cut_of_an_image_is_one_clear_error(void **state)
{
	static const uint8_t whole[] = { 0x19, 0x43, 0x56, 0x54, 0x30, 0x30, 0x27, 0x50, 4, 0, 0, 0, 0x08, 1, 0x10, 0 };
	struct made made = make_directory();

	for (size_t size = 0; size <= sizeof(whole); size++) {
		struct rt_error *err;
		int count = 0;

		write_file(&made, "pstree.img", whole, size);
		err = rt_image_each(made.fd, "pstree.img", RT_IMAGE_PSTREE, count_entry, &count);
		if (size == 8 || size == sizeof(whole))
			assert_null(err);
		else
			assert_fails(err, "image 'pstree.img' is damaged");
	}
	remove_directory(&made);
}

static void a_length_beyond_the_file_asks_for_no_memory(void **state)
{
	static const uint8_t bytes[] = { 0x19, 0x43, 0x56, 0x54, 0x30, 0x30, 0x27, 0x50, 0xff, 0xff, 0xff, 0xff, 1 };
	_cleanup_image_ struct rt_image *image = NULL;
	ProtobufCMessage *entry;

	assert_null(rt_image_from_bytes(bytes, sizeof(bytes), "x", RT_IMAGE_PSTREE, &image));
	assert_fails(rt_image_next(image, &entry), "longer than the file");
}

static void another_magic_number_is_refused(void **state)
{
	struct rt_image *image;

	assert_fails(rt_image_from_bytes("\x19\x43\x56\x54\x31\x30\x27\x50", 8, "x", RT_IMAGE_PSTREE, &image), "magic number");
	assert_fails(rt_image_from_bytes("\x19\x43\x56\x54", 4, "x", RT_IMAGE_PSTREE, &image), "damaged");
}

static void symlinks_and_fifos_are_not_opened(void **state)
{
	struct made made = make_directory();
	struct rt_image *image;

	assert_int_equal(symlinkat("/etc/passwd", made.fd, "pstree.img"), 0);
	assert_fails(rt_image_open(made.fd, "pstree.img", RT_IMAGE_PSTREE, &image), "pstree.img");
	assert_int_equal(mkfifoat(made.fd, "files.img", 0600), 0);
	assert_fails(rt_image_open(made.fd, "files.img", RT_IMAGE_FILES, &image), "no regular file");
	remove_directory(&made);
}

static void names_tell_the_kind_and_the_number(void **state)
{
	static const struct {
		const char *name;
		enum rt_image_kind kind;
		uint64_t number;
	} good[] = {
		{ "core-12.img", RT_IMAGE_CORE, 12 },	     { "tcp-stream-1f.img", RT_IMAGE_TCP_STREAM, 31 },
		{ "files.img", RT_IMAGE_FILES, 0 },	     { "pagemap-shmem-7.img", RT_IMAGE_PAGEMAP, 7 },
		{ "stats-dump", RT_IMAGE_STATS, 0 },	     { "netns-10.img", RT_IMAGE_NETNS, 10 },
		{ "fdinfo-2.img", RT_IMAGE_FDINFO, 2 },	     { "fs-1.img", RT_IMAGE_FS, 1 },
	};
	static const char *const bad[] = { "core-.img", "core-x.img", "core-1", "files-1.img", "pages-1.img", ".img", "img", "",
					   "core-99999999999999999999999.img", "stats-dump.img", "core--1.img" };
	enum rt_image_kind kind;
	uint64_t number;

	for (size_t i = 0; i < RT_ARRAY_SIZE(good); i++) {
		assert_true(rt_image_kind_of(good[i].name, &kind, &number));
		assert_int_equal(kind, good[i].kind);
		assert_int_equal(number, good[i].number);
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		if (rt_image_kind_of(bad[i], &kind, &number))
			fail_msg("'%s' was taken for an image", bad[i]);
}

static void the_inventory_must_be_there_and_known(void **state)
{
	struct made made = make_directory();
	Img__Inventory *inventory = NULL;

	assert_fails(rt_images_inventory(made.fd, &inventory), "there is no checkpoint");
	write_inventory(&made, 9);
	assert_fails(rt_images_inventory(made.fd, &inventory), "version 9");
	write_inventory(&made, 2);
	assert_null(rt_images_inventory(made.fd, &inventory));
	rt_unpack_free(&inventory->base);
	remove_directory(&made);
}

static void pages_are_counted_in_old_and_new_images(void **state)
{
	Img__PagemapEntry entry = IMG__PAGEMAP_ENTRY__INIT;

	entry.has_nr_pages_32 = true;
	entry.nr_pages_32 = 7;
	assert_int_equal(rt_pagemap_pages(&entry), 7);
	entry.nr_pages_32 = 0;
	entry.has_nr_pages_64 = true;
	entry.nr_pages_64 = 1ULL << 33;
	assert_int_equal(rt_pagemap_pages(&entry), 1ULL << 33);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_one_by_one),
		cmocka_unit_test(an_image_that_is_not_there_is_an_answer),
		cmocka_unit_test(every_cut_of_an_image_is_one_clear_error),
		cmocka_unit_test(a_length_beyond_the_file_asks_for_no_memory),
		cmocka_unit_test(another_magic_number_is_refused),
		cmocka_unit_test(symlinks_and_fifos_are_not_opened),
		cmocka_unit_test(names_tell_the_kind_and_the_number),
		cmocka_unit_test(the_inventory_must_be_there_and_known),
		cmocka_unit_test(pages_are_counted_in_old_and_new_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
