#include "runtime/bundle/unpack.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* More than the kernel takes (64 KiB) need not be copied. */
#define XATTR_MAX 65536

static struct rt_error *map_owner(const struct rt_id_maps *ranges, int64_t id, const char *what, uint32_t *ret)
{
	if (id < 0 || id >= UINT32_MAX)
		return rt_fail(RT_CONFIG, "its %s %lld is no id", what, (long long)id);
	if (!rt_id_map(ranges, (uint32_t)id, ret))
		return rt_fail(RT_CONFIG, "its %s %lld is not among the ids that the container has", what, (long long)id);
	return NULL;
}

static struct rt_error *owner_of(const struct rt_unpack *unpack, struct archive_entry *entry, uint32_t *uid, uint32_t *gid)
{
	struct rt_error *err = map_owner(&unpack->shift.uids, archive_entry_uid(entry), "owner", uid);

	return err ? err : map_owner(&unpack->shift.gids, archive_entry_gid(entry), "group", gid);
}

static bool is_wanted(const struct rt_unpack *unpack, const char *name)
{
	if (rt_str_starts(name, "user.overlay.") && (unpack->flags & RT_UNPACK_NO_MARKS))
		return false;
	if (rt_str_starts(name, "user.") || rt_str_equal(name, RT_XATTR_CAPS))
		return true;
	if (!(unpack->flags & RT_UNPACK_XATTRS))
		return false;
	/* What overlayfs believes would lead out of the root, were it ever made a layer of one. */
	if (rt_str_starts(name, "trusted.overlay."))
		return (unpack->flags & RT_UNPACK_OVERLAY) && !rt_str_equal(name, "trusted.overlay.origin") &&
		       !rt_str_equal(name, "trusted.overlay.uuid") && !rt_str_equal(name, "trusted.overlay.impure") &&
		       !rt_str_equal(name, "trusted.overlay.nlink");
	return rt_str_starts(name, "trusted.") ||
	       rt_str_equal(name, RT_XATTR_ACL_ACCESS) || rt_str_equal(name, RT_XATTR_ACL_DEFAULT);
}

/* What attributes are set on: something open, or what a path leads to that has no symlinks but for its end. */
struct target {
	int fd; /* -1: none */
	const char *path;
	bool directory; /* its default ACL is kept for the end: what is made in it meanwhile must not inherit */
};

static int write_xattr(const struct target *to, const char *name, const void *value, size_t size)
{
	return to->fd >= 0 ? fsetxattr(to->fd, name, value, size, 0) : lsetxattr(to->path, name, value, size, 0);
}

static struct rt_error *set_xattr(struct rt_unpack *unpack, const struct target *to, const char *name, const void *given, size_t size)
{
	_cleanup_free_ uint8_t *value = NULL;
	enum rt_id_result result = RT_ID_SAME;
	uint32_t id = 0;

	if (size > XATTR_MAX)
		return rt_fail(RT_CONFIG, "its extended attribute '%.64s' is too long", name);
	value = malloc(size + RT_CAPS_ROOM);
	if (!value)
		return rt_error_oom();
	if (size)
		memcpy(value, given, size);
	if (rt_str_equal(name, RT_XATTR_CAPS))
		result = rt_caps_shift(value, &size, &unpack->shift, &id);
	else if (rt_str_starts(name, "system.posix_acl_"))
		result = rt_acl_shift(value, size, &unpack->shift, &id);
	if (result == RT_ID_OUTSIDE)
		return rt_fail(RT_CONFIG, "the id %u in its '%s' is not among the ids that the container has", id, name);
	if (result == RT_ID_DAMAGED)
		return rt_fail(RT_CONFIG, "its extended attribute '%s' is damaged", name);
	if (to->directory && rt_str_equal(name, RT_XATTR_ACL_DEFAULT)) {
		free(unpack->default_acl);
		unpack->default_acl = rt_take_ptr(value);
		unpack->default_acl_size = size;
		return NULL;
	}
	if (write_xattr(to, name, value, size) == 0 || errno == ENOTSUP)
		return NULL;
	/* No user may set these; the files do without. */
	if (errno == EPERM && (unpack->flags & RT_UNPACK_AS_USER))
		return NULL;
	return rt_fail_errno("cannot set the extended attribute '%.64s'", name);
}

/* GNU tar keeps ACLs as text; libarchive takes it apart. */
static struct rt_error *set_acl(struct rt_unpack *unpack, struct archive_entry *entry, const struct target *to, int which, const char *xattr)
{
	static const struct {
		int theirs;
		uint16_t tag;
	} tags[] = { { ARCHIVE_ENTRY_ACL_USER_OBJ, 0x01 },  { ARCHIVE_ENTRY_ACL_USER, 0x02 }, { ARCHIVE_ENTRY_ACL_GROUP_OBJ, 0x04 },
		     { ARCHIVE_ENTRY_ACL_GROUP, 0x08 },	    { ARCHIVE_ENTRY_ACL_MASK, 0x10 }, { ARCHIVE_ENTRY_ACL_OTHER, 0x20 } };
	int count = archive_entry_acl_reset(entry, which), type, permset, tag, id;
	_cleanup_free_ uint8_t *value = NULL;
	const char *name;
	size_t size = 4;

	/* Three entries say no more than the mode does. */
	if (count <= (which == ARCHIVE_ENTRY_ACL_TYPE_ACCESS ? 3 : 0))
		return NULL;
	value = calloc((size_t)count + 1, 8);
	if (!value)
		return rt_error_oom();
	value[0] = 2; /* version, little endian as everything here */
	/* The kernel wants them in the order of the tags. */
	for (size_t i = 0; i < RT_ARRAY_SIZE(tags); i++) {
		archive_entry_acl_reset(entry, which);
		while (archive_entry_acl_next(entry, which, &type, &permset, &tag, &id, &name) == ARCHIVE_OK) {
			bool named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
			uint32_t stored = htole32(named ? (uint32_t)id : UINT32_MAX);

			if (tag != tags[i].theirs || size + 8 > ((size_t)count + 1) * 8)
				continue;
			/* GNU tar writes names where it knows them: of users of the machine it ran on. */
			if (named && id < 0) {
				unpack->acls_left_out++;
				return NULL;
			}
			value[size] = (uint8_t)tags[i].tag;
			value[size + 2] = permset & 7;
			memcpy(value + size + 4, &stored, 4);
			size += 8;
		}
	}
	return set_xattr(unpack, to, xattr, value, size);
}

static bool entry_has(struct archive_entry *entry, const char *wanted)
{
	const char *name;
	const void *value;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
		if (rt_str_equal(name, wanted))
			return true;
	return false;
}

static struct rt_error *remove_others(struct rt_unpack *unpack, struct archive_entry *entry, const struct target *to)
{
	_cleanup_free_ char *names = NULL;
	ssize_t size = to->fd >= 0 ? flistxattr(to->fd, NULL, 0) : llistxattr(to->path, NULL, 0);

	if (size > 0) {
		names = malloc((size_t)size);
		if (!names)
			return rt_error_oom();
		size = to->fd >= 0 ? flistxattr(to->fd, names, (size_t)size) : llistxattr(to->path, names, (size_t)size);
	}
	if (size < 0)
		return errno == ENOTSUP ? NULL : rt_fail_errno("cannot list its extended attributes");
	for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		/* A default ACL of the entry comes last, until when the old one must not be inherited. */
		if (!is_wanted(unpack, name) || (!rt_str_equal(name, RT_XATTR_ACL_DEFAULT) && entry_has(entry, name)))
			continue;
		if ((to->fd >= 0 ? fremovexattr(to->fd, name) : lremovexattr(to->path, name)) < 0 && errno != ENODATA)
			return rt_fail_errno("cannot remove the extended attribute '%.64s'", name);
	}
	return NULL;
}

static struct rt_error *set_xattrs(struct rt_unpack *unpack, struct archive_entry *entry, const struct target *to)
{
	struct rt_error *err = unpack->flags & RT_UNPACK_EXACT ? remove_others(unpack, entry, to) : NULL;
	mode_t type = archive_entry_filetype(entry);
	const char *name;
	const void *value;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (!err && archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
		if (is_wanted(unpack, name))
			err = set_xattr(unpack, to, name, value, size);
	if (!err && (unpack->flags & RT_UNPACK_XATTRS) && type != AE_IFLNK)
		err = set_acl(unpack, entry, to, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, RT_XATTR_ACL_ACCESS);
	if (!err && (unpack->flags & RT_UNPACK_XATTRS) && type == AE_IFDIR)
		err = set_acl(unpack, entry, to, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, RT_XATTR_ACL_DEFAULT);
	return err;
}

/* There is no call that takes a directory's descriptor for this: /proc has one to offer. */
struct rt_error *rt_unpack_attributes_at(struct rt_unpack *unpack, struct archive_entry *entry, int dir_fd, const char *name)
{
	char path[NAME_MAX + 64];
	const struct target to = { .fd = -1, .path = path };
	uint32_t uid, gid;

	if (!(unpack->flags & RT_UNPACK_AS_USER)) {
		struct rt_error *err = owner_of(unpack, entry, &uid, &gid);

		if (err)
			return err;
		if (fchownat(dir_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
			return rt_fail_errno("cannot set the owner");
	}
	if (!(unpack->flags & RT_UNPACK_XATTRS))
		return NULL;
	snprintf(path, sizeof(path), "%s/%s", rt_fd_path(dir_fd).text, name);
	return set_xattrs(unpack, entry, &to);
}

/* Owner first: a change of it drops set-user-id bits and capabilities. Mode last: without the right to write, no user.* could
 * be set. */
struct rt_error *rt_unpack_attributes(struct rt_unpack *unpack, struct archive_entry *entry, int fd)
{
	const struct target to = { .fd = fd, .directory = archive_entry_filetype(entry) == AE_IFDIR };
	bool as_user = unpack->flags & RT_UNPACK_AS_USER;
	mode_t mode = archive_entry_perm(entry);
	struct rt_error *err;
	uint32_t uid, gid;

	if (!as_user) {
		err = owner_of(unpack, entry, &uid, &gid);
		if (err)
			return err;
		if (fchown(fd, uid, gid) < 0)
			return rt_fail_errno("cannot set the owner");
	}
	err = set_xattrs(unpack, entry, &to);
	if (err)
		return err;
	if (as_user && archive_entry_filetype(entry) == AE_IFDIR)
		mode |= 0700;
	if (fchmod(fd, mode) < 0)
		return rt_fail_errno("cannot set the mode");
	return NULL;
}

struct rt_error *rt_unpack_time(struct archive_entry *entry, int fd)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
					   { .tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry) } };

	if (archive_entry_mtime_is_set(entry) && futimens(fd, times) < 0)
		return rt_fail_errno("cannot set the time");
	return NULL;
}
