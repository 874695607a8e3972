#include "checkpoint/descriptors.h"

#include "checkpoint/manifest.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"

#define FILE_NAME "descriptors.json"
#define FILE_LIMIT (64u << 10)
#define STREAMS 3

struct rt_error *rt_descriptors_store(int image_fd, const Rt__Container *container)
{
	_cleanup_json_ json_t *names = json_array();
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < container->n_streams && i < STREAMS; i++) {
		const char *path = container->streams[i]->path;

		if (json_array_append_new(names, json_string(path && *path ? path : "/dev/null")) < 0)
			return rt_error_oom();
	}
	text = json_dumps(names, JSON_COMPACT);
	if (!text)
		return rt_error_oom();
	return rt_replace_file_at(image_fd, FILE_NAME, text, strlen(text), 0600);
}

static struct rt_error *add_pipe(const char *name, size_t fd, Rt__Container *into)
{
	Rt__Stream *stream;
	struct rt_error *err;

	for (size_t i = 0; i < into->n_streams; i++)
		if (rt_str_equal(into->streams[i]->key, name))
			return NULL; /* the same pipe: inherited once */
	err = rt_manifest_append(&into->streams, &into->n_streams, &rt__stream__descriptor, &stream);
	if (err)
		return err;
	stream->fd = (uint32_t)fd;
	stream->same_as = -1;
	stream->kind = RT__STREAM_KIND__STREAM_PIPE;
	return rt_manifest_set(&stream->key, name);
}

struct rt_error *rt_descriptors_load(int image_fd, Rt__Container *into)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_json root;
	struct rt_error *err;
	size_t size;

	err = rt_read_file_at(image_fd, FILE_NAME, FILE_LIMIT, &text, &size);
	if (err && err->errnum == ENOENT)
		return rt_error_free(err);
	if (!err)
		err = rt_json_parse(text, size, FILE_NAME, &document);
	if (err)
		return err;
	root = rt_json_root(document);
	for (size_t i = 0; i < rt_json_count(&root) && i < STREAMS && !err; i++) {
		const struct rt_json element = rt_json_element(&root, i);
		const char *name;

		err = rt_json_as_string(&element, &name);
		if (!err && rt_str_starts(name, "pipe:["))
			err = add_pipe(name, i, into);
	}
	if (err)
		return rt_while(err, "reading '" FILE_NAME "'");
	return NULL;
}
