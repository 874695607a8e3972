/* Compression of single frames: none, lz4 (level 1), zstd (level 1), or zstd where the link is slow (adaptive.h). A payload that does not get smaller
 * is left as it is. */
#pragma once

#include "migrate/frame.h"

/* What is to be done to frames; each then says what was done to it. */
enum rt_compression {
	RT_COMPRESS_NONE = RT_CODEC_NONE,
	RT_COMPRESS_LZ4 = RT_CODEC_LZ4,
	RT_COMPRESS_ZSTD = RT_CODEC_ZSTD,
	RT_COMPRESS_AUTO,
};

/* "none", "lz4", "zstd", "auto"; RT_USAGE for another word. */
struct rt_error *rt_compression_parse(const char *word, enum rt_compression *ret) _must_check_;
const char *rt_compression_name(enum rt_compression compression);

/* Bytes a second that the link delivers to which the frames go; 0: not known. */
typedef uint64_t (*rt_codec_link_fn)(void *userdata);

struct rt_codec; /* contexts and buffers, for one thread */
/* `link` is asked before a frame is packed, by RT_COMPRESS_AUTO only; NULL: nothing is compressed then. */
struct rt_error *rt_codec_new(enum rt_compression compression, rt_codec_link_fn link, void *userdata, struct rt_codec **ret) _must_check_;
/* How much of a stream is to be made at once: of RT_COMPRESS_AUTO little, as it is made before the link is asked again. At most RT_FRAME_MAX. */
size_t rt_codec_stride(const struct rt_codec *codec);
void rt_codec_free(struct rt_codec *codec);
static inline void rt_codec_freep(struct rt_codec **codec)
{
	rt_codec_free(*codec);
}

/* Sets codec, size, stored and payload of the frame from `size` bytes of raw data (at most RT_FRAME_MAX). The payload is `data` itself or a buffer of the
 * codec's, valid until the next call. */
void rt_codec_pack(struct rt_codec *codec, const void *data, uint32_t size, struct rt_frame *frame);

/* The raw bytes of a decoded frame, exactly frame->size of them, in the frame's payload or a buffer of the codec's. Any codec may come, whatever `codec` was made for.
 * RT_PEER where the payload is not what it says. */
struct rt_error *rt_codec_unpack(struct rt_codec *codec, const struct rt_frame *frame, const void **ret) _must_check_;
