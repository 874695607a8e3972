#include "checkpoint/unmarked.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define CACHE_LIMIT 4096
#define CACHE_DIRECTORY "/run"
#define CACHE_NAME "criu.kdat"
_Static_assert(sizeof(CACHE_DIRECTORY "/" CACHE_NAME) == sizeof(RT_CRIU_KERNEL_CACHE), "the same file");
/* Entries of the directory; there are some dozens, and each takes a mount. */
#define SHOWN_MAX 200

/* criu/include/kerndat.h, of CRIU 3 and 4: how the file begins. */
struct beginning {
	uint32_t magic[2];
	uint64_t shmem_dev; /* as the kernel keeps it: the minor number has 20 bits */
	int32_t last_cap;
	uint64_t zero_page_pfn;
	uint8_t has_dirty_track, has_memfd, has_memfd_hugetlb, has_fdinfo_lock;
	uint64_t task_size;
};

static struct rt_error *read_last_capability(int *ret)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_read_file_at(AT_FDCWD, "/proc/sys/kernel/cap_last_cap", 64, &text, NULL);

	if (!err)
		*ret = atoi(text);
	return err;
}

/* All that can be compared with what we see ourselves. */
static bool is_of_this_kernel(const struct beginning *beginning)
{
	_cleanup_close_ int fd = memfd_create("device", MFD_CLOEXEC);
	struct rt_error *err;
	struct stat st;
	int last = -1;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	err = read_last_capability(&last);
	rt_error_free(err);
	return !err && beginning->shmem_dev == ((uint64_t)major(st.st_dev) << 20 | minor(st.st_dev)) && beginning->last_cap == last &&
	       beginning->has_memfd == 1 && beginning->has_memfd_hugetlb <= 1 && beginning->has_fdinfo_lock <= 1 && beginning->task_size > 0 &&
	       beginning->task_size % 4096 == 0;
}

bool rt_unmarked_is_said(const void *bytes, size_t size)
{
	struct beginning beginning;

	if (size < sizeof(beginning))
		return false;
	memcpy(&beginning, bytes, sizeof(beginning));
	return beginning.has_dirty_track == 0 && is_of_this_kernel(&beginning);
}

static struct rt_error *read_cache(int dir_fd, char **ret, size_t *ret_size)
{
	return rt_read_file_at(dir_fd, CACHE_NAME, CACHE_LIMIT, ret, ret_size);
}

bool rt_unmarked_is_needed(void)
{
	_cleanup_close_ int dir_fd = open(CACHE_DIRECTORY, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *bytes = NULL;
	size_t size = 0;
	struct rt_error *err = dir_fd < 0 ? rt_fail_errno("cannot open '" CACHE_DIRECTORY "'") : read_cache(dir_fd, &bytes, &size);
	bool needed = !err && rt_unmarked_is_said(bytes, size);

	rt_error_free(err);
	return needed;
}

static struct rt_error *write_changed(int dir_fd, int copy_dir_fd)
{
	_cleanup_close_ int copy = openat(copy_dir_fd, CACHE_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	_cleanup_free_ char *bytes = NULL;
	size_t size = 0;
	struct rt_error *err;

	if (copy < 0)
		return rt_fail_errno("cannot create a file");
	err = read_cache(dir_fd, &bytes, &size);
	if (!err && !rt_unmarked_is_said(bytes, size))
		err = rt_fail(RT_CRIU, "'" RT_CRIU_KERNEL_CACHE "' has changed");
	if (err)
		return err;
	bytes[offsetof(struct beginning, has_dirty_track)] = 1;
	return rt_write_all(copy, bytes, size);
}

/* An entry of the directory, and all below it, is there under the same name. */
static struct rt_error *show(int dir_fd, const char *name, int shown_fd)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);
	_cleanup_close_ int tree = -1;
	struct rt_error *err;
	struct stat st;

	if (length >= 0) {
		target[length] = '\0';
		return symlinkat(target, shown_fd, name) < 0 ? rt_fail_errno("cannot create '%s'", name) : NULL;
	}
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? NULL : rt_fail_errno("cannot look at '%s'", name);
	if (S_ISDIR(st.st_mode) ? mkdirat(shown_fd, name, 0755) < 0 : mknodat(shown_fd, name, S_IFREG | 0600, 0) < 0)
		return rt_fail_errno("cannot create '%s'", name);
	err = rt_sys_clone_tree(dir_fd, name, RT_MOUNT_RECURSIVE | RT_MOUNT_NOFOLLOW, &tree);
	return err ? err : rt_sys_attach_at(tree, shown_fd, name);
}

static struct rt_error *show_others(DIR *dir, int shown_fd)
{
	struct rt_error *err = NULL;
	const struct dirent *entry;
	unsigned count = 0;

	while (!err && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (rt_str_equal(name, ".") || rt_str_equal(name, "..") || rt_str_starts(name, CACHE_NAME))
			continue;
		if (count++ == SHOWN_MAX)
			return rt_fail(RT_CRIU, "there are more than %u entries in '" CACHE_DIRECTORY "'", SHOWN_MAX);
		err = show(dirfd(dir), name, shown_fd);
	}
	return err;
}

/* Not over the file itself: whoever puts a new one in its place, as any CRIU may, takes away all that is mounted on the old, in every namespace. So it is the directory that is
 * another here, with all others in it. */
static struct rt_error *cover_cache(void)
{
	int old = open(CACHE_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = old < 0 ? NULL : fdopendir(old);
	_cleanup_close_ int scratch = -1;
	struct rt_error *err;

	if (!dir)
		return rt_fail_errno("cannot read '" CACHE_DIRECTORY "'");
	err = rt_sys_mount_scratch_on(old, &scratch);
	if (!err)
		err = write_changed(old, scratch);
	return err ? err : show_others(dir, scratch);
}

struct call {
	struct rt_error *(*start)(void *userdata);
	void *userdata;
	bool covered;
};

static struct rt_error *start_covered(void *userdata)
{
	struct call *call = userdata;
	struct rt_error *err = cover_cache();

	call->covered = !err;
	return err ? err : call->start(call->userdata);
}

struct rt_error *rt_unmarked_start(struct rt_error *(*start)(void *userdata), void *userdata)
{
	struct call call = { .start = start, .userdata = userdata };
	struct rt_error *err = rt_sys_call_in_own_mounts(start_covered, &call);

	if (!err || call.covered)
		return err;
	rt_debug("criu will look at all memory: %s", err->message);
	rt_error_free(err);
	return start(userdata);
}
