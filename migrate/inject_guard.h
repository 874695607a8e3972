/* Between inject.c and the guard process it forks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RT_GUARD_THREADS 8
#define RT_GUARD_STOP_US 100000

struct rt_guard_request {
	pid_t pid;
	pid_t threads[RT_GUARD_THREADS]; /* candidates, the best first */
	uint32_t thread_count;
	int close_fd; /* close this one; -1: make a userfaultfd */
	uint64_t instruction; /* where the address space has a system call instruction */
};

/* Before it comes a message of one byte with the descriptor, where there is one. */
struct rt_guard_reply {
	bool done;
	bool gone;
	bool leaving; /* a thread could not be stopped: only the end of the guard lets go of it */
	uint32_t stopped_us;
	uint32_t altered_us;
	char reason[160];
};

/* Serves requests until the other end of the socket is closed. */
_Noreturn void rt_guard_run(int socket);
