/* Eight bytes a name: a layer may have a million. Two names with one hash would only spare the second one a whiteout, inside
 * the image whose maker chose them. */
#include "runtime/bundle/unpack.h"

#define FIRST_ROOM 1024

static uint64_t add_bytes(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3u; /* FNV-1a */
	return hash;
}

static uint64_t hash_of(const char *directory, const char *name)
{
	uint64_t hash = add_bytes(0xcbf29ce484222325u, directory);

	if (*directory && *name)
		hash = add_bytes(hash, "/");
	hash = add_bytes(hash, name);
	return hash ? hash : 1; /* 0 is an empty slot */
}

static uint64_t *find_slot(uint64_t *slots, size_t room, uint64_t hash)
{
	size_t at = (hash ^ hash >> 32) & (room - 1);

	while (slots[at] && slots[at] != hash)
		at = (at + 1) & (room - 1);
	return &slots[at];
}

static struct rt_error *grow(struct rt_unpack_marks *marks)
{
	size_t room = marks->room ? marks->room * 2 : FIRST_ROOM;
	uint64_t *slots = calloc(room, sizeof(*slots));

	if (!slots)
		return rt_error_oom();
	for (size_t i = 0; i < marks->room; i++)
		if (marks->slots[i])
			*find_slot(slots, room, marks->slots[i]) = marks->slots[i];
	free(marks->slots);
	marks->slots = slots;
	marks->room = room;
	return NULL;
}

struct rt_error *rt_unpack_mark(struct rt_unpack_marks *marks, const char *directory, const char *name)
{
	struct rt_error *err = marks->count * 2 >= marks->room ? grow(marks) : NULL;
	uint64_t hash = hash_of(directory, name), *slot;

	if (err)
		return err;
	slot = find_slot(marks->slots, marks->room, hash);
	if (!*slot)
		marks->count++;
	*slot = hash;
	return NULL;
}

bool rt_unpack_marked(const struct rt_unpack_marks *marks, const char *directory, const char *name)
{
	return marks->room && *find_slot(marks->slots, marks->room, hash_of(directory, name));
}

void rt_unpack_marks_clear(struct rt_unpack_marks *marks)
{
	free(marks->slots);
	*marks = (struct rt_unpack_marks){ 0 };
}
