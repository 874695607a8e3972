/* CRIU's log: finds the line that explains a failure, and says in plain words what is known about it.
 *
 * CRIU reports a failure upwards by one error line per function, so the first one names the cause and the later ones who was
 * affected. Some first lines are not it: errors CRIU itself tolerates. Pure but for reading the file. */
#pragma once

#include "runtime/base/error.h"

struct rt_criulog {
	char *line; /* the line that explains: without time stamp and source position; owned. NULL: the log has none */
	int pid; /* of the process it is about, in the host's numbers at a dump, in the container's at a restore; 0: not told */
	const char *words; /* what to do, or what it means, in plain words; static. NULL: nothing is known beyond the line */
};
#define RT_CRIULOG_NULL ((struct rt_criulog){ .pid = 0 })

void rt_criulog_deinit(struct rt_criulog *log);

/* The line in a log that is in memory. */
struct rt_error *rt_criulog_parse(const char *text, size_t size, struct rt_criulog *ret) _must_check_;

/* Same of a file; only its first and last 4 MiB are looked at. A file that is not there is an empty log. */
struct rt_error *rt_criulog_load(int work_dir_fd, const char *name, struct rt_criulog *ret) _must_check_;

/* Replaces an error of rt_criu_request() by one that explains: "<words> (criu: <line>, see <name>)"; or, where the log will be gone by the time
 * somebody wants to read it (`kept` false), how to have it kept. Takes over `err`; where the log
 * has nothing to tell, or only that we refused, it is returned as it is. Not to be called where rt_criu_failure.refused. */
struct rt_error *rt_criulog_explain(struct rt_error *err, int work_dir_fd, const char *name, bool kept) _must_check_;

/* For the preflight, which must say the same: the words for an error line of CRIU, or NULL. */
const char *rt_criulog_words(const char *line);
