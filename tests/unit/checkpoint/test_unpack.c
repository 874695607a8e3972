#include "checkpoint/unpack.h"
#include "proto/criu_images.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A directory of cgroups in a directory, and so on; in front of each other, innermost first. */
static size_t nest(uint8_t *bytes, size_t room, unsigned depth)
{
	size_t length = 0;
	uint8_t *end = bytes + room;

	for (unsigned i = 0; i < depth; i++) {
		size_t inner = length;

		/* name = "x" */
		*--end = 'x';
		*--end = 1;
		*--end = 0x0a;
		length += 3;
		if (i > 0) {
			/* children = what is there so far: it stands behind the name's three bytes, so take it as one piece */
			memmove(end, end + 3, inner);
			memcpy(end + inner, "\x0a\x01x", 3);
			end -= 3;
			end[0] = 0x12;
			end[1] = (uint8_t)(inner | 0x80);
			end[2] = (uint8_t)(inner >> 7);
			length += 3;
		}
	}
	memmove(bytes, end, length);
	return length;
}

static void a_deep_message_is_refused_before_the_stack_ends(void **state)
{
	static uint8_t bytes[16384];
	ProtobufCMessage *message = NULL;
	struct rt_error *err;

	assert_null(rt_unpack(&img__cgroup_dir__descriptor, bytes, nest(bytes, sizeof(bytes), RT_UNPACK_DEPTH), &message));
	rt_unpack_free(message);
	err = rt_unpack(&img__cgroup_dir__descriptor, bytes, nest(bytes, sizeof(bytes), RT_UNPACK_DEPTH + 2), &message);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "nested"));
	rt_error_free(err);
}

static void what_multiplies_on_the_heap_is_refused(void **state)
{
	/* Two bytes each, a hundred on the heap. */
	size_t size = 8 << 20;
	_cleanup_free_ uint8_t *bytes = malloc(size);
	ProtobufCMessage *message = NULL;
	struct rt_error *err;

	for (size_t i = 0; i < size; i += 2)
		memcpy(bytes + i, "\x0a\x00", 2);
	err = rt_unpack(&img__seccomp__descriptor, bytes, size, &message);
	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	rt_error_free(err);
}

static void every_cut_of_a_message_is_an_error_or_a_message(void **state)
{
	const char whole[] = "\x08\x01\x10\x02\x28\x03\x28\x04";

	for (size_t size = 0; size < sizeof(whole); size++) {
		ProtobufCMessage *message = NULL;
		struct rt_error *err = rt_unpack(&img__process__descriptor, whole, size, &message);

		assert_true(!err != !message);
		if (err)
			assert_int_equal(err->code, RT_CONFIG);
		rt_error_free(err);
		rt_unpack_free(message);
	}
}

static void groups_and_endless_numbers_are_no_message(void **state)
{
	static const char *const bad[] = { "\x0b\x0c", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x0a\xff\xff\xff\x7f" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		ProtobufCMessage *message = NULL;
		struct rt_error *err = rt_unpack(&img__process__descriptor, bad[i], strlen(bad[i]), &message);

		assert_non_null(err);
		rt_error_free(err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_deep_message_is_refused_before_the_stack_ends),
		cmocka_unit_test(what_multiplies_on_the_heap_is_refused),
		cmocka_unit_test(every_cut_of_a_message_is_an_error_or_a_message),
		cmocka_unit_test(groups_and_endless_numbers_are_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
