#include "migrate/journal.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"

#include <fcntl.h>
#include <string.h>

#define JOURNAL_MAX (1u << 20)

static struct rt_error *flush(int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_close_ int dir = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || dir < 0 || fsync(fd) < 0 || fsync(dir) < 0)
		return rt_fail_errno("cannot flush '%s'", name);
	return NULL;
}

struct rt_error *rt_journal_store(int dir_fd, const char *name, const json_t *journal)
{
	_cleanup_free_ char *text = json_dumps(journal, JSON_INDENT(1));
	struct rt_error *err;

	if (!text)
		return rt_error_oom();
	err = rt_replace_file_at(dir_fd, name, text, strlen(text), 0600);
	return err ? err : flush(dir_fd, name);
}

struct rt_error *rt_journal_load(int dir_fd, const char *name, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	size_t size;

	*ret = NULL;
	err = rt_read_file_at(dir_fd, name, JOURNAL_MAX, &text, &size);
	if (err && err->errnum == ENOENT)
		return rt_error_free(err);
	if (err)
		return err;
	*ret = json_loadb(text, size, 0, NULL);
	return *ret ? NULL : rt_fail(RT_SYSTEM, "'%s' is no JSON", name);
}

struct rt_error *rt_journal_remove(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return rt_fail_errno("cannot remove '%s'", name);
	return NULL;
}
