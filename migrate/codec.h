/* Compression of single frames: none, lz4 (level 1), zstd (level 1). A payload that does not get smaller is left as it is. */
#pragma once

#include "migrate/frame.h"

/* "none", "lz4", "zstd"; RT_USAGE for another word. */
struct rt_error *rt_codec_parse(const char *word, enum rt_frame_codec *ret) _must_check_;
const char *rt_codec_name(enum rt_frame_codec codec);

struct rt_codec; /* contexts and buffers, for one thread */
struct rt_error *rt_codec_new(enum rt_frame_codec codec, struct rt_codec **ret) _must_check_;
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
