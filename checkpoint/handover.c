#include "checkpoint/handover.h"

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

static struct rt_error *hand_over(int dir_fd, const char *name, uid_t uid, gid_t gid)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return rt_fail_errno("cannot stat '%s'", name);
	if ((!S_ISREG(st.st_mode) && *name) || (st.st_uid == uid && st.st_gid == gid))
		return NULL;
	if (fchownat(dir_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return rt_fail_errno("cannot give '%s' to the container's root", *name ? name : "the image directory");
	return NULL;
}

struct rt_error *rt_images_hand_over(int image_fd, const struct rt_spec *spec)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	struct rt_error *err;
	uint32_t uid, gid;
	int own;

	if (!spec->namespaces[RT_NS_USER].wanted || !find_root(&spec->uid_mappings, &uid) || !find_root(&spec->gid_mappings, &gid))
		return NULL;
	own = openat(image_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = own < 0 ? NULL : fdopendir(own);
	if (!dir) {
		rt_closep(&own);
		return rt_fail_errno("cannot read the image directory");
	}
	err = hand_over(image_fd, "", uid, gid);
	while (!err && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			err = hand_over(image_fd, entry->d_name, uid, gid);
	return err;
}
