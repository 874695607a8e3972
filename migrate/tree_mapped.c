#include "migrate/tree_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>

static struct rt_error *note(struct rt_tree *tree, uint64_t inode, uint64_t device)
{
	return rt_tree_inodes_put(&tree->mapped, inode, device, tree);
}

/* A path as the container sees it. An overlay shows other inodes than its upper directory has, and btrfs other devices than stat() says: what has this path
 * below our root is noted as well. That it may be on another mount in the container costs a comparison at most. */
static struct rt_error *note_path(struct rt_tree *tree, const char *path)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_open_in_root(tree->root_fd, path, O_PATH | O_NOFOLLOW, 0, &fd);
	struct statx st;

	if (err || statx(fd, "", AT_EMPTY_PATH, STATX_INO, &st) < 0)
		return rt_error_free(err);
	return note(tree, st.stx_ino, rt_tree_device(&st));
}

/* Newlines in names are written as octal digits. */
static void unescape_newlines(char *path)
{
	char *to = path;

	while (*path) {
		if (strncmp(path, "\\012", 4) == 0) {
			*to++ = '\n';
			path += 4;
		} else {
			*to++ = *path++;
		}
	}
	*to = '\0';
}

static struct rt_error *note_line(struct rt_tree *tree, char *line)
{
	unsigned major, minor;
	unsigned long long inode;
	char rights[5];
	int at = 0;
	struct rt_error *err;

	if (sscanf(line, "%*x-%*x %4s %*x %x:%x %llu %n", rights, &major, &minor, &inode, &at) != 4 || inode == 0 || rights[3] != 's')
		return NULL;
	err = note(tree, inode, (uint64_t)major << 32 | minor);
	line[at + (int)strcspn(line + at, "\n")] = '\0';
	if (err || line[at] != '/')
		return err;
	unescape_newlines(line + at);
	return note_path(tree, line + at);
}

static struct rt_error *note_process(struct rt_tree *tree, pid_t pid)
{
	_cleanup_fclose_ FILE *stream = NULL;
	_cleanup_free_ char *line = NULL;
	struct rt_error *err = NULL;
	char path[32];
	size_t room = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	stream = fopen(path, "re");
	if (!stream)
		return errno == ENOENT || errno == ESRCH ? NULL : rt_fail_errno("cannot open '%s'", path);
	while (!err && getline(&line, &room, stream) > 0)
		err = note_line(tree, line);
	/* A process that ends while it is read gives ESRCH. */
	return err;
}

struct rt_error *rt_tree_note_mapped(struct rt_tree *tree, const pid_t *pids, size_t count)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < count; i++)
		err = note_process(tree, pids[i]);
	return err;
}
