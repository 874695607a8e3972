#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoint/idmaps.h"

#include "images_made.h"

#define MAGIC_USERNS 0x55474906U

static const struct rt_id_map two[] = { { 0, 100000, 1000 }, { 1000, 5000, 1 } };

static struct rt_spec with_user_namespace(void)
{
	struct rt_spec spec = { .uid_mappings = { two, 2 }, .gid_mappings = { two, 1 } };

	spec.namespaces[RT_NS_USER].wanted = true;
	return spec;
}

/* The images of a container with the mappings above, the second host id being `second`. */
static struct made images(uint32_t second)
{
	Img__Extent extents[] = { IMG__EXTENT__INIT, IMG__EXTENT__INIT };
	Img__Extent *uids[] = { &extents[1], &extents[0] }, *gids[] = { &extents[0] };
	Img__UserNamespace image = IMG__USER_NAMESPACE__INIT;
	struct made made = make_directory();

	for (size_t i = 0; i < 2; i++) {
		extents[i].first = two[i].container_id;
		extents[i].lower_first = i == 1 ? second : two[i].host_id;
		extents[i].count = two[i].size;
	}
	image.uid_map = uids;
	image.n_uid_map = 2;
	image.gid_map = gids;
	image.n_gid_map = 1;
	write_image(&made, "userns-13.img", MAGIC_COMMON, MAGIC_USERNS, 1, &image);
	return made;
}

static void refuses(const struct made *made, const struct rt_spec *spec, const char *said)
{
	struct rt_error *err = rt_idmaps_check(made->fd, spec);
	_cleanup_free_ char *text = NULL;

	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	text = rt_error_text(err);
	assert_string_equal(text, said);
	rt_error_free(err);
}

static void mappings_are_the_same_in_any_order(void **state)
{
	struct made made = images(5000);
	const struct rt_spec spec = with_user_namespace();

	assert_null(rt_idmaps_check(made.fd, &spec));
	remove_directory(&made);
}

static void another_host_id_is_refused(void **state)
{
	struct made made = images(5001);
	const struct rt_spec spec = with_user_namespace();

	refuses(&made, &spec, "'linux.uidMappings[1]' maps 1 ids from 1000 to 5000 of the host, but the checkpointed container's were mapped otherwise");
	remove_directory(&made);
}

static void a_mapping_less_is_refused(void **state)
{
	struct made made = images(5000);
	struct rt_spec spec = with_user_namespace();

	spec.uid_mappings.count = 1;
	refuses(&made, &spec, "'linux.uidMappings' has 1 entries, but the checkpointed container had 2");
	remove_directory(&made);
}

static void a_namespace_on_one_side_alone_is_refused(void **state)
{
	struct made made = images(5000), none = make_directory();
	const struct rt_spec spec = with_user_namespace(), plain = { 0 };

	refuses(&made, &plain, "'linux.namespaces' wants no user namespace, but the checkpointed container had one of its own");
	refuses(&none, &spec, "'linux.namespaces' wants a user namespace, but the checkpointed container had none");
	assert_null(rt_idmaps_check(none.fd, &plain));
	remove_directory(&made);
	remove_directory(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_are_the_same_in_any_order),
		cmocka_unit_test(another_host_id_is_refused),
		cmocka_unit_test(a_mapping_less_is_refused),
		cmocka_unit_test(a_namespace_on_one_side_alone_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
