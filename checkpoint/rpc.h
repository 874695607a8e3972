/* A `criu swrk` of our own, and the conversation with it.
 *
 *	rt_criu_start()		criu runs and waits
 *	rt_criu_version()	optional, costs one round trip
 *	rt_criu_request()	one request; calls the handler for each notification; ends with CRIU's answer
 *	rt_criu_close()		the socket closes, criu ends and is reaped
 *
 * Knows CRIU's protocol, not what the options mean (options.h) nor its log (criulog.h).
 *
 * What becomes of CRIU when we give up or die: a CRIU that is killed in the middle of a dump leaves its work undone: tasks
 * seized by ptrace die or stay stopped, the network stays locked, a cgroup frozen. So it is never killed while it can still end by
 * itself. It gets no parent-death signal: when our end of the socket closes, by rt_criu_close() or by our death, its next
 * notification fails, and CRIU takes that as a refusal and rolls back. For the same reason it gets a process group of its own, out
 * of reach of Ctrl-C. Only rt_criu_close() kills it, after RT_CRIU_GRACE_MS without an end, or at once where our patience was over
 * or it has made no more than answers (requests without a handler). */
#pragma once

#include "runtime/base/error.h"
#include "proto/criu_rpc.pb-c.h"

#include <sys/types.h>

/* The oldest release this speaks to: the options and images it relies on are those of the 4.x series (tried: 4.1.1). */
#define RT_CRIU_VERSION_MIN 40000
/* From here on a restore locks a network namespace that its own dump has locked already; before, it fails there (criu's pull request 2653). */
#define RT_CRIU_LOCKS_AGAIN 40200
#define RT_CRIU_GRACE_MS 10000
/* For rt_criu_options.patience_ms where nothing can be lost. */
#define RT_CRIU_PATIENCE_MS 2000
/* Longest answer of CRIU that is believed. */
#define RT_CRIU_MESSAGE_MAX (2 << 20)

struct rt_criu; /* opaque; rt_criu_close() */

enum {
	RT_CRIU_SHELL_JOB = 1 << 0, /* stays in our process group: it shares our terminal (--shell-job) */
	RT_CRIU_QUIET = 1 << 1, /* standard streams on /dev/null: for questions, where there is no log file to warn into */
};

struct rt_criu_options {
	const char *path; /* of the program; NULL: "criu", looked up in PATH and then in the usual directories for root */
	/* Descriptors CRIU finds open under the same numbers: those of InheritFd and PageServer. What it opens through
	 * /proc/<our pid>/fd (images_dir_fd, work_dir_fd, status_fd) need not be here but must stay open here. */
	const int *fds;
	size_t fd_count;
	unsigned flags;
	/* How long a request may go on without a word from CRIU once we were asked to stop (base/interrupt.h), or the process of rt_criu_watch()
	 * has ended. 0: as long as it takes, since the next notification is where it can be refused without harm. */
	int patience_ms;
};

/* RT_CRIU where there is no criu, or it cannot be run. */
struct rt_error *rt_criu_start(const struct rt_criu_options *options, struct rt_criu **ret) _must_check_;

/* Ends the conversation: NULL is fine. Waits for criu's end. */
void rt_criu_close(struct rt_criu *criu);
static inline void rt_criu_closep(struct rt_criu **criu)
{
	rt_criu_close(*criu);
}
#define _cleanup_criu_ _cleanup_(rt_criu_closep)

pid_t rt_criu_pid(const struct rt_criu *criu);

/* A child of ours without which CRIU has nothing to do any more: a restored init that somebody kills before CRIU has let it go leaves CRIU
 * waiting for it forever. Once it is on its way out, patience counts. */
void rt_criu_watch(struct rt_criu *criu, pid_t pid);

/* What CRIU tells on its way. Scripts of 4.x: "pre-dump", "post-dump", "pre-restore", "post-restore", "network-lock",
 * "network-unlock", "setup-namespaces", "post-setup-namespaces", "pre-resume", "post-resume", "orphan-pts-master",
 * "status-ready", "query-ext-files", "pre-stream". */
struct rt_criu_notification {
	const char *script;
	pid_t pid; /* of the tree's root, as we see it; 0: not told (only setup-namespaces and post-restore have it) */
	int fd; /* "orphan-pts-master": the master. Taken by rt_take_fd(), else closed. -1: none */
	bool rolling_back; /* a notification was refused before: this one only undoes ("network-unlock"), errors are warnings */
	/* For "query-ext-files": further `external` entries, set by the handler; they must live until it is called again or the
	 * request ends. */
	const char *const *external;
	size_t external_count;
};

/* An error is a refusal: CRIU is told, rolls back, and the request fails with this error. */
typedef struct rt_error *(*rt_criu_notify_fn)(void *userdata, struct rt_criu_notification *notification);

struct rt_criu_handler {
	rt_criu_notify_fn notify; /* NULL: every notification is agreed to */
	void *userdata;
};

/* What CRIU says of its failure, beyond the error's text. */
struct rt_criu_failure {
	int cr_errno; /* 0: not told */
	bool refused; /* by our handler, whose error it is; or given up, when our patience was over */
	bool died; /* without an answer */
};

/* Sends one request and answers notifications until CRIU's answer is there. *ret is freed by criu__response__free_unpacked(, NULL); may
 * be NULL. Fails with RT_CRIU where CRIU refuses, breaks off, or answers nonsense; `failure` may be NULL. `handler` may be NULL. Where
 * the request failed, the worker must be closed, not asked again. */
struct rt_error *rt_criu_request(struct rt_criu *criu, const Criu__Request *request, const struct rt_criu_handler *handler,
				 Criu__Response **ret, struct rt_criu_failure *failure) _must_check_;

/* major * 10000 + minor * 100 + sublevel; a development version counts as the next minor. The worker takes a further request. */
struct rt_error *rt_criu_version(struct rt_criu *criu, uint32_t *ret) _must_check_;

/* rt_criu_version(), and RT_CRIU where it is below RT_CRIU_VERSION_MIN. ret may be NULL. */
struct rt_error *rt_criu_require_version(struct rt_criu *criu, uint32_t *ret) _must_check_;

/* What CRIU and kernel can do together. The worker takes a further request. */
struct rt_criu_features {
	bool mem_track; /* soft-dirty: pre-dump, track-mem */
	bool lazy_pages; /* userfaultfd */
	bool pidfd_store;
};
struct rt_error *rt_criu_features(struct rt_criu *criu, struct rt_criu_features *ret) _must_check_;

/* Absolute path of the criu that rt_criu_start() would run; the caller frees it. RT_CRIU where there is none. */
struct rt_error *rt_criu_find(const char *path, char **ret) _must_check_;
