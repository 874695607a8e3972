#include "checkpoint/tmpfs_tar.h"

#include "runtime/base/str.h"
#include "runtime/bundle/unpack.h"

#include <string.h>
#include <zlib.h>

#define CHUNK ((size_t)64 << 10)

/* libarchive reads gzip, too, but does not look at its sums. */
struct image {
	int fd;
	z_stream stream;
	bool begun; /* a member: something of it was read */
	bool ended; /* the input */
	uint8_t in[CHUNK], out[CHUNK];
};

static int refuse(struct archive *archive, const char *why)
{
	archive_set_error(archive, EILSEQ, "%s", why);
	return -1;
}

static int fill(struct archive *archive, struct image *image)
{
	ssize_t got;

	if (image->stream.avail_in > 0 || image->ended)
		return 0;
	do {
		got = read(image->fd, image->in, sizeof(image->in));
	} while (got < 0 && errno == EINTR);
	if (got < 0) {
		archive_set_error(archive, errno, "cannot read: %s", strerror(errno));
		return -1;
	}
	image->ended = got == 0;
	image->stream.next_in = image->in;
	image->stream.avail_in = (uInt)got;
	return 0;
}

/* Between members, of which gzip takes several for one file. After the last there may be zeroes. */
static int skip_padding(struct archive *archive, struct image *image)
{
	while (!image->ended) {
		if (fill(archive, image) < 0)
			return -1;
		while (image->stream.avail_in > 0 && *image->stream.next_in == 0) {
			image->stream.next_in++;
			image->stream.avail_in--;
		}
		if (image->stream.avail_in > 0)
			return 0;
	}
	return 0;
}

/* All that is there for one buffer; 0 at the end, which is only where a member ends. */
static la_ssize_t inflate_some(struct archive *archive, void *userdata, const void **ret)
{
	struct image *image = userdata;
	z_stream *stream = &image->stream;

	*ret = image->out;
	stream->next_out = image->out;
	stream->avail_out = sizeof(image->out);
	while (stream->avail_out == sizeof(image->out)) {
		int result;

		if (fill(archive, image) < 0)
			return -1;
		if (image->ended)
			return image->begun ? refuse(archive, "it ends in the middle") : 0;
		image->begun = true;
		result = inflate(stream, Z_NO_FLUSH);
		if (result == Z_STREAM_END) {
			image->begun = false;
			if (inflateReset(stream) != Z_OK || skip_padding(archive, image) < 0)
				return refuse(archive, "it is damaged");
		} else if (result != Z_OK && result != Z_BUF_ERROR) {
			return refuse(archive, result == Z_MEM_ERROR ? "out of memory" : stream->msg ? stream->msg : "it is damaged");
		}
	}
	return (la_ssize_t)(sizeof(image->out) - stream->avail_out);
}

static struct rt_error *unpack_one(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);
	char path[PATH_MAX];
	struct rt_error *err;

	if (!name || !rt_unpack_clean_path(name, 0, path, sizeof(path)))
		return rt_fail(RT_CONFIG, "the image has an entry '%.200s', which would lie outside", name ? name : "");
	/* As tar does without --xattrs, --acls. */
	archive_entry_xattr_clear(entry);
	archive_entry_acl_clear(entry);
	err = rt_unpack_entry(unpack, archive, entry, path);
	if (!err && unpack->left_out > 0)
		err = rt_fail_with(EPERM, "cannot make the device node");
	return err ? rt_while(err, "unpacking '%.200s'", name) : NULL;
}

/* Up to the end of the image, not only of the tar in it: its sum is there. */
static struct rt_error *unpack_all(struct rt_unpack *unpack, struct archive *archive, struct image *image)
{
	const char *what = "cannot read the image";
	struct archive_entry *entry;
	struct rt_error *err = NULL;
	const void *rest;
	la_ssize_t got;
	bool any = false;
	int result;

	while (!err) {
		result = archive_read_next_header(archive, &entry);
		if (result == ARCHIVE_EOF)
			break;
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return rt_unpack_fail(archive, what);
		any = true;
		err = unpack_one(unpack, archive, entry);
	}
	if (err)
		return err;
	if (!any)
		return rt_fail(RT_CONFIG, "there is nothing in the image");
	do {
		got = inflate_some(archive, image, &rest);
	} while (got > 0);
	if (got < 0)
		return rt_unpack_fail(archive, what);
	return rt_unpack_finish(unpack);
}

struct rt_error *rt_tmpfs_tar_unpack(int in_fd, int dir_fd)
{
	_cleanup_(rt_archive_read_freep) struct archive *archive = archive_read_new();
	_cleanup_free_ struct image *image = calloc(1, sizeof(*image));
	struct rt_unpack unpack = {
		.root_fd = dir_fd,
		.flags = RT_UNPACK_REAL_PARENTS | RT_UNPACK_DEVICES | RT_UNPACK_NO_NEW_HOLES | (geteuid() == 0 ? 0 : RT_UNPACK_AS_USER),
	};
	struct rt_error *err;

	if (!archive || !image)
		return rt_error_oom();
	image->fd = in_fd;
	if (inflateInit2(&image->stream, 15 + 16) != Z_OK)
		return rt_error_oom();
	err = rt_unpack_init(&unpack);
	if (!err && (archive_read_support_format_tar(archive) != ARCHIVE_OK ||
		     archive_read_open(archive, image, NULL, inflate_some, NULL) != ARCHIVE_OK))
		err = rt_unpack_fail(archive, "cannot read the image");
	if (!err)
		err = unpack_all(&unpack, archive, image);
	rt_unpack_deinit(&unpack);
	inflateEnd(&image->stream);
	return err;
}
