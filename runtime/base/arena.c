#include "runtime/base/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

/* One page less the allocator's own header: a whole spec fits in a few of these. */
#define BLOCK_BYTES (4096 - 64)

struct rt_arena_block {
	struct rt_arena_block *older;
	size_t used;
	size_t size;
	alignas(max_align_t) unsigned char bytes[];
};

void *rt_arena_calloc(struct rt_arena *arena, size_t count, size_t size)
{
	struct rt_arena_block *block = arena->blocks;
	size_t bytes;
	void *memory;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!block || block->size - block->used < bytes) {
		size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

		block = calloc(1, sizeof(*block) + room);
		if (!block)
			return NULL;
		block->size = room;
		block->older = arena->blocks;
		arena->blocks = block;
	}
	memory = block->bytes + block->used;
	block->used += bytes;
	return memory;
}

char *rt_arena_printf(struct rt_arena *arena, const char *format, ...)
{
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		return NULL;
	text = rt_arena_calloc(arena, (size_t)length + 1, 1);
	if (!text)
		return NULL;
	va_start(args, format);
	vsnprintf(text, (size_t)length + 1, format, args);
	va_end(args);
	return text;
}

void rt_arena_deinit(struct rt_arena *arena)
{
	while (arena->blocks) {
		struct rt_arena_block *older = arena->blocks->older;

		free(arena->blocks);
		arena->blocks = older;
	}
}
