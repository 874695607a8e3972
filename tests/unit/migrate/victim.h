/* Child processes with memory to track, for the tests of the tracker and the reader. They are killed when the test ends, or its process dies. */
#pragma once

#include "migrate/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared between a test and its child: the child does what `command` says when that is raised, and then sets `done` to one more. */
struct board {
	atomic_int command;
	atomic_int done;
	atomic_long result;
	void *memory; /* as the test mapped it before the fork: the same address in the child */
	size_t pages;
};

struct victim {
	pid_t pid;
	struct board *board;
};

/* What a child does with its memory for command n; returns what is put into `result`. */
typedef long (*victim_step)(struct board *board, int command);

static inline void await(atomic_int *value, int at_least)
{
	for (int i = 0; atomic_load(value) < at_least; i++) {
		if (i > 5000000)
			_exit(3);
		if (i > 100)
			usleep(20);
		else
			sched_yield();
	}
}

/* `pages` of private memory, all written to in the child (0: none). */
static inline struct victim victim_start(size_t pages, victim_step step)
{
	struct victim victim;
	struct board *board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t parent = getpid();

	assert_true(board != MAP_FAILED);
	board->pages = pages;
	if (pages) {
		board->memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(board->memory != MAP_FAILED);
	}
	victim.board = board;
	victim.pid = fork();
	assert_true(victim.pid >= 0);
	if (victim.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(2);
		for (size_t i = 0; i < pages; i++)
			((uint64_t *)board->memory)[i * 512] = i + 1;
		for (int command = 0;; await(&board->command, command + 1)) {
			command = atomic_load(&board->command);
			atomic_store(&board->result, step ? step(board, command) : 0);
			atomic_store(&board->done, command + 1);
		}
	}
	await(&board->done, 1);
	return victim;
}

static inline long victim_do(struct victim *victim, int command)
{
	atomic_store(&victim->board->command, command);
	await(&victim->board->done, command + 1);
	return atomic_load(&victim->board->result);
}

static inline void victim_end(struct victim *victim)
{
	kill(victim->pid, SIGKILL);
	kill(victim->pid, SIGCONT);
	waitpid(victim->pid, NULL, 0);
	if (victim->board->memory)
		munmap(victim->board->memory, victim->board->pages * 4096);
	munmap(victim->board, 4096);
}

/* How many pages of [start, start + pages) are among the ranges of this pid. */
static inline uint64_t told_of(const struct rt_page_ranges *ranges, pid_t pid, const void *start, uint64_t pages)
{
	uint64_t from = (uintptr_t)start, to = from + pages * RT_PAGE_SIZE, told = 0;

	for (size_t i = 0; i < ranges->count; i++) {
		uint64_t low = ranges->ranges[i].start, high = low + ranges->ranges[i].pages * RT_PAGE_SIZE;

		low = low > from ? low : from;
		high = high < to ? high : to;
		if (ranges->ranges[i].pid == pid && low < high)
			told += (high - low) / RT_PAGE_SIZE;
	}
	return told;
}

static inline bool told(const struct rt_page_ranges *ranges, pid_t pid, const void *page)
{
	return told_of(ranges, pid, page, 1) == 1;
}
