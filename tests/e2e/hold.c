/* hold KIND: takes hold of something, says "up", and then ten times a second looks whether it still has it: "still N", or
 * "lost" and the end. For the tests of checkpoint and restore. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 5
#define MEMORY (8 << 20)

static int held = -1, other = -1, epoll_fd = -1;
static atomic_uint turns[THREADS];
static unsigned seen[THREADS];
static uint32_t *memory;

static void *turn(void *counter)
{
	for (;;) {
		atomic_fetch_add((atomic_uint *)counter, 1);
		usleep(10000);
	}
	return NULL;
}

static int take_threads(void)
{
	pthread_t thread;

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, turn, &turns[i]))
			return -1;
	return 0;
}

/* Each thread must turn again within two seconds: a restore may cut our own sleep short. */
static int have_threads(void)
{
	for (int i = 0; i < THREADS; i++) {
		unsigned before = seen[i];

		for (int n = 0; n < 200 && seen[i] <= before; n++) {
			seen[i] = atomic_load(&turns[i]);
			if (seen[i] <= before)
				usleep(10000);
		}
		if (seen[i] <= before)
			return 0;
	}
	return 1;
}

static int take_memory(void)
{
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint32_t i = 0; memory != MAP_FAILED && i < MEMORY / sizeof(*memory); i++)
		memory[i] = i * 2654435761u;
	return memory == MAP_FAILED ? -1 : 0;
}

static int have_memory(void)
{
	for (uint32_t i = 0; i < MEMORY / sizeof(*memory); i++)
		if (memory[i] != i * 2654435761u)
			return 0;
	return 1;
}

static int take_lock(void)
{
	held = open("/tmp/lock", O_RDWR | O_CREAT, 0600);
	return flock(held, LOCK_EX);
}

/* Somebody else's attempt, by another description, must fail. */
static int have_lock(void)
{
	int fd = open("/tmp/lock", O_RDWR);
	int refused = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	close(fd);
	return refused;
}

static int take_sockets(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || write(pair[0], "in flight", 9) != 9)
		return -1;
	held = pair[0];
	other = pair[1];
	return 0;
}

static int have_sockets(void)
{
	char text[16] = "";

	return read(other, text, sizeof(text)) == 9 && strcmp(text, "in flight") == 0 && write(held, text, 9) == 9;
}

static int take_events(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 4711 };

	held = eventfd(3, 0);
	epoll_fd = epoll_create1(0);
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, held, &event);
}

static int have_events(void)
{
	struct epoll_event event;
	uint64_t count;

	return epoll_wait(epoll_fd, &event, 1, 0) == 1 && event.data.u64 == 4711 && read(held, &count, 8) == 8 && count == 3 &&
	       write(held, &count, 8) == 8;
}

static int take_io_uring(void)
{
	struct io_uring_params parameters = { 0 };

	held = (int)syscall(SYS_io_uring_setup, 4, &parameters);
	return held < 0 ? -1 : 0;
}

static int take_tracee(void)
{
	pid_t child = fork();

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		for (;;)
			pause();
	}
	usleep(100000);
	return child < 0 ? -1 : 0;
}

static int have_it(void)
{
	return 1;
}

static const struct {
	const char *name;
	int (*take)(void), (*have)(void);
} kinds[] = {
	{ "threads", take_threads, have_threads }, { "memory", take_memory, have_memory }, { "lock", take_lock, have_lock },
	{ "sockets", take_sockets, have_sockets }, { "events", take_events, have_events },
	{ "io_uring", take_io_uring, have_it }, { "tracee", take_tracee, have_it },
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, argv[1]))
			continue;
		if (kinds[i].take() < 0) {
			printf("cannot: %s\n", strerror(errno));
			return 2;
		}
		puts("up");
		for (unsigned n = 0;; n++) {
			usleep(100000);
			if (!kinds[i].have()) {
				puts("lost");
				return 1;
			}
			printf("still %u\n", n);
		}
	}
	return 2;
}
