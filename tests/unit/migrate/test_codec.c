#include "migrate/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint8_t text[RT_FRAME_MAX], noise[RT_FRAME_MAX];

static uint64_t rate; /* of the link */

static uint64_t look(void *userdata)
{
	return rate;
}

static struct rt_codec *codec_new(enum rt_compression compression)
{
	struct rt_codec *made = NULL;

	assert_null(rt_codec_new(compression, look, NULL, &made));
	return made;
}

static void fill(void)
{
	srand(1);
	for (size_t i = 0; i < sizeof(noise); i++) {
		text[i] = (uint8_t)"the same words again and "[i % 25];
		noise[i] = (uint8_t)(rand() >> 7);
	}
}

static void what_is_packed_is_unpacked_by_any_codec(void **state)
{
	_cleanup_(rt_codec_freep) struct rt_codec *other = codec_new(RT_COMPRESS_NONE);

	fill();
	for (enum rt_compression kind = RT_COMPRESS_NONE; kind <= RT_COMPRESS_ZSTD; kind++) {
		_cleanup_(rt_codec_freep) struct rt_codec *codec = codec_new(kind);

		for (uint32_t size = 1; size <= RT_FRAME_MAX; size = size * 4 + (size < 4096 ? 3 : 0)) {
			const uint8_t *sources[] = { text, noise };

			for (size_t i = 0; i < 2; i++) {
				struct rt_frame frame = { .type = RT_FRAME_DATA };
				const void *raw = NULL;

				rt_codec_pack(codec, sources[i], size, &frame);
				assert_true(frame.stored <= size);
				assert_int_equal(frame.size, size);
				if (i == 1 || kind == RT_COMPRESS_NONE)
					assert_ptr_equal(frame.payload, sources[i]);
				assert_null(rt_codec_unpack(other, &frame, &raw));
				assert_memory_equal(raw, sources[i], size);
			}
		}
	}
}

static void text_gets_smaller(void **state)
{
	fill();
	for (enum rt_compression kind = RT_COMPRESS_LZ4; kind <= RT_COMPRESS_ZSTD; kind++) {
		_cleanup_(rt_codec_freep) struct rt_codec *codec = codec_new(kind);
		struct rt_frame frame = { .type = RT_FRAME_DATA };

		rt_codec_pack(codec, text, sizeof(text), &frame);
		assert_int_equal(frame.codec, kind);
		assert_true(frame.stored < sizeof(text) / 50);
	}
}

static void expect_refused(struct rt_codec *codec, const struct rt_frame *frame)
{
	const void *raw = NULL;
	struct rt_error *err = rt_codec_unpack(codec, frame, &raw);

	assert_non_null(err);
	assert_int_equal(err->code, RT_PEER);
	rt_error_free(err);
}

static void a_payload_that_lies_is_refused(void **state)
{
	fill();
	for (enum rt_compression kind = RT_COMPRESS_NONE; kind <= RT_COMPRESS_ZSTD; kind++) {
		_cleanup_(rt_codec_freep) struct rt_codec *codec = codec_new(kind);
		struct rt_frame frame = { .type = RT_FRAME_DATA }, wrong;

		rt_codec_pack(codec, text, 8192, &frame);
		wrong = frame;
		wrong.size = 4096;
		expect_refused(codec, &wrong);
		wrong.size = 12288;
		expect_refused(codec, &wrong);
		wrong = frame;
		wrong.stored--;
		expect_refused(codec, &wrong);
		if (kind == RT_COMPRESS_NONE)
			continue;
		wrong = frame;
		wrong.size = RT_FRAME_MAX + 1;
		expect_refused(codec, &wrong);
		wrong = (struct rt_frame){ RT_FRAME_DATA, (enum rt_frame_codec)kind, 0, 0, 4096, 4096, noise };
		expect_refused(codec, &wrong);
	}
}

static enum rt_frame_codec packed_by(struct rt_codec *codec, const void *data, uint32_t size)
{
	struct rt_frame frame = { .type = RT_FRAME_DATA };

	rt_codec_pack(codec, data, size, &frame);
	return frame.codec;
}

static void auto_compresses_where_the_link_is_slow(void **state)
{
	_cleanup_(rt_codec_freep) struct rt_codec *codec = codec_new(RT_COMPRESS_AUTO), *blind = NULL;

	fill();
	rate = 0;
	assert_int_equal(packed_by(codec, text, 65536), RT_CODEC_NONE);
	rate = 1000000;
	assert_int_equal(packed_by(codec, text, 65536), RT_CODEC_ZSTD);
	assert_int_equal(packed_by(codec, text, 4095), RT_CODEC_NONE);
	rate = UINT64_MAX;
	assert_int_equal(packed_by(codec, text, 65536), RT_CODEC_NONE);
	rate = 1000000;
	assert_true(rt_codec_stride(codec) < RT_FRAME_MAX);
	assert_null(rt_codec_new(RT_COMPRESS_AUTO, NULL, NULL, &blind));
	assert_int_equal(packed_by(blind, text, 65536), RT_CODEC_NONE);
}

static void auto_leaves_noise_alone_for_a_while(void **state)
{
	_cleanup_(rt_codec_freep) struct rt_codec *codec = codec_new(RT_COMPRESS_AUTO);
	unsigned left_alone = 0;

	fill();
	rate = 1000000;
	assert_int_equal(packed_by(codec, noise, 65536), RT_CODEC_NONE);
	while (packed_by(codec, text, 65536) == RT_CODEC_NONE && left_alone < 100)
		left_alone++;
	assert_int_equal(left_alone, 15);
}

static void words_are_parsed(void **state)
{
	enum rt_compression compression;
	struct rt_error *err;

	for (enum rt_compression kind = RT_COMPRESS_NONE; kind <= RT_COMPRESS_AUTO; kind++) {
		assert_null(rt_compression_parse(rt_compression_name(kind), &compression));
		assert_int_equal(compression, kind);
	}
	err = rt_compression_parse("gzip", &compression);
	assert_non_null(err);
	assert_int_equal(err->code, RT_USAGE);
	assert_string_equal(err->message, "'gzip' is no compression: none, lz4, zstd or auto");
	rt_error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_packed_is_unpacked_by_any_codec),
		cmocka_unit_test(text_gets_smaller),
		cmocka_unit_test(a_payload_that_lies_is_refused),
		cmocka_unit_test(auto_compresses_where_the_link_is_slow),
		cmocka_unit_test(auto_leaves_noise_alone_for_a_while),
		cmocka_unit_test(words_are_parsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
