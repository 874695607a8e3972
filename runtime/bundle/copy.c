/* A directory that is a root filesystem, through the same door as the entries of a tar. */
#include "runtime/bundle/layer.h"

#include "runtime/base/interrupt.h"
#include "runtime/base/str.h"

#include <fcntl.h>

static void resolver_freep(struct archive_entry_linkresolver **links)
{
	if (*links)
		archive_entry_linkresolver_free(*links);
}

static struct rt_error *copy_entry(struct archive *disk, struct archive_entry *entry, struct archive_entry_linkresolver *links,
				   struct rt_unpack *unpack)
{
	struct archive_entry *spare = NULL;
	char path[PATH_MAX];

	/* Bound again by whoever listens there. */
	if (archive_entry_filetype(entry) == AE_IFSOCK)
		return NULL;
	archive_entry_linkify(links, &entry, &spare);
	if (!archive_entry_pathname(entry) ||
	    !rt_unpack_clean_path(archive_entry_pathname(entry), RT_PATH_LENIENT, path, sizeof(path)))
		return rt_fail(RT_CONFIG, "its name is too long");
	return rt_unpack_entry(unpack, disk, entry, path);
}

static struct rt_error *copy_all(struct archive *disk, struct rt_unpack *unpack, struct rt_layer_totals *totals)
{
	_cleanup_(resolver_freep) struct archive_entry_linkresolver *links = archive_entry_linkresolver_new();
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = archive_entry_new();

	if (!links || !entry)
		return rt_error_oom();
	archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR);
	for (;;) {
		int result = archive_read_next_header2(disk, entry);
		struct rt_error *err;

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return rt_unpack_fail(disk, "cannot read it");
		err = rt_interrupt_check();
		if (err)
			return err;
		if (++totals->entries > totals->entries_max)
			return rt_fail(RT_CONFIG, "there are more than %llu files in it", (unsigned long long)totals->entries_max);
		err = copy_entry(disk, entry, links, unpack);
		if (err)
			return rt_while(err, "'%.512s'", archive_entry_pathname(entry) ? archive_entry_pathname(entry) : "");
		archive_read_disk_descend(disk);
	}
}

struct rt_error *rt_layer_copy(const char *path, struct rt_unpack *unpack, struct rt_layer_totals *totals)
{
	_cleanup_(rt_archive_read_freep) struct archive *disk = archive_read_disk_new();
	_cleanup_close_ int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct rt_error *err;

	if (!disk)
		return rt_error_oom();
	if (here < 0)
		return rt_fail_errno("cannot open the working directory");
	/* Names are then those in the tree. */
	if (chdir(path) < 0)
		return rt_fail_errno("cannot enter it");
	archive_read_disk_set_symlink_physical(disk);
	if (archive_read_disk_set_behavior(disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS | ARCHIVE_READDISK_NO_FFLAGS) != ARCHIVE_OK ||
	    archive_read_disk_open(disk, ".") != ARCHIVE_OK)
		err = rt_unpack_fail(disk, "cannot read it");
	else
		err = copy_all(disk, unpack, totals);
	if (fchdir(here) < 0 && !err)
		err = rt_fail_errno("cannot go back to the working directory");
	return err;
}
