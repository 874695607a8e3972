#include "runtime/security/intel_rdt_private.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define RESCTRL_PATH "/sys/fs/resctrl"
#define RESCTRL_MAGIC 0x7655821 /* linux/magic.h has no name for it before 6.2 */
#define SCHEMATA_LIMIT (64u << 10)

static bool wants_schemata(const struct rt_spec_intel_rdt *rdt)
{
	return rdt->l3_schema || rdt->mem_bw_schema || rdt->schema_count > 0;
}

/* Lines of `text`, without those of MB where `no_mb`. */
static void write_lines(FILE *stream, const char *text, bool no_mb)
{
	while (*text) {
		size_t length = strcspn(text, "\n");
		const char *start = text + strspn(text, " \t");

		if (length > 0 && !(no_mb && rt_str_starts(start, "MB:")))
			fprintf(stream, "%.*s\n", (int)length, text);
		text += length;
		if (*text)
			text++;
	}
}

struct rt_error *rt_intel_rdt_schemata(const struct rt_spec_intel_rdt *rdt, char **ret)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream;

	if (!wants_schemata(rdt))
		return NULL;
	stream = open_memstream(&text, &size);
	if (!stream)
		return rt_error_oom();
	if (rdt->l3_schema)
		write_lines(stream, rdt->l3_schema, rdt->mem_bw_schema != NULL);
	if (rdt->mem_bw_schema)
		write_lines(stream, rdt->mem_bw_schema, false);
	for (size_t i = 0; i < rdt->schema_count; i++)
		write_lines(stream, rdt->schemata[i], false);
	if (fclose(stream) != 0) {
		free(text);
		return rt_error_oom();
	}
	*ret = text;
	return NULL;
}

/* One "name=value" or "NAME" in a text: without blanks and leading zeros. */
static void trim(const char **text, size_t *length)
{
	while (*length > 0 && (**text == ' ' || **text == '\t')) {
		(*text)++;
		(*length)--;
	}
	while (*length > 0 && ((*text)[*length - 1] == ' ' || (*text)[*length - 1] == '\t'))
		(*length)--;
	while (*length > 1 && **text == '0') {
		(*text)++;
		(*length)--;
	}
}

static bool same(const char *a, size_t a_length, const char *b, size_t b_length)
{
	trim(&a, &a_length);
	trim(&b, &b_length);
	return a_length == b_length && strncasecmp(a, b, a_length) == 0;
}

/* "0=ff" among "0=ff;1=f". */
static bool has_domain(const char *domain, size_t length, const char *list, const char *end)
{
	size_t name = (size_t)((const char *)memchr(domain, '=', length) - domain);

	while (list < end) {
		size_t item = strcspn(list, ";\n");
		const char *equals = memchr(list, '=', item);

		if (equals && same(domain, name, list, (size_t)(equals - list)) &&
		    same(domain + name + 1, length - name - 1, equals + 1, item - (size_t)(equals - list) - 1))
			return true;
		list += item + 1;
	}
	return false;
}

static bool line_is_found(const char *line, size_t length, const char *found)
{
	const char *colon = memchr(line, ':', length);

	if (!colon)
		return false;
	for (; *found; found += strcspn(found, "\n"), found += *found == '\n') {
		const char *end = found + strcspn(found, "\n");
		const char *other = memchr(found, ':', (size_t)(end - found));
		const char *at = colon + 1;
		bool all = true;

		if (!other || !same(line, (size_t)(colon - line), found, (size_t)(other - found)))
			continue;
		while (at < line + length && all) {
			size_t item = strcspn(at, ";\n");

			all = item == 0 || (memchr(at, '=', item) && has_domain(at, item, other + 1, end));
			at += item + 1;
		}
		return all;
	}
	return false;
}

bool rt_intel_rdt_matches(const char *wanted, const char *found)
{
	while (*wanted) {
		size_t length = strcspn(wanted, "\n");

		if (length > 0 && !line_is_found(wanted, length, found))
			return false;
		wanted += length;
		if (*wanted)
			wanted++;
	}
	return true;
}

/* NULL in *ret: the config asks for nothing. "." is the root group. */
static struct rt_error *name_of_group(const struct rt_spec_intel_rdt *rdt, const char *id, const char **ret)
{
	const char *clos_id = rdt->clos_id && *rdt->clos_id ? rdt->clos_id : NULL;

	if (!clos_id)
		*ret = wants_schemata(rdt) ? id : rdt->enable_monitoring ? "." : NULL;
	else if (rt_str_equal(clos_id, "/"))
		*ret = ".";
	else if (strchr(clos_id, '/') || rt_str_equal(clos_id, ".") || rt_str_equal(clos_id, ".."))
		return rt_fail(RT_CONFIG, "'linux.intelRdt.closID' must be a file name, not '%s'", clos_id);
	else
		*ret = clos_id;
	return NULL;
}

/* The group's directory; made where there is none and we know what to put into it. */
static struct rt_error *open_group(int root_fd, const struct rt_spec_intel_rdt *rdt, const char *name, int *ret,
				   bool *ret_created)
{
	bool created = wants_schemata(rdt) && mkdirat(root_fd, name, 0755) == 0;
	int fd;

	if (wants_schemata(rdt) && !created && errno != EEXIST)
		return rt_fail_errno("cannot make resctrl group '%s'%s", name,
				     errno == ENOSPC ? ": no class of service is left" : "");
	fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open resctrl group '%s' of 'linux.intelRdt.closID'", name);
	*ret = fd;
	*ret_created = created;
	return NULL;
}

/* A group that stood there before is shared with others: it must say already what we would write. */
static struct rt_error *apply_schemata(int group_fd, const struct rt_spec_intel_rdt *rdt, unsigned flags)
{
	_cleanup_free_ char *wanted = NULL;
	_cleanup_free_ char *found = NULL;
	struct rt_error *err = rt_intel_rdt_schemata(rdt, &wanted);

	if (err || !wanted)
		return err;
	if (flags & RT_INTEL_RDT_WRITE)
		return rt_write_file_at(group_fd, "schemata", wanted);
	err = rt_read_file_at(group_fd, "schemata", SCHEMATA_LIMIT, &found, NULL);
	if (!err && !rt_intel_rdt_matches(wanted, found))
		err = rt_fail(RT_CONFIG, "the group exists already and has another schema than 'linux.intelRdt' wants");
	return err;
}

static struct rt_error *monitor(int group_fd, const char *id, pid_t pid)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *tasks = NULL;
	struct rt_error *err = rt_format(&path, "mon_groups/%s", id);
	char text[16];

	if (err)
		return err;
	if (mkdirat(group_fd, path, 0755) < 0 && errno != EEXIST)
		return rt_fail_errno("cannot make monitoring group '%s'", path);
	err = rt_format(&tasks, "%s/tasks", path);
	if (err)
		return err;
	snprintf(text, sizeof(text), "%d", pid);
	return rt_write_file_at(group_fd, tasks, text);
}

static struct rt_error *fill_group(int group_fd, const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid,
				   unsigned flags)
{
	struct rt_error *err = apply_schemata(group_fd, rdt, flags);
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	if (!err)
		err = rt_write_file_at(group_fd, "tasks", text);
	if (!err && rdt->enable_monitoring)
		err = monitor(group_fd, id, pid);
	return err;
}

struct rt_error *rt_intel_rdt_apply_at(int root_fd, const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid,
				       unsigned flags, bool *ret_created)
{
	_cleanup_close_ int group_fd = -1;
	const char *name = NULL;
	bool created = false;
	struct rt_error *err;

	err = name_of_group(rdt, id, &name);
	if (err || !name)
		return err;
	err = open_group(root_fd, rdt, name, &group_fd, &created);
	if (err)
		return err;
	err = fill_group(group_fd, rdt, id, pid, created ? RT_INTEL_RDT_WRITE : flags);
	if (err) {
		err = rt_while(err, "setting up resctrl group '%s'", name);
		if (created)
			unlinkat(root_fd, name, AT_REMOVEDIR);
		return err;
	}
	*ret_created = created;
	return NULL;
}

struct rt_error *rt_intel_rdt_destroy_at(int root_fd, const struct rt_spec_intel_rdt *rdt, const char *id, bool created)
{
	_cleanup_free_ char *monitoring = NULL;
	const char *name = NULL;
	struct rt_error *err;

	err = name_of_group(rdt, id, &name);
	/* Made by an update of a container whose config says nothing of it. */
	if (!err && !name && created)
		name = id;
	if (err || !name)
		return err;
	if (created) {
		if (unlinkat(root_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return rt_fail_errno("cannot remove resctrl group '%s'", name);
		return NULL;
	}
	if (!rdt->enable_monitoring)
		return NULL;
	err = rt_format(&monitoring, "%s/mon_groups/%s", name, id);
	if (err)
		return err;
	if (unlinkat(root_fd, monitoring, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return rt_fail_errno("cannot remove monitoring group '%s'", monitoring);
	return NULL;
}

static struct rt_error *open_resctrl(int *ret)
{
	_cleanup_close_ int fd = open(RESCTRL_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != RESCTRL_MAGIC)
		return rt_fail(RT_SYSTEM,
			       "'linux.intelRdt' needs the resctrl file system, which is not mounted on '" RESCTRL_PATH
			       "'");
	*ret = rt_take_fd(fd);
	return NULL;
}

static bool asks_for_nothing(const struct rt_spec_intel_rdt *rdt)
{
	return !rdt->present || (!(rdt->clos_id && *rdt->clos_id) && !wants_schemata(rdt) && !rdt->enable_monitoring);
}

static struct rt_error *apply(const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid, unsigned flags,
			      bool *ret_created)
{
	_cleanup_close_ int root_fd = -1;
	bool created = false;
	struct rt_error *err = NULL;

	if (!asks_for_nothing(rdt))
		err = open_resctrl(&root_fd);
	if (!err && root_fd >= 0)
		err = rt_intel_rdt_apply_at(root_fd, rdt, id, pid, flags, &created);
	if (err)
		return err;
	*ret_created = created;
	return NULL;
}

struct rt_error *rt_intel_rdt_apply(const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid, bool *ret_created)
{
	return apply(rdt, id, pid, 0, ret_created);
}

struct rt_error *rt_intel_rdt_update(const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid, bool *ret_created)
{
	return apply(rdt, id, pid, RT_INTEL_RDT_WRITE, ret_created);
}

struct rt_error *rt_intel_rdt_destroy(const struct rt_spec_intel_rdt *rdt, const char *id, bool created)
{
	_cleanup_close_ int root_fd = -1;
	struct rt_error *err;

	if (!created && (asks_for_nothing(rdt) || !rdt->enable_monitoring))
		return NULL;
	err = open_resctrl(&root_fd);
	return err ? err : rt_intel_rdt_destroy_at(root_fd, rdt, id, created);
}
