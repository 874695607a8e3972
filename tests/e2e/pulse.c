/* What the tests of migration's crash safety move: it checks and changes its memory all the time, and its name tells how it is, so that nobody needs to touch
 * that memory to see it: "pulse-" and how often it did so, eight hexadecimal digits, or "spoilt" once a page is not what it wrote.
 *
 *	pulse MIB */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))
#define CHANGES 8 /* pages a beat */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	return x + 0x9e3779b97f4a7c15ull;
}

static void fill(uint64_t *page, uint64_t seed)
{
	for (size_t i = 0; i < WORDS; i++)
		page[i] = seed = mix(seed);
}

static int is_filled(const uint64_t *page, uint64_t seed)
{
	for (size_t i = 0; i < WORDS; i++)
		if (page[i] != (seed = mix(seed)))
			return 0;
	return 1;
}

static void tell(const char *format, unsigned number)
{
	char name[16];

	snprintf(name, sizeof(name), format, number);
	prctl(PR_SET_NAME, name);
}

int main(int argc, char **argv)
{
	size_t pages = (argc > 1 ? strtoul(argv[1], NULL, 10) : 4) * 256;
	uint8_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t *seeds = calloc(pages, sizeof(*seeds)), chance = 1;

	if (memory == MAP_FAILED || !seeds)
		return 1;
	for (size_t i = 0; i < pages; i++)
		fill((uint64_t *)(memory + i * PAGE), seeds[i] = i);
	for (unsigned beat = 1;; beat++) {
		for (int i = 0; i < CHANGES; i++) {
			size_t page = (chance = mix(chance)) % pages;

			if (!is_filled((uint64_t *)(memory + page * PAGE), seeds[page])) {
				tell("spoilt-%08x", beat);
				pause();
			}
			fill((uint64_t *)(memory + page * PAGE), seeds[page] = chance);
		}
		tell("pulse-%08x", beat);
		nanosleep(&(struct timespec){ .tv_nsec = 4000000 }, NULL);
	}
}
