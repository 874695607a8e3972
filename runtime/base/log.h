/* The log: one sink, set up once by main(), in runc's two formats, because engines parse both.
 *
 * Libraries log debug, and a warning where they tolerate a failure ("..., ignoring"). The one error of a command is
 * written by main() alone. */
#pragma once

#include "runtime/base/error.h"

enum rt_log_level { RT_LOG_DEBUG, RT_LOG_INFO, RT_LOG_WARNING, RT_LOG_ERROR };
enum rt_log_format { RT_LOG_TEXT, RT_LOG_JSON };

struct rt_log_options {
	const char *path; /* NULL or empty: standard error */
	enum rt_log_format format;
	bool debug;
};

/* Opens the sink (append, 0600, close on exec). Until it is called, warnings go to standard error as text. */
struct rt_error *rt_log_open(const struct rt_log_options *options) _must_check_;

/* True where the log goes to a file, so that main() knows to tell the person at the terminal too. */
bool rt_log_to_file(void);
bool rt_log_debug_enabled(void);

/* "rt: <message>" on standard error, wherever the log goes. */
void rt_log_tell(const char *message);

/* The sink's descriptor, for a child that closes everything else. */
int rt_log_fd(void);

void rt_log_write(enum rt_log_level level, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#define rt_debug(...)                                                             \
	do {                                                                      \
		if (rt_log_debug_enabled())                                       \
			rt_log_write(RT_LOG_DEBUG, __FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
/* For daemons: what happens, to who reads the log. */
#define rt_info(...) rt_log_write(RT_LOG_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define rt_warn(...) rt_log_write(RT_LOG_WARNING, __FILE__, __LINE__, __VA_ARGS__)

/* Logs a tolerated failure, "<text>, ignoring", and frees it. NULL is fine. */
void rt_warn_ignored(struct rt_error *err);
