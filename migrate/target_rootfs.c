#include "migrate/target_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Beside config.json, as long as the root filesystem is no base any more: the last migration that changed it. */
#define CHANGED "rootfs.changed"

struct rt_error *rt_target_judge_base(const char *bundle, const char *rootfs)
{
	_cleanup_free_ char *marker = NULL;
	struct rt_error *err = rt_format(&marker, "%s/" CHANGED, bundle);
	struct stat st;

	if (err)
		return err;
	if (stat(rootfs, &st) < 0 || !S_ISDIR(st.st_mode))
		return rt_fail(RT_CONFIG, "--rootfs diff needs the base of its root filesystem at '%s' on this host, and there is no such directory", rootfs);
	if (access(marker, F_OK) == 0)
		return rt_fail(RT_CONFIG, "'%s' was changed by an earlier migration, so it is no base any more: renew it and remove '%s', or use another --new-id",
			       rootfs, marker);
	return NULL;
}

struct rt_error *rt_target_open_base(struct rt_move *move)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (move->rootfs_changed)
		return NULL;
	fd = open(move->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open '%s'", move->bundle);
	err = rt_tree_merged_new(&move->merged);
	if (!err)
		err = rt_replace_file_at(fd, CHANGED, move->offer->migration, strlen(move->offer->migration), 0600);
	if (!err)
		move->rootfs_changed = true;
	return err ? rt_while(err, "noting that '%s' is changed", move->rootfs) : NULL;
}
