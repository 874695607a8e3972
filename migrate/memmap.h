/* The mappings of an address space, as /proc/PID/maps tells them, and which of them hold private pages.
 *
 * Reads no page tables: cheap enough for every round. For the flags of VMAs (smaps) see rt_memmap_count_flag(), which does. */
#pragma once

#include "runtime/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct rt_mapping {
	uint64_t start, end;
	bool readable, writable, executable;
	bool shared;
	bool file; /* backed by a file (or a device, or shared memory) */
	bool special; /* vdso, vvar, vsyscall, uprobes: the kernel's own */
	bool vdso; /* the one special mapping with code in it */
	bool stack; /* of the first thread */
};

struct rt_memmap {
	struct rt_mapping *mappings; /* ascending */
	size_t count;
	size_t room;
	char *text; /* the buffer that maps is read into, kept between calls */
	size_t text_room;
};

/* Reads the mappings of a process; the memory in `map` (zeroed before the first call) is used again. *ret_found is false where there is no such
 * process, or it has no address space any more (zombie, kernel thread). */
struct rt_error *rt_memmap_read(pid_t pid, struct rt_memmap *map, bool *ret_found) _must_check_;
void rt_memmap_free(struct rt_memmap *map);

/* The same from text that is already there; `text` is cut up. Errors name the line. */
struct rt_error *rt_memmap_parse(char *text, struct rt_memmap *map) _must_check_;

/* True for mappings whose private pages a tracker tells. */
static inline bool rt_mapping_is_private(const struct rt_mapping *mapping)
{
	return !mapping->shared && !mapping->special;
}

/* How many mappings of the process have this two-letter flag ("uw", "ht") in VmFlags of smaps. Walks the page tables: for tests and preflights. */
struct rt_error *rt_memmap_count_flag(pid_t pid, const char *flag, size_t *ret) _must_check_;

#define _cleanup_memmap_ _cleanup_(rt_memmap_free)
