/* What differs from processor to processor in making a stopped thread call the kernel. */
#include "runtime/sys/ptrace.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* The kernel's own error numbers, which no program sees: a call to be made again if no handler runs. */
#define ERESTARTNOHAND 514
/* The same by a note that the kernel keeps. */
#define ERESTART_RESTARTBLOCK 516

#if RT_SYS_TRACE_CALLS

int rt_sys_trace_get_registers(pid_t tid, struct rt_sys_registers *ret)
{
	struct iovec set = { .iov_base = &ret->user, .iov_len = sizeof(ret->user) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &set) < 0)
		return -errno;
	/* The kernel gives the registers of a 32-bit thread in the 32-bit form. */
	if (set.iov_len != sizeof(ret->user))
		return -EOPNOTSUPP;
	ret->call = -1;
#if defined(__aarch64__)
	set = (struct iovec){ .iov_base = &ret->call, .iov_len = sizeof(ret->call) };
	if (ptrace(PTRACE_GETREGSET, tid, NT_ARM_SYSTEM_CALL, &set) < 0)
		return -errno;
#endif
	return 0;
}

int rt_sys_trace_set_registers(pid_t tid, const struct rt_sys_registers *registers)
{
	struct iovec set = { .iov_base = (void *)&registers->user, .iov_len = sizeof(registers->user) };

	if (ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &set) < 0)
		return -errno;
#if defined(__aarch64__)
	set = (struct iovec){ .iov_base = (void *)&registers->call, .iov_len = sizeof(registers->call) };
	if (ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &set) < 0)
		return -errno;
#endif
	return 0;
}

#endif

#if defined(__x86_64__)

/* In none of these has anything happened yet when they say EINTR, so that they can be made again. Close and connect are not among them. */
static const int repeatable[] = {
	SYS_read, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_accept, SYS_accept4, SYS_epoll_wait, SYS_epoll_pwait, 441 /* epoll_pwait2 */,
	SYS_semop, SYS_semtimedop, SYS_rt_sigtimedwait, SYS_io_getevents, SYS_futex, SYS_msgrcv,
};

void rt_sys_registers_call(struct rt_sys_registers *registers, uint64_t instruction, long call, const uint64_t arguments[3])
{
	struct user_regs_struct *user = &registers->user;

	user->rip = instruction;
	user->rax = (uint64_t)call;
	user->rdi = arguments[0];
	user->rsi = arguments[1];
	user->rdx = arguments[2];
	/* No system call is being left: else the kernel would restart the interrupted one with what is in the registers now. */
	user->orig_rax = (uint64_t)-1;
}

int64_t rt_sys_registers_result(const struct rt_sys_registers *registers)
{
	return (int64_t)registers->user.rax;
}

uint64_t rt_sys_registers_instruction(const struct rt_sys_registers *registers)
{
	return registers->user.rip;
}

bool rt_sys_call_is_repeatable(long call)
{
	for (size_t i = 0; i < sizeof(repeatable) / sizeof(*repeatable); i++)
		if (call == repeatable[i])
			return true;
	return false;
}

void rt_sys_registers_mend_restart(struct rt_sys_registers *registers)
{
	if ((int64_t)registers->user.rax == -EINTR && rt_sys_call_is_repeatable((long)registers->user.orig_rax))
		rt_sys_registers_make_again(registers);
}

bool rt_sys_registers_interrupted(const struct rt_sys_registers *registers, long *ret_call, uint64_t ret_arguments[4])
{
	const struct user_regs_struct *user = &registers->user;
	int64_t result = (int64_t)user->rax;

	if ((int64_t)user->orig_rax < 0 || (result != -EINTR && result != -ERESTART_RESTARTBLOCK))
		return false;
	*ret_call = (long)user->orig_rax;
	ret_arguments[0] = user->rdi;
	ret_arguments[1] = user->rsi;
	ret_arguments[2] = user->rdx;
	ret_arguments[3] = user->r10;
	return true;
}

void rt_sys_registers_make_again(struct rt_sys_registers *registers)
{
	registers->user.rax = (uint64_t)-ERESTARTNOHAND;
}

int64_t rt_sys_find_call_instruction(const void *code, uint64_t size)
{
	const char *found = memmem(code, size, "\x0f\x05", 2);

	return found ? found - (const char *)code : -1;
}

#elif defined(__aarch64__)

void rt_sys_registers_call(struct rt_sys_registers *registers, uint64_t instruction, long call, const uint64_t arguments[3])
{
	registers->user.pc = instruction;
	registers->user.regs[8] = (uint64_t)call;
	for (int i = 0; i < 3; i++)
		registers->user.regs[i] = arguments[i];
	registers->call = -1;
}

int64_t rt_sys_registers_result(const struct rt_sys_registers *registers)
{
	return (int64_t)registers->user.regs[0];
}

uint64_t rt_sys_registers_instruction(const struct rt_sys_registers *registers)
{
	return registers->user.pc;
}

/* The kernel has prepared the restart already when a thread stops here, and an EINTR comes without the call it is from: nothing to
 * mend. A sleep that is interrupted begins anew, with its whole time. */
void rt_sys_registers_mend_restart(struct rt_sys_registers *registers)
{
}

bool rt_sys_call_is_repeatable(long call)
{
	return false;
}

bool rt_sys_registers_interrupted(const struct rt_sys_registers *registers, long *ret_call, uint64_t ret_arguments[4])
{
	return false;
}

void rt_sys_registers_make_again(struct rt_sys_registers *registers)
{
}

int64_t rt_sys_find_call_instruction(const void *code, uint64_t size)
{
	static const uint32_t svc = 0xd4000001;

	for (uint64_t at = 0; at + sizeof(svc) <= size; at += sizeof(svc))
		if (memcmp((const char *)code + at, &svc, sizeof(svc)) == 0)
			return (int64_t)at;
	return -1;
}

#else

int rt_sys_trace_get_registers(pid_t tid, struct rt_sys_registers *ret)
{
	return -EOPNOTSUPP;
}

int rt_sys_trace_set_registers(pid_t tid, const struct rt_sys_registers *registers)
{
	return -EOPNOTSUPP;
}

void rt_sys_registers_call(struct rt_sys_registers *registers, uint64_t instruction, long call, const uint64_t arguments[3])
{
}

int64_t rt_sys_registers_result(const struct rt_sys_registers *registers)
{
	return -EOPNOTSUPP;
}

uint64_t rt_sys_registers_instruction(const struct rt_sys_registers *registers)
{
	return 0;
}

void rt_sys_registers_mend_restart(struct rt_sys_registers *registers)
{
}

bool rt_sys_call_is_repeatable(long call)
{
	return false;
}

bool rt_sys_registers_interrupted(const struct rt_sys_registers *registers, long *ret_call, uint64_t ret_arguments[4])
{
	return false;
}

void rt_sys_registers_make_again(struct rt_sys_registers *registers)
{
}

int64_t rt_sys_find_call_instruction(const void *code, uint64_t size)
{
	return -1;
}

#endif
