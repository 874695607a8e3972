/* The stream that carries memory and files from one host to the other: bytes to frames and back. No I/O, no threads, no compression.
 *
 * A frame is a header of RT_FRAME_HEADER bytes, little-endian, and a payload:
 *
 *	 0  u8   type		enum rt_frame_type
 *	 1  u8   codec		enum rt_frame_codec, of the payload
 *	 2  u16  0
 *	 4  u32  stored		bytes of payload on the wire
 *	 8  u64  space		PAGES, ZERO, STALE: the address space, as CRIU's images number it; FILE, DATA: the file's number in this stream
 *	16  u64  start		PAGES, ZERO, STALE: address; DATA: offset in the file; END: the number of frames before it
 *	24  u32  size		bytes that the payload stands for once it is decoded
 *	28  u32  0
 *	32  u8   digest[16]	XXH3-128 (canonical form) of the 32 bytes before and the payload as it is on the wire
 *
 * A stream ends with END; one that ends without it was cut. The digest tells damage, not malice: against that there is TLS. Whatever a
 * peer sends, the decoder answers with a frame whose fields are within the limits below, or with an error. docs/migration-protocol.md has the same
 * for other implementations. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

#define RT_FRAME_HEADER 48
/* Bytes one frame may stand for, and may take on the wire. */
#define RT_FRAME_MAX (1u << 20)
/* A codec may make things this much larger (zstd and lz4 stay far below). */
#define RT_FRAME_STORED_MAX (RT_FRAME_MAX + (64u << 10))
#define RT_FRAME_NAME_MAX 255

enum rt_frame_type {
	RT_FRAME_PAGES = 1, /* pages of memory from `start` on; size is a multiple of the page size */
	RT_FRAME_ZERO, /* the same, all zero: size may be up to 2^32 - 4096, there is no payload */
	RT_FRAME_FILE, /* a file begins: the payload is its name, without '/' */
	RT_FRAME_DATA, /* bytes of it */
	RT_FRAME_END,
	RT_FRAME_STALE, /* like ZERO: these pages have changed since they were sent; what there is of them is not to be used, they will come again */
};

enum rt_frame_codec {
	RT_CODEC_NONE,
	RT_CODEC_LZ4,
	RT_CODEC_ZSTD,
};

struct rt_frame {
	enum rt_frame_type type;
	enum rt_frame_codec codec;
	uint64_t space, start;
	uint32_t size; /* decoded */
	uint32_t stored; /* payload on the wire */
	const void *payload; /* encoder: may be NULL where stored is 0; decoder: valid until the next call */
};

/* Writes the header of `frame`, with its digest, to `header`. The payload follows it on the wire as it is. */
void rt_frame_encode(const struct rt_frame *frame, uint8_t header[RT_FRAME_HEADER]);

/* Bytes in, frames out. */
struct rt_frame_decoder; /* opaque; rt_frame_decoder_free() */
struct rt_error *rt_frame_decoder_new(struct rt_frame_decoder **ret) _must_check_;
void rt_frame_decoder_free(struct rt_frame_decoder *decoder);
static inline void rt_frame_decoder_freep(struct rt_frame_decoder **decoder)
{
	rt_frame_decoder_free(*decoder);
}

/* Takes what it needs of `bytes` and says how much that was. *ret_ready tells whether a frame is complete; call again with the rest either way. RT_PEER
 * names what is wrong with the stream, and where; the decoder is of no use after that. */
struct rt_error *rt_frame_decode(struct rt_frame_decoder *decoder, const void *bytes, size_t size, size_t *ret_taken, struct rt_frame *ret_frame,
				 bool *ret_ready) _must_check_;

/* Whether END has been seen; an error where the stream stopped before. */
struct rt_error *rt_frame_decoder_finish(const struct rt_frame_decoder *decoder) _must_check_;
