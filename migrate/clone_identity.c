#include "migrate/clone_identity.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"
#include "runtime/sys/session.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/random.h>

#define GENERATION 16 /* bytes */
#define SEED 32

static void to_text(const uint8_t *bytes, size_t size, char *text)
{
	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

struct rt_error *rt_clone_identity_draw(const char *id, const char *snapshot, char **ret)
{
	char generation[2 * GENERATION + 1], seed[2 * SEED + 1];
	uint8_t bytes[GENERATION + SEED];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return rt_fail_errno("cannot draw random numbers");
	to_text(bytes, GENERATION, generation);
	to_text(bytes + GENERATION, SEED, seed);
	explicit_bzero(bytes, sizeof(bytes));
	/* None of the words has anything that JSON would have to escape. */
	return rt_format(ret, "{\"id\": \"%s\", \"snapshot\": \"%s\", \"generation\": \"%s\", \"seed\": \"%s\"}\n", id, snapshot, generation, seed);
}

struct rt_error *rt_clone_identity_write(int root_fd, const char *text, bool *ret_there)
{
	_cleanup_close_ int file_fd = -1, fd = -1;
	struct rt_error *err = rt_make_file_in_root(root_fd, RT_CLONE_FILE, 0444, &file_fd);
	struct stat st;

	*ret_there = false;
	if (err && err->errnum == EROFS) {
		rt_error_free(err);
		return NULL;
	}
	if (err)
		return err;
	if (fstat(file_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "'" RT_CLONE_FILE "' in the container is no regular file");
	err = rt_reopen(file_fd, O_WRONLY | O_TRUNC, &fd);
	if (err && err->errnum == EROFS) {
		rt_error_free(err);
		return NULL;
	}
	/* The umask of who keeps secrets is not for this file. */
	if (!err && fchmod(fd, 0444) < 0)
		err = rt_fail_errno("cannot make '" RT_CLONE_FILE "' readable");
	if (!err)
		err = rt_write_all(fd, text, strlen(text));
	*ret_there = !err;
	return err;
}

static bool has_identity(int root_fd, const char *text)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *found = NULL;

	rt_error_free(rt_open_in_root(root_fd, RT_CLONE_FILE, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd));
	if (fd >= 0)
		rt_error_free(rt_read_all(fd, 4096, &found, NULL));
	return found && rt_str_equal(found, text);
}

static struct rt_error *set_hostname(pid_t pid, const char *hostname)
{
	_cleanup_close_ int own = -1, theirs = -1;
	struct rt_error *err, *second;

	err = rt_sys_open_namespace_of(0, RT_NS_UTS, &own);
	if (!err)
		err = rt_sys_open_namespace_of(pid, RT_NS_UTS, &theirs);
	if (!err)
		err = rt_sys_setns(theirs, CLONE_NEWUTS);
	if (err)
		return err;
	err = rt_sys_set_host_name(hostname);
	second = rt_sys_setns(own, CLONE_NEWUTS);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

struct rt_error *rt_clone_identity_apply(const struct rt_context *context, const char *id, const char *text, const char *hostname)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	_cleanup_close_ int root_fd = -1;
	const struct rt_spec *spec;
	struct rt_error *err = rt_container_open(context, id, 0, &container);
	bool there;
	char path[32];

	if (!err)
		err = rt_container_spec(&container, &spec);
	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/%d/root", container.state.pid);
	root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return rt_fail_errno("cannot open the container's root directory");
	if (!has_identity(root_fd, text)) {
		err = rt_clone_identity_write(root_fd, text, &there);
		if (!err && !there)
			err = rt_fail(RT_CONFIG, "'" RT_CLONE_FILE "' can't be written in the container: its file system is read-only");
	}
	if (err || !hostname)
		return err;
	if (!spec->namespaces[RT_NS_UTS].wanted || spec->namespaces[RT_NS_UTS].path)
		return rt_fail(RT_CONFIG, "the container can't have a host name: it has no UTS namespace of its own");
	return set_hostname(container.state.pid, hostname);
}
