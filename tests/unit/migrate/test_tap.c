#include "migrate/tap.h"
#include "tree_made.h"

#include <linux/if_ether.h>
#include <linux/virtio_net.h>

#define LEAST (sizeof(struct virtio_net_hdr) + ETH_HLEN + 1)

struct seen {
	size_t count, bytes;
	uint8_t first;
};

static void note(void *userdata, const void *frame, size_t size)
{
	struct seen *seen = userdata;

	seen->first = seen->count ? seen->first : *(const uint8_t *)frame;
	seen->count++;
	seen->bytes += size;
}

static size_t put(uint8_t *to, size_t length, uint8_t filler)
{
	to[0] = (uint8_t)length;
	to[1] = (uint8_t)(length >> 8);
	memset(to + 2, filler, length);
	return 2 + length;
}

static void each_frame_is_handed_on(void **state)
{
	uint8_t bytes[2048];
	struct seen seen = { 0 };
	size_t size = put(bytes, LEAST, 7);

	size += put(bytes + size, RT_TAP_FRAME_MAX, 8);
	size += put(bytes + size, 84, 9);
	assert_works(rt_tap_each(bytes, size, note, &seen));
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.bytes, LEAST + RT_TAP_FRAME_MAX + 84);
	assert_int_equal(seen.first, 7);
	assert_works(rt_tap_each(bytes, size, NULL, NULL));
	assert_works(rt_tap_each(NULL, 0, note, &seen));
	assert_int_equal(seen.count, 3);
}

static void what_is_no_frame_is_refused(void **state)
{
	uint8_t bytes[2048];
	size_t size = put(bytes, 84, 1);

	for (size_t cut = 1; cut < size; cut++)
		assert_says(rt_tap_each(bytes, size - cut, NULL, NULL), "frames that are brought along");
	put(bytes, LEAST - 1, 1);
	assert_says(rt_tap_each(bytes, 2 + LEAST - 1, NULL, NULL), "frames that are brought along");
	put(bytes, RT_TAP_FRAME_MAX + 1, 1);
	assert_says(rt_tap_each(bytes, 2 + RT_TAP_FRAME_MAX + 1, NULL, NULL), "frames that are brought along");
	put(bytes, 0, 1);
	assert_says(rt_tap_each(bytes, 2, NULL, NULL), "frames that are brought along");
	assert_says(rt_tap_each("\xff\xff" "abc", 5, NULL, NULL), "frames that are brought along");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_frame_is_handed_on),
		cmocka_unit_test(what_is_no_frame_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
