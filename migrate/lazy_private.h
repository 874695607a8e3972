/* What the files lazy*.c share.
 *
 *	lazy.c		options, the loop, status
 *	lazy_pagemap.c	which pages the images list
 *	lazy_map.c	which of them are still to be put in place, and where
 *	lazy_protocol.c	CRIU's socket
 *	lazy_serve.c	events of a task: faults, and what it does to its memory
 *	lazy_place.c	pages go into a task
 *	lazy_push.c	those that nobody has asked for yet */
#pragma once

#include "migrate/lazy.h"
#include "migrate/lazy_map.h"

#include <pthread.h>
#include <stdio.h>

_Static_assert(RT_LAZY_PAGE == RT_PAGESET_PAGE, "one size of pages");

/* Neighbours that are asked for, or known to be zero, along with a page. */
#define RT_LAZY_AROUND 16u
/* What the pusher moves at once. A fault waits until that is done, so it is little at first after a fault (the faulted page's neighbourhood), and more with each
 * time that nobody has faulted meanwhile; but no more than stays in the processor's cache between being read from the set and being placed. */
#define RT_LAZY_CHUNK_MIN 4u
#define RT_LAZY_CHUNK_MAX 64u

/* One address space of the images. */
struct rt_lazy_space {
	uint64_t number;
	struct rt_lazy_range *ranges;
	size_t count, room;
	uint64_t pages;
	uint64_t *asked; /* a bit a page: `want` was called for it; made when needed */
	size_t tasks; /* that get pages of it */
};

/* One task, or a child that a task has forked since. */
struct rt_lazy_task {
	struct rt_lazy_task *next;
	int uffd;
	struct rt_lazy_space *space;
	struct rt_pageset *set; /* NULL: there is none (yet) */
	struct rt_lazy_map map;
	uint64_t cursor; /* address where the pusher goes on */
	bool dry; /* since the cursor was at the first page nothing was found to push */
	uint64_t *waiting; /* addresses of faults that can't be served yet */
	size_t waiting_count, waiting_room;
	unsigned no_memory; /* times in a row that the kernel had none for its pages */
	bool retry; /* the kernel said "again" */
	bool stalled; /* nothing of what is left was in the set when it was looked through */
	bool gone; /* it has ended */
};

struct rt_lazy_piece {
	uint64_t space, start, pages;
};

struct rt_lazy_pieces {
	struct rt_lazy_piece *pieces;
	size_t count, room;
	size_t at; /* those before it are done with */
};

struct rt_lazy {
	struct rt_lazy_options options;
	int listen_fd, socket_fd, epoll_fd, event_fd;
	/* CRIU's socket: what came of the next number; a number has come, its descriptor not yet. */
	uint8_t word[4];
	size_t word_filled;
	bool fd_follows;

	bool prepared, restored;
	struct rt_lazy_space *spaces; /* by number */
	size_t space_count;
	struct rt_lazy_task *tasks;
	struct rt_lazy_task *recent; /* the last one that faulted, or NULL */
	unsigned chunk; /* pages that the pusher moves next */
	unsigned idle_retries;
	uint8_t *buffer; /* RT_LAZY_CHUNK_MAX pages */
	struct rt_lazy_status status;
	FILE *record;
	struct rt_lazy_pieces prefetch; /* to be pushed first */
	struct rt_lazy_pieces came; /* to be pushed then: what has arrived, and was taken note of */

	pthread_mutex_t lock; /* of what has arrived */
	struct rt_lazy_pieces arrived;
	bool arrived_anything; /* no memory to say what */
	_Atomic bool ended; /* rt_lazy_end() */
};

uint64_t rt_lazy_now(void);
struct rt_error *rt_lazy_pieces_add(struct rt_lazy_pieces *pieces, uint64_t space, uint64_t start, uint64_t pages) _must_check_;
/* Watches `fd`; rt_lazy_run() gets `who` back. */
struct rt_error *rt_lazy_watch(struct rt_lazy *lazy, int fd, void *who) _must_check_;

/* lazy_pagemap.c */
struct rt_error *rt_lazy_read_pagemaps(struct rt_lazy *lazy) _must_check_;
struct rt_lazy_space *rt_lazy_find_space(struct rt_lazy *lazy, uint64_t number);
/* Address of a page in the images, by its number, and the reverse; false: it isn't listed. */
uint64_t rt_lazy_origin(const struct rt_lazy_space *space, uint64_t index);
bool rt_lazy_index(const struct rt_lazy_space *space, uint64_t origin, uint64_t *ret);

/* lazy_protocol.c */
struct rt_error *rt_lazy_open_socket(struct rt_lazy *lazy) _must_check_;
void rt_lazy_close_socket(struct rt_lazy *lazy);
struct rt_error *rt_lazy_accept(struct rt_lazy *lazy) _must_check_;
struct rt_error *rt_lazy_read_socket(struct rt_lazy *lazy) _must_check_;

/* lazy_serve.c */
/* Takes over `uffd`. `parent`: NULL, or the task whose child this is. */
struct rt_error *rt_lazy_add_task(struct rt_lazy *lazy, struct rt_lazy_space *space, const struct rt_lazy_task *parent, int uffd) _must_check_;
void rt_lazy_free_task(struct rt_lazy *lazy, struct rt_lazy_task *task);
struct rt_error *rt_lazy_read_events(struct rt_lazy *lazy, struct rt_lazy_task *task) _must_check_;
/* Looks again at the faults that could not be served. */
struct rt_error *rt_lazy_serve_waiting(struct rt_lazy *lazy, struct rt_lazy_task *task) _must_check_;

/* lazy_place.c: pages go into the task; those that did are marked. The task may turn out to be gone, or want a retry. */
struct rt_error *rt_lazy_place_data(struct rt_lazy *lazy, struct rt_lazy_task *task, const struct rt_lazy_run *run) _must_check_;
struct rt_error *rt_lazy_place_zero(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t address, uint64_t pages, uint64_t *ret_placed) _must_check_;
void rt_lazy_wake(struct rt_lazy_task *task, uint64_t address, uint64_t pages);
/* State of the run's first pages, and how many these are. */
enum rt_page_state rt_lazy_look(struct rt_lazy *lazy, struct rt_lazy_task *task, uint64_t index, uint64_t limit, uint64_t *ret_pages);

/* lazy_push.c */
struct rt_error *rt_lazy_read_prefetch(struct rt_lazy *lazy) _must_check_;
bool rt_lazy_can_push(const struct rt_lazy *lazy);
/* Moves one chunk. */
struct rt_error *rt_lazy_push(struct rt_lazy *lazy) _must_check_;
/* Takes note of what rt_lazy_arrived() told, and serves those who wait for it. */
struct rt_error *rt_lazy_take_arrived(struct rt_lazy *lazy) _must_check_;
