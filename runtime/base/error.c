#include "runtime/base/error.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

static struct rt_error out_of_memory = {
	.code = RT_SYSTEM,
	.errnum = ENOMEM,
	.file = __FILE__,
	.message = (char[]){ "out of memory" },
};

struct rt_error *rt_error_oom(void)
{
	return &out_of_memory;
}

struct rt_error *rt_error_make(const char *file, int line, enum rt_code code, int errnum, struct rt_error *cause,
			       const char *format, ...)
{
	struct rt_error *err = malloc(sizeof(*err));
	char *message;
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&message, format, args);
	va_end(args);
	if (!err || length < 0) {
		if (length >= 0)
			free(message);
		free(err);
		rt_error_free(cause);
		return rt_error_oom();
	}
	*err = (struct rt_error){
		.code = code, .errnum = errnum, .file = file, .line = line, .cause = cause, .message = message,
	};
	return err;
}

struct rt_error *rt_error_free(struct rt_error *err)
{
	int saved = errno;

	while (err && err != &out_of_memory) {
		struct rt_error *cause = err->cause;

		free(err->message);
		free(err);
		err = cause;
	}
	errno = saved;
	return NULL;
}

/* Without the capital: "no such file or directory" and "permission denied" are what engines written in Go look for. */
static void write_errno(FILE *stream, int errnum)
{
	const char *text = strerror(errnum);
	bool capital = isupper((unsigned char)text[0]) && islower((unsigned char)text[1]);

	fprintf(stream, ": %c%s", capital ? tolower((unsigned char)text[0]) : text[0], text + 1);
}

char *rt_error_text(const struct rt_error *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	const struct rt_error *link;
	int errnum = 0;

	if (!stream)
		return NULL;
	for (link = err; link; link = link->cause) {
		fprintf(stream, "%s%s", link == err ? "" : ": ", link->message);
		errnum = link->errnum;
	}
	if (errnum)
		write_errno(stream, errnum);
	if (fclose(stream) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
