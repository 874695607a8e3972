#include "runtime/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
	int fd;
	enum rt_log_format format;
	bool debug;
	bool to_file;
} sink = { .fd = STDERR_FILENO };

/* The descriptor that a path names; -1: none. */
static int named_descriptor(const char *path)
{
	char end;
	int fd;

	if (strcmp(path, "/dev/stdout") == 0)
		return STDOUT_FILENO;
	if (strcmp(path, "/dev/stderr") == 0)
		return STDERR_FILENO;
	return sscanf(path, "/proc/self/fd/%d%c", &fd, &end) == 1 || sscanf(path, "/dev/fd/%d%c", &fd, &end) == 1 ? fd : -1;
}

struct rt_error *rt_log_open(const struct rt_log_options *options)
{
	if (options->path && *options->path) {
		int fd = open(options->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);

		/* A socket can't be opened, and under systemd standard error is one. */
		if (fd < 0 && errno == ENXIO && named_descriptor(options->path) >= 0)
			fd = fcntl(named_descriptor(options->path), F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return rt_fail_errno("cannot open log file '%s'", options->path);
		sink.fd = fd;
		sink.to_file = true;
	}
	sink.format = options->format;
	sink.debug = options->debug;
	return NULL;
}

bool rt_log_to_file(void)
{
	return sink.to_file;
}

bool rt_log_debug_enabled(void)
{
	return sink.debug;
}

int rt_log_fd(void)
{
	return sink.fd;
}

static const char *level_name(enum rt_log_level level)
{
	switch (level) {
	case RT_LOG_DEBUG:
		return "debug";
	case RT_LOG_INFO:
		return "info";
	case RT_LOG_WARNING:
		return "warning";
	case RT_LOG_ERROR:
		return "error";
	}
	return "error";
}

/* Bytes of the character at `at`; 0: they are none, by the table of well-formed sequences of the Unicode standard (no
 * longer forms than needed, no surrogates, nothing above U+10FFFF). */
static int utf8_length(const unsigned char *at)
{
	int length = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
	unsigned char least = *at == 0xe0 ? 0xa0 : *at == 0xf0 ? 0x90 : 0x80;
	unsigned char most = *at == 0xed ? 0x9f : *at == 0xf4 ? 0x8f : 0xbf;

	if (length > 1 && (at[1] < least || at[1] > most))
		return 0;
	for (int i = 2; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

/* Quotes for JSON and for logrus-style text alike; what is not UTF-8 becomes U+FFFD, as engines' parsers demand UTF-8. */
static void write_quoted(FILE *stream, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	fputc('"', stream);
	while (*at) {
		int length = utf8_length(at);

		if (length == 0) {
			fputs("\\ufffd", stream);
			at++;
			continue;
		}
		if (*at == '"' || *at == '\\')
			fprintf(stream, "\\%c", *at);
		else if (*at == '\n')
			fputs("\\n", stream);
		else if (*at == '\t')
			fputs("\\t", stream);
		else if (*at < 0x20)
			fprintf(stream, "\\u%04x", *at);
		else
			fwrite(at, 1, (size_t)length, stream);
		at += length;
	}
	fputc('"', stream);
}

/* For people: one line whatever is in it, and names out of files can't steer a terminal. */
static void write_plain(FILE *stream, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\n')
			fputs("\\n", stream);
		else if (c == '\t')
			fputs("\\t", stream);
		else if (c < 0x20 || c == 0x7f)
			fprintf(stream, "\\x%02x", c);
		else
			fputc(c, stream);
	}
}

void rt_log_tell(const char *message)
{
	fputs("rt: ", stderr);
	write_plain(stderr, message);
	fputc('\n', stderr);
}

static void write_line(enum rt_log_level level, const char *place, const char *message)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&line, &size);
	char stamp[64];
	struct tm tm;
	time_t now = time(NULL);

	if (!stream)
		return;
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (sink.format == RT_LOG_JSON) {
		fprintf(stream, "{\"level\":\"%s\",\"msg\":", level_name(level));
		write_quoted(stream, message);
		fprintf(stream, ",\"time\":\"%s\"}\n", stamp);
	} else if (sink.to_file) {
		fprintf(stream, "time=\"%s\" level=%s msg=", stamp, level_name(level));
		write_quoted(stream, message);
		fputc('\n', stream);
	} else {
		fprintf(stream, "rt: %s%s", level == RT_LOG_ERROR ? "" : level_name(level), level == RT_LOG_ERROR ? "" : ": ");
		write_plain(stream, message);
		fprintf(stream, "%s\n", place ? place : "");
	}
	/* One write, so that lines of several processes do not mix. */
	if (fclose(stream) == 0 && write(sink.fd, line, size) < 0)
		return;
}

void rt_log_write(enum rt_log_level level, const char *file, int line, const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	_cleanup_free_ char *place = NULL;
	int saved = errno;
	va_list args;

	va_start(args, format);
	if (vasprintf(&message, format, args) < 0)
		message = NULL;
	va_end(args);
	if (sink.debug && file && asprintf(&place, " (%s:%d)", file, line) < 0)
		place = NULL;
	if (message)
		write_line(level, place, message);
	errno = saved;
}

void rt_warn_ignored(struct rt_error *err)
{
	_cleanup_free_ char *text = NULL;

	if (!err)
		return;
	text = rt_error_text(err);
	rt_log_write(RT_LOG_WARNING, err->file, err->line, "%s, ignoring", text ? text : err->message);
	rt_error_free(err);
}
