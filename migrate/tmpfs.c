#include "migrate/tmpfs.h"

#include "checkpoint/manifest.h"
#include "migrate/tree_apply.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define BUFFER (256u << 10)

/* ---- visiting another mount namespace ---- */

struct visit {
	int own, here;
};

static struct rt_error *visit_begin(struct visit *visit, pid_t pid)
{
	_cleanup_close_ int theirs = -1;
	struct rt_error *err;

	*visit = (struct visit){ .own = -1, .here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC) };
	if (visit->here < 0)
		return rt_fail_errno("cannot open the current directory");
	err = rt_sys_open_namespace_of(0, RT_NS_MOUNT, &visit->own);
	if (!err)
		err = rt_sys_open_namespace_of(pid, RT_NS_MOUNT, &theirs);
	return err ? err : rt_sys_setns(theirs, CLONE_NEWNS);
}

/* Returns `err`, or its own failure. */
static struct rt_error *visit_end(struct visit *visit, struct rt_error *err)
{
	struct rt_error *second = visit->own < 0 ? NULL : rt_sys_setns(visit->own, CLONE_NEWNS);

	if (!second && visit->here >= 0 && fchdir(visit->here) < 0)
		second = rt_fail_errno("cannot go back to the current directory");
	rt_closep(&visit->own);
	rt_closep(&visit->here);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

/* ---- out ---- */

static struct rt_error *write_out(void *userdata, const void *bytes, size_t size)
{
	return rt_write_all(*(int *)userdata, bytes, size);
}

static struct rt_error *pack(int tree_fd, int image_fd, const char *name)
{
	_cleanup_close_ int out = openat(image_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	_cleanup_(rt_tree_freep) struct rt_tree *tree = NULL;
	struct rt_tree_totals totals;
	struct rt_error *err;

	if (out < 0)
		return rt_fail_errno("cannot create '%s'", name);
	err = rt_tree_new(rt_fd_path(tree_fd).text, 0, &tree);
	return err ? err : rt_tree_send(tree, write_out, &out, &totals);
}

/* A copy of the mount without what is mounted on it. */
static struct rt_error *take_mounts(pid_t init, const Rt__Container *described, int *trees)
{
	struct visit visit;
	struct rt_error *err = visit_begin(&visit, init);

	for (size_t i = 0; i < described->n_mounts && !err; i++) {
		_cleanup_close_ int fd = -1;

		if (!rt_mount_is_elsewhere(described->mounts[i]))
			continue;
		fd = open(described->mounts[i]->destination, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			err = rt_fail_errno("cannot open '%s' of the container", described->mounts[i]->destination);
		else
			err = rt_sys_clone_tree(fd, "", 0, &trees[i]);
	}
	return visit_end(&visit, err);
}

struct rt_error *rt_tmpfs_pack(pid_t init, const Rt__Container *described, int image_fd)
{
	_cleanup_free_ int *trees = malloc((described->n_mounts + 1) * sizeof(*trees));
	struct rt_error *err;
	char name[32];

	if (!trees)
		return rt_error_oom();
	memset(trees, -1, (described->n_mounts + 1) * sizeof(*trees));
	err = take_mounts(init, described, trees);
	for (size_t i = 0; i < described->n_mounts; i++) {
		snprintf(name, sizeof(name), "tmpfs-%zu.tree", i);
		if (!err && trees[i] >= 0)
			err = pack(trees[i], image_fd, name);
		rt_closep(&trees[i]);
	}
	return err ? rt_while(err, "reading the container's tmpfs mounts") : NULL;
}

/* ---- in ---- */

struct source {
	const char *name;
	int fd;
	void *buffer; /* BUFFER bytes */
	struct rt_error *err; /* owned */
};

static ssize_t read_in(void *userdata, const void **bytes)
{
	struct source *source = userdata;
	ssize_t got;

	do {
		got = read(source->fd, source->buffer, BUFFER);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && !source->err)
		source->err = rt_fail_errno("cannot read '%s'", source->name);
	*bytes = source->buffer;
	return got < 0 ? 0 : got;
}

/* In this thread: it is a file, and most are small. */
static struct rt_error *fill(int mount_fd, int image_fd, const char *name)
{
	_cleanup_(rt_tree_apply_freep) struct rt_tree_apply *apply = NULL;
	_cleanup_close_ int in = openat(image_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_close_ int root = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ void *buffer = malloc(BUFFER);
	struct source source = { .name = name, .fd = in, .buffer = buffer };
	struct rt_error *err;

	if (!buffer)
		return rt_error_oom();
	if (in < 0 || root < 0)
		return rt_fail_errno("cannot open '%s'", name);
	/* The new file system has the limits of the old one. */
	err = rt_tree_apply_new(&(struct rt_tree_receive_options){ .root_fd = root, .max_bytes = UINT64_MAX, .privileged_nodes = true }, &apply);
	if (!err)
		err = rt_tree_apply_run(apply, read_in, &source);
	if (!source.err)
		return err;
	rt_error_free(err); /* it misses the rest */
	return source.err;
}

static struct rt_error *make(Rt__Mount *mount, int image_fd, const char *name, int *ret)
{
	const struct rt_filesystem tmpfs = {
		.type = "tmpfs", .source = "tmpfs", .options = (const char *const *)mount->options, .option_count = mount->n_options,
	};
	struct rt_error *err = rt_sys_make_filesystem(&tmpfs, ret);

	if (!err)
		err = fill(*ret, image_fd, name);
	return err ? rt_while(err, "the tmpfs '%s'", mount->destination) : NULL;
}

static struct rt_error *attach(const Rt__Container *described, const char *directory, const int *mounts, pid_t criu)
{
	struct visit visit;
	struct rt_error *err = visit_begin(&visit, criu);

	for (size_t i = 0; i < described->n_mounts && !err; i++) {
		_cleanup_close_ int at = -1;

		if (mounts[i] < 0)
			continue;
		at = open(described->mounts[i]->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
		err = at < 0 ? rt_fail_errno("cannot open '%s'", described->mounts[i]->source) : rt_sys_attach(mounts[i], at);
	}
	return visit_end(&visit, err);
}

struct rt_error *rt_tmpfs_unpack(Rt__Container *described, int image_fd, const char *directory, pid_t criu)
{
	_cleanup_free_ int *mounts = malloc((described->n_mounts + 1) * sizeof(*mounts));
	struct rt_error *err = mounts ? NULL : rt_error_oom();

	if (err)
		return err;
	memset(mounts, -1, (described->n_mounts + 1) * sizeof(*mounts));
	for (size_t i = 0; i < described->n_mounts && !err; i++) {
		Rt__Mount *mount = described->mounts[i];
		_cleanup_free_ char *path = NULL;
		char name[32];

		if (!rt_mount_is_elsewhere(mount))
			continue;
		snprintf(name, sizeof(name), "tmpfs-%zu.tree", i);
		err = rt_format(&path, "%s/tmpfs-%zu", directory, i);
		if (!err && mkdir(path, 0700) < 0 && errno != EEXIST)
			err = rt_fail_errno("cannot make '%s'", path);
		if (!err)
			err = rt_manifest_set(&mount->source, path);
		if (!err)
			err = make(mount, image_fd, name, &mounts[i]);
	}
	if (!err)
		err = attach(described, directory, mounts, criu);
	for (size_t i = 0; i < described->n_mounts; i++)
		rt_closep(&mounts[i]);
	return err;
}
