#include "runtime/bundle/unpack.h"

#include "runtime/base/str.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* A real image has some ten thousand directories. This much is what a hostile one may make us remember. */
#define PATHS_MAX ((size_t)256 << 20)
#define FIRST_ROOM 256

struct rt_unpack_directory {
	ino_t inode;
	char *path; /* owned; real path in the root */
	struct timespec mtime;
	mode_t mode;
	uint8_t *default_acl; /* owned; NULL: none */
	size_t default_acl_size;
	bool chosen;
};

static void forget(struct rt_unpack_directory *directory)
{
	free(directory->path);
	free(directory->default_acl);
}

void rt_unpack_directories_deinit(struct rt_unpack_directories *directories)
{
	for (size_t i = 0; i < directories->count; i++)
		forget(&directories->list[i]);
	free(directories->list);
	free(directories->slots);
	*directories = (struct rt_unpack_directories){ 0 };
}

static uint32_t *find_slot(struct rt_unpack_directories *all, ino_t inode)
{
	size_t at = (size_t)(inode * 0x9e3779b97f4a7c15u >> 20) & (all->slot_count - 1);

	while (all->slots[at] && all->list[all->slots[at] - 1].inode != inode)
		at = (at + 1) & (all->slot_count - 1);
	return &all->slots[at];
}

static struct rt_error *grow(struct rt_unpack_directories *all)
{
	size_t room = all->room ? all->room * 2 : FIRST_ROOM;
	struct rt_unpack_directory *list = reallocarray(all->list, room, sizeof(*list));

	if (!list)
		return rt_error_oom();
	all->list = list;
	free(all->slots);
	all->slots = calloc(room * 2, sizeof(*all->slots));
	if (!all->slots)
		return rt_error_oom();
	all->room = room;
	all->slot_count = room * 2;
	for (size_t i = 0; i < all->count; i++)
		*find_slot(all, all->list[i].inode) = (uint32_t)i + 1;
	return NULL;
}

struct rt_error *rt_unpack_note_directory(struct rt_unpack *unpack, int fd, const char *path, const struct timespec *mtime,
					  mode_t mode, bool chosen)
{
	struct rt_unpack_directories *all = &unpack->directories;
	struct rt_unpack_directory *known = NULL;
	struct rt_error *err = all->count == all->room ? grow(all) : NULL;
	struct stat st;
	uint32_t *slot;
	char *copy;

	if (err)
		return err;
	if (fstat(fd, &st) < 0)
		return rt_fail_errno("cannot look at the directory '%s'", path);
	slot = find_slot(all, st.st_ino);
	if (*slot)
		known = &all->list[*slot - 1];
	/* The number of one that was removed is given away again: then it has another path, most likely. */
	if (known && !chosen && rt_str_equal(known->path, path))
		return NULL;
	copy = strdup(path);
	if (!copy)
		return rt_error_oom();
	all->bytes += strlen(path) + 1;
	if (all->bytes > PATHS_MAX) {
		free(copy);
		return rt_fail(RT_CONFIG, "there are too many directories, with too long names");
	}
	if (known) {
		all->bytes -= strlen(known->path) + 1;
		forget(known);
	} else {
		known = &all->list[all->count++];
		*slot = (uint32_t)all->count;
	}
	*known = (struct rt_unpack_directory){ .inode = st.st_ino, .path = copy, .mtime = mtime ? *mtime : st.st_mtim, .mode = mode,
					       .chosen = chosen };
	if (chosen) {
		known->default_acl = rt_take_ptr(unpack->default_acl);
		known->default_acl_size = unpack->default_acl_size;
	}
	return NULL;
}

static int deepest_first(const void *a, const void *b)
{
	return strcmp(((const struct rt_unpack_directory *)b)->path, ((const struct rt_unpack_directory *)a)->path);
}

static struct rt_error *finish_one(struct rt_unpack *unpack, const struct rt_unpack_directory *directory)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, directory->mtime };
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_unpack_open_below(unpack->root_fd, directory->path, &fd);
	struct stat st;

	/* Removed again, or replaced. */
	if (err && (err->errnum == ENOENT || err->errnum == ENOTDIR || err->errnum == ELOOP))
		return rt_error_free(err);
	if (err)
		return err;
	if (fstat(fd, &st) < 0)
		return rt_fail_errno("cannot look at '%s'", directory->path);
	if (st.st_ino != directory->inode)
		return NULL;
	if (directory->default_acl &&
	    fsetxattr(fd, RT_XATTR_ACL_DEFAULT, directory->default_acl, directory->default_acl_size, 0) < 0 && errno != ENOTSUP &&
	    !(errno == EPERM && (unpack->flags & RT_UNPACK_AS_USER)))
		return rt_fail_errno("cannot set the default ACL of '%s'", directory->path);
	if (futimens(fd, times) < 0)
		return rt_fail_errno("cannot set the time of '%s'", directory->path);
	if ((unpack->flags & RT_UNPACK_AS_USER) && fchmod(fd, directory->mode) < 0)
		return rt_fail_errno("cannot set the mode of '%s'", directory->path);
	return NULL;
}

struct rt_error *rt_unpack_finish_directories(struct rt_unpack *unpack)
{
	struct rt_unpack_directories *all = &unpack->directories;
	struct rt_error *err = NULL;

	if (all->count > 0)
		qsort(all->list, all->count, sizeof(*all->list), deepest_first);
	for (size_t i = 0; !err && i < all->count; i++)
		err = finish_one(unpack, &all->list[i]);
	return err;
}
