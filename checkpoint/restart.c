#include "checkpoint/restart.h"

#include "checkpoint/image_change.h"
#include "runtime/sys/ptrace.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#define MACHINE_X86_64 1u
#define MODE_32_BITS 2u
#define SYSCALL_SIZE 2u /* bytes of the instruction */

static bool can_sleep_on(uint64_t asked, uint64_t left)
{
	return left == 0 || left == asked;
}

bool rt_restart_says_the_same(long call, const uint64_t arguments[4])
{
	switch (call) {
	case SYS_nanosleep:
		return can_sleep_on(arguments[0], arguments[1]);
	case SYS_clock_nanosleep:
		return can_sleep_on(arguments[2], arguments[3]);
	case SYS_futex:
		return (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
#ifdef SYS_poll
	case SYS_poll:
		return true;
#endif
	}
	return rt_sys_call_is_repeatable(call);
}

static bool says_the_same(const Img__RegistersX86 *registers)
{
	return rt_restart_says_the_same((long)registers->orig_ax, (const uint64_t[]){ registers->di, registers->si, registers->dx, registers->r10 });
}

static bool is_interrupted(const Img__Core *core)
{
	const Img__RegistersX86 *registers = core->x86 ? core->x86->registers : NULL;

	if (core->machine != MACHINE_X86_64 || !registers || registers->mode == MODE_32_BITS)
		return false;
	if ((core->task && core->task->signals && core->task->signals->n_pending) || (core->thread && core->thread->signals && core->thread->signals->n_pending))
		return false;
	return registers->has_ax && registers->has_orig_ax && registers->has_ip && (int64_t)registers->ax == -EINTR;
}

static struct rt_error *restart(ProtobufCMessage *message, const void *userdata, bool *changed)
{
	Img__Core *core = (Img__Core *)message;

	(void)userdata;
	if (!is_interrupted(core) || !says_the_same(core->x86->registers))
		return NULL;
	core->x86->registers->ax = core->x86->registers->orig_ax;
	core->x86->registers->ip -= SYSCALL_SIZE;
	*changed = true;
	return NULL;
}

static struct rt_error *restart_in(void *image_fd, const char *name)
{
	return rt_image_change(*(const int *)image_fd, name, RT_IMAGE_CORE, restart, NULL);
}

struct rt_error *rt_restart_calls(int image_fd)
{
	return rt_image_names(image_fd, RT_IMAGE_CORE, restart_in, &image_fd);
}
