/* A stream of frames, whoever sent it: the first byte says how large the pieces are that it comes in. Every frame that comes out is within the limits,
 * and unpacks or fails with one error. */
#include "migrate/codec.h"
#include "migrate/frame.h"

#include <assert.h>
#include <string.h>

static void check(struct rt_codec *codec, const struct rt_frame *frame)
{
	const void *raw = NULL;
	struct rt_error *err;
	bool stands_for_pages = frame->type == RT_FRAME_ZERO || frame->type == RT_FRAME_STALE;
	uint8_t sum = 0;

	assert(frame->stored <= RT_FRAME_STORED_MAX && (stands_for_pages || frame->size <= RT_FRAME_MAX));
	if (frame->type != RT_FRAME_PAGES && frame->type != RT_FRAME_DATA)
		return;
	err = rt_codec_unpack(codec, frame, &raw);
	for (uint32_t i = 0; !err && i < frame->size; i++)
		sum ^= ((const uint8_t *)raw)[i];
	(void)*(volatile uint8_t *)&sum;
	rt_error_free(err);
}

/* The digest is right, so that a fuzzer gets beyond it. */
static void seal(uint8_t *bytes, size_t size)
{
	for (size_t at = 0; size - at >= RT_FRAME_HEADER;) {
		struct rt_frame frame = { 0 };
		uint8_t header[RT_FRAME_HEADER];

		memcpy(&frame.stored, bytes + at + 4, 4);
		if (frame.stored > size - at - RT_FRAME_HEADER)
			return;
		frame.type = (enum rt_frame_type)bytes[at];
		frame.codec = (enum rt_frame_codec)bytes[at + 1];
		memcpy(&frame.space, bytes + at + 8, 8);
		memcpy(&frame.start, bytes + at + 16, 8);
		memcpy(&frame.size, bytes + at + 24, 4);
		frame.payload = bytes + at + RT_FRAME_HEADER;
		rt_frame_encode(&frame, header);
		memcpy(bytes + at + 32, header + 32, 16);
		at += RT_FRAME_HEADER + frame.stored;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_(rt_frame_decoder_freep) struct rt_frame_decoder *decoder = NULL;
	_cleanup_(rt_codec_freep) struct rt_codec *codec = NULL;
	_cleanup_free_ uint8_t *stream = NULL;
	struct rt_error *err;
	size_t piece;

	if (size < 2)
		return 0;
	piece = bytes[0] % 128 == 0 ? size : bytes[0] % 128;
	stream = malloc(size - 1);
	if (!stream)
		return 0;
	size--;
	memcpy(stream, bytes + 1, size);
	if (bytes[0] & 128)
		seal(stream, size);
	err = rt_frame_decoder_new(&decoder);
	if (!err)
		err = rt_codec_new(RT_COMPRESS_NONE, NULL, NULL, &codec);
	for (size_t at = 0; !err && at < size;) {
		struct rt_frame frame;
		size_t taken;
		bool ready;

		err = rt_frame_decode(decoder, stream + at, piece < size - at ? piece : size - at, &taken, &frame, &ready);
		if (!err && ready)
			check(codec, &frame);
		at += err ? 0 : taken;
	}
	if (!err)
		err = rt_frame_decoder_finish(decoder);
	rt_error_free(err);
	return 0;
}
