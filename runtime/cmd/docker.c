#include "runtime/cmd/docker.h"

#include "runtime/base/helper.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/proc.h"

#include <fcntl.h>
#include <sys/mman.h>

#define MOST_BYTES (16 * 1024 * 1024)
/* A container shares at most a handful of namespaces with others. */
enum { MOST_OTHERS = 8, ANSWER_FD = 3 };

/* dup2(2) of a descriptor to itself leaves it close-on-exec. */
static int hand_over(void *userdata)
{
	int fd = *(int *)userdata;

	return fd == ANSWER_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, ANSWER_FD) < 0;
}

static struct rt_error *ask(const char *container, json_t **ret)
{
	const char *daemon = getenv("DOCKER_HOST");
	const char *argv[] = { "rt-docker", daemon && *daemon ? daemon : "unix:///var/run/docker.sock", container, NULL };
	_cleanup_close_ int fd = memfd_create("answer", MFD_CLOEXEC);
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct rt_run_options options = { .argv = argv, .before_exec = hand_over, .userdata = &fd };
	size_t size = 0;
	struct rt_error *err;

	if (fd < 0)
		return rt_fail_errno("cannot create a file in memory");
	err = rt_helper_find("rt-docker", "runtime", "questions to Docker's daemon", &path);
	options.path = path;
	if (!err)
		err = rt_run_program(&options);
	if (err)
		return err;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return rt_fail_errno("cannot read the daemon's answer");
	err = rt_read_all(fd, MOST_BYTES, &text, &size);
	return err ? err : rt_json_parse(text, size, "the daemon's answer", ret);
}

static struct rt_error *add(json_t *document, const char *container)
{
	json_t *one = NULL;
	struct rt_error *err = ask(container, &one);

	if (err)
		return rt_while(err, "inspecting container '%s'", container);
	return json_array_append_new(document, one) < 0 ? rt_error_oom() : NULL;
}

struct rt_error *rt_docker_inspect(const char *container, const char *(*missing)(json_t *document, const void *userdata),
				   const void *userdata, json_t **ret)
{
	_cleanup_json_ json_t *document = json_array();
	struct rt_error *err = document ? add(document, container) : rt_error_oom();

	for (int i = 0; i < MOST_OTHERS && !err && missing; i++) {
		const char *other = missing(document, userdata);

		if (!other)
			break;
		err = add(document, other);
	}
	if (err)
		return err;
	*ret = rt_take_ptr(document);
	return NULL;
}
