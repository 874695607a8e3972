#include "migrate/snapshot.h"

#include "checkpoint/archive_helper.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/overlay.h"
#include "migrate/scratch.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/mman.h>

struct creation {
	const struct rt_snapshot_values *values;
	struct rt_store_addition *addition;
	Rt__Snapshot *snapshot; /* of the addition */
	struct rt_scratch scratch; /* of one that is to be encrypted */
	char *images, *spool; /* directories of the addition, or in the scratch */
	struct rt_rootfs_changes changes;
};

static void creation_deinit(struct creation *creation)
{
	rt_closep(&creation->changes.tar_fd);
	free(creation->changes.deleted);
	free(creation->images);
	free(creation->spool);
	rt_store_addition_free(creation->addition);
	rt_scratch_remove(&creation->scratch);
}

/* What is to be encrypted is on the disk at no time as it is. */
static struct rt_error *make_directories(struct creation *creation, const struct rt_context *context)
{
	struct rt_error *err;

	if (!creation->values->encrypt) {
		err = rt_store_addition_directory(creation->addition, "images", &creation->images);
		return err ? err : rt_store_addition_directory(creation->addition, "spool", &creation->spool);
	}
	err = rt_scratch_make(context, &creation->scratch);
	if (!err)
		err = rt_scratch_directory(&creation->scratch, "images", &creation->images);
	return err ? err : rt_scratch_directory(&creation->scratch, "spool", &creation->spool);
}

/* ---- the root filesystem ---- */

static struct rt_error *add_lower(Rt__Snapshot *snapshot, char *path)
{
	rt_overlay_unescape(path);
	if (*path != '/')
		return rt_fail(RT_CONFIG, "the root filesystem is an overlay of '%s', which is no absolute path and so can't be found again", path);
	if (strstr(path, "/" RT_CLONE_CACHE "/"))
		return rt_fail(RT_WRONG_STATE, "the container was started from a snapshot with changes of the root filesystem, "
					       "on which another can't be built");
	return rt_manifest_append_string(&snapshot->rootfs, &snapshot->n_rootfs, path);
}

static struct rt_error *add_lowers(Rt__Snapshot *snapshot, char *list)
{
	struct rt_error *err = NULL;

	for (char *at = list, *next; *at && !err; at = next) {
		char *end = at;

		while (*end && *end != ':')
			end += end[0] == '\\' && end[1] ? 2 : 1;
		next = end + (*end == ':');
		*end = '\0';
		err = add_lower(snapshot, at);
	}
	return err;
}

/* Where it is an overlay, the directories under it are there for the clones as well, and what lies in its upper one goes along. Anything else is taken for
 * a directory that stays as it is. */
static struct rt_error *look_at_rootfs(struct creation *creation, const char *rootfs)
{
	_cleanup_free_ char *upper = NULL, *lowers = NULL;
	struct rt_error *err = rt_overlay_find(rootfs, &upper, &lowers);
	bool found;

	if (err)
		return err;
	if (!upper || !lowers)
		return rt_manifest_append_string(&creation->snapshot->rootfs, &creation->snapshot->n_rootfs, rootfs);
	err = rt_archive_rootfs_changes(rootfs, NULL, creation->spool, &creation->changes, &found);
	if (!err)
		err = add_lowers(creation->snapshot, lowers);
	return err ? rt_while(err, "collecting the changes of the root filesystem '%s'", rootfs) : NULL;
}

static struct rt_error *store_changes(struct creation *creation)
{
	Rt__Snapshot *snapshot = creation->snapshot;
	const char *deleted = creation->changes.deleted;
	struct rt_error *err = NULL;

	if (deleted)
		err = rt_manifest_set_bytes(&snapshot->rootfs_deleted, deleted, strlen(deleted));
	if (err || creation->changes.tar_fd < 0)
		return err;
	snapshot->rootfs_changes = calloc(1, sizeof(*snapshot->rootfs_changes));
	if (!snapshot->rootfs_changes)
		return rt_error_oom();
	rt__stored_file__init(snapshot->rootfs_changes);
	return rt_store_addition_file(creation->addition, creation->changes.tar_fd, "rootfs-changes.tar", snapshot->rootfs_changes);
}

/* ---- the images ---- */

static struct rt_error *store_image(struct creation *creation, int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	Rt__StoredFile *file;
	struct rt_error *err;

	if (fd < 0)
		return rt_fail_errno("cannot open image '%s'", name);
	err = rt_manifest_append(&creation->snapshot->images, &creation->snapshot->n_images, &rt__stored_file__descriptor, &file);
	return err ? err : rt_store_addition_file(creation->addition, fd, name, file);
}

static struct rt_error *store_images(struct creation *creation, int dir_fd, const Rt__Manifest *manifest)
{
	Rt__Snapshot *snapshot = creation->snapshot;
	_cleanup_free_ char *bytes = NULL;
	struct rt_error *err;
	size_t size;

	err = rt_read_file_at(dir_fd, RT_MANIFEST_NAME, RT_MANIFEST_MAX, &bytes, &size);
	if (!err)
		err = rt_manifest_set_bytes(&snapshot->manifest, bytes, size);
	if (!err)
		err = rt_manifest_set(&snapshot->id, manifest->id);
	if (!err)
		err = rt_manifest_set(&snapshot->created, manifest->created);
	for (size_t i = 0; i < manifest->n_files && !err; i++)
		err = store_image(creation, dir_fd, manifest->files[i]->name);
	return err;
}

static struct rt_error *store_all(struct creation *creation)
{
	_cleanup_close_ int dir_fd = open(creation->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct rt_error *err;

	if (dir_fd < 0)
		return rt_fail_errno("cannot open '%s'", creation->images);
	err = rt_manifest_load(dir_fd, &manifest);
	if (!err && !manifest)
		err = rt_fail(RT_CRIU, "the dump has left no manifest");
	if (!err)
		err = store_images(creation, dir_fd, manifest);
	if (!err)
		err = store_changes(creation);
	return err ? err : rt_store_addition_publish(creation->addition);
}

/* ---- the dump ---- */

/* Frozen, so that files and memory are of the same moment. Where the container is to end, it does so only once it is stored. */
static struct rt_error *complete(void *userdata, struct rt_dump *dump, int image_fd)
{
	struct creation *creation = userdata;
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct rt_error *err = rt_manifest_load(image_fd, &manifest);

	if (!err)
		err = look_at_rootfs(creation, manifest->container->rootfs);
	return err || creation->values->leave_running ? err : store_all(creation);
}

struct rt_error *rt_snapshot_create(const struct rt_context *context, const char *id, const char *name, const struct rt_snapshot_values *values)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	_cleanup_(creation_deinit) struct creation creation = { .values = values, .changes = { .tar_fd = -1 }, .scratch = RT_SCRATCH_NULL };
	const struct rt_dump_hooks hooks = {
		.complete = complete, .userdata = &creation,
	};
	struct rt_criu_settings settings = {
		.leave_running = values->leave_running,
		.tcp_established = true, /* or CRIU would refuse; a clone closes them */
		.ext_unix_sk = values->ext_unix_sk,
		.file_locks = values->file_locks,
		.link_remap = values->link_remap,
		.shell_job = values->shell_job,
	};
	struct rt_error *err;

	err = rt_store_open(values->store, &store);
	if (!err && values->encrypt)
		err = rt_store_use_key(&store, values->encrypt);
	if (!err)
		err = rt_store_add(&store, name, &creation.addition);
	if (!err)
		err = make_directories(&creation, context);
	if (err)
		return rt_while(err, "cannot take a snapshot of '%s'", id);
	creation.snapshot = rt_store_addition_snapshot(creation.addition);
	settings.image_path = creation.images;
	err = rt_container_dump(context, id, &settings, 0, &hooks);
	if (!err && values->leave_running)
		err = store_all(&creation);
	return err ? rt_while(err, "cannot take a snapshot of '%s'", id) : NULL;
}
