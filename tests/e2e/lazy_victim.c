/* lazy-victim MIB: fills memory with what it can check, says "up", and once /go is there does what its text says, for the tests of lazy restore:
 *
 *	check	touches pages in random order, then looks at all of them: "fine", and the microseconds that the first ones took
 *	churn	madvise(), mremap(), munmap(), mprotect(), fork() and threads, all at memory that has not come yet: "churned"
 *
 * After that it waits for the next /go (its first line must be another). "bad ..." is where something was not what it should be. */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define WORDS (PAGE / 8)
#define PARTS 8

static size_t part_pages;
static uint8_t *parts[PARTS];
static uint64_t salts[PARTS]; /* moves with each new filling */

static void bad(const char *what, size_t page)
{
	printf("bad %s at page %zu\n", what, page);
	fflush(stdout);
	_exit(1);
}

static uint64_t word_of(unsigned part, size_t page, unsigned word)
{
	/* Some pages are zero. */
	return page % 13 == 5 ? 0 : (page * WORDS + word + 1) * 0x9e3779b97f4a7c15ull + part + salts[part];
}

static void fill(unsigned part, uint8_t *at, size_t page, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		for (unsigned word = 0; word < WORDS; word++)
			((uint64_t *)(at + i * PAGE))[word] = word_of(part, page + i, word);
}

static void look(const char *what, unsigned part, const uint8_t *at, size_t page, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		for (unsigned word = 0; word < WORDS; word++)
			if (((const uint64_t *)(at + i * PAGE))[word] != word_of(part, page + i, word))
				bad(what, page + i);
}

static void look_zero(const char *what, const uint8_t *at, size_t pages)
{
	for (size_t i = 0; i < pages * PAGE; i += 8)
		if (*(const uint64_t *)(at + i) != 0)
			bad(what, i / PAGE);
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static void check(void)
{
	static double taken[2000];
	size_t count = sizeof(taken) / sizeof(*taken), slow = 0;
	double begin = now();

	for (size_t i = 0; i < count; i++) {
		unsigned part = (unsigned)(i % PARTS);
		size_t page = (i * 2654435761u) % part_pages;
		double start = now();

		if (*(volatile uint64_t *)(parts[part] + page * PAGE) != word_of(part, page, 0))
			bad("random", page);
		taken[slow] = now() - start;
		/* Less is a page that was there. */
		slow += taken[slow] > 3;
	}
	begin = now() - begin;
	qsort(taken, slow, sizeof(*taken), compare);
	for (unsigned part = 0; part < PARTS; part++)
		look("page", part, parts[part], 0, part_pages);
	printf("fine faults=%zu median=%.1f p90=%.1f max=%.1f total=%.0f\n", slow, slow ? taken[slow / 2] : 0, slow ? taken[slow * 9 / 10] : 0,
	       slow ? taken[slow - 1] : 0, begin);
}

static void *look_at_last_part(void *unused)
{
	for (size_t i = part_pages; i-- > 0;)
		look("in a thread", PARTS - 1, parts[PARTS - 1] + i * PAGE, i, 1);
	return NULL;
}

static void *advise(void *unused)
{
	/* While others fault in the neighbourhood. */
	for (size_t i = 0; i + 4 < part_pages / 2; i += 4)
		madvise(parts[0] + i * PAGE, 2 * PAGE, MADV_DONTNEED);
	return NULL;
}

static void fork_and_look(void)
{
	size_t half = part_pages / 2;
	pid_t child = fork();
	int status;

	if (child == 0) {
		pid_t grandchild;

		madvise(parts[4], half * PAGE, MADV_DONTNEED);
		look_zero("advised in a child", parts[4], half);
		grandchild = fork();
		if (grandchild == 0) {
			look_zero("advised in a grandchild's parent", parts[4], half);
			look("in a grandchild", 4, parts[4] + half * PAGE, half, part_pages - half);
			_exit(0);
		}
		look("in a child", 5, parts[5], 0, part_pages);
		_exit(waitpid(grandchild, &status, 0) == grandchild && status == 0 ? 0 : 1);
	}
	/* The child has its own. */
	madvise(parts[5] + half * PAGE, (part_pages - half) * PAGE, MADV_DONTNEED);
	look("beside a child", 4, parts[4], 0, part_pages);
	look_zero("advised beside a child", parts[5] + half * PAGE, part_pages - half);
	fill(5, parts[5] + half * PAGE, half, part_pages - half);
	/* One that ends at once, and one that becomes another program. */
	for (int i = 0; i < 2; i++) {
		pid_t other = fork();

		if (other == 0) {
			if (i == 1)
				execl("/bin/true", "true", NULL);
			_exit(0);
		}
		if (waitpid(other, &status, 0) != other || status != 0)
			bad("a child ended", (size_t)i);
	}
	if (waitpid(child, &status, 0) != child || status != 0)
		bad("the child ended", (size_t)status);
}

static void move(void)
{
	size_t third = part_pages / 3;
	uint8_t *moved = mremap(parts[1], part_pages * PAGE, (part_pages + 64) * PAGE, MREMAP_MAYMOVE), *place;

	if (moved == MAP_FAILED)
		bad("mremap", 0);
	look("moved", 1, moved, 0, part_pages);
	look_zero("grown", moved + part_pages * PAGE, 64);
	parts[1] = moved;
	/* A piece of one over a piece of another, and back from there to a place of its own. */
	place = mremap(parts[2] + third * PAGE, third * PAGE, third * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, parts[3]);
	if (place != parts[3])
		bad("mremap onto another", 0);
	look("moved onto another", 2, parts[3], third, third / 2);
	place = mmap(NULL, third * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	place = mremap(parts[3], third * PAGE, third * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	if (place == MAP_FAILED)
		bad("mremap again", 0);
	look("moved twice", 2, place, third, third);
	look("before what moved", 2, parts[2], 0, third);
	look("behind what moved", 2, parts[2] + 2 * third * PAGE, 2 * third, part_pages - 2 * third);
	look("behind what was covered", 3, parts[3] + third * PAGE, third, part_pages - third);
	if (mremap(place, third * PAGE, third * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, parts[2] + third * PAGE) == MAP_FAILED)
		bad("mremap back", 0);
	if (mmap(parts[3], third * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != parts[3])
		bad("mmap", 0);
	look_zero("mapped anew", parts[3], third);
	fill(3, parts[3], 0, third);
}

static void churn(void)
{
	pthread_t threads[2];

	pthread_create(&threads[0], NULL, look_at_last_part, NULL);
	pthread_create(&threads[1], NULL, advise, NULL);
	mprotect(parts[6] + 7 * PAGE, 20 * PAGE, PROT_READ);
	mprotect(parts[6] + 100 * PAGE, PAGE, PROT_READ);
	move();
	fork_and_look();
	look("behind mprotect", 6, parts[6], 0, part_pages);
	mprotect(parts[6], part_pages * PAGE, PROT_READ | PROT_WRITE);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	for (size_t i = 0; i < part_pages; i++) {
		if (i % 4 < 2 && i / 4 * 4 + 4 < part_pages / 2)
			look_zero("advised in a thread", parts[0] + i * PAGE, 1);
		else
			look("not advised", 0, parts[0] + i * PAGE, i, 1);
	}
	fill(0, parts[0], 0, part_pages);
	for (unsigned part = 0; part < PARTS; part++)
		look("after all", part, parts[part], 0, part_pages);
	printf("churned\n");
}

int main(int argc, char **argv)
{
	char last[64] = "";

	part_pages = (size_t)atoi(argv[1]) * 256 / PARTS;
	for (unsigned part = 0; part < PARTS; part++) {
		parts[part] = mmap(NULL, part_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (parts[part] == MAP_FAILED)
			bad("mmap", part);
		fill(part, parts[part], 0, part_pages);
	}
	for (printf("up\n");; usleep(500)) {
		char text[64] = "";
		int fd = open("/go", O_RDONLY);

		fflush(stdout);
		if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		if (fd >= 0)
			close(fd);
		if (strcmp(text, last) == 0)
			continue;
		strcpy(last, text);
		if (strncmp(text, "check", 5) == 0)
			check();
		else if (strncmp(text, "churn", 5) == 0)
			churn();
	}
}
