/* How a set of pages lies in its memfd, shared by pagesets.c (the sets of a migration) and pageset.c (one of them). */
#pragma once

#include "migrate/pageset.h"

#include <stdatomic.h>

/* Three layers tell what is there, each so that the one below need not be touched where nothing is:
 *
 *	top	one word a set, in the control memfd: a bit for each 4 KiB of the summary
 *	summary	256 KiB a set: a bit for each 4 KiB of the states
 *	states	8 GiB a set: two bits a page (enum rt_page_state), 32 pages a word
 *
 * States and summary lie behind the pages, in the same memfd; all three are sparse and mapped whole. */
#define WORD_PAGES 32u
#define LEAF_PAGES (4096u * 4) /* pages whose states are 4 KiB */
#define ALL_PAGES (RT_PAGESET_ADDRESS_MAX / RT_PAGESET_PAGE)
#define STATES_BYTES (ALL_PAGES / 4)
#define LEAVES (ALL_PAGES / LEAF_PAGES)
#define SUMMARY_BYTES (LEAVES / 8)
#define MAP_BYTES (STATES_BYTES + SUMMARY_BYTES)
#define FILE_BYTES (RT_PAGESET_ADDRESS_MAX + MAP_BYTES)
#define LOW_BITS 0x5555555555555555ull

_Static_assert(SUMMARY_BYTES == 64 * 4096, "one word is enough for the top layer");

struct shared_set {
	uint64_t space;
	_Atomic uint64_t top;
};

/* The control memfd. Bytes in use are those of data and of states, so that neither takes more than the limit. */
struct control {
	uint64_t limit;
	_Atomic uint64_t used, data, zero, stored;
	_Atomic uint64_t count;
	struct shared_set sets[RT_PAGESETS_MAX];
};

struct rt_pageset {
	struct control *control;
	struct shared_set *shared;
	int fd;
	_Atomic uint64_t *states, *summary;
};
