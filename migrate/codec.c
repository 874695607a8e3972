#include "migrate/codec.h"

#include <lz4.h>
#include <string.h>
#include <zstd.h>

#define ZSTD_LEVEL 1

struct rt_codec {
	enum rt_frame_codec codec;
	uint8_t *packed, *raw; /* RT_FRAME_MAX bytes each */
	void *lz4;
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor; /* made when the first frame of this kind comes */
};

static const char *const names[] = {
	[RT_CODEC_NONE] = "none",
	[RT_CODEC_LZ4] = "lz4",
	[RT_CODEC_ZSTD] = "zstd",
};

struct rt_error *rt_codec_parse(const char *word, enum rt_frame_codec *ret)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++) {
		if (strcmp(word, names[i]) == 0) {
			*ret = (enum rt_frame_codec)i;
			return NULL;
		}
	}
	return rt_fail(RT_USAGE, "'%s' is no compression: none, lz4 or zstd", word);
}

const char *rt_codec_name(enum rt_frame_codec codec)
{
	return (size_t)codec < RT_ARRAY_SIZE(names) ? names[codec] : "unknown";
}

struct rt_error *rt_codec_new(enum rt_frame_codec codec, struct rt_codec **ret)
{
	_cleanup_(rt_codec_freep) struct rt_codec *made = calloc(1, sizeof(*made));

	if (!made)
		return rt_error_oom();
	made->codec = codec;
	/* Memory comes only with the first use. */
	made->packed = malloc(RT_FRAME_MAX);
	made->raw = malloc(RT_FRAME_MAX);
	if (!made->packed || !made->raw)
		return rt_error_oom();
	switch (codec) {
	case RT_CODEC_NONE:
		break;
	case RT_CODEC_LZ4:
		made->lz4 = malloc((size_t)LZ4_sizeofState());
		if (!made->lz4)
			return rt_error_oom();
		break;
	case RT_CODEC_ZSTD:
		made->compressor = ZSTD_createCCtx();
		if (!made->compressor)
			return rt_error_oom();
		break;
	}
	*ret = rt_take_ptr(made);
	return NULL;
}

void rt_codec_free(struct rt_codec *codec)
{
	if (!codec)
		return;
	free(codec->packed);
	free(codec->raw);
	free(codec->lz4);
	ZSTD_freeCCtx(codec->compressor);
	ZSTD_freeDCtx(codec->decompressor);
	free(codec);
}

/* Bytes in codec->packed; 0: it does not get smaller. */
static uint32_t compress(struct rt_codec *codec, const void *data, uint32_t size)
{
	size_t packed;

	switch (codec->codec) {
	case RT_CODEC_NONE:
		break;
	case RT_CODEC_LZ4:
		return (uint32_t)LZ4_compress_fast_extState(codec->lz4, data, (char *)codec->packed, (int)size, (int)size - 1, 1);
	case RT_CODEC_ZSTD:
		packed = ZSTD_compressCCtx(codec->compressor, codec->packed, size - 1, data, size, ZSTD_LEVEL);
		return ZSTD_isError(packed) ? 0 : (uint32_t)packed;
	}
	return 0;
}

void rt_codec_pack(struct rt_codec *codec, const void *data, uint32_t size, struct rt_frame *frame)
{
	uint32_t packed = size > 1 && size <= RT_FRAME_MAX ? compress(codec, data, size) : 0;

	frame->size = size;
	frame->codec = packed > 0 ? codec->codec : RT_CODEC_NONE;
	frame->stored = packed > 0 ? packed : size;
	frame->payload = packed > 0 ? codec->packed : data;
}

static struct rt_error *wrong(const struct rt_frame *frame)
{
	return rt_fail(RT_PEER, "a frame of %u bytes does not become %u bytes by %s", frame->stored, frame->size, rt_codec_name(frame->codec));
}

struct rt_error *rt_codec_unpack(struct rt_codec *codec, const struct rt_frame *frame, const void **ret)
{
	size_t got;

	if (frame->codec == RT_CODEC_NONE) {
		if (frame->stored != frame->size)
			return wrong(frame);
		*ret = frame->payload;
		return NULL;
	}
	if (frame->size > RT_FRAME_MAX || frame->stored > RT_FRAME_STORED_MAX || frame->stored == 0)
		return wrong(frame);
	switch (frame->codec) {
	case RT_CODEC_NONE:
		break;
	case RT_CODEC_LZ4:
		if (LZ4_decompress_safe(frame->payload, (char *)codec->raw, (int)frame->stored, (int)frame->size) != (int)frame->size)
			return wrong(frame);
		break;
	case RT_CODEC_ZSTD:
		if (!codec->decompressor)
			codec->decompressor = ZSTD_createDCtx();
		if (!codec->decompressor)
			return rt_error_oom();
		got = ZSTD_decompressDCtx(codec->decompressor, codec->raw, frame->size, frame->payload, frame->stored);
		if (ZSTD_isError(got) || got != frame->size)
			return wrong(frame);
		break;
	}
	*ret = codec->raw;
	return NULL;
}
