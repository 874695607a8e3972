#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/private.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>

#define FILE_LIMIT (4 << 20)

/* False when the name is too long. */
static bool join(char path[PATH_MAX], const struct rt_cgroup_place *place, const char *file)
{
	return snprintf(path, PATH_MAX, "%s/%s", place->directory, file) < PATH_MAX;
}

bool rt_place_has(const struct rt_cgroup_place *place, const char *file)
{
	char path[PATH_MAX];

	return join(path, place, file) && access(path, F_OK) == 0;
}

struct rt_error *rt_place_read(const struct rt_cgroup_place *place, const char *file, char **ret)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX], *text;
	struct rt_error *err;
	size_t size;

	*ret = NULL;
	if (!join(path, place, file))
		return rt_fail_with(ENAMETOOLONG, "cannot open '%s'", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT)
			return NULL;
		return rt_fail_errno("cannot open '%s'", path);
	}
	err = rt_read_all(fd, FILE_LIMIT, &text, &size);
	if (err)
		return rt_while(err, "reading '%s'", path);
	if (size > 0 && text[size - 1] == '\n')
		text[size - 1] = '\0';
	*ret = text;
	return NULL;
}

struct rt_error *rt_place_read_u64(const struct rt_cgroup_place *place, const char *file, uint64_t *ret, bool *ret_found)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_place_read(place, file, &text);
	int64_t negative;

	if (err)
		return err;
	if (ret_found)
		*ret_found = text != NULL;
	if (!text)
		return NULL;
	if (rt_str_equal(text, "max") || (rt_str_to_i64(text, &negative) && negative < 0))
		*ret = UINT64_MAX;
	else if (!rt_str_to_u64(text, ret))
		return rt_fail(RT_SYSTEM, "'%s/%s' has '%s' where a number was expected", place->directory, file, text);
	return NULL;
}

/* Negative errno: the callers need it for their hints. */
static int write_once(const struct rt_cgroup_place *place, const char *file, const char *text)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	ssize_t written;

	if (!join(path, place, file))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do
		written = write(fd, text, strlen(text));
	while (written < 0 && errno == EINTR);
	return written < 0 ? -errno : 0;
}

struct rt_error *rt_place_write(const struct rt_cgroup_place *place, const char *file, const char *text)
{
	int result = write_once(place, file, text);

	if (result < 0)
		return rt_fail_with(-result, "cannot write '%s' to '%s/%s'", text, place->directory, file);
	return NULL;
}

bool rt_flat_value(const char *text, const char *key, uint64_t *ret)
{
	size_t length = strlen(key);

	while (text && *text) {
		const char *newline = strchr(text, '\n');

		if (strncmp(text, key, length) == 0 && text[length] == ' ') {
			*ret = strtoull(text + length + 1, NULL, 10);
			return true;
		}
		text = newline ? newline + 1 : NULL;
	}
	return false;
}

struct rt_error *rt_cgroup_no_controller(const char *field, const char *controller)
{
	return rt_fail(RT_SYSTEM, "'%s': the '%s' cgroup controller is not available", field, controller);
}

static const char *hint(int errnum, const struct rt_cgroup_place *place, const char *file)
{
	switch (errnum) {
	case ENOENT:
		return place->v2 ? " (its controller isn't enabled, or this kernel lacks it)" : " (this kernel lacks it)";
	case EBUSY:
		return rt_str_starts(file, "memory") ? " (more is in use now)" : "";
	case EACCES:
	case EPERM:
		return place->v2 ? " (was the cgroup delegated to this user?)" : "";
	default:
		return "";
	}
}

struct rt_error *rt_place_refused(const struct rt_cgroup_place *place, const char *field, const char *file, const char *text)
{
	int errnum = errno;

	return rt_fail_with(errnum, "'%s': cannot write '%s' to '%s/%s'%s", field, text, place->directory, file,
			    hint(errnum, place, file));
}

struct rt_error *rt_place_set(const struct rt_cgroup_place *place, const char *field, const char *file, const char *text)
{
	int result = write_once(place, file, text);

	if (result == 0)
		return NULL;
	errno = -result;
	return rt_place_refused(place, field, file, text);
}

static struct rt_batch_entry *batch_next(struct rt_batch *batch, const char *file, const char *field)
{
	struct rt_batch_entry *entry;

	assert(batch->count < RT_BATCH_MOST);
	entry = &batch->entries[batch->count++];
	entry->file = file;
	entry->field = field;
	return entry;
}

void rt_batch_add_i64(struct rt_batch *batch, const char *file, const char *field, int64_t value)
{
	struct rt_batch_entry *entry = batch_next(batch, file, field);

	if (value < 0 && batch->place->v2)
		strcpy(entry->value, "max");
	else
		snprintf(entry->value, sizeof(entry->value), "%" PRId64, value);
}

void rt_batch_add_u64(struct rt_batch *batch, const char *file, const char *field, uint64_t value)
{
	struct rt_batch_entry *entry = batch_next(batch, file, field);

	snprintf(entry->value, sizeof(entry->value), "%" PRIu64, value);
}

struct rt_error *rt_batch_write(const struct rt_batch *batch)
{
	uint64_t left = batch->count == 64 ? ~0ULL : (1ULL << batch->count) - 1;

	/* Each round must get something done, so it ends. */
	while (left) {
		uint64_t before = left;
		int result = 0;
		size_t refused = 0;

		for (size_t i = 0; i < batch->count; i++) {
			const struct rt_batch_entry *entry = &batch->entries[i];

			if (!(left & (1ULL << i)))
				continue;
			result = write_once(batch->place, entry->file, entry->value);
			if (result == 0) {
				left &= ~(1ULL << i);
			} else if (result != -EINVAL && result != -EBUSY) {
				errno = -result;
				return rt_place_refused(batch->place, entry->field, entry->file, entry->value);
			} else {
				refused = i;
				errno = -result;
			}
		}
		if (left == before)
			return rt_place_refused(batch->place, batch->entries[refused].field, batch->entries[refused].file,
						batch->entries[refused].value);
	}
	return NULL;
}
