#include "migrate/files.h"
#include "tree_made.h"

/* All that comes out of one directory into another, in pieces of `piece` bytes. */
static void copy(struct made *made, enum rt_compression compression, size_t piece)
{
	_cleanup_(rt_frame_decoder_freep) struct rt_frame_decoder *decoder = NULL;
	_cleanup_(rt_codec_freep) struct rt_codec *packer = NULL, *unpacker = NULL;
	_cleanup_free_ uint8_t *buffer = malloc(piece);
	const struct rt_files_names none = { NULL };
	struct rt_files_names names = { NULL };
	struct rt_files_out *out;
	struct rt_files_in *in;
	uint64_t wire = 0;
	size_t size;

	assert_works(rt_files_list(made->from_fd, &none, &names));
	assert_works(rt_codec_new(compression, NULL, NULL, &packer));
	assert_works(rt_files_out_new(made->from_fd, packer, &names, &out));
	assert_works(rt_files_in_new(made->to_fd, 1 << 30, &in));
	assert_works(rt_frame_decoder_new(&decoder));
	assert_works(rt_codec_new(RT_COMPRESS_NONE, NULL, NULL, &unpacker));
	do {
		const uint8_t *at = buffer;

		assert_works(rt_files_out_pull(out, buffer, piece, &size));
		wire += size;
		for (size_t left = size; left > 0;) {
			const void *data = NULL;
			struct rt_frame frame;
			size_t taken;
			bool ready;

			assert_works(rt_frame_decode(decoder, at, left, &taken, &frame, &ready));
			at += taken;
			left -= taken;
			if (!ready)
				continue;
			if (frame.type != RT_FRAME_END)
				assert_works(rt_codec_unpack(unpacker, &frame, &data));
			assert_works(rt_files_in_take(in, &frame, data));
		}
	} while (size > 0);
	assert_works(rt_frame_decoder_finish(decoder));
	assert_int_equal(wire, rt_files_out_wire(out));
	rt_files_out_free(out);
	rt_files_in_free(in);
	rt_files_names_deinit(&names);
}

static void put_images(const struct made *made)
{
	_cleanup_free_ char *large = malloc(3 << 20);

	for (size_t i = 0; i < 3 << 20; i++)
		large[i] = (char)(i * 2654435761u >> 15);
	put_file(made->from_fd, "pages-1.img", large, 3 << 20);
	put_file(made->from_fd, "exact.img", large, 1 << 20);
	put_text(made->from_fd, "inventory.img", "small");
	put_text(made->from_fd, "empty.img", "");
}

static void assert_same_file(const struct made *made, const char *name)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	size_t a_size, b_size;

	assert_works(rt_read_file_at(made->from_fd, name, 16 << 20, &a, &a_size));
	assert_works(rt_read_file_at(made->to_fd, name, 16 << 20, &b, &b_size));
	assert_int_equal(a_size, b_size);
	assert_memory_equal(a, b, a_size);
}

static void files_arrive_as_they_were(void **state)
{
	static const struct {
		enum rt_compression codec;
		size_t piece;
	} ways[] = { { RT_COMPRESS_NONE, 65536 }, { RT_COMPRESS_LZ4, 100000 }, { RT_COMPRESS_ZSTD, 1 << 21 }, { RT_COMPRESS_ZSTD, 7 } };

	for (size_t i = 0; i < RT_ARRAY_SIZE(ways); i++) {
		struct made made = make_both();

		put_images(&made);
		copy(&made, ways[i].codec, ways[i].piece);
		assert_same_file(&made, "pages-1.img");
		assert_same_file(&made, "exact.img");
		assert_same_file(&made, "inventory.img");
		assert_same_file(&made, "empty.img");
		remove_both(&made);
	}
}

static void logs_hidden_files_and_directories_stay(void **state)
{
	struct made made = make_both();

	put_text(made.from_fd, "dump.log", "x");
	put_text(made.from_fd, ".hidden", "x");
	assert_return_code(mkdirat(made.from_fd, "directory", 0755), errno);
	put_text(made.from_fd, "a.img", "x");
	copy(&made, RT_COMPRESS_NONE, 4096);
	assert_same_file(&made, "a.img");
	assert_int_equal(faccessat(made.to_fd, "dump.log", F_OK, 0), -1);
	assert_int_equal(faccessat(made.to_fd, ".hidden", F_OK, 0), -1);
	assert_int_equal(faccessat(made.to_fd, "directory", F_OK, 0), -1);
	remove_both(&made);
}

static void what_is_sent_already_is_not_listed(void **state)
{
	struct rt_files_names sent = { NULL }, names = { NULL };
	struct made made = make_both();

	put_text(made.from_fd, "a.img", "x");
	put_text(made.from_fd, "b.img", "x");
	assert_works(rt_files_names_add(&sent, "a.img"));
	assert_works(rt_files_list(made.from_fd, &sent, &names));
	assert_int_equal(names.count, 1);
	assert_true(rt_files_names_have(&names, "b.img"));
	assert_false(rt_files_names_have(&names, "a.img"));
	rt_files_names_deinit(&sent);
	rt_files_names_deinit(&names);
	remove_both(&made);
}

/* ---- somebody else's frames ---- */

static struct rt_error *take(struct rt_files_in *in, enum rt_frame_type type, uint64_t number, uint64_t start, const char *data, size_t size)
{
	const struct rt_frame frame = { .type = type, .space = number, .start = start, .size = (uint32_t)size };

	return rt_files_in_take(in, &frame, data);
}

static void names_are_plain(void **state)
{
	static const struct {
		const char *name;
		size_t size;
	} names[] = { { "", 0 }, { ".", 1 }, { "..", 2 }, { "../x", 4 }, { "/etc/x", 6 }, { "a/b", 3 }, { "a\0b", 3 }, { ".hidden", 7 } };
	struct made made = make_both();
	struct rt_files_in *in;

	assert_works(rt_files_in_new(made.to_fd, 100, &in));
	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		assert_says(take(in, RT_FRAME_FILE, 1, 0, names[i].name, names[i].size), "a name that no image has");
	rt_files_in_free(in);
	remove_both(&made);
}

static void files_are_new(void **state)
{
	struct made made = make_both();
	struct rt_files_in *in;

	put_text(made.to_fd, "there", "x");
	assert_return_code(symlinkat("/tmp", made.to_fd, "link"), errno);
	assert_works(rt_files_in_new(made.to_fd, 100, &in));
	assert_says(take(in, RT_FRAME_FILE, 1, 0, "there", 5), "cannot create 'there'");
	rt_files_in_free(in);
	assert_works(rt_files_in_new(made.to_fd, 100, &in));
	assert_says(take(in, RT_FRAME_FILE, 1, 0, "link", 4), "cannot create 'link'");
	rt_files_in_free(in);
	remove_both(&made);
}

static void frames_are_in_order(void **state)
{
	struct made made = make_both();
	struct rt_files_in *in;

	assert_works(rt_files_in_new(made.to_fd, 100, &in));
	assert_says(take(in, RT_FRAME_DATA, 1, 0, "x", 1), "a file that has not begun");
	assert_says(take(in, RT_FRAME_FILE, 2, 0, "a", 1), "comes out of order");
	assert_works(take(in, RT_FRAME_FILE, 1, 0, "a", 1));
	assert_says(take(in, RT_FRAME_DATA, 2, 0, "x", 1), "a file that has not begun");
	assert_says(take(in, RT_FRAME_PAGES, 1, 0, "x", 1), "pages where files are due");
	assert_works(take(in, RT_FRAME_END, 0, 2, NULL, 0));
	assert_says(take(in, RT_FRAME_DATA, 1, 0, "x", 1), "a file that has not begun");
	rt_files_in_free(in);
	remove_both(&made);
}

static void there_is_a_limit(void **state)
{
	struct made made = make_both();
	struct rt_files_in *in;

	assert_works(rt_files_in_new(made.to_fd, 5, &in));
	assert_works(take(in, RT_FRAME_FILE, 1, 0, "a", 1));
	assert_works(take(in, RT_FRAME_DATA, 1, 0, "xxxx", 4));
	assert_says(take(in, RT_FRAME_DATA, 1, 4, "xx", 2), "larger than this host takes: 5 bytes");
	assert_says(take(in, RT_FRAME_DATA, 1, INT64_MAX, "x", 1), "larger than this host takes");
	rt_files_in_free(in);
	remove_both(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_arrive_as_they_were),
		cmocka_unit_test(logs_hidden_files_and_directories_stay),
		cmocka_unit_test(what_is_sent_already_is_not_listed),
		cmocka_unit_test(names_are_plain),
		cmocka_unit_test(files_are_new),
		cmocka_unit_test(frames_are_in_order),
		cmocka_unit_test(there_is_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
