#include "migrate/pageset_private.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SLOTS (RT_PAGESETS_MAX * 2)

struct rt_pagesets {
	struct control *control;
	int fd;
	int dir_fd; /* borrowed: where the files are; -1: they have no names */
	pthread_mutex_t lock; /* of what follows */
	size_t count;
	struct rt_pageset *sets[RT_PAGESETS_MAX];
	uint16_t slots[SLOTS]; /* a hash table by space: index + 1 */
};

/* Slot of the space, or the free one where it would go. */
static uint16_t *slot_of(struct rt_pagesets *sets, uint64_t space)
{
	size_t at = (size_t)((space * 0x9e3779b97f4a7c15ull) >> 40) % SLOTS;

	while (sets->slots[at] != 0 && sets->sets[sets->slots[at] - 1]->shared->space != space)
		at = (at + 1) % SLOTS;
	return &sets->slots[at];
}

#define CONTROL_NAME "control"

/* The file of a set is named by its number. */
struct set_name {
	char text[24];
};
static struct set_name name_of_set(size_t number)
{
	struct set_name name;

	snprintf(name.text, sizeof(name.text), "set-%zu", number);
	return name;
}

static struct rt_error *make_file(int dir_fd, const char *name, uint64_t size, int *ret)
{
	_cleanup_close_ int fd = dir_fd < 0 ? memfd_create("rt-pageset", MFD_CLOEXEC) : openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return rt_fail_errno("cannot make memory for pages");
	if (ftruncate(fd, (off_t)size) < 0)
		return rt_fail_errno("cannot size the memory for pages");
	*ret = rt_take_fd(fd);
	return NULL;
}

/* Takes over `fd`. */
static struct rt_error *map_control(int fd, int dir_fd, struct rt_pagesets **ret)
{
	struct rt_pagesets *sets = calloc(1, sizeof(*sets));
	void *control;

	if (!sets) {
		close(fd);
		return rt_error_oom();
	}
	control = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED) {
		struct rt_error *err = rt_fail_errno("cannot map the table of page sets");

		close(fd);
		free(sets);
		return err;
	}
	sets->control = control;
	sets->fd = fd;
	sets->dir_fd = dir_fd;
	pthread_mutex_init(&sets->lock, NULL);
	*ret = sets;
	return NULL;
}

struct rt_error *rt_pagesets_new_in(int dir_fd, uint64_t limit, struct rt_pagesets **ret)
{
	struct rt_pagesets *sets;
	struct rt_error *err;
	int fd = -1;

	err = make_file(dir_fd, CONTROL_NAME, sizeof(struct control), &fd);
	if (!err)
		err = map_control(fd, dir_fd, &sets);
	if (err)
		return err;
	sets->control->limit = limit;
	*ret = sets;
	return NULL;
}

struct rt_error *rt_pagesets_new(uint64_t limit, struct rt_pagesets **ret)
{
	return rt_pagesets_new_in(-1, limit, ret);
}

static void free_set(struct rt_pageset *set)
{
	munmap(set->states, MAP_BYTES);
	close(set->fd);
	free(set);
}

void rt_pagesets_free(struct rt_pagesets *sets)
{
	if (!sets)
		return;
	for (size_t i = 0; i < sets->count; i++)
		free_set(sets->sets[i]);
	munmap(sets->control, sizeof(struct control));
	close(sets->fd);
	pthread_mutex_destroy(&sets->lock);
	free(sets);
}

/* Maps the set that is next in the table and takes over `fd`. The caller holds the lock, or is alone. */
static struct rt_error *add_set(struct rt_pagesets *sets, int fd)
{
	struct rt_pageset *set = calloc(1, sizeof(*set));
	struct rt_error *err;
	void *map;

	if (!set) {
		close(fd);
		return rt_error_oom();
	}
	map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)RT_PAGESET_ADDRESS_MAX);
	if (map == MAP_FAILED) {
		err = rt_fail_errno("cannot map the states of a page set");
		close(fd);
		free(set);
		return err;
	}
	set->control = sets->control;
	set->shared = &sets->control->sets[sets->count];
	set->fd = fd;
	set->states = map;
	set->summary = (_Atomic uint64_t *)((uint8_t *)map + STATES_BYTES);
	*slot_of(sets, set->shared->space) = (uint16_t)(sets->count + 1);
	sets->sets[sets->count++] = set;
	return NULL;
}

static struct rt_error *make_set(struct rt_pagesets *sets, uint64_t space, struct rt_pageset **ret)
{
	struct rt_error *err;
	int fd = -1;

	if (sets->count == RT_PAGESETS_MAX)
		return rt_fail(RT_PEER, "more than %d address spaces", RT_PAGESETS_MAX);
	err = make_file(sets->dir_fd, name_of_set(sets->count).text, FILE_BYTES, &fd);
	if (err)
		return err;
	sets->control->sets[sets->count].space = space;
	err = add_set(sets, fd);
	if (err)
		return err;
	atomic_store(&sets->control->count, sets->count);
	*ret = sets->sets[sets->count - 1];
	return NULL;
}

struct rt_error *rt_pagesets_get(struct rt_pagesets *sets, uint64_t space, struct rt_pageset **ret)
{
	struct rt_error *err = NULL;
	uint16_t slot;

	pthread_mutex_lock(&sets->lock);
	slot = *slot_of(sets, space);
	if (slot > 0)
		*ret = sets->sets[slot - 1];
	else
		err = make_set(sets, space, ret);
	pthread_mutex_unlock(&sets->lock);
	return err;
}

struct rt_pageset *rt_pagesets_find(struct rt_pagesets *sets, uint64_t space)
{
	struct rt_pageset *set;
	uint16_t slot;

	pthread_mutex_lock(&sets->lock);
	slot = *slot_of(sets, space);
	set = slot > 0 ? sets->sets[slot - 1] : NULL;
	pthread_mutex_unlock(&sets->lock);
	return set;
}

void rt_pagesets_each(struct rt_pagesets *sets, void (*each)(void *userdata, uint64_t space, struct rt_pageset *set), void *userdata)
{
	size_t count;

	pthread_mutex_lock(&sets->lock);
	count = sets->count;
	pthread_mutex_unlock(&sets->lock);
	for (size_t i = 0; i < count; i++)
		each(userdata, sets->sets[i]->shared->space, sets->sets[i]);
}

struct rt_error *rt_pagesets_descriptors(struct rt_pagesets *sets, int **ret, size_t *ret_count)
{
	int *fds;

	pthread_mutex_lock(&sets->lock);
	fds = malloc((sets->count + 1) * sizeof(*fds));
	if (fds) {
		fds[0] = sets->fd;
		for (size_t i = 0; i < sets->count; i++)
			fds[i + 1] = sets->sets[i]->fd;
		*ret = fds;
		*ret_count = sets->count + 1;
	}
	pthread_mutex_unlock(&sets->lock);
	return fds ? NULL : rt_error_oom();
}

static bool has_size(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

struct rt_error *rt_pagesets_adopt(const int *fds, size_t count, struct rt_pagesets **ret)
{
	struct rt_pagesets *sets = NULL;
	struct rt_error *err = NULL;
	size_t taken = 0;

	if (count > 0 && has_size(fds[0], sizeof(struct control)))
		err = map_control(fds[taken++], -1, &sets);
	if (!err && (!sets || atomic_load(&sets->control->count) != count - 1))
		err = rt_fail(RT_SYSTEM, "these %zu descriptors are no page sets", count);
	while (!err && taken < count) {
		if (!has_size(fds[taken], FILE_BYTES))
			err = rt_fail(RT_SYSTEM, "descriptor %d is no page set", fds[taken]);
		else
			err = add_set(sets, fds[taken++]);
	}
	if (!err) {
		*ret = sets;
		return NULL;
	}
	while (taken < count)
		close(fds[taken++]);
	rt_pagesets_free(sets);
	return err;
}

struct rt_error *rt_pagesets_open(int dir_fd, struct rt_pagesets **ret)
{
	_cleanup_free_ int *fds = calloc(RT_PAGESETS_MAX + 1, sizeof(*fds));
	size_t count = 0;

	if (!fds)
		return rt_error_oom();
	do {
		const char *name = count > 0 ? name_of_set(count - 1).text : CONTROL_NAME;

		fds[count] = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	} while (fds[count] >= 0 && ++count <= RT_PAGESETS_MAX);
	return rt_pagesets_adopt(fds, count, ret);
}

void rt_pagesets_usage(struct rt_pagesets *sets, struct rt_pageset_usage *ret)
{
	ret->data = atomic_load(&sets->control->data);
	ret->zero = atomic_load(&sets->control->zero);
	ret->stored = atomic_load(&sets->control->stored);
}
