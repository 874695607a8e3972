/* Compiled programs on disk. A file that is not exactly what we wrote is as good as none: the profile is compiled
 * again. */
#include "runtime/security/seccomp_private.h"

#include "runtime/base/digest.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/stat.h>
#include <sys/utsname.h>

_Static_assert(RT_SECCOMP_KEY_ROOM == RT_DIGEST_TEXT_ROOM, "a key is a digest");

/* To be raised when the same profile gives another program than before. */
#define BUILDER_VERSION 1
#define MAX_ENTRIES 64

struct entry {
	uint8_t digest[SHA256_DIGEST_SIZE]; /* of the program: a crash may have left a hole in the file */
	struct sock_filter program[BPF_MAXINSNS];
};

static int add_to_digest(const char *bytes, size_t size, void *context)
{
	sha256_update(context, size, (const uint8_t *)bytes);
	return 0;
}

struct rt_error *rt_seccomp_cache_key(const struct rt_spec_seccomp *spec, char key[RT_SECCOMP_KEY_ROOM])
{
	const struct scmp_version *library = seccomp_version();
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx context;
	struct utsname kernel;
	char versions[256];
	int length;

	/* The kernel matters too: libseccomp asks it which actions it knows. */
	if (uname(&kernel) < 0)
		return rt_fail_errno("cannot get the kernel's version");
	length = snprintf(versions, sizeof(versions), "%d %u.%u.%u %s %s\n", BUILDER_VERSION, library->major,
			  library->minor, library->micro, kernel.machine, kernel.release);
	sha256_init(&context);
	sha256_update(&context, (size_t)length, (const uint8_t *)versions);
	if (json_dump_callback(spec->json, add_to_digest, &context, JSON_COMPACT) < 0)
		return rt_error_oom();
	sha256_digest(&context, sizeof(digest), digest);
	rt_digest_text(digest, key);
	return NULL;
}

static void digest_program(const struct sock_filter *program, size_t size, uint8_t digest[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, size, (const uint8_t *)program);
	sha256_digest(&context, SHA256_DIGEST_SIZE, digest);
}

/* Nobody but us may have been able to write it. */
static bool is_ours(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

static bool is_whole(const struct entry *entry, ssize_t size)
{
	const ssize_t head = offsetof(struct entry, program);
	uint8_t digest[SHA256_DIGEST_SIZE];

	if (size <= head || (size - head) % (ssize_t)sizeof(struct sock_filter) != 0)
		return false;
	digest_program(entry->program, (size_t)(size - head), digest);
	return memcmp(digest, entry->digest, sizeof(digest)) == 0;
}

struct rt_error *rt_seccomp_cache_load(int dir_fd, const char *key, struct sock_filter **ret, uint16_t *ret_length)
{
	_cleanup_close_ int fd = openat(dir_fd, key, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ struct entry *entry = NULL;
	struct sock_filter *program;
	ssize_t size;
	size_t length;

	if (fd < 0)
		return NULL;
	entry = malloc(sizeof(*entry));
	if (!entry)
		return rt_error_oom();
	size = is_ours(fd) ? read(fd, entry, sizeof(*entry)) : -1;
	if (!is_whole(entry, size)) {
		unlinkat(dir_fd, key, 0);
		return NULL;
	}
	length = ((size_t)size - offsetof(struct entry, program)) / sizeof(*program);
	program = malloc(length * sizeof(*program));
	if (!program)
		return rt_error_oom();
	memcpy(program, entry->program, length * sizeof(*program));
	*ret = program;
	*ret_length = (uint16_t)length;
	return NULL;
}

/* The oldest file goes until there is room for one more; leftovers of writers that died count and go alike. */
static bool remove_oldest(int dir_fd)
{
	_cleanup_close_ int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char oldest[256] = "";
	struct timespec when = {0};
	const struct dirent *at;
	unsigned count = 0;

	if (!dir)
		return false;
	fd = -1; /* the stream closes it */
	while ((at = readdir(dir))) {
		struct stat st;

		if (at->d_name[0] == '.' && (!at->d_name[1] || rt_str_equal(at->d_name, "..")))
			continue;
		if (fstatat(dir_fd, at->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
			continue;
		count++;
		if (!*oldest || st.st_mtim.tv_sec < when.tv_sec ||
		    (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec < when.tv_nsec)) {
			when = st.st_mtim;
			snprintf(oldest, sizeof(oldest), "%s", at->d_name);
		}
	}
	return count >= MAX_ENTRIES && unlinkat(dir_fd, oldest, 0) == 0;
}

/* Under a name of our own until it is whole: others may be compiling the same profile. */
static struct rt_error *write_entry(int dir_fd, const char *fresh, const char *key, const struct entry *entry,
				    size_t size)
{
	_cleanup_close_ int fd = openat(dir_fd, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct rt_error *err;

	if (fd < 0)
		return rt_fail_errno("cannot create '%s'", fresh);
	err = rt_write_all(fd, entry, size);
	if (!err && renameat(dir_fd, fresh, dir_fd, key) < 0)
		err = rt_fail_errno("cannot rename '%s'", fresh);
	if (err)
		unlinkat(dir_fd, fresh, 0);
	return err;
}

struct rt_error *rt_seccomp_cache_store(int dir_fd, const char *key, const struct sock_filter *program, uint16_t length)
{
	size_t size = length * sizeof(*program);
	_cleanup_free_ struct entry *entry = malloc(sizeof(*entry));
	char fresh[RT_SECCOMP_KEY_ROOM + 16];
	struct rt_error *err;

	if (!entry)
		return rt_error_oom();
	while (remove_oldest(dir_fd))
		;
	memcpy(entry->program, program, size);
	digest_program(program, size, entry->digest);
	snprintf(fresh, sizeof(fresh), "%s.%d", key, getpid());
	unlinkat(dir_fd, fresh, 0); /* of a process that died and had our pid */
	err = write_entry(dir_fd, fresh, key, entry, offsetof(struct entry, program) + size);
	if (err)
		return rt_while(err, "caching the compiled seccomp program");
	return NULL;
}
