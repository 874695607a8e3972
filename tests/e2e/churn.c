/* churn KIND MIB PAGES: memory that is never still, and checks itself: for the tests of migration.
 *
 * Each page is either zero (generation 0) or filled from its number and its generation. PAGES times a second a random page is compared with what it must
 * be, and then rewritten with its next generation, or given back to the kernel. Ten times a second each process prints "NAME turns N bad B"; on SIGUSR1
 * it compares all pages and prints "NAME checked P bad B". N and the generations live in the memory that moves.
 *
 *   private   anonymous memory
 *   huge      the same, with transparent huge pages where the kernel has them
 *   threads   four threads, each with a part of it
 *   forks     three processes that had the same memory when they were forked
 *   shared    the same, but the memory is shared: each has its own pages in it
 *   file      a file mapped shared
 *   tmpfs     the same on /dev/shm
 *   maps      memory that is mapped and unmapped all the time
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / 8)
#define TURNS_A_SECOND 100

struct part {
	const char *name;
	uint64_t *memory;
	uint32_t *generations; /* of each page; only those of own pages count */
	size_t pages, first, step; /* own pages: first, first + step, ... */
	uint64_t random, turns, bad, remapped;
	unsigned rate;
	int gives_back;
};

static volatile sig_atomic_t asked;

static void ask(int signal_number)
{
	asked++;
}

static uint64_t next(uint64_t *random)
{
	uint64_t x = *random += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static void fill(uint64_t *words, size_t page, uint32_t generation)
{
	uint64_t random = (uint64_t)page << 32 | generation;

	words[0] = random;
	for (int i = 1; i < WORDS; i++)
		words[i] = next(&random);
}

/* Whether the page is what it must be. */
static int holds(const uint64_t *words, size_t page, uint32_t generation)
{
	uint64_t random = (uint64_t)page << 32 | generation;

	if (generation == 0) {
		for (int i = 0; i < WORDS; i++)
			if (words[i])
				return 0;
		return 1;
	}
	if (words[0] != random)
		return 0;
	for (int i = 1; i < WORDS; i++)
		if (words[i] != next(&random))
			return 0;
	return 1;
}

static void complain(struct part *part, size_t page)
{
	uint64_t *words = part->memory + page * WORDS;

	if (part->bad++ < 8)
		printf("%s page %zu at %p should be %u, is %llx and whole: %d\n", part->name, page, (void *)words, part->generations[page],
		       (unsigned long long)words[0], holds(words, page, (uint32_t)words[0]));
}

static void check(struct part *part, size_t page)
{
	if (!holds(part->memory + page * WORDS, page, part->generations[page]))
		complain(part, page);
}

static void rewrite(struct part *part)
{
	size_t own = (part->pages - part->first + part->step - 1) / part->step;
	size_t page = part->first + next(&part->random) % own * part->step;
	uint64_t *words = part->memory + page * WORDS;

	check(part, page);
	if (part->gives_back && next(&part->random) % 16 == 0) {
		madvise(words, PAGE, MADV_DONTNEED);
		part->generations[page] = 0;
		return;
	}
	fill(words, page, ++part->generations[page]);
}

/* A new piece with the same content in place of an old one, at the same address. */
static void remap(struct part *part)
{
	size_t pages = 64, first = next(&part->random) % (part->pages / pages) * pages;
	uint64_t *words = part->memory + first * WORDS;

	for (size_t i = 0; i < pages; i++)
		check(part, first + i);
	munmap(words, pages * PAGE);
	if (mmap(words, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		part->bad++;
	for (size_t i = 0; i < pages; i++) {
		part->generations[first + i] = (uint32_t)(next(&part->random) % 3);
		if (part->generations[first + i])
			fill(words + i * WORDS, first + i, part->generations[first + i]);
	}
	part->remapped++;
}

static void check_all(struct part *part)
{
	size_t checked = 0;

	for (size_t page = part->first; page < part->pages; page += part->step, checked++)
		check(part, page);
	printf("%s checked %zu bad %llu\n", part->name, checked, (unsigned long long)part->bad);
}

static void *live(void *userdata)
{
	struct part *part = userdata;
	sig_atomic_t answered = 0;

	for (;; part->turns++) {
		const struct timespec rest = { .tv_nsec = 1000000000 / TURNS_A_SECOND };

		for (unsigned i = 0; i < part->rate / TURNS_A_SECOND; i++)
			rewrite(part);
		if (strcmp(part->name, "maps") == 0 && part->turns % 5 == 0)
			remap(part);
		if (part->turns % (TURNS_A_SECOND / 10) == 0)
			printf("%s turns %llu bad %llu\n", part->name, (unsigned long long)part->turns, (unsigned long long)part->bad);
		if (answered != asked) {
			answered = asked;
			check_all(part);
		}
		nanosleep(&rest, NULL);
	}
	return NULL;
}

static void *map(const char *kind, size_t size)
{
	int shared = strcmp(kind, "shared") == 0, fd = -1, flags = MAP_ANONYMOUS;
	void *memory;

	if (strcmp(kind, "file") == 0 || strcmp(kind, "tmpfs") == 0) {
		fd = open(*kind == 'f' ? "/tmp/mapped" : "/dev/shm/mapped", O_RDWR | O_CREAT, 0600);
		if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
			return MAP_FAILED;
		shared = 1;
		flags = 0;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | (shared ? MAP_SHARED : MAP_PRIVATE), fd, 0);
	if (fd >= 0)
		close(fd);
	if (memory != MAP_FAILED && strcmp(kind, "huge") == 0)
		madvise(memory, size, MADV_HUGEPAGE);
	return memory;
}

static void first_fill(struct part *part)
{
	/* A quarter stays zero. */
	for (size_t page = 0; page < part->pages; page++)
		if (page % 4)
			fill(part->memory + page * WORDS, page, part->generations[page] = 1);
}

static int run(const char *kind, size_t pages, unsigned rate)
{
	static const char *const names[] = { "first", "second", "third", "fourth" };
	int threads = strcmp(kind, "threads") == 0, forks = strcmp(kind, "forks") == 0 || strcmp(kind, "shared") == 0;
	size_t count = threads ? 4 : forks ? 3 : 1;
	struct part *parts = calloc(count, sizeof(*parts));
	uint64_t *memory = map(kind, pages * PAGE);
	uint32_t *generations = calloc(pages, sizeof(*generations));
	pthread_t thread;

	if (memory == MAP_FAILED || !generations || !parts)
		return -1;
	for (size_t i = 0; i < count; i++)
		parts[i] = (struct part){ .name = count == 1 ? kind : names[i], .memory = memory, .generations = generations, .pages = pages,
			.first = strcmp(kind, "forks") ? i : 0, .step = strcmp(kind, "forks") ? count : 1, .random = i, .rate = rate / (unsigned)count,
			.gives_back = strcmp(kind, "shared") && strcmp(kind, "file") && strcmp(kind, "tmpfs") };
	first_fill(&parts[0]);
	puts("up");
	for (size_t i = 1; i < count; i++) {
		if (threads && pthread_create(&thread, NULL, live, &parts[i]))
			return -1;
		if (!threads && fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			live(&parts[i]);
		}
	}
	live(&parts[0]);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ask };

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGUSR1, &action, NULL);
	if (argc != 4)
		return 2;
	if (run(argv[1], strtoul(argv[2], NULL, 10) * (1048576 / PAGE), (unsigned)strtoul(argv[3], NULL, 10)) < 0)
		printf("cannot: %s\n", strerror(errno));
	return 2;
}
