#include "migrate/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ROOM (4u << 20)

struct stream {
	uint8_t *bytes;
	size_t size;
};

static uint8_t data[RT_FRAME_MAX];

static void add(struct stream *stream, struct rt_frame frame)
{
	rt_frame_encode(&frame, stream->bytes + stream->size);
	stream->size += RT_FRAME_HEADER;
	if (frame.stored > 0)
		memcpy(stream->bytes + stream->size, frame.payload, frame.stored);
	stream->size += frame.stored;
}

static const struct rt_frame frames[] = {
	{ RT_FRAME_FILE, RT_CODEC_NONE, 7, 0, 8, 8, "core.img" },
	{ RT_FRAME_DATA, RT_CODEC_NONE, 7, 12, 300, 300, data },
	{ RT_FRAME_PAGES, RT_CODEC_NONE, 1, 0x7fff0000, 4096, 4096, data + 1 },
	{ RT_FRAME_ZERO, RT_CODEC_NONE, 1, 0x10000, 0xfffff000, 0, NULL },
	{ RT_FRAME_PAGES, RT_CODEC_ZSTD, 2, 0x1000, 4096, 100, data + 9 },
	{ RT_FRAME_END, RT_CODEC_NONE, 0, 5, 0, 0, NULL },
};

static int setup(void **state)
{
	static struct stream stream;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8));
	stream.bytes = malloc(ROOM);
	for (size_t i = 0; i < RT_ARRAY_SIZE(frames); i++)
		add(&stream, frames[i]);
	*state = &stream;
	return 0;
}

static int teardown(void **state)
{
	free(((struct stream *)*state)->bytes);
	return 0;
}

static struct rt_frame_decoder *decoder_new(void)
{
	struct rt_frame_decoder *decoder = NULL;

	assert_null(rt_frame_decoder_new(&decoder));
	return decoder;
}

static void expect(const struct rt_frame *got, const struct rt_frame *wanted)
{
	assert_int_equal(got->type, wanted->type);
	assert_int_equal(got->codec, wanted->codec);
	assert_int_equal(got->space, wanted->space);
	assert_int_equal(got->start, wanted->start);
	assert_int_equal(got->size, wanted->size);
	assert_int_equal(got->stored, wanted->stored);
	if (wanted->stored > 0)
		assert_memory_equal(got->payload, wanted->payload, wanted->stored);
	else
		assert_null(got->payload);
}

/* Pieces of `piece` bytes; 0: of random sizes. Each piece lies in memory of its own, so that reading beyond it is seen. */
static void decode_all(const struct stream *stream, size_t piece, unsigned seed)
{
	_cleanup_(rt_frame_decoder_freep) struct rt_frame_decoder *decoder = decoder_new();
	size_t at = 0, frame_count = 0;

	srand(seed);
	while (at < stream->size) {
		size_t size = piece ? piece : 1 + (size_t)rand() % 5000, taken = 0;
		struct rt_frame frame;
		uint8_t *copy;
		bool ready;

		if (size > stream->size - at)
			size = stream->size - at;
		copy = malloc(size);
		memcpy(copy, stream->bytes + at, size);
		assert_null(rt_frame_decode(decoder, copy, size, &taken, &frame, &ready));
		assert_true(taken <= size && taken > 0);
		if (ready)
			expect(&frame, &frames[frame_count++]);
		at += taken;
		free(copy);
	}
	assert_int_equal(frame_count, RT_ARRAY_SIZE(frames));
	assert_null(rt_frame_decoder_finish(decoder));
}

static void frames_come_out_however_the_bytes_come_in(void **state)
{
	const struct stream *stream = *state;

	decode_all(stream, stream->size, 0);
	decode_all(stream, 1, 0);
	for (size_t piece = 2; piece < 120; piece += 13)
		decode_all(stream, piece, 0);
	for (unsigned seed = 1; seed < 200; seed++)
		decode_all(stream, 0, seed);
}

static void a_payload_that_is_all_there_is_not_copied(void **state)
{
	_cleanup_(rt_frame_decoder_freep) struct rt_frame_decoder *decoder = decoder_new();
	const struct stream *stream = *state;
	struct rt_frame frame;
	size_t taken;
	bool ready;

	assert_null(rt_frame_decode(decoder, stream->bytes, stream->size, &taken, &frame, &ready));
	assert_true(ready);
	assert_ptr_equal(frame.payload, stream->bytes + RT_FRAME_HEADER);
}

/* The error of the whole stream in `bytes`, NULL where there is none. */
static struct rt_error *decode_bytes(const uint8_t *bytes, size_t size)
{
	_cleanup_(rt_frame_decoder_freep) struct rt_frame_decoder *decoder = decoder_new();
	struct rt_error *err = NULL;

	for (size_t at = 0; !err && at < size;) {
		struct rt_frame frame;
		size_t taken = 0;
		bool ready;

		err = rt_frame_decode(decoder, bytes + at, size - at, &taken, &frame, &ready);
		at += taken;
	}
	return err ? err : rt_frame_decoder_finish(decoder);
}

static void expect_error(struct rt_error *err, const char *text)
{
	assert_non_null(err);
	assert_int_equal(err->code, RT_PEER);
	if (!strstr(err->message, text))
		fail_msg("'%s' does not say '%s'", err->message, text);
	rt_error_free(err);
}

static void every_damaged_byte_is_told(void **state)
{
	const struct stream *stream = *state;
	_cleanup_free_ uint8_t *bytes = malloc(stream->size);

	memcpy(bytes, stream->bytes, stream->size);
	for (size_t i = 0; i < stream->size; i++) {
		for (unsigned bit = 0; bit < 8; bit += i % RT_FRAME_HEADER == 0 ? 1 : 3) {
			struct rt_error *err;

			bytes[i] ^= (uint8_t)(1 << bit);
			err = decode_bytes(bytes, stream->size);
			assert_non_null(err);
			assert_int_equal(err->code, RT_PEER);
			rt_error_free(err);
			bytes[i] ^= (uint8_t)(1 << bit);
		}
	}
}

static void a_cut_stream_is_told(void **state)
{
	const struct stream *stream = *state;

	for (size_t size = 0; size < stream->size; size++)
		expect_error(decode_bytes(stream->bytes, size), "cut");
	/* A frame left out or sent twice is told by the number in END. */
	expect_error(decode_bytes(stream->bytes + RT_FRAME_HEADER + 8, stream->size - RT_FRAME_HEADER - 8), "another number of frames");
}

static void nothing_comes_after_the_end(void **state)
{
	struct stream *stream = *state;

	expect_error(decode_bytes(stream->bytes, stream->size + 1), "after the end");
}

static void check_refused(struct rt_frame frame, const char *text)
{
	_cleanup_(rt_frame_decoder_freep) struct rt_frame_decoder *decoder = decoder_new();
	uint8_t *bytes = malloc(RT_FRAME_HEADER + RT_FRAME_NAME_MAX);
	struct rt_frame wrong = frame, got;
	size_t taken, payload = frame.payload && frame.stored <= RT_FRAME_NAME_MAX ? frame.stored : 0;
	bool ready;

	if (!frame.payload)
		wrong.stored = 0;
	rt_frame_encode(&wrong, bytes);
	memcpy(bytes + 4, &frame.stored, 4);
	if (payload > 0)
		memcpy(bytes + RT_FRAME_HEADER, frame.payload, payload);
	/* Told by the header alone, or with a name. */
	expect_error(rt_frame_decode(decoder, bytes, RT_FRAME_HEADER + payload, &taken, &got, &ready), text);
	free(bytes);
}

static void absurd_fields_are_refused_before_the_payload_comes(void **state)
{
	check_refused((struct rt_frame){ RT_FRAME_PAGES, RT_CODEC_LZ4, 1, 0, 4096, RT_FRAME_STORED_MAX + 1, NULL }, "too long");
	check_refused((struct rt_frame){ RT_FRAME_PAGES, RT_CODEC_NONE, 1, 0, UINT32_MAX - 4095, UINT32_MAX - 4095, NULL }, "too large");
	check_refused((struct rt_frame){ RT_FRAME_PAGES, RT_CODEC_NONE, 1, 0, 4096, UINT32_MAX, NULL }, "not as long");
	check_refused((struct rt_frame){ RT_FRAME_PAGES, RT_CODEC_NONE, 1, 1, 4096, 4096, NULL }, "whole pages");
	check_refused((struct rt_frame){ RT_FRAME_PAGES, RT_CODEC_NONE, 1, 0, 4097, 4097, NULL }, "whole pages");
	check_refused((struct rt_frame){ RT_FRAME_PAGES, RT_CODEC_NONE, 1, 0, 0, 0, NULL }, "whole pages");
	check_refused((struct rt_frame){ RT_FRAME_PAGES, RT_CODEC_NONE, 1, UINT64_MAX - 4095, 8192, 8192, NULL }, "last address");
	check_refused((struct rt_frame){ RT_FRAME_ZERO, RT_CODEC_NONE, 1, 0, 4096, 1, NULL }, "not as long");
	check_refused((struct rt_frame){ RT_FRAME_ZERO, RT_CODEC_ZSTD, 1, 0, 4096, 1, NULL }, "compressed");
	check_refused((struct rt_frame){ RT_FRAME_DATA, RT_CODEC_NONE, 1, INT64_MAX, 4096, 4096, NULL }, "offset");
	check_refused((struct rt_frame){ RT_FRAME_DATA, RT_CODEC_NONE, 1, 0, 0, 0, NULL }, "empty");
	check_refused((struct rt_frame){ RT_FRAME_DATA, (enum rt_frame_codec)3, 1, 0, 1, 1, NULL }, "compression");
	check_refused((struct rt_frame){ (enum rt_frame_type)7, RT_CODEC_NONE, 1, 0, 1, 1, NULL }, "unknown type");
	check_refused((struct rt_frame){ RT_FRAME_FILE, RT_CODEC_NONE, 1, 0, 256, 256, NULL }, "too long");
	check_refused((struct rt_frame){ RT_FRAME_FILE, RT_CODEC_NONE, 1, 1, 1, 1, NULL }, "must be 0");
	check_refused((struct rt_frame){ RT_FRAME_END, RT_CODEC_NONE, 1, 0, 0, 0, NULL }, "must be 0");
	check_refused((struct rt_frame){ RT_FRAME_END, RT_CODEC_NONE, 0, 1, 0, 0, NULL }, "another number");
}

static void names_of_files_are_names(void **state)
{
	check_refused((struct rt_frame){ RT_FRAME_FILE, RT_CODEC_NONE, 1, 0, 3, 3, "a/b" }, "no name");
	check_refused((struct rt_frame){ RT_FRAME_FILE, RT_CODEC_NONE, 1, 0, 2, 2, ".." }, "no name");
	check_refused((struct rt_frame){ RT_FRAME_FILE, RT_CODEC_NONE, 1, 0, 1, 1, "." }, "no name");
	check_refused((struct rt_frame){ RT_FRAME_FILE, RT_CODEC_NONE, 1, 0, 3, 3, "a\0b" }, "no name");
	check_refused((struct rt_frame){ RT_FRAME_FILE, RT_CODEC_NONE, 1, 0, 3, 3, "a\nb" }, "no name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_however_the_bytes_come_in),
		cmocka_unit_test(a_payload_that_is_all_there_is_not_copied),
		cmocka_unit_test(every_damaged_byte_is_told),
		cmocka_unit_test(a_cut_stream_is_told),
		cmocka_unit_test(nothing_comes_after_the_end),
		cmocka_unit_test(absurd_fields_are_refused_before_the_payload_comes),
		cmocka_unit_test(names_of_files_are_names),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
