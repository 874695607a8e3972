#include "checkpoint/digestfile.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Fits the second-level cache, so that the digest reads what the kernel has just copied there. */
#define CHUNK ((size_t)256 << 10)

static struct rt_error *digest_stream(int fd, uint64_t size, uint8_t ret[SHA256_DIGEST_SIZE])
{
	size_t room = size < CHUNK ? (size_t)size + 1 : CHUNK;
	_cleanup_free_ uint8_t *chunk = malloc(room);
	struct sha256_ctx context;

	if (!chunk)
		return rt_error_oom();
	sha256_init(&context);
	for (;;) {
		ssize_t got = read(fd, chunk, room);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot read");
		if (got == 0)
			break;
		sha256_update(&context, (size_t)got, chunk);
	}
	sha256_digest(&context, SHA256_DIGEST_SIZE, ret);
	return NULL;
}

struct rt_error *rt_digest_file(int dir_fd, const char *name, uint64_t limit, uint64_t *ret_size,
				uint8_t ret[SHA256_DIGEST_SIZE], bool *ret_taken)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct rt_error *err;
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ELOOP))
		return rt_fail(RT_CONFIG, "image '%s' is missing", name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open image '%s'", name);
	if (!S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "image '%s' is no regular file", name);
	*ret_size = (uint64_t)st.st_size;
	*ret_taken = false;
	if ((uint64_t)st.st_size > limit)
		return NULL;
	err = digest_stream(fd, (uint64_t)st.st_size, ret);
	if (err)
		return rt_while(err, "image '%s'", name);
	*ret_taken = true;
	return NULL;
}
