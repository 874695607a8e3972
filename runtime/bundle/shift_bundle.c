#include "runtime/bundle/shift_private.h"

#include "runtime/base/fs.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <sys/stat.h>

#define MAPPED "idmap" /* in an entry: true */
#define BUNDLE "bundle" /* in an entry: [group, mode] of the bundle's directory before */

/* ---- entries of the record ---- */

bool rt_shift_is_mapping(const json_t *entry)
{
	return json_is_true(json_object_get(entry, MAPPED));
}

json_t *rt_shift_mapping_entry(const struct rt_id_shift *shift)
{
	json_t *entry = rt_shift_record_entry(shift);

	if (entry)
		json_object_set_new(entry, MAPPED, json_true());
	return entry;
}

bool rt_shift_same(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "uids", "gids", "others" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(keys); i++)
		if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
			return false;
	return rt_shift_is_mapping(a) == rt_shift_is_mapping(b);
}

/* ---- the file system ---- */

struct rt_error *rt_shift_probe(int tree_fd, const struct rt_id_shift *shift)
{
	_cleanup_close_ int clone_fd = -1, namespace_fd = -1;
	struct rt_error *err = rt_sys_clone_tree(tree_fd, "", 0, &clone_fd);

	if (!err)
		err = rt_sys_make_user_namespace(&shift->uids, &shift->gids, &namespace_fd);
	if (!err)
		err = rt_sys_map_owners(clone_fd, 0, namespace_fd);
	return err ? rt_while(err, "trying it") : NULL;
}

/* ---- the bundle's directory ---- */

static struct rt_error *open_bundle(const char *directory, int *ret, struct stat *st)
{
	*ret = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret < 0 || fstat(*ret, st) < 0)
		return rt_fail_errno("cannot open '%s'", directory);
	return NULL;
}

static bool needs_way_in(int dir_fd, const struct stat *st, const struct rt_id_shift *shift, uint32_t *ret_gid)
{
	if ((st->st_mode & 0001) || !rt_id_map(&shift->gids, 0, ret_gid))
		return false;
	/* A tree that is no bundle is mounted or copied somewhere else: its parent is not ours. */
	return faccessat(dir_fd, "config.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

struct rt_error *rt_shift_note_bundle(const char *directory, const struct rt_id_shift *shift, json_t *entry, bool *ret_noted)
{
	_cleanup_close_ int dir_fd = -1;
	uint32_t gid;
	struct stat st;
	struct rt_error *err = open_bundle(directory, &dir_fd, &st);

	*ret_noted = false;
	if (err || json_object_get(entry, BUNDLE) || !needs_way_in(dir_fd, &st, shift, &gid))
		return err;
	*ret_noted = true;
	if (json_object_set_new(entry, BUNDLE, json_pack("[I,I]", (json_int_t)st.st_gid, (json_int_t)(st.st_mode & 07777))) < 0)
		return rt_error_oom();
	return NULL;
}

struct rt_error *rt_shift_let_in(const char *directory, const struct rt_id_shift *shift)
{
	_cleanup_close_ int dir_fd = -1;
	uint32_t gid;
	struct stat st;
	struct rt_error *err = open_bundle(directory, &dir_fd, &st);

	if (err || !needs_way_in(dir_fd, &st, shift, &gid) || (st.st_gid == gid && (st.st_mode & 0010)))
		return err;
	if (fchown(dir_fd, (uid_t)-1, gid) < 0 || fchmod(dir_fd, (st.st_mode & 07707) | 0010) < 0)
		return rt_fail_errno("cannot let the container's root through '%s'", directory);
	return NULL;
}

struct rt_error *rt_shift_shut(const char *directory, const json_t *entry)
{
	const json_t *before = json_object_get(entry, BUNDLE);
	_cleanup_close_ int dir_fd = -1;
	struct stat st;
	struct rt_error *err;

	if (!before)
		return NULL;
	err = open_bundle(directory, &dir_fd, &st);
	if (err)
		return err;
	if (fchown(dir_fd, (uid_t)-1, (gid_t)json_integer_value(json_array_get(before, 0))) < 0 ||
	    fchmod(dir_fd, (mode_t)(json_integer_value(json_array_get(before, 1)) & 07777)) < 0)
		return rt_fail_errno("cannot close '%s' again", directory);
	return NULL;
}
