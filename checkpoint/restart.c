#include "checkpoint/restart.h"

#include "checkpoint/image_change.h"

#include <errno.h>
#include <linux/futex.h>

#define MACHINE_X86_64 1u
#define MODE_32_BITS 2u
#define SYSCALL_SIZE 2u /* bytes of the instruction */

/* arch/x86/entry/syscalls/syscall_64.tbl */
enum { POLL = 7, NANOSLEEP = 35, FUTEX = 202, CLOCK_NANOSLEEP = 230 };

static bool can_sleep_on(uint64_t asked, uint64_t left)
{
	return left == 0 || left == asked;
}

/* What the kernel restarts from its note, of which the arguments still say the same. */
static bool says_the_same(const Img__RegistersX86 *registers)
{
	switch (registers->orig_ax) {
	case POLL:
		return true;
	case NANOSLEEP:
		return can_sleep_on(registers->di, registers->si);
	case CLOCK_NANOSLEEP:
		return can_sleep_on(registers->dx, registers->r10);
	case FUTEX:
		return (registers->si & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
	}
	return false;
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
