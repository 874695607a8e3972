#include "migrate/http_secret.h"

#include "migrate/http_parse.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

#define KEY_SIZE_MAX (256u << 10)

/* The mode is looked at on the descriptor that is then read: the file can't be another one in between. */
static struct rt_error *load(const char *what, const char *path, mode_t forbidden, size_t limit, char **ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct rt_error *err;
	struct stat status;

	if (fd < 0)
		return rt_fail_errno("cannot open the %s file '%s'", what, path);
	if (fstat(fd, &status) < 0)
		return rt_fail_errno("cannot look at the %s file '%s'", what, path);
	if (!S_ISREG(status.st_mode))
		return rt_fail(RT_CONFIG, "the %s file '%s' is not a regular file", what, path);
	if (status.st_mode & forbidden)
		return rt_fail(RT_CONFIG, "the %s file '%s' has mode %04o, others may use it: it must be 0600", what, path,
			       (unsigned)status.st_mode & 07777);
	err = rt_read_all(fd, limit, ret, NULL);
	return err ? rt_while(err, "reading the %s file '%s'", what, path) : NULL;
}

struct rt_error *rt_secret_load_token(const char *path, char **ret)
{
	_cleanup_(rt_secret_freep) char *token = NULL;
	struct rt_error *err = load("token", path, 0077, RT_HTTP_TOKEN_MAX + 2, &token);
	size_t length;

	if (err)
		return err;
	length = strlen(token);
	while (length > 0 && (token[length - 1] == '\n' || token[length - 1] == '\r'))
		token[--length] = 0;
	if (!rt_http_token_valid(token))
		return rt_fail(RT_CONFIG, "the token file '%s' must hold one line of %d to %d printable characters without blanks", path,
			       RT_HTTP_TOKEN_MIN, RT_HTTP_TOKEN_MAX);
	*ret = rt_take_ptr(token);
	return NULL;
}

struct rt_error *rt_secret_load_key(const char *path, char **ret)
{
	return load("key", path, 0007, KEY_SIZE_MAX, ret);
}

void rt_secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}
