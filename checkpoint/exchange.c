#include "checkpoint/exchange.h"

#include "checkpoint/archive.h"
#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

void rt_exchange_deinit(struct rt_exchange *exchange)
{
	if (exchange->directory && !exchange->keep)
		rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, exchange->directory));
	free(exchange->directory);
	free(exchange->images);
	*exchange = RT_EXCHANGE_NULL;
}

/* Not /tmp: that may be memory, and images are as large as the container's. */
static struct rt_error *make_directory(struct rt_exchange *exchange)
{
	const char *base = getenv("TMPDIR");
	struct rt_error *err = rt_format(&exchange->directory, "%s/rt-checkpoint-XXXXXX", base && *base == '/' ? base : "/var/tmp");

	if (err || mkdtemp(exchange->directory))
		return err;
	err = rt_fail_errno("cannot make a directory for images like '%s'", exchange->directory);
	free(rt_take_ptr(exchange->directory));
	return err;
}

/* What would make the export fail is best known before the container is gone. */
static struct rt_error *check_target(const char *file)
{
	const char *slash = strrchr(file, '/');
	_cleanup_free_ char *directory = NULL;
	struct rt_error *err;
	struct stat st;

	err = rt_format(&directory, "%.*s", slash == file ? 1 : slash ? (int)(slash - file) : 1, slash ? file : ".");
	if (err)
		return err;
	if (stat(file, &st) == 0 && S_ISDIR(st.st_mode))
		return rt_fail(RT_USAGE, "cannot export to '%s': it is a directory", file);
	if (access(directory, W_OK | X_OK) < 0)
		return rt_fail_errno("cannot export to '%s': directory '%s'", file, directory);
	return NULL;
}

struct rt_error *rt_exchange_prepare(struct rt_exchange *exchange, struct rt_criu_settings *settings)
{
	struct rt_error *err;

	if (!settings->export_file)
		return NULL;
	if (settings->page_server || settings->lazy_pages)
		return rt_fail(RT_USAGE, "a checkpoint can't be exported whose memory goes elsewhere (--page-server, --lazy-pages)");
	err = check_target(settings->export_file);
	if (err || settings->image_path)
		return err;
	err = make_directory(exchange);
	if (!err)
		err = rt_format(&exchange->images, "%s", exchange->directory);
	settings->image_path = exchange->images;
	return err;
}

struct rt_error *rt_exchange_export(struct rt_exchange *exchange, const struct rt_criu_settings *settings, const char *rootfs)
{
	_cleanup_free_ char *images = NULL, *work = NULL;
	struct rt_error *err;

	if (!settings->export_file)
		return NULL;
	err = rt_real_path(settings->image_path, &images);
	if (!err && settings->work_path)
		err = rt_real_path(settings->work_path, &work);
	if (!err)
		err = rt_archive_export(&(struct rt_archive_export){
			.file = settings->export_file, .images = images, .work = work, .rootfs = rootfs,
		});
	if (!err)
		return NULL;
	exchange->keep = true;
	return rt_while(err, "exporting the checkpoint, which is complete in '%s'", settings->image_path);
}

struct rt_error *rt_exchange_import(struct rt_exchange *exchange, struct rt_criu_settings *settings, const char *rootfs)
{
	struct rt_error *err;

	if (!settings->import_file)
		return NULL;
	if (settings->image_path)
		return rt_fail(RT_USAGE, "--import and --image-path can't be given together");
	err = make_directory(exchange);
	if (!err)
		err = rt_format(&exchange->images, "%s/checkpoint", exchange->directory);
	if (!err)
		err = rt_archive_import(&(struct rt_archive_import){
			.file = settings->import_file, .directory = exchange->directory, .rootfs = rootfs,
		});
	settings->image_path = exchange->images;
	return err;
}

bool rt_exchange_keeps_log(const struct rt_exchange *exchange, const struct rt_criu_settings *settings)
{
	return settings->work_path || !exchange->directory;
}

/* In an archive the times stand beside the images, in a directory among them. */
static struct rt_error *bring_times(const struct rt_exchange *exchange)
{
	_cleanup_free_ char *from = NULL, *to = NULL;
	struct rt_error *err;

	err = rt_format(&from, "%s/stats-dump", exchange->directory);
	if (!err)
		err = rt_format(&to, "%s/stats-dump", exchange->images);
	if (!err && renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 && errno != ENOENT && errno != EEXIST)
		err = rt_fail_errno("cannot move '%s'", from);
	return err;
}

struct rt_error *rt_exchange_look_into(struct rt_exchange *exchange, const char *file)
{
	struct rt_error *err = make_directory(exchange);

	if (!err)
		err = rt_format(&exchange->images, "%s/checkpoint", exchange->directory);
	if (!err)
		err = rt_archive_import(&(struct rt_archive_import){
			.file = file, .directory = exchange->directory, .metadata_only = true,
		});
	return err ? err : bring_times(exchange);
}
