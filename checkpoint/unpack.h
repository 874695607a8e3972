/* protobuf from somebody we don't trust: an image, a manifest, another host, CRIU.
 *
 * protobuf-c itself follows nested messages as deep as they go and allocates what they ask for: a few megabytes can become a
 * stack overflow or gigabytes of heap. rt_unpack() checks the depth first and puts a ceiling on the heap. */
#pragma once

#include "runtime/base/error.h"

#include <protobuf-c/protobuf-c.h>

/* Levels of messages in messages. CRIU's deepest, a tree of cgroups, is as deep as the tree. */
#define RT_UNPACK_DEPTH 100

/* Unpacks a message of `descriptor`; its heap may be at most 64 MiB plus 16 times its size. *ret is freed by rt_unpack_free(). The
 * failure, RT_CONFIG, says no more than what is wrong with the bytes: callers add whose they are. */
struct rt_error *rt_unpack(const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size,
			   ProtobufCMessage **ret) _must_check_;

/* NULL is fine. */
void rt_unpack_free(ProtobufCMessage *message);

static inline void rt_unpack_freep(void *message)
{
	rt_unpack_free(*(ProtobufCMessage **)message);
}
#define _cleanup_unpacked_ _cleanup_(rt_unpack_freep)

/* Packs a message we made; *ret is the caller's to free. */
struct rt_error *rt_pack(const ProtobufCMessage *message, void **ret, size_t *ret_size) _must_check_;
