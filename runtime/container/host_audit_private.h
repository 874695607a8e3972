/* What the files of the host's audit share. */
#pragma once

#include "runtime/container/host_audit.h"

struct rt_host {
	const struct rt_spec *spec;
	const char *bundle;
	const struct rt_spec_visitor *visitor;
	bool own_users; /* the container gets a user namespace: its capabilities are new ones */
	bool all_powerful; /* uid 0 */
	uint64_t caps; /* that we hold, or could pass on */
};

/* "'path' what". */
void rt_host_tell(const struct rt_host *host, const char *path, const char *what, ...) __attribute__((format(printf, 3, 4)));

void rt_host_audit_files(const struct rt_host *host);
struct rt_error *rt_host_audit_cgroup(const struct rt_host *host) _must_check_;

/* The text of an errno as messages have it, without a capital. */
const char *rt_host_reason(int errnum);

/* A line of a file is this word, or has it in it as one of several with blanks between. */
bool rt_host_file_has(const char *path, const char *word);
