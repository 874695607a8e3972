#include "runtime/netns/store.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

#define LOCK "lock"
#define SUFFIX ".json"
#define MOST_BYTES (256 << 10)

static struct rt_error *open_directory(const char *path, int *ret, bool *ret_found)
{
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*ret_found = *ret >= 0;
	if (*ret < 0 && errno != ENOENT)
		return rt_fail_errno("cannot open state directory '%s'", path);
	return NULL;
}

/* Whether what we locked is still what others will lock: the one before us may have removed it. */
static bool is_current(int dir_fd, int lock_fd)
{
	struct stat ours, named;

	return fstat(lock_fd, &ours) == 0 && fstatat(dir_fd, LOCK, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

struct rt_error *rt_store_open(const char *path, struct rt_store *ret)
{
	for (;;) {
		_cleanup_close_ int dir_fd = -1, lock_fd = -1;
		struct rt_error *err = rt_make_dirs(path, 0700);
		bool found = false;

		if (!err)
			err = open_directory(path, &dir_fd, &found);
		if (!err && !found)
			continue;
		if (!err)
			err = rt_lock_at(dir_fd, LOCK, &lock_fd);
		/* Another one removed the directory after we opened it. */
		if (err && err->errnum == ENOENT && found) {
			rt_error_free(err);
			continue;
		}
		if (err)
			return rt_while(err, "opening state directory '%s'", path);
		if (!is_current(dir_fd, lock_fd))
			continue;
		*ret = (struct rt_store){ .dir_fd = rt_take_fd(dir_fd), .lock_fd = rt_take_fd(lock_fd), .path = path };
		return NULL;
	}
}

struct rt_error *rt_store_look(const char *path, struct rt_store *ret)
{
	struct rt_store store = { .dir_fd = -1, .lock_fd = -1, .path = path };
	bool found;
	struct rt_error *err = open_directory(path, &store.dir_fd, &found);

	if (!err)
		*ret = store;
	return err;
}

static bool is_record_name(const char *name, size_t *ret_length)
{
	size_t length = strlen(name), suffix = strlen(SUFFIX);

	if (length <= suffix || length - suffix >= RT_RECORD_ID_ROOM || !rt_str_equal(name + length - suffix, SUFFIX))
		return false;
	*ret_length = length - suffix;
	return true;
}

static DIR *list_directory(int dir_fd)
{
	int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own < 0 ? NULL : fdopendir(own);

	if (!dir)
		rt_closep(&own);
	return dir;
}

/* Half-written files of a crash (*.new) don't count. */
static bool is_empty(int dir_fd)
{
	_cleanup_closedir_ DIR *dir = list_directory(dir_fd);
	struct dirent *entry;

	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		size_t length = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || rt_str_equal(entry->d_name, LOCK))
			continue;
		if (length > 4 && rt_str_equal(entry->d_name + length - 4, ".new"))
			unlinkat(dir_fd, entry->d_name, 0);
		else
			return false;
	}
	return true;
}

void rt_store_close(struct rt_store *store)
{
	if (store->lock_fd >= 0 && is_empty(store->dir_fd)) {
		unlinkat(store->dir_fd, LOCK, 0);
		rmdir(store->path);
	}
	rt_closep(&store->lock_fd);
	rt_closep(&store->dir_fd);
	*store = RT_STORE_NULL;
}

static void record_name(const char *id, char ret[NAME_MAX])
{
	snprintf(ret, NAME_MAX, "%s" SUFFIX, id);
}

struct rt_error *rt_store_save(const struct rt_store *store, const struct rt_record *record)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_record_to_json(record, &json);
	char name[NAME_MAX];

	if (err)
		return err;
	text = json_dumps(json, JSON_INDENT(2));
	if (!text)
		return rt_error_oom();
	record_name(record->id, name);
	err = rt_replace_file_at(store->dir_fd, name, text, strlen(text), 0600);
	return err ? rt_while(err, "keeping the record of '%s' in '%s'", record->id, store->path) : NULL;
}

struct rt_error *rt_store_load(const struct rt_store *store, const char *id, struct rt_record *ret, bool *ret_found)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	char name[NAME_MAX];
	struct rt_json root;
	size_t size;

	*ret_found = false;
	if (store->dir_fd < 0)
		return NULL;
	record_name(id, name);
	err = rt_read_file_at(store->dir_fd, name, MOST_BYTES, &text, &size);
	if (err && err->errnum == ENOENT) {
		rt_error_free(err);
		return NULL;
	}
	if (!err)
		err = rt_json_parse(text, size, name, &json);
	if (!err) {
		root = rt_json_root(json);
		err = rt_record_from_json(&root, ret);
	}
	if (!err && !rt_str_equal(ret->id, id))
		err = rt_fail(RT_CONFIG, "it is that of '%s'", ret->id);
	if (err)
		return rt_while(err, "reading record '%s/%s'", store->path, name);
	*ret_found = true;
	return NULL;
}

static struct rt_error *remove_file(const struct rt_store *store, const char *name)
{
	if (unlinkat(store->dir_fd, name, 0) < 0 && errno != ENOENT)
		return rt_fail_errno("cannot remove '%s/%s'", store->path, name);
	return NULL;
}

struct rt_error *rt_store_remove(const struct rt_store *store, const char *id)
{
	char name[NAME_MAX];

	record_name(id, name);
	return remove_file(store, name);
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct rt_record *)a)->id, ((const struct rt_record *)b)->id);
}

struct rt_error *rt_store_list(const struct rt_store *store, struct rt_record **ret, size_t *ret_count)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ struct rt_record *records = NULL;
	size_t count = 0, room = 0, length;
	struct dirent *entry;

	*ret = NULL;
	*ret_count = 0;
	if (store->dir_fd < 0)
		return NULL;
	dir = list_directory(store->dir_fd);
	if (!dir)
		return rt_fail_errno("cannot list state directory '%s'", store->path);
	while ((entry = readdir(dir))) {
		char id[RT_RECORD_ID_ROOM];
		bool found = false;

		if (!is_record_name(entry->d_name, &length))
			continue;
		if (count == room) {
			struct rt_record *grown = reallocarray(records, room = room ? room * 2 : 16, sizeof(*records));

			if (!grown)
				return rt_error_oom();
			records = grown;
		}
		snprintf(id, sizeof(id), "%.*s", (int)length, entry->d_name);
		rt_warn_ignored(rt_store_load(store, id, &records[count], &found));
		count += found;
	}
	if (count)
		qsort(records, count, sizeof(*records), compare_ids);
	*ret = rt_take_ptr(records);
	*ret_count = count;
	return NULL;
}

static void note_name(const char *bridge, enum rt_note note, char ret[NAME_MAX])
{
	static const char *const suffixes[] = { [RT_NOTE_MADE] = "bridge", [RT_NOTE_LET_THROUGH] = "forward" };

	snprintf(ret, NAME_MAX, "%s.%s", bridge, suffixes[note]);
}

struct rt_error *rt_store_note(const struct rt_store *store, const char *bridge, enum rt_note note)
{
	char name[NAME_MAX];
	struct rt_error *err;

	note_name(bridge, note, name);
	err = rt_replace_file_at(store->dir_fd, name, "", 0, 0600);
	return err ? rt_while(err, "keeping a note on bridge '%s' in '%s'", bridge, store->path) : NULL;
}

struct rt_error *rt_store_is_noted(const struct rt_store *store, const char *bridge, enum rt_note note, bool *ret)
{
	char name[NAME_MAX];

	note_name(bridge, note, name);
	*ret = faccessat(store->dir_fd, name, F_OK, 0) == 0;
	if (!*ret && errno != ENOENT)
		return rt_fail_errno("cannot look at '%s/%s'", store->path, name);
	return NULL;
}

struct rt_error *rt_store_forget(const struct rt_store *store, const char *bridge, enum rt_note note)
{
	char name[NAME_MAX];

	note_name(bridge, note, name);
	return remove_file(store, name);
}
