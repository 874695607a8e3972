#include "migrate/tree_private.h"

#include "runtime/base/str.h"

#include <fcntl.h>
#include <time.h>

/* Times of files advance with the timer tick, 10 ms at most; those of file systems with a coarse clock are whole seconds. */
#define TICK_NS 20000000
#define COARSE_S 2

struct rt_tree_directory *rt_tree_directory_new(const struct rt_tree_directory *parent, const char *name)
{
	struct rt_tree_directory *directory = calloc(1, sizeof(*directory));

	if (!directory)
		return NULL;
	if (asprintf(&directory->path, "%s%s%s", parent ? parent->path : "", parent && *parent->path ? "/" : "", name) < 0) {
		free(directory);
		return NULL;
	}
	return directory;
}

void rt_tree_seen_clear(struct rt_tree_seen *seen)
{
	rt_tree_directory_free(rt_take_ptr(seen->inside));
	rt_tree_sums_clear(&seen->sums);
}

void rt_tree_directory_free(struct rt_tree_directory *directory)
{
	if (!directory)
		return;
	for (size_t i = 0; i < directory->count; i++)
		rt_tree_seen_clear(&directory->children[i]);
	free(directory->children);
	free(directory->names);
	free(directory->path);
	free(directory);
}

/* ---- reading a directory ---- */

struct listing {
	char *names;
	size_t size, room, count;
};

static struct rt_error *add_name(struct listing *list, const char *name)
{
	size_t length = strlen(name) + 1;

	if (list->size + length > list->room) {
		size_t room = list->room ? list->room * 2 : 4096;
		char *names = realloc(list->names, room);

		if (!names)
			return rt_error_oom();
		list->names = names;
		list->room = room;
	}
	memcpy(list->names + list->size, name, length);
	list->size += length;
	list->count++;
	return NULL;
}

static struct rt_error *list_names(int fd, struct listing *list)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	struct rt_error *err = NULL;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return rt_fail_errno("cannot duplicate a descriptor");
	dir = fdopendir(copy);
	if (!dir) {
		close(copy);
		return rt_fail_errno("cannot list it");
	}
	/* The descriptor may have been read before. */
	rewinddir(dir);
	while (!err) {
		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return errno ? rt_fail_errno("cannot list it") : NULL;
		if (!rt_str_equal(entry->d_name, ".") && !rt_str_equal(entry->d_name, ".."))
			err = add_name(list, entry->d_name);
	}
	return err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct rt_tree_seen *)a)->name, ((const struct rt_tree_seen *)b)->name);
}

/* Both are sorted. */
static struct rt_error *take_over(struct rt_tree_directory *directory, struct rt_tree_seen *children, size_t count, rt_tree_gone_fn gone,
				  void *userdata)
{
	struct rt_error *err = NULL;
	size_t old = 0;

	for (size_t i = 0; i <= count; i++) {
		int order = -1;

		while (old < directory->count) {
			order = i < count ? strcmp(directory->children[old].name, children[i].name) : -1;
			if (order >= 0)
				break;
			if (!err)
				err = gone(userdata, directory, &directory->children[old]);
			rt_tree_seen_clear(&directory->children[old]);
			old++;
		}
		if (old < directory->count && order == 0) {
			char *name = children[i].name;

			children[i] = directory->children[old++];
			children[i].name = name;
		}
	}
	return err;
}

struct rt_error *rt_tree_directory_read(struct rt_tree_directory *directory, int fd, rt_tree_gone_fn gone, void *userdata)
{
	struct listing list = { 0 };
	struct rt_tree_seen *children = NULL;
	struct rt_error *err = list_names(fd, &list);
	char *name = list.names;

	if (!err && list.count > 0) {
		children = calloc(list.count, sizeof(*children));
		if (!children)
			err = rt_error_oom();
	}
	if (err) {
		free(list.names);
		return err;
	}
	for (size_t i = 0; i < list.count; i++, name += strlen(name) + 1)
		children[i].name = name;
	if (list.count > 0)
		qsort(children, list.count, sizeof(*children), by_name);
	err = take_over(directory, children, list.count, gone, userdata);
	free(directory->children);
	free(directory->names);
	directory->children = children;
	directory->count = list.count;
	directory->names = list.names;
	return err;
}

/* ---- comparing ---- */

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Nothing changes without ctime, which nobody can set; but within one tick of the clock it may change twice. */
bool rt_tree_seen_same(const struct rt_tree_seen *seen, const struct statx *now)
{
	return seen->mode && !seen->racy && seen->inode == now->stx_ino && seen->device == rt_tree_device(now) && same_time(&seen->ctime, &now->stx_ctime) &&
	       seen->size == now->stx_size && same_time(&seen->mtime, &now->stx_mtime) && seen->mode == now->stx_mode;
}

bool rt_tree_seen_same_attributes(const struct rt_tree_seen *seen, const struct statx *now)
{
	return rt_tree_seen_same(seen, now);
}

static bool is_recent(const struct statx_timestamp *ctime)
{
	struct timespec now;
	int64_t age;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	age = now.tv_sec - ctime->tv_sec;
	if (ctime->tv_nsec == 0 || age < 0)
		return age <= COARSE_S;
	return age <= 1 && age * 1000000000 + now.tv_nsec - ctime->tv_nsec <= TICK_NS;
}

void rt_tree_seen_note(struct rt_tree_seen *seen, const struct statx *now)
{
	seen->inode = now->stx_ino;
	seen->device = rt_tree_device(now);
	seen->size = now->stx_size;
	seen->mtime = now->stx_mtime;
	seen->ctime = now->stx_ctime;
	seen->mode = now->stx_mode;
	seen->racy = is_recent(&now->stx_ctime);
}

/* ---- inodes ---- */

static struct rt_tree_inode *find_slot(struct rt_tree_inode *slots, size_t room, uint64_t inode, uint64_t device)
{
	size_t at = (size_t)((inode ^ device) * 0x9e3779b97f4a7c15u >> 20) & (room - 1);

	while (slots[at].value && (slots[at].inode != inode || slots[at].device != device))
		at = (at + 1) & (room - 1);
	return &slots[at];
}

static struct rt_error *grow(struct rt_tree_inodes *inodes)
{
	size_t room = inodes->room ? inodes->room * 2 : 64;
	struct rt_tree_inode *slots = calloc(room, sizeof(*slots));

	if (!slots)
		return rt_error_oom();
	for (size_t i = 0; i < inodes->room; i++)
		if (inodes->slots[i].value)
			*find_slot(slots, room, inodes->slots[i].inode, inodes->slots[i].device) = inodes->slots[i];
	free(inodes->slots);
	inodes->slots = slots;
	inodes->room = room;
	return NULL;
}

struct rt_error *rt_tree_inodes_put(struct rt_tree_inodes *inodes, uint64_t inode, uint64_t device, void *value)
{
	struct rt_error *err = inodes->count * 2 >= inodes->room ? grow(inodes) : NULL;
	struct rt_tree_inode *slot;

	if (err)
		return err;
	slot = find_slot(inodes->slots, inodes->room, inode, device);
	if (!slot->value)
		inodes->count++;
	*slot = (struct rt_tree_inode){ .inode = inode, .device = device, .value = value };
	return NULL;
}

void *rt_tree_inodes_get(const struct rt_tree_inodes *inodes, uint64_t inode, uint64_t device)
{
	return inodes->room ? find_slot(inodes->slots, inodes->room, inode, device)->value : NULL;
}

void rt_tree_inodes_clear(struct rt_tree_inodes *inodes, bool free_values)
{
	for (size_t i = 0; free_values && i < inodes->room; i++)
		free(inodes->slots[i].value);
	free(inodes->slots);
	*inodes = (struct rt_tree_inodes){ 0 };
}
