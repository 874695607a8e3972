#include "checkpoint/handover.h"

#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool find_root(const struct rt_id_maps *maps, uint32_t *ret)
{
	for (size_t i = 0; i < maps->count; i++) {
		if (maps->entries[i].container_id == 0) {
			*ret = maps->entries[i].host_id;
			return true;
		}
	}
	return false;
}

static struct rt_error *hand_over(int dir_fd, const char *name, gid_t gid)
{
	struct stat st;
	mode_t wanted;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot stat '%s'", name);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return NULL;
	wanted = S_ISDIR(st.st_mode) ? 0750 : 0640;
	if (st.st_uid == geteuid() && st.st_gid == gid && (st.st_mode & 07777) == wanted)
		return NULL;
	/* A link can't have taken its place: nobody else writes to the directory, which comes first. */
	if (fchownat(dir_fd, name, geteuid(), gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dir_fd, name, wanted, 0) < 0)
		return rt_fail_errno("cannot let the container's root read '%s'", rt_str_equal(name, ".") ? "the image directory" : name);
	return NULL;
}

struct rt_error *rt_images_hand_over(int image_fd, const struct rt_spec *spec)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	struct rt_error *err;
	uint32_t gid;
	int own;

	if (!spec->namespaces[RT_NS_USER].wanted || !find_root(&spec->gid_mappings, &gid))
		return NULL;
	own = openat(image_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = own < 0 ? NULL : fdopendir(own);
	if (!dir) {
		rt_closep(&own);
		return rt_fail_errno("cannot read the image directory");
	}
	err = hand_over(image_fd, ".", gid);
	while (!err && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && entry->d_type != DT_DIR)
			err = hand_over(image_fd, entry->d_name, gid);
	return err;
}
