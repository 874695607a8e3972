#include "migrate/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint8_t text[RT_FRAME_MAX], noise[RT_FRAME_MAX];

static struct rt_codec *codec_new(enum rt_frame_codec codec)
{
	struct rt_codec *made = NULL;

	assert_null(rt_codec_new(codec, &made));
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
	_cleanup_(rt_codec_freep) struct rt_codec *other = codec_new(RT_CODEC_NONE);

	fill();
	for (enum rt_frame_codec kind = RT_CODEC_NONE; kind <= RT_CODEC_ZSTD; kind++) {
		_cleanup_(rt_codec_freep) struct rt_codec *codec = codec_new(kind);

		for (uint32_t size = 1; size <= RT_FRAME_MAX; size = size * 4 + (size < 4096 ? 3 : 0)) {
			const uint8_t *sources[] = { text, noise };

			for (size_t i = 0; i < 2; i++) {
				struct rt_frame frame = { .type = RT_FRAME_DATA };
				const void *raw = NULL;

				rt_codec_pack(codec, sources[i], size, &frame);
				assert_true(frame.stored <= size);
				assert_int_equal(frame.size, size);
				if (i == 1 || kind == RT_CODEC_NONE)
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
	for (enum rt_frame_codec kind = RT_CODEC_LZ4; kind <= RT_CODEC_ZSTD; kind++) {
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
	for (enum rt_frame_codec kind = RT_CODEC_NONE; kind <= RT_CODEC_ZSTD; kind++) {
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
		if (kind == RT_CODEC_NONE)
			continue;
		wrong = frame;
		wrong.size = RT_FRAME_MAX + 1;
		expect_refused(codec, &wrong);
		wrong = (struct rt_frame){ RT_FRAME_DATA, kind, 0, 0, 4096, 4096, noise };
		expect_refused(codec, &wrong);
	}
}

static void words_are_parsed(void **state)
{
	enum rt_frame_codec codec;
	struct rt_error *err;

	for (enum rt_frame_codec kind = RT_CODEC_NONE; kind <= RT_CODEC_ZSTD; kind++) {
		assert_null(rt_codec_parse(rt_codec_name(kind), &codec));
		assert_int_equal(codec, kind);
	}
	err = rt_codec_parse("gzip", &codec);
	assert_non_null(err);
	assert_int_equal(err->code, RT_USAGE);
	assert_string_equal(err->message, "'gzip' is no compression: none, lz4 or zstd");
	rt_error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_packed_is_unpacked_by_any_codec),
		cmocka_unit_test(text_gets_smaller),
		cmocka_unit_test(a_payload_that_lies_is_refused),
		cmocka_unit_test(words_are_parsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
