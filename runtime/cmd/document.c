#include "runtime/cmd/document.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"
#include "runtime/cmd/output.h"
#include "runtime/spec/spec.h"

#include <fcntl.h>

/* Far above any real one: what a mistaken path can make us read. */
#define MOST_BYTES (16 * 1024 * 1024)

struct rt_error *rt_document_read_file(const char *path, char **ret, size_t *ret_size)
{
	struct rt_error *err;

	if (!rt_str_equal(path, "-"))
		return rt_read_file_at(AT_FDCWD, path, MOST_BYTES, ret, ret_size);
	err = rt_read_all(STDIN_FILENO, MOST_BYTES, ret, ret_size);
	return err ? rt_while(err, "reading standard input") : NULL;
}

struct rt_error *rt_document_read(const char *path, json_t **ret)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	struct rt_error *err = rt_document_read_file(path, &text, &size);

	if (!err)
		err = rt_json_parse(text, size, path, &document);
	if (!err && !json_is_object(document))
		err = rt_fail(RT_CONFIG, "'%s' must be a JSON object", path);
	if (err)
		return err;
	*ret = rt_take_ptr(document);
	return NULL;
}

static struct rt_error *replace(const char *path, const char *text)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *directory = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_format(&directory, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");

	if (err)
		return err;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open '%s'", directory);
	return rt_replace_file_at(fd, slash ? slash + 1 : path, text, strlen(text), 0644);
}

struct rt_error *rt_document_write(const json_t *document, const char *path)
{
	_cleanup_free_ char *json = document ? rt_json_dump(document, JSON_INDENT(4)) : strdup("null");
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = json ? rt_format(&text, "%s\n", json) : rt_error_oom();

	if (err)
		return err;
	if (path) {
		err = replace(path, text);
		return err ? rt_while(err, "writing '%s'", path) : NULL;
	}
	fputs(text, stdout);
	return rt_output_finish();
}

struct rt_error *rt_document_check(const json_t *config)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	_cleanup_free_ char *text = rt_json_dump(config, 0);

	return text ? rt_spec_load_text(text, strlen(text), "the result", &spec) : rt_error_oom();
}
