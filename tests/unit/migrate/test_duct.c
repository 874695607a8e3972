#include "migrate/duct.h"
#include "tree_made.h"

#include <pthread.h>

#define TOTAL (300 * 1000)

struct writer {
	struct rt_duct *duct;
	struct rt_error *err; /* of the write; owned */
	bool fail;
	pthread_t thread;
};

static unsigned char byte_at(size_t at)
{
	return (unsigned char)(at * 2654435761u >> 13);
}

static void *write_all(void *userdata)
{
	struct writer *writer = userdata;
	unsigned char piece[777];

	for (size_t at = 0; at < TOTAL && !writer->err;) {
		size_t size = TOTAL - at < sizeof(piece) ? TOTAL - at : sizeof(piece);

		for (size_t i = 0; i < size; i++)
			piece[i] = byte_at(at + i);
		writer->err = rt_duct_write(writer->duct, piece, size);
		at += size;
	}
	rt_duct_end(writer->duct, writer->fail ? rt_fail(RT_SYSTEM, "the tree is gone") : NULL);
	return NULL;
}

static void start(struct writer *writer, size_t room)
{
	assert_works(rt_duct_new(room, &writer->duct));
	assert_int_equal(pthread_create(&writer->thread, NULL, write_all, writer), 0);
}

static void bytes_come_out_in_their_order_whatever_the_pieces(void **state)
{
	static const size_t rooms[] = { 1, 1000, 65536 };

	for (size_t i = 0; i < RT_ARRAY_SIZE(rooms); i++) {
		struct writer writer = { .err = NULL };
		unsigned char piece[501];
		size_t size, at = 0;

		start(&writer, rooms[i]);
		do {
			assert_works(rt_duct_read(writer.duct, piece, sizeof(piece), &size));
			for (size_t j = 0; j < size; j++)
				assert_int_equal(piece[j], byte_at(at + j));
			at += size;
		} while (size > 0);
		assert_int_equal(at, TOTAL);
		pthread_join(writer.thread, NULL);
		assert_works(writer.err);
		rt_duct_free(writer.duct);
	}
}

static void the_writers_failure_comes_after_its_bytes(void **state)
{
	struct writer writer = { .fail = true };
	unsigned char piece[4096];
	struct rt_error *err;
	size_t size, at = 0;

	start(&writer, 1000);
	while (!(err = rt_duct_read(writer.duct, piece, sizeof(piece), &size)) && size > 0)
		at += size;
	assert_int_equal(at, TOTAL);
	assert_says(err, "the tree is gone");
	/* Once. */
	assert_works(rt_duct_read(writer.duct, piece, sizeof(piece), &size));
	assert_int_equal(size, 0);
	pthread_join(writer.thread, NULL);
	rt_duct_free(writer.duct);
}

static void a_writer_does_not_wait_for_who_has_hung_up(void **state)
{
	struct writer writer = { .err = NULL };
	unsigned char piece[10];
	size_t size;

	start(&writer, 1000);
	assert_works(rt_duct_read(writer.duct, piece, sizeof(piece), &size));
	rt_duct_hang_up(writer.duct);
	pthread_join(writer.thread, NULL);
	assert_says(writer.err, "nobody takes it any more");
	rt_duct_free(writer.duct);
}

static void a_failure_nobody_reads_is_freed(void **state)
{
	struct rt_duct *duct;

	assert_works(rt_duct_new(10, &duct));
	rt_duct_end(duct, rt_fail(RT_SYSTEM, "never told"));
	rt_duct_free(duct);
	rt_duct_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_out_in_their_order_whatever_the_pieces),
		cmocka_unit_test(the_writers_failure_comes_after_its_bytes),
		cmocka_unit_test(a_writer_does_not_wait_for_who_has_hung_up),
		cmocka_unit_test(a_failure_nobody_reads_is_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
