/* call [--i386] NUMBER [ARGUMENT...]: makes one system call and prints "ok RESULT" or the number of the error. The tests
 * of seccomp run it in containers. --i386: through the 32-bit entry of x86, whatever we are ourselves. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long call_i386(const long *words)
{
#ifdef __x86_64__
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(words[0]), "b"(words[1]), "c"(words[2]), "d"(words[3])
			 : "memory", "r8", "r9", "r10", "r11");
	result = (int)result;
	if (result >= 0)
		return result;
	errno = (int)-result;
#else
	(void)words;
	errno = ENOSYS;
#endif
	return -1;
}

int main(int argc, char **argv)
{
	int i386 = argc > 1 && strcmp(argv[1], "--i386") == 0, first = 1 + i386;
	long words[7] = { 0 }, result;

	for (int i = first; i < argc && i - first < 7; i++)
		words[i - first] = (long)strtoull(argv[i], NULL, 0);
	result = i386 ? call_i386(words)
		      : syscall(words[0], words[1], words[2], words[3], words[4], words[5], words[6]);
	if (result < 0)
		printf("%d\n", errno);
	else
		printf("ok %ld\n", result);
	return 0;
}
