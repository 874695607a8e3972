#include "migrate/frame.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>
/* All of it inline: the state can live on the stack, and no call crosses into a library for each frame. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#define DIGEST_AT 32
#define FRAME_PAGE 4096u
#define ZERO_MAX (UINT32_MAX - FRAME_PAGE + 1)

struct rt_frame_decoder {
	XXH3_state_t *hash;
	uint8_t *payload; /* RT_FRAME_STORED_MAX bytes, for payloads that come in pieces; the kernel gives memory only for what is touched */
	uint8_t header[RT_FRAME_HEADER];
	size_t header_filled, payload_filled;
	struct rt_frame frame; /* of the complete header */
	uint64_t frames, position; /* complete ones; bytes of the stream before the frame at hand */
	bool ended;
};

static void put16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

void rt_frame_encode(const struct rt_frame *frame, uint8_t header[RT_FRAME_HEADER])
{
	XXH3_state_t hash;
	XXH128_canonical_t digest;

	header[0] = (uint8_t)frame->type;
	header[1] = (uint8_t)frame->codec;
	put16(header + 2, 0);
	put32(header + 4, frame->stored);
	put64(header + 8, frame->space);
	put64(header + 16, frame->start);
	put32(header + 24, frame->size);
	put32(header + 28, 0);
	XXH3_INITSTATE(&hash);
	XXH3_128bits_reset(&hash);
	XXH3_128bits_update(&hash, header, DIGEST_AT);
	if (frame->stored > 0)
		XXH3_128bits_update(&hash, frame->payload, frame->stored);
	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(&hash));
	memcpy(header + DIGEST_AT, digest.digest, sizeof(digest.digest));
}

struct rt_error *rt_frame_decoder_new(struct rt_frame_decoder **ret)
{
	_cleanup_(rt_frame_decoder_freep) struct rt_frame_decoder *decoder = calloc(1, sizeof(*decoder));

	if (!decoder)
		return rt_error_oom();
	decoder->hash = XXH3_createState();
	decoder->payload = malloc(RT_FRAME_STORED_MAX);
	if (!decoder->hash || !decoder->payload)
		return rt_error_oom();
	*ret = rt_take_ptr(decoder);
	return NULL;
}

void rt_frame_decoder_free(struct rt_frame_decoder *decoder)
{
	if (!decoder)
		return;
	if (decoder->hash)
		XXH3_freeState(decoder->hash);
	free(decoder->payload);
	free(decoder);
}

static struct rt_error *bad(const struct rt_frame_decoder *decoder, const char *what)
{
	return rt_fail(RT_PEER, "the stream is damaged in frame %" PRIu64 ", at byte %" PRIu64 ": %s", decoder->frames, decoder->position, what);
}

/* What is wrong with where the frame belongs, and how much it stands for; NULL: nothing. */
static const char *wrong_place(const struct rt_frame_decoder *decoder, const struct rt_frame *frame)
{
	switch (frame->type) {
	case RT_FRAME_PAGES:
	case RT_FRAME_ZERO:
	case RT_FRAME_STALE:
		if (frame->size == 0 || frame->size % FRAME_PAGE != 0 || frame->start % FRAME_PAGE != 0)
			return "it does not hold whole pages";
		if (frame->size > (frame->type == RT_FRAME_PAGES ? RT_FRAME_MAX : ZERO_MAX))
			return "it is too large";
		return frame->start > UINT64_MAX - frame->size ? "its pages go beyond the last address" : NULL;
	case RT_FRAME_FILE:
		if (frame->size == 0 || frame->size > RT_FRAME_NAME_MAX)
			return "its name of a file is empty or too long";
		return frame->start != 0 ? "a field that must be 0 is not" : NULL;
	case RT_FRAME_DATA:
		if (frame->size == 0 || frame->size > RT_FRAME_MAX)
			return "it is empty or too large";
		return frame->start > INT64_MAX - (uint64_t)frame->size ? "its offset is beyond the end of any file" : NULL;
	case RT_FRAME_END:
		if (frame->size != 0 || frame->space != 0)
			return "a field that must be 0 is not";
		return frame->start != decoder->frames ? "it is the end, but of another number of frames" : NULL;
	}
	return "it is of an unknown type";
}

/* What is wrong with the payload's size and coding; NULL: nothing. */
static const char *wrong_payload(const struct rt_frame *frame)
{
	bool empty = frame->type == RT_FRAME_ZERO || frame->type == RT_FRAME_STALE || frame->type == RT_FRAME_END;
	uint32_t plain = empty ? 0 : frame->size;

	switch (frame->codec) {
	case RT_CODEC_NONE:
		return frame->stored != plain ? "its payload is not as long as it says" : NULL;
	case RT_CODEC_LZ4:
	case RT_CODEC_ZSTD:
		if (frame->type != RT_FRAME_PAGES && frame->type != RT_FRAME_DATA)
			return "it is compressed, which frames of its type never are";
		return frame->stored == 0 || frame->stored > RT_FRAME_STORED_MAX ? "its payload is empty or too long" : NULL;
	}
	return "its compression is unknown";
}

static struct rt_error *take_header(struct rt_frame_decoder *decoder)
{
	const uint8_t *header = decoder->header;
	struct rt_frame *frame = &decoder->frame;
	const char *wrong;

	*frame = (struct rt_frame){
		.type = (enum rt_frame_type)header[0],
		.codec = (enum rt_frame_codec)header[1],
		.stored = get32(header + 4),
		.space = get64(header + 8),
		.start = get64(header + 16),
		.size = get32(header + 24),
	};
	if (header[2] != 0 || header[3] != 0 || get32(header + 28) != 0)
		return bad(decoder, "a field that must be 0 is not");
	wrong = wrong_place(decoder, frame);
	if (!wrong)
		wrong = wrong_payload(frame);
	if (wrong)
		return bad(decoder, wrong);
	XXH3_128bits_reset(decoder->hash);
	XXH3_128bits_update(decoder->hash, header, DIGEST_AT);
	decoder->payload_filled = 0;
	return NULL;
}

static bool is_name(const uint8_t *name, size_t size)
{
	if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')))
		return false;
	for (size_t i = 0; i < size; i++)
		if (name[i] < 0x20 || name[i] == 0x7f || name[i] == '/')
			return false;
	return true;
}

/* The payload is there, and hashed: checks it and gets ready for the next frame. */
static struct rt_error *finish_frame(struct rt_frame_decoder *decoder)
{
	XXH128_canonical_t digest;

	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(decoder->hash));
	if (memcmp(digest.digest, decoder->header + DIGEST_AT, sizeof(digest.digest)) != 0)
		return bad(decoder, "its digest does not match its bytes");
	if (decoder->frame.type == RT_FRAME_FILE && !is_name(decoder->frame.payload, decoder->frame.size))
		return bad(decoder, "its name is no name of a file");
	decoder->ended = decoder->frame.type == RT_FRAME_END;
	decoder->frames++;
	decoder->position += RT_FRAME_HEADER + decoder->frame.stored;
	decoder->header_filled = 0;
	return NULL;
}

struct rt_error *rt_frame_decode(struct rt_frame_decoder *decoder, const void *bytes, size_t size, size_t *ret_taken, struct rt_frame *ret_frame,
				 bool *ret_ready)
{
	const uint8_t *from = bytes;
	struct rt_error *err;
	size_t taken = 0, missing, here;

	if (decoder->ended && size > 0)
		return bad(decoder, "there are more bytes after the end");
	if (decoder->header_filled < RT_FRAME_HEADER) {
		here = RT_FRAME_HEADER - decoder->header_filled;
		if (here > size)
			here = size;
		if (here > 0)
			memcpy(decoder->header + decoder->header_filled, from, here);
		decoder->header_filled += here;
		taken = here;
		err = decoder->header_filled == RT_FRAME_HEADER ? take_header(decoder) : NULL;
		if (err)
			return err;
	}
	*ret_taken = taken;
	*ret_ready = false;
	if (decoder->header_filled < RT_FRAME_HEADER)
		return NULL;
	missing = decoder->frame.stored - decoder->payload_filled;
	here = missing < size - taken ? missing : size - taken;
	/* A payload that is all there is hashed and handed out where it lies. */
	if (missing == decoder->frame.stored && here == missing) {
		decoder->frame.payload = missing > 0 ? from + taken : NULL;
	} else {
		decoder->frame.payload = decoder->payload;
		memcpy(decoder->payload + decoder->payload_filled, from + taken, here);
	}
	if (here > 0)
		XXH3_128bits_update(decoder->hash, from + taken, here);
	decoder->payload_filled += here;
	*ret_taken = taken + here;
	if (here < missing)
		return NULL;
	err = finish_frame(decoder);
	if (err)
		return err;
	*ret_frame = decoder->frame;
	*ret_ready = true;
	return NULL;
}

struct rt_error *rt_frame_decoder_finish(const struct rt_frame_decoder *decoder)
{
	if (decoder->ended)
		return NULL;
	return rt_fail(RT_PEER, "the stream was cut after %" PRIu64 " frames, at byte %" PRIu64, decoder->frames,
		       decoder->position + decoder->header_filled + (decoder->header_filled == RT_FRAME_HEADER ? decoder->payload_filled : 0));
}
