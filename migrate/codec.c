#include "migrate/codec.h"

#include "migrate/adaptive.h"
#include "runtime/base/clock.h"

#include <lz4.h>
#include <string.h>
#include <zstd.h>

#define ZSTD_LEVEL 1
#define STRIDE (128u << 10)
/* Less is not worth a question to the link. */
#define WORTH_ASKING 4096u

struct rt_codec {
	enum rt_compression compression;
	rt_codec_link_fn link;
	void *userdata;
	struct rt_adaptive adaptive;
	uint8_t *packed, *raw; /* RT_FRAME_MAX bytes each */
	void *lz4;
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor; /* made when the first frame of this kind comes */
};

static const char *const names[] = {
	[RT_COMPRESS_NONE] = "none",
	[RT_COMPRESS_LZ4] = "lz4",
	[RT_COMPRESS_ZSTD] = "zstd",
	[RT_COMPRESS_AUTO] = "auto",
};

struct rt_error *rt_compression_parse(const char *word, enum rt_compression *ret)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++) {
		if (strcmp(word, names[i]) == 0) {
			*ret = (enum rt_compression)i;
			return NULL;
		}
	}
	return rt_fail(RT_USAGE, "'%s' is no compression: none, lz4, zstd or auto", word);
}

const char *rt_compression_name(enum rt_compression compression)
{
	return (size_t)compression < RT_ARRAY_SIZE(names) ? names[compression] : "unknown";
}

struct rt_error *rt_codec_new(enum rt_compression compression, rt_codec_link_fn link, void *userdata, struct rt_codec **ret)
{
	_cleanup_(rt_codec_freep) struct rt_codec *made = calloc(1, sizeof(*made));

	if (!made)
		return rt_error_oom();
	made->compression = compression;
	made->link = link;
	made->userdata = userdata;
	/* Memory comes only with the first use. */
	made->packed = malloc(RT_FRAME_MAX);
	made->raw = malloc(RT_FRAME_MAX);
	if (!made->packed || !made->raw)
		return rt_error_oom();
	switch (compression) {
	case RT_COMPRESS_NONE:
		break;
	case RT_COMPRESS_LZ4:
		made->lz4 = malloc((size_t)LZ4_sizeofState());
		if (!made->lz4)
			return rt_error_oom();
		break;
	case RT_COMPRESS_ZSTD:
	case RT_COMPRESS_AUTO:
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

size_t rt_codec_stride(const struct rt_codec *codec)
{
	return codec->compression == RT_COMPRESS_AUTO ? STRIDE : RT_FRAME_MAX;
}

/* Bytes in codec->packed; 0: it does not get smaller. */
static uint32_t compress_zstd(struct rt_codec *codec, const void *data, uint32_t size)
{
	size_t packed = ZSTD_compressCCtx(codec->compressor, codec->packed, size - 1, data, size, ZSTD_LEVEL);

	return ZSTD_isError(packed) ? 0 : (uint32_t)packed;
}

static uint32_t compress_if_it_pays(struct rt_codec *codec, const void *data, uint32_t size)
{
	uint32_t packed;
	uint64_t began;

	if (size < WORTH_ASKING || !codec->link || !rt_adaptive_wants(&codec->adaptive, codec->link(codec->userdata)))
		return 0;
	began = rt_now_us();
	packed = compress_zstd(codec, data, size);
	rt_adaptive_learn(&codec->adaptive, size, packed > 0 ? packed : size, rt_now_us() - began);
	return packed;
}

static uint32_t compress(struct rt_codec *codec, const void *data, uint32_t size)
{
	switch (codec->compression) {
	case RT_COMPRESS_NONE:
		break;
	case RT_COMPRESS_LZ4:
		return (uint32_t)LZ4_compress_fast_extState(codec->lz4, data, (char *)codec->packed, (int)size, (int)size - 1, 1);
	case RT_COMPRESS_ZSTD:
		return compress_zstd(codec, data, size);
	case RT_COMPRESS_AUTO:
		return compress_if_it_pays(codec, data, size);
	}
	return 0;
}

void rt_codec_pack(struct rt_codec *codec, const void *data, uint32_t size, struct rt_frame *frame)
{
	uint32_t packed = size > 1 && size <= RT_FRAME_MAX ? compress(codec, data, size) : 0;

	frame->size = size;
	frame->codec = packed == 0 ? RT_CODEC_NONE : codec->compression == RT_COMPRESS_LZ4 ? RT_CODEC_LZ4 : RT_CODEC_ZSTD;
	frame->stored = packed > 0 ? packed : size;
	frame->payload = packed > 0 ? codec->packed : data;
}

static struct rt_error *wrong(const struct rt_frame *frame)
{
	return rt_fail(RT_PEER, "a frame of %u bytes does not become %u bytes by %s", frame->stored, frame->size, rt_compression_name((enum rt_compression)frame->codec));
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
