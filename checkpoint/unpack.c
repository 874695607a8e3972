#include "checkpoint/unpack.h"

#include <stdint.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

#define HEAP_BASE ((size_t)64 << 20)
#define HEAP_FACTOR 16
#define FIELD_MAX ((1U << 29) - 1) /* largest field number there is */

/* A heap that ends. */
struct heap {
	ProtobufCAllocator allocator;
	size_t left;
};

static void *heap_alloc(void *data, size_t size)
{
	struct heap *heap = data;

	if (size > heap->left)
		return NULL;
	heap->left -= size;
	return malloc(size ? size : 1);
}

/* What a failed unpacking gives back need not be counted: it is about to end. */
static void heap_free(void *data, void *p)
{
	free(p);
}

struct bytes {
	const uint8_t *at, *end;
};

static bool take_varint(struct bytes *in, uint64_t *ret)
{
	uint64_t value = 0;
	int shift;

	for (shift = 0; shift < 64 && in->at < in->end; shift += 7) {
		uint8_t byte = *in->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct bytes *in, uint64_t size, struct bytes *ret)
{
	if (size > (uint64_t)(in->end - in->at))
		return false;
	*ret = (struct bytes){ .at = in->at, .end = in->at + size };
	in->at += size;
	return true;
}

/* Walks the fields without keeping any of them. False: the bytes are no message; *too_deep tells the one reason from the others. */
static bool check_depth(const ProtobufCMessageDescriptor *descriptor, struct bytes in, unsigned depth, bool *too_deep)
{
	if (depth > RT_UNPACK_DEPTH) {
		*too_deep = true;
		return false;
	}
	while (in.at < in.end) {
		const ProtobufCFieldDescriptor *field;
		uint64_t tag, value;
		struct bytes inner;

		if (!take_varint(&in, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_MAX)
			return false;
		switch (tag & 7) {
		case WIRE_VARINT:
			if (!take_varint(&in, &value))
				return false;
			break;
		case WIRE_64:
			if (!take_bytes(&in, 8, &inner))
				return false;
			break;
		case WIRE_32:
			if (!take_bytes(&in, 4, &inner))
				return false;
			break;
		case WIRE_BYTES:
			if (!take_varint(&in, &value) || !take_bytes(&in, value, &inner))
				return false;
			field = protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> 3));
			if (field && field->type == PROTOBUF_C_TYPE_MESSAGE &&
			    !check_depth(field->descriptor, inner, depth + 1, too_deep))
				return false;
			break;
		default: /* groups, which no one uses */
			return false;
		}
	}
	return true;
}

struct rt_error *rt_unpack(const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size,
			   ProtobufCMessage **ret)
{
	struct bytes in = { .at = bytes, .end = (const uint8_t *)bytes + size };
	struct heap heap = { .allocator = { .alloc = heap_alloc, .free = heap_free } };
	ProtobufCMessage *message;
	bool too_deep = false;

	heap.allocator.allocator_data = &heap;
	heap.left = size > (SIZE_MAX - HEAP_BASE) / HEAP_FACTOR ? SIZE_MAX : HEAP_BASE + size * HEAP_FACTOR;
	if (!check_depth(descriptor, in, 0, &too_deep)) {
		if (too_deep)
			return rt_fail(RT_CONFIG, "a '%s' is nested more than %d levels deep", descriptor->short_name,
				       RT_UNPACK_DEPTH);
		return rt_fail(RT_CONFIG, "the bytes are no '%s'", descriptor->short_name);
	}
	message = protobuf_c_message_unpack(descriptor, &heap.allocator, size, bytes);
	if (!message)
		return rt_fail(RT_CONFIG, "the bytes are no whole '%s'", descriptor->short_name);
	*ret = message;
	return NULL;
}

void rt_unpack_free(ProtobufCMessage *message)
{
	int saved = errno;

	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
	errno = saved;
}

struct rt_error *rt_pack(const ProtobufCMessage *message, void **ret, size_t *ret_size)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	void *bytes = malloc(size ? size : 1);

	if (!bytes)
		return rt_error_oom();
	*ret_size = protobuf_c_message_pack(message, bytes);
	*ret = bytes;
	return NULL;
}
