/* rt_sys_seal_self() once more, for a process in which the C library has not been started: no errno,
 * no stdio, no malloc, no calls to memcpy or strlen (they are chosen by the processor only later),
 * hence the bare hands. */
#include "runtime/sys/seal.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#define SELF "/proc/self/exe"
/* A larger environment is left to the long way round. */
#define MOST_VARIABLES 1000

/* As the kernel returns it: -errno. */
static long call(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

static bool starts(const char *text, const char *with)
{
	while (*with)
		if (*text++ != *with++)
			return false;
	return true;
}

static char *append_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	return at;
}

static void append_number(char *at, unsigned long number)
{
	char digits[24];
	int count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while (number /= 10);
	while (count > 0)
		*at++ = digits[--count];
	*at = '\0';
}

/* Negative where we may not, or need not. */
static int clone_readonly(void)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
	long fd = call(SYS_open_tree, AT_FDCWD, (long)SELF, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, 0, 0);
	struct statfs fs;

	if (fd < 0)
		return -1;
	/* The copy has the flags of the original; asked of it, the path is walked once. */
	if (call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0) == 0 && !(fs.f_flags & ST_RDONLY) &&
	    call(SYS_mount_setattr, fd, (long)"", AT_EMPTY_PATH, (long)&attributes, sizeof(attributes)) == 0)
		return (int)fd;
	call(SYS_close, fd, 0, 0, 0, 0);
	return -1;
}

void rt_sys_seal_early(char **argv, char **envp)
{
	char mark[sizeof(RT_SEAL_MARK "=") + 24];
	char *env[MOST_VARIABLES + 2];
	int count = 0, fd;

	for (; envp[count]; count++) {
		/* Ours or not: rt_sys_seal_self() tells. */
		if (count == MOST_VARIABLES || starts(envp[count], RT_SEAL_MARK "="))
			return;
		env[count] = envp[count];
	}
	fd = clone_readonly();
	if (fd < 0)
		return;
	append_number(append_text(mark, RT_SEAL_MARK "="),
		      (unsigned long)call(SYS_getpid, 0, 0, 0, 0, 0));
	env[count] = mark;
	env[count + 1] = 0;
	call(SYS_execveat, fd, (long)"", (long)argv, (long)env, AT_EMPTY_PATH);
	call(SYS_close, fd, 0, 0, 0, 0);
}
