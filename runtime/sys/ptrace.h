/* Stopping one thread for a moment and having it make a system call: ptrace(2), as the injection of migrate/inject.h needs it.
 *
 * All of it allocates nothing and logs nothing. Calls return 0, or -errno. The tracer is a process that blocks all signals: waiting is done
 * with sigtimedwait(2) on SIGCHLD. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__x86_64__) || defined(__aarch64__)
#define RT_SYS_TRACE_CALLS 1 /* we know how to make a thread call */
#include <sys/user.h>
#else
#define RT_SYS_TRACE_CALLS 0
#endif

/* The general registers; what they are is known to ptrace_regs_*.c alone. */
struct rt_sys_registers {
#if RT_SYS_TRACE_CALLS
	struct user_regs_struct user;
#endif
	int call; /* arm64: the system call number, which is no register */
};

enum rt_sys_stop {
	RT_STOP_TRAP, /* where PTRACE_INTERRUPT stops it, or in a group-stop (SIGSTOP) */
	RT_STOP_SIGNAL, /* about to get a signal */
	RT_STOP_CALL, /* at the beginning or end of a system call */
	RT_STOP_GONE, /* it has ended */
	RT_STOP_LATE, /* not stopped within the time */
};

/* PTRACE_SEIZE. With `suspend_seccomp` its filter is out of force while it is traced (-EPERM where we lack the right). */
int rt_sys_trace_seize(pid_t tid, bool suspend_seccomp);
int rt_sys_trace_interrupt(pid_t tid);

/* Waits for the next stop; timeout_us < 0: for as long as it takes. `ret_signal` is set with RT_STOP_SIGNAL. */
enum rt_sys_stop rt_sys_trace_wait(pid_t tid, int64_t timeout_us, int *ret_signal);

/* Both for a stopped thread; `signal` is delivered, 0: none. */
int rt_sys_trace_continue(pid_t tid, int signal);
int rt_sys_trace_continue_to_call(pid_t tid);
int rt_sys_trace_detach(pid_t tid);

int rt_sys_trace_signal_info(pid_t tid, siginfo_t *ret);

/* -EOPNOTSUPP where the thread runs code of another word size. */
int rt_sys_trace_get_registers(pid_t tid, struct rt_sys_registers *ret);
int rt_sys_trace_set_registers(pid_t tid, const struct rt_sys_registers *registers);

/* True where the thread must not be sent elsewhere now: it is inside a restartable sequence (rseq), which would miss that it was interrupted, or has
 * its system calls redirected (PR_SET_SYSCALL_USER_DISPATCH). */
bool rt_sys_trace_is_delicate(pid_t tid, const struct rt_sys_registers *registers);

/* Registers that make it call; then what the call returned. `instruction` is the address of a system call instruction. */
void rt_sys_registers_call(struct rt_sys_registers *registers, uint64_t instruction, long call, const uint64_t arguments[3]);
int64_t rt_sys_registers_result(const struct rt_sys_registers *registers);
uint64_t rt_sys_registers_instruction(const struct rt_sys_registers *registers);

/* Some calls (epoll_wait, semop, receiving with a timeout) give up with EINTR when the thread is stopped, though no signal is delivered. Changes that
 * into the kernel's word for "again, unless a handler runs", so that nobody notices the stop. */
void rt_sys_registers_mend_restart(struct rt_sys_registers *registers);
/* Whether it is such a call: with EINTR it has done nothing yet. */
bool rt_sys_call_is_repeatable(long call);

/* The call that a thread was in when it was stopped, with its first four arguments. False: in none, or the registers do not tell (arm64). */
bool rt_sys_registers_interrupted(const struct rt_sys_registers *registers, long *ret_call, uint64_t ret_arguments[4]);
/* Has it made again, unless a handler runs. */
void rt_sys_registers_make_again(struct rt_sys_registers *registers);

/* Where in `code` (bytes of the address space) a system call instruction stands; -1: nowhere. */
int64_t rt_sys_find_call_instruction(const void *code, uint64_t size);
