/* Images of a tmpfs, whoever made them. The first byte says what the rest is: an image, or the tar in one: gzip's sum would stop most changes of the former.
 *
 * Each run has a directory in $TMPDIR, with a file beside it that must stay as it is. Run by root, it is unpacked as nobody: what escapes can't do harm. */
#include "checkpoint/tmpfs_tar.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "tests/fuzz/victim.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

#define NOBODY 65534

static int make_image(const uint8_t *bytes, size_t size, bool is_tar)
{
	_cleanup_free_ uint8_t *packed = NULL;
	int fd = memfd_create("image", 0);
	z_stream stream = { 0 };

	if (fd < 0)
		abort();
	if (is_tar) {
		size_t room = size + 1000;

		packed = malloc(room);
		if (!packed || deflateInit2(&stream, 0, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
			abort();
		stream.next_in = (uint8_t *)bytes;
		stream.avail_in = (uInt)size;
		stream.next_out = packed;
		stream.avail_out = (uInt)room;
		if (deflate(&stream, Z_FINISH) != Z_STREAM_END)
			abort();
		size = room - stream.avail_out;
		deflateEnd(&stream);
	}
	if (rt_write_all(fd, is_tar ? packed : bytes, size) || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *temporary = getenv("TMPDIR");
	char path[256], root[300], victim[300];
	_cleanup_close_ int image = -1, dir_fd = -1;
	bool is_root = geteuid() == 0;

	if (size < 1)
		return 0;
	snprintf(path, sizeof(path), "%.200s/rt-fuzz-tmpfs.XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(path))
		abort();
	snprintf(root, sizeof(root), "%s/root", path);
	snprintf(victim, sizeof(victim), "%s/victim", path);
	if (mkdir(root, 0700) < 0 || rt_replace_file_at(AT_FDCWD, victim, "safe", 4, 0666) || chmod(victim, 0666) < 0 || chmod(path, 0755) < 0)
		abort();
	image = make_image(bytes + 1, size - 1, bytes[0] & 1);
	dir_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || (is_root && (fchown(dir_fd, NOBODY, NOBODY) < 0 || setegid(NOBODY) < 0 || seteuid(NOBODY) < 0)))
		abort();
	rt_error_free(rt_tmpfs_tar_unpack(image, dir_fd));
	if (is_root && (seteuid(0) < 0 || setegid(0) < 0))
		abort();
	check_victim(victim);
	if (rt_remove_tree_at(AT_FDCWD, path))
		abort();
	return 0;
}
