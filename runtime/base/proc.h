/* Processes of the host: running helper programs (hooks, newuidmap, criu) and asking about other processes.
 *
 * Knows nothing about containers. Everything waits on pidfds, so that a pid used again can't be mistaken. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct rt_run_options {
	const char *path; /* absolute, or a name looked up in PATH */
	const char *const *argv; /* NULL-terminated; argv[0] included */
	const char *const *envp; /* NULL-terminated; NULL: an empty environment */
	const void *input; /* written to its standard input; NULL: /dev/null */
	size_t input_size;
	int timeout_ms; /* 0: none. When over, the program and its process group are killed */
	bool interruptible; /* ended where we are asked to stop (interrupt.h) */
	int (*before_exec)(void *userdata); /* runs in the child, which shares our memory (vfork), async-signal-safe; non-zero ends it with 126 */
	void *userdata;
};

/* Runs a program to its end; its standard output and error are collected, up to 4 KiB, for the message. Fails where
 * it cannot be started, exits non-zero, dies of a signal, or takes too long; the message has the last line it said. */
struct rt_error *rt_run_program(const struct rt_run_options *options) _must_check_;

/* Forks, with a pipe between the two. *ret_pid is 0 in the child, which must end in _exit(); *ret_fd is the end of the pipe that each has, close-on-exec. */
enum rt_pipe_direction { RT_PIPE_TO_CHILD, RT_PIPE_FROM_CHILD };
struct rt_error *rt_fork_with_pipe(enum rt_pipe_direction direction, pid_t *ret_pid, int *ret_fd) _must_check_;

/* pidfd of a process; *ret is -1 where there is no such process (an answer). */
struct rt_error *rt_pidfd_open(pid_t pid, int *ret) _must_check_;

/* The pid, as our /proc has it, of the process that a pidfd from elsewhere stands for; -1: it has ended (an answer). */
struct rt_error *rt_pidfd_pid(int pidfd, pid_t *ret) _must_check_;

/* SIGKILL, 0 and the like through a pidfd; *ret_gone tells that it had ended already (may be NULL). */
struct rt_error *rt_pidfd_kill(int pidfd, int signal, bool *ret_gone) _must_check_;

/* Waits until the process of the pidfd has ended; timeout_ms < 0: forever. */
struct rt_error *rt_pidfd_wait(int pidfd, int timeout_ms, bool *ret_ended) _must_check_;

struct rt_proc_stat {
	char state; /* R S D T t Z X, as in proc(5) */
	bool exiting; /* on its way out, though it may wait for others first (an init for its pid namespace) */
	pid_t parent;
	uint64_t start_time; /* ticks since boot: with the pid it names one process for good */
};

/* *ret_found is false where there is no such process. */
struct rt_error *rt_proc_stat(pid_t pid, struct rt_proc_stat *ret, bool *ret_found) _must_check_;

/* Before execve: no signal ignored or blocked, whatever our own caller had. */
void rt_signals_reset(void);

/* An environment of PATH alone, for programs that we run for ourselves. */
extern const char *const rt_plain_environment[];

/* Marks all descriptors from `first` on close-on-exec. */
struct rt_error *rt_close_on_exec_from(int first) _must_check_;
