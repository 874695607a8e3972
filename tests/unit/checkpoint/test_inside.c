#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoint/inside.h"

#include "images_made.h"

#define MAGIC_INVENTORY 0x58313116U
#define LOCK_SKIP 3
#define LOCK_NFTABLES 2

/* The field 14 is not in our proto file: whatever a later CRIU adds must stay. */
static const uint8_t of_a_later_criu[] = { 0x70, 0x01 };

static void write_dumped(const struct made *made, bool with_ids)
{
	Img__KernelIds ids = IMG__KERNEL_IDS__INIT;
	Img__Inventory inventory = IMG__INVENTORY__INIT;
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_free_ void *packed = NULL;
	uint32_t magic = MAGIC_INVENTORY, length;
	size_t size;

	ids.has_net_ns_id = 1;
	ids.net_ns_id = 9;
	ids.has_uts_ns_id = 1;
	ids.uts_ns_id = 3;
	inventory.img_version = 2;
	inventory.root_ids = with_ids ? &ids : NULL;
	inventory.has_network_lock = 1;
	inventory.network_lock = LOCK_SKIP;
	assert_null(rt_pack(&inventory.base, &packed, &size));
	length = (uint32_t)(size + sizeof(of_a_later_criu));
	bytes = malloc(8 + length);
	assert_non_null(bytes);
	memcpy(bytes, &magic, 4);
	memcpy(bytes + 4, &length, 4);
	memcpy(bytes + 8, packed, size);
	memcpy(bytes + 8 + size, of_a_later_criu, sizeof(of_a_later_criu));
	write_file(made, "inventory.img", bytes, 8 + length);
}

static void criu_was_in_no_namespace_of_the_container_s(void **state)
{
	struct made made = make_directory();
	Img__Inventory *inventory;

	(void)state;
	write_dumped(&made, true);
	assert_null(rt_inside_correct(made.fd, true));
	assert_null(rt_images_inventory(made.fd, &inventory));
	assert_int_not_equal(inventory->root_ids->net_ns_id, 9);
	assert_int_equal(inventory->root_ids->uts_ns_id, 3);
	assert_int_equal(inventory->network_lock, LOCK_NFTABLES);
	assert_int_equal(inventory->base.n_unknown_fields, 1);
	assert_int_equal(inventory->base.unknown_fields[0].tag, 14);
	rt_unpack_free(&inventory->base);
	remove_directory(&made);
}

static void without_a_lock_there_is_none_to_restore(void **state)
{
	struct made made = make_directory();
	Img__Inventory *inventory;

	(void)state;
	write_dumped(&made, true);
	assert_null(rt_inside_correct(made.fd, false));
	assert_null(rt_images_inventory(made.fd, &inventory));
	assert_int_equal(inventory->network_lock, LOCK_SKIP);
	rt_unpack_free(&inventory->base);
	remove_directory(&made);
}

static void an_inventory_that_does_not_say_is_an_error(void **state)
{
	struct made made = make_directory();
	struct rt_error *err;

	(void)state;
	write_dumped(&made, false);
	err = rt_inside_correct(made.fd, true);
	assert_non_null(err);
	rt_error_free(err);
	write_file(&made, "inventory.img", "abc", 3);
	err = rt_inside_correct(made.fd, true);
	assert_non_null(err);
	rt_error_free(err);
	remove_directory(&made);
}

static void a_restore_takes_the_network_that_criu_is_in(void **state)
{
	struct made made = make_directory();
	Img__Process init = IMG__PROCESS__INIT;
	Img__KernelIds ids = IMG__KERNEL_IDS__INIT;
	Img__Inventory *inventory;
	struct rt_error *err;

	(void)state;
	write_dumped(&made, true);
	assert_null(rt_inside_correct(made.fd, true));
	err = rt_inside_join(made.fd);
	assert_non_null(err); /* there is no tree */
	rt_error_free(err);
	init.pid = 1;
	write_image(&made, "pstree.img", MAGIC_COMMON, 0x50273030, 1, &init.base);
	ids.has_net_ns_id = 1;
	ids.net_ns_id = 9;
	write_image(&made, "ids-1.img", MAGIC_COMMON, 0x54432030, 1, &ids.base);
	assert_null(rt_inside_join(made.fd));
	assert_null(rt_images_inventory(made.fd, &inventory));
	assert_int_equal(inventory->root_ids->net_ns_id, 9);
	assert_int_equal(inventory->root_ids->uts_ns_id, 3);
	assert_int_equal(inventory->network_lock, LOCK_SKIP);
	rt_unpack_free(&inventory->base);
	remove_directory(&made);
}

static bool possible(bool own, const char *path, const struct rt_criu_settings *settings)
{
	struct rt_spec spec = { .namespaces[RT_NS_NETWORK] = { .wanted = own || path, .path = (char *)path } };

	return rt_inside_is_possible(settings, &spec);
}

static void only_in_a_namespace_of_its_own_and_with_nobody_to_connect_to(void **state)
{
	struct rt_criu_settings settings = { .image_path = "x" };

	(void)state;
	assert_true(possible(true, NULL, &settings));
	assert_false(possible(false, NULL, &settings));
	assert_false(possible(true, "/run/netns/a", &settings));
	settings.network_lock = "skip";
	assert_true(possible(true, NULL, &settings));
	settings.network_lock = "iptables";
	assert_false(possible(true, NULL, &settings));
	settings = (struct rt_criu_settings){ .page_server = "10.0.0.1:1" };
	assert_false(possible(true, NULL, &settings));
	settings = (struct rt_criu_settings){ .pre_dump = true };
	assert_false(possible(true, NULL, &settings));
	settings = (struct rt_criu_settings){ .lazy_pages = true };
	assert_false(possible(true, NULL, &settings));
	settings.memory_elsewhere = true;
	assert_true(possible(true, NULL, &settings));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(criu_was_in_no_namespace_of_the_container_s),
		cmocka_unit_test(a_restore_takes_the_network_that_criu_is_in),
		cmocka_unit_test(without_a_lock_there_is_none_to_restore),
		cmocka_unit_test(an_inventory_that_does_not_say_is_an_error),
		cmocka_unit_test(only_in_a_namespace_of_its_own_and_with_nobody_to_connect_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
