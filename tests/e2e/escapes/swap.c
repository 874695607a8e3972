// SPDX-License-Identifier: Apache-2.0
/*
 * The attacker of every race on paths: exchanges two names as fast as the kernel can, so that
 * whoever looks at one twice may see two things.
 *
 *   swap A B [A B]...
 *
 * Prints "ready", then swaps until SIGTERM, leaves every pair as it was found, and prints how many
 * exchanges were made. That number is how a test knows there was an attack.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_term };
	unsigned long done = 0;
	int odd[64] = { 0 };

	if (argc < 3 || argc > 64)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	puts("ready");
	fflush(stdout);
	while (!stop) {
		for (int i = 1; i + 1 < argc; i += 2) {
			/* A name that is busy at the moment is simply not swapped this time. */
			if (renameat2(AT_FDCWD, argv[i], AT_FDCWD, argv[i + 1],
				      RENAME_EXCHANGE) == 0) {
				odd[i] ^= 1;
				done++;
			}
		}
	}
	for (int i = 1; i + 1 < argc; i += 2)
		if (odd[i])
			renameat2(AT_FDCWD, argv[i], AT_FDCWD, argv[i + 1], RENAME_EXCHANGE);
	printf("%lu\n", done);
	return 0;
}
