#include "checkpoint/describe_private.h"

#include "checkpoint/members.h"

#include "checkpoint/manifest.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* linux/major.h: pseudo terminals, slave side. */
#define UNIX98_PTY_FIRST 136
#define UNIX98_PTY_LAST 143

#define SOCKET_TABLE_LIMIT (64u << 20)

struct fdinfo {
	unsigned long long position;
	unsigned flags;
	int mount;
};

static struct rt_error *read_fdinfo(pid_t pid, unsigned fd, struct fdinfo *ret)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%u", pid, fd);
	err = rt_read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL);
	if (err)
		return err;
	if (sscanf(text, "pos: %llu flags: %o mnt_id: %d", &ret->position, &ret->flags, &ret->mount) != 3)
		return rt_fail(RT_SYSTEM, "cannot understand '%s'", path);
	return NULL;
}

static Rt__StreamKind kind_of(const struct stat *st, const struct fdinfo *info, const struct rt_mountinfo *theirs)
{
	bool inside = rt_mountinfo_by_id(theirs, info->mount) != NULL;

	if (S_ISFIFO(st->st_mode) && !inside)
		return RT__STREAM_KIND__STREAM_PIPE;
	if (S_ISSOCK(st->st_mode))
		return RT__STREAM_KIND__STREAM_SOCKET;
	if (S_ISCHR(st->st_mode) && major(st->st_rdev) >= UNIX98_PTY_FIRST && major(st->st_rdev) <= UNIX98_PTY_LAST)
		return RT__STREAM_KIND__STREAM_TERMINAL;
	if (S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3))
		return RT__STREAM_KIND__STREAM_NULL;
	if (inside)
		return RT__STREAM_KIND__STREAM_INSIDE;
	return S_ISREG(st->st_mode) ? RT__STREAM_KIND__STREAM_FILE : RT__STREAM_KIND__STREAM_OTHER;
}

/* What CRIU's inherit_fd and external call it; empty for what it opens again by itself. */
static struct rt_error *name_key(Rt__Stream *stream, const char *link, const struct stat *st, const struct fdinfo *info,
				 bool inside)
{
	_cleanup_free_ char *key = NULL;
	struct rt_error *err = NULL;

	switch (stream->kind) {
	case RT__STREAM_KIND__STREAM_PIPE:
	case RT__STREAM_KIND__STREAM_SOCKET:
		err = rt_format(&key, "%s", link); /* "pipe:[123]" */
		break;
	case RT__STREAM_KIND__STREAM_FILE:
		err = rt_format(&key, "file[%x:%lx]", (unsigned)info->mount, (unsigned long)st->st_ino);
		break;
	case RT__STREAM_KIND__STREAM_NULL:
	case RT__STREAM_KIND__STREAM_OTHER:
		if (!inside)
			err = rt_format(&key, "file[%x:%lx]", (unsigned)info->mount, (unsigned long)st->st_ino);
		break;
	case RT__STREAM_KIND__STREAM_TERMINAL:
		if (!inside)
			err = rt_format(&key, "tty[%lx:%lx]", (unsigned long)st->st_rdev, (unsigned long)st->st_dev);
		break;
	default:
		break;
	}
	return err ? err : rt_manifest_set(&stream->key, key);
}

static void note_sharing(const Rt__Container *container, Rt__Stream *stream)
{
	stream->same_as = -1;
	for (size_t i = 0; i + 1 < container->n_streams; i++) {
		const Rt__Stream *other = container->streams[i];

		if (stream->kind != RT__STREAM_KIND__STREAM_CLOSED && other->kind == stream->kind &&
		    other->inode == stream->inode && other->device == stream->device) {
			stream->same_as = (int32_t)other->fd;
			return;
		}
	}
}

static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		if (at > text && at[-1] == ' ' && (at[length] == ' ' || at[length] == '\n'))
			return true;
	return false;
}

/* CRIU finds sockets in the network namespaces of the tree and nowhere else. */
static struct rt_error *check_socket(pid_t pid, const Rt__Stream *stream)
{
	static const char *const tables[] = { "unix", "tcp", "tcp6", "udp", "udp6" };
	char path[64], inode[32];

	snprintf(inode, sizeof(inode), "%llu", (unsigned long long)stream->inode);
	for (size_t i = 0; i < RT_ARRAY_SIZE(tables); i++) {
		_cleanup_free_ char *text = NULL;
		struct rt_error *err;

		snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, tables[i]);
		err = rt_read_file_at(AT_FDCWD, path, SOCKET_TABLE_LIMIT, &text, NULL);
		if (err && err->errnum == ENOENT) {
			rt_error_free(err); /* no IPv6 */
			continue;
		}
		if (err)
			return err;
		if (has_word(text, inode))
			return NULL;
	}
	return rt_fail(RT_CRIU, "standard stream %u is a socket of another network namespace than the container's, which CRIU can't "
				"checkpoint (a pipe, a file or a terminal it can)", stream->fd);
}

static struct rt_error *describe_stream(pid_t pid, unsigned fd, const struct rt_mountinfo *theirs, Rt__Container *into)
{
	char path[64], link[PATH_MAX];
	struct fdinfo info;
	Rt__Stream *stream;
	struct rt_error *err;
	struct stat st;
	ssize_t length;

	err = rt_manifest_append(&into->streams, &into->n_streams, &rt__stream__descriptor, &stream);
	if (err)
		return err;
	stream->fd = fd;
	stream->same_as = -1;
	snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0 && errno == ENOENT)
		return NULL; /* closed */
	if (length < 0 || stat(path, &st) < 0)
		return rt_fail_errno("cannot look at '%s'", path);
	link[length] = '\0';
	err = read_fdinfo(pid, fd, &info);
	if (err)
		return err;
	stream->kind = kind_of(&st, &info, theirs);
	stream->flags = info.flags;
	stream->position = info.position;
	stream->device = stream->kind == RT__STREAM_KIND__STREAM_TERMINAL ? st.st_rdev : st.st_dev;
	stream->inode = st.st_ino;
	note_sharing(into, stream);
	err = rt_manifest_set(&stream->path, link);
	if (!err && stream->kind == RT__STREAM_KIND__STREAM_SOCKET && stream->same_as < 0)
		err = check_socket(pid, stream);
	return err ? err : name_key(stream, link, &st, &info, rt_mountinfo_by_id(theirs, info.mount) != NULL);
}

struct rt_error *rt_describe_streams(pid_t pid, const struct rt_mountinfo *theirs, Rt__Container *into)
{
	struct rt_error *err = NULL;

	for (unsigned fd = 0; fd <= STDERR_FILENO && !err; fd++)
		err = describe_stream(pid, fd, theirs, into);
	return err;
}

static bool has_key(const Rt__Container *container, const char *key)
{
	for (size_t i = 0; i < container->n_streams; i++)
		if (rt_str_equal(container->streams[i]->key, key))
			return true;
	return false;
}

/* A process may end, or close it, while we look. */
static struct rt_error *describe_other_stream(pid_t pid, unsigned fd, const struct rt_mountinfo *theirs, Rt__Container *into)
{
	_cleanup_free_ char *key = NULL;
	char path[64], link[PATH_MAX];
	struct fdinfo info;
	Rt__Stream *stream;
	struct rt_error *err;
	struct stat st;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0 || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	link[length] = '\0';
	err = read_fdinfo(pid, fd, &info);
	if (err)
		return rt_error_free(err);
	if (kind_of(&st, &info, theirs) != RT__STREAM_KIND__STREAM_FILE)
		return NULL;
	err = rt_format(&key, "file[%x:%lx]", (unsigned)info.mount, (unsigned long)st.st_ino);
	if (err || has_key(into, key) || into->n_streams == RT_DESCRIBED_STREAMS)
		return err;
	err = rt_manifest_append(&into->streams, &into->n_streams, &rt__stream__descriptor, &stream);
	if (err)
		return err;
	*stream = (Rt__Stream){
		.base = stream->base, .fd = fd, .kind = RT__STREAM_KIND__STREAM_FILE, .key = stream->key, .path = stream->path,
		.flags = info.flags, .position = info.position, .device = st.st_dev, .inode = st.st_ino, .same_as = -1,
	};
	err = rt_manifest_set(&stream->path, link);
	return err ? err : rt_manifest_set(&stream->key, key);
}

struct rt_error *rt_describe_other_streams(const struct rt_container *container, const struct rt_mountinfo *theirs, Rt__Container *into)
{
	_cleanup_(rt_members_deinit) struct rt_members members = RT_MEMBERS_NULL;
	struct rt_error *err = rt_members_find(container, &members);

	for (size_t i = 0; i < members.count && !err; i++)
		for (unsigned fd = 0; members.pids[i] != container->state.pid && fd <= STDERR_FILENO && !err; fd++)
			err = describe_other_stream(members.pids[i], fd, theirs, into);
	return err;
}
