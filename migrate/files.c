#include "migrate/files.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX 100000

/* ---- names ---- */

void rt_files_names_deinit(struct rt_files_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct rt_files_names){ NULL };
}

struct rt_error *rt_files_names_add(struct rt_files_names *names, const char *name)
{
	char *copy;

	if (names->count == names->room) {
		size_t room = names->room ? names->room * 2 : 64;
		char **larger = reallocarray(names->names, room, sizeof(*larger));

		if (!larger)
			return rt_error_oom();
		names->names = larger;
		names->room = room;
	}
	copy = strdup(name);
	if (!copy)
		return rt_error_oom();
	names->names[names->count++] = copy;
	return NULL;
}

bool rt_files_names_have(const struct rt_files_names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (rt_str_equal(names->names[i], name))
			return true;
	return false;
}

bool rt_files_is_wanted(const char *name)
{
	size_t length = strlen(name);

	return *name != '.' && !(length > 4 && rt_str_equal(name + length - 4, ".log"));
}

struct rt_error *rt_files_list(int dir_fd, const struct rt_files_names *without, struct rt_files_names *names)
{
	int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = own < 0 ? NULL : fdopendir(own);
	struct rt_error *err = NULL;
	const struct dirent *entry;

	if (!dir) {
		err = rt_fail_errno("cannot read the image directory");
		rt_closep(&own);
	}
	while (!err && (entry = readdir(dir)))
		if (rt_files_is_wanted(entry->d_name) && !rt_files_names_have(without, entry->d_name))
			err = rt_files_names_add(names, entry->d_name);
	return err;
}

/* ---- this side ---- */

struct rt_files_out {
	const struct rt_files_names *names;
	size_t next; /* of them */
	int dir_fd; /* borrowed */
	int file_fd; /* -1: none open */
	uint64_t number, offset; /* of the file at hand */
	uint64_t frames, wire;
	struct rt_codec *codec; /* borrowed */
	uint8_t *buffer; /* RT_FRAME_MAX */
	struct rt_frame frame;
	uint8_t header[RT_FRAME_HEADER];
	size_t header_left, payload_left;
	bool ended;
};

struct rt_error *rt_files_out_new(int dir_fd, struct rt_codec *codec, const struct rt_files_names *names, struct rt_files_out **ret)
{
	struct rt_files_out *out = calloc(1, sizeof(*out));

	if (out)
		*out = (struct rt_files_out){ .names = names, .dir_fd = dir_fd, .file_fd = -1, .codec = codec, .buffer = malloc(RT_FRAME_MAX) };
	if (!out || !out->buffer) {
		free(out);
		return rt_error_oom();
	}
	*ret = out;
	return NULL;
}

void rt_files_out_free(struct rt_files_out *out)
{
	if (!out)
		return;
	rt_closep(&out->file_fd);
	free(out->buffer);
	free(out);
}

uint64_t rt_files_out_wire(const struct rt_files_out *out)
{
	return out->wire;
}

/* *ret_there is false after the last one. */
static struct rt_error *open_next(struct rt_files_out *out, bool *ret_there)
{
	*ret_there = false;
	while (out->next < out->names->count) {
		const char *name = out->names->names[out->next++];
		size_t length = strlen(name);
		struct stat st;

		out->file_fd = openat(out->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (out->file_fd < 0 || fstat(out->file_fd, &st) < 0)
			return rt_fail_errno("cannot open '%s' of the images", name);
		if (!S_ISREG(st.st_mode)) {
			rt_closep(&out->file_fd);
			continue;
		}
		memcpy(out->buffer, name, length);
		out->number++;
		out->offset = 0;
		out->frame = (struct rt_frame){
			.type = RT_FRAME_FILE, .space = out->number, .size = (uint32_t)length, .stored = (uint32_t)length, .payload = out->buffer,
		};
		*ret_there = true;
		return NULL;
	}
	return NULL;
}

/* *ret_there is false at the end of the file. */
static struct rt_error *read_more(struct rt_files_out *out, bool *ret_there)
{
	ssize_t got;

	do {
		got = pread(out->file_fd, out->buffer, rt_codec_stride(out->codec), (off_t)out->offset);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return rt_fail_errno("cannot read an image");
	*ret_there = got > 0;
	if (got == 0) {
		rt_closep(&out->file_fd);
		return NULL;
	}
	out->frame = (struct rt_frame){ .type = RT_FRAME_DATA, .space = out->number, .start = out->offset, .size = (uint32_t)got };
	rt_codec_pack(out->codec, out->buffer, (uint32_t)got, &out->frame);
	out->offset += (uint64_t)got;
	return NULL;
}

static struct rt_error *next_frame(struct rt_files_out *out)
{
	struct rt_error *err = NULL;
	bool there = false;

	if (out->file_fd >= 0)
		err = read_more(out, &there);
	if (!err && !there)
		err = open_next(out, &there);
	if (err)
		return err;
	if (!there) {
		out->frame = (struct rt_frame){ .type = RT_FRAME_END, .start = out->frames };
		out->ended = true;
	}
	out->frames++;
	rt_frame_encode(&out->frame, out->header);
	out->header_left = RT_FRAME_HEADER;
	out->payload_left = out->frame.stored;
	return NULL;
}

struct rt_error *rt_files_out_pull(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct rt_files_out *out = userdata;
	size_t stride = rt_codec_stride(out->codec), used = 0;

	room = room < stride ? room : stride;
	while (used < room) {
		const uint8_t *from;
		size_t *left = out->header_left ? &out->header_left : &out->payload_left, count;

		if (*left == 0) {
			struct rt_error *err;

			if (out->ended)
				break;
			err = next_frame(out);
			if (err)
				return err;
			continue;
		}
		from = left == &out->header_left ? out->header + RT_FRAME_HEADER - *left : (const uint8_t *)out->frame.payload + out->frame.stored - *left;
		count = *left < room - used ? *left : room - used;
		memcpy((uint8_t *)buffer + used, from, count);
		*left -= count;
		used += count;
	}
	out->wire += used;
	*ret_size = used;
	return NULL;
}

/* ---- the other side ---- */

struct rt_files_in {
	int dir_fd; /* borrowed */
	int file_fd;
	uint64_t number, limit, used;
};

struct rt_error *rt_files_in_new(int dir_fd, uint64_t limit, struct rt_files_in **ret)
{
	struct rt_files_in *in = malloc(sizeof(*in));

	if (!in)
		return rt_error_oom();
	*in = (struct rt_files_in){ .dir_fd = dir_fd, .file_fd = -1, .limit = limit };
	*ret = in;
	return NULL;
}

void rt_files_in_free(struct rt_files_in *in)
{
	if (!in)
		return;
	rt_closep(&in->file_fd);
	free(in);
}

uint64_t rt_files_in_used(const struct rt_files_in *in)
{
	return in->used;
}

static struct rt_error *begin_file(struct rt_files_in *in, const struct rt_frame *frame, const void *data)
{
	char name[RT_FRAME_NAME_MAX + 1];

	if (frame->size == 0 || frame->size > RT_FRAME_NAME_MAX || memchr(data, '/', frame->size) || memchr(data, '\0', frame->size) ||
	    *(const char *)data == '.')
		return rt_fail(RT_PEER, "a file has a name that no image has");
	memcpy(name, data, frame->size);
	name[frame->size] = '\0';
	if (frame->space != in->number + 1 || in->number >= FILES_MAX)
		return rt_fail(RT_PEER, "file '%s' comes out of order", name);
	in->number = frame->space;
	rt_closep(&in->file_fd);
	in->file_fd = openat(in->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in->file_fd < 0)
		return rt_fail_errno("cannot create '%s'", name);
	return NULL;
}

static struct rt_error *add_data(struct rt_files_in *in, const struct rt_frame *frame, const void *data)
{
	struct rt_error *err;

	if (in->file_fd < 0 || frame->space != in->number)
		return rt_fail(RT_PEER, "bytes of a file that has not begun");
	if (frame->start > INT64_MAX - RT_FRAME_MAX || in->used + frame->size > in->limit)
		return rt_fail(RT_PEER, "the images are larger than this host takes: %llu bytes", (unsigned long long)in->limit);
	in->used += frame->size;
	err = rt_write_all_at(in->file_fd, data, frame->size, (off_t)frame->start);
	return err ? rt_while(err, "writing an image") : NULL;
}

struct rt_error *rt_files_in_take(struct rt_files_in *in, const struct rt_frame *frame, const void *data)
{
	switch (frame->type) {
	case RT_FRAME_FILE:
		return begin_file(in, frame, data);
	case RT_FRAME_DATA:
		return add_data(in, frame, data);
	case RT_FRAME_END:
		rt_closep(&in->file_fd);
		return NULL;
	case RT_FRAME_PAGES:
	case RT_FRAME_ZERO:
	case RT_FRAME_STALE:
		break;
	}
	return rt_fail(RT_PEER, "pages where files are due");
}
