/* Where the kernel enters `rt` when it is a static program for x86-64: before the C library.
 *
 * `create`, `run`, `exec` and `restore` start the program anew from a read-only mount
 * (runtime/sys/seal.h). On a virtual machine most of what a small static program costs is the C
 * library's asking the processor for its features: each CPUID traps to the hypervisor, and there
 * are dozens (docs/performance.md). Done here, the program that is about to be replaced doesn't
 * pay for it. It is no more than a short cut: whatever is not sealed here, main() seals or refuses
 * to run. */
#include "runtime/cmd/command.h"
#include "runtime/sys/seal.h"

/* The stack is as the kernel left it, and must be so again for the C library, together with rdx. */
__asm__(".pushsection .text.rt_entry, \"ax\", @progbits\n"
	".globl rt_entry\n"
	".type rt_entry, @function\n"
	"rt_entry:\n"
	"	endbr64\n"
	"	xor	%ebp, %ebp\n"
	"	mov	%rsp, %rbx\n"
	"	mov	%rdx, %r12\n"
	"	mov	%rsp, %rdi\n"
	"	call	rt_entry_seal\n"
	"	mov	%rbx, %rsp\n"
	"	mov	%r12, %rdx\n"
	"	jmp	_start\n"
	".size rt_entry, . - rt_entry\n"
	".popsection\n");

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Any word that could be the command counts: to parse the options before it would take the C
 * library. A container that is named like a command is sealed once for nothing. */
static bool may_enter_container(char **argv)
{
	for (; *argv; argv++)
		for (const struct rt_command *const *command = rt_commands; *command; command++)
			if (((*command)->flags & RT_CMD_ENTERS_CONTAINER) && equal((*command)->name, *argv))
				return true;
	return false;
}

void rt_entry_seal(char **stack);

/* `stack` holds argc, argv, NULL, the environment, NULL. */
__attribute__((used)) void rt_entry_seal(char **stack)
{
	long argc = (long)stack[0];
	char **argv = stack + 1;

	if (argc > 0 && may_enter_container(argv + 1))
		rt_sys_seal_early(argv, argv + argc + 1);
}
