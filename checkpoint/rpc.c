#include "checkpoint/rpc.h"

#include "checkpoint/launch.h"
#include "checkpoint/unpack.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* How often the watched process is looked at. */
#define LOOK_MS 500

struct rt_criu {
	pid_t pid;
	int pidfd;
	int socket;
	int patience_ms; /* of the options */
	pid_t watched; /* of rt_criu_watch(); 0: none */
	bool given_up; /* it was over */
	bool works; /* has been asked for more than an answer: it may have something to undo */
	bool own_group; /* its helpers are in a process group with it, and nobody else is */
};

struct rt_error *rt_criu_start(const struct rt_criu_options *options, struct rt_criu **ret)
{
	_cleanup_criu_ struct rt_criu *criu = malloc(sizeof(*criu));
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int theirs = -1;
	struct rt_error *err;
	int pair[2];

	if (!criu)
		return rt_error_oom();
	*criu = (struct rt_criu){
		.pidfd = -1, .socket = -1, .patience_ms = options->patience_ms, .own_group = !(options->flags & RT_CRIU_SHELL_JOB),
	};
	err = rt_criu_find(options->path, &path);
	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return rt_fail_errno("cannot make a socket for criu");
	criu->socket = pair[0];
	theirs = pair[1];
	err = rt_fd_above_stdio(&theirs);
	if (!err)
		err = rt_criu_launch(options, path, theirs, &criu->pid);
	if (!err)
		err = rt_pidfd_open(criu->pid, &criu->pidfd);
	if (err)
		return rt_while(err, "starting criu");
	rt_debug("criu runs as process %d ('%s swrk')", criu->pid, path);
	*ret = rt_take_ptr(criu);
	return NULL;
}

pid_t rt_criu_pid(const struct rt_criu *criu)
{
	return criu->pid;
}

void rt_criu_watch(struct rt_criu *criu, pid_t pid)
{
	criu->watched = pid;
}

/* A CRIU that was killed leaves helpers that wait for it forever. Before it is reaped nobody else can have its number. */
static void reap(const struct rt_criu *criu)
{
	siginfo_t info = { 0 };
	int got;

	do {
		got = waitid(P_PID, (id_t)criu->pid, &info, WEXITED | WNOWAIT);
	} while (got < 0 && errno == EINTR);
	if (got == 0 && criu->own_group && info.si_code != CLD_EXITED)
		kill(-criu->pid, SIGKILL);
	while (waitpid(criu->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void rt_criu_close(struct rt_criu *criu)
{
	_cleanup_error_ struct rt_error *err = NULL;
	int saved = errno;
	bool ended = false;

	if (!criu)
		return;
	/* Nobody who has been asked for nothing ends in silence: it complains on standard error that its peer has gone. */
	if (!criu->works && criu->pid > 0) {
		kill(criu->pid, SIGKILL);
		criu->given_up = true;
	}
	rt_closep(&criu->socket);
	if (criu->pidfd >= 0)
		err = rt_pidfd_wait(criu->pidfd, criu->given_up ? 0 : RT_CRIU_GRACE_MS, &ended);
	if (criu->pid > 0) {
		if (criu->pidfd >= 0 && !ended) {
			if (!criu->given_up)
				rt_warn("criu (process %d) does not end, killing it", criu->pid);
			kill(criu->pid, SIGKILL);
		}
		reap(criu);
	}
	rt_closep(&criu->pidfd);
	free(criu);
	errno = saved;
}

/* ---- messages ---- */

static struct rt_error *send_packet(int socket, const void *bytes, size_t size)
{
	for (;;) {
		int room = (int)size * 2 + 65536;

		if (send(socket, bytes, size, MSG_NOSIGNAL) >= 0)
			return NULL;
		if (errno == EINTR)
			continue;
		/* A packet must fit the socket's buffer whole: thousands of mounts make a long request. */
		if (errno != EMSGSIZE || size > RT_CRIU_MESSAGE_MAX)
			return rt_fail_errno("cannot send criu %zu bytes", size);
		if (setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0 &&
		    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) < 0)
			return rt_fail_errno("cannot enlarge the buffer of the socket to criu");
		if (send(socket, bytes, size, MSG_NOSIGNAL) >= 0)
			return NULL;
		return rt_fail_errno("cannot send criu %zu bytes", size);
	}
}

static struct rt_error *send_request(int socket, const Criu__Request *request)
{
	_cleanup_free_ void *bytes = NULL;
	struct rt_error *err;
	size_t size;

	err = rt_pack(&request->base, &bytes, &size);
	if (err)
		return err;
	return send_packet(socket, bytes, size);
}

/* Its pidfd would not tell: an init waits for the others of its pid namespace, and these for CRIU, which traces them. */
static bool is_ending(pid_t pid)
{
	struct rt_proc_stat stat;
	bool found = false;

	rt_error_free(rt_proc_stat(pid, &stat, &found));
	return !found || stat.exiting || stat.state == 'Z';
}

static struct rt_error *given_up(void)
{
	struct rt_error *err = rt_interrupt_check();

	return err ? err : rt_fail(RT_CRIU, "the restored process has ended before criu let it go");
}

/* The end of the socket alone would not do: helpers that CRIU forked hold it too, and may wait for a dead CRIU forever. Fails where our
 * patience is over. */
static struct rt_error *wait_for_packet(struct rt_criu *criu, bool *ret_ended)
{
	struct pollfd waits[] = {
		{ .fd = criu->socket, .events = POLLIN },
		{ .fd = criu->pidfd, .events = POLLIN },
		{ .fd = criu->patience_ms ? rt_interrupt_fd() : -1, .events = POLLIN },
	};
	bool hurried = false;

	while (!waits[0].revents && !waits[1].revents) {
		int count = poll(waits, RT_ARRAY_SIZE(waits), hurried ? criu->patience_ms : criu->watched ? LOOK_MS : -1);

		if (count < 0 && errno != EINTR)
			return rt_fail_errno("cannot wait for criu");
		criu->given_up = count == 0 && hurried;
		if (criu->given_up)
			return given_up();
		if ((count > 0 && waits[2].revents) || (count == 0 && is_ending(criu->watched))) {
			hurried = true;
			waits[2].fd = -1;
		}
	}
	*ret_ended = !waits[0].revents;
	/* It may have answered between the two looks. */
	if (*ret_ended && poll(waits, 1, 0) > 0)
		*ret_ended = false;
	return NULL;
}

/* Waits for the next packet and tells its size; 0 is the end of the conversation. */
static struct rt_error *next_size(struct rt_criu *criu, size_t *ret)
{
	bool ended = false;
	struct rt_error *err = wait_for_packet(criu, &ended);
	ssize_t size;

	*ret = 0;
	if (err || ended)
		return err;
	do {
		size = recv(criu->socket, NULL, 0, MSG_PEEK | MSG_TRUNC);
	} while (size < 0 && errno == EINTR);
	if (size < 0 && errno != ECONNRESET)
		return rt_fail_errno("cannot hear from criu");
	*ret = size < 0 ? 0 : (size_t)size;
	return NULL;
}

/* *ret is NULL where CRIU has gone. *ret_fd, -1 where the message has none, is the caller's. */
static struct rt_error *receive_response(struct rt_criu *criu, Criu__Response **ret, int *ret_fd)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_close_ int fd = -1;
	size_t size = 0, got = 0, fds = 0;
	ProtobufCMessage *message;
	struct rt_error *err;

	*ret = NULL;
	err = next_size(criu, &size);
	if (err || size == 0)
		return err;
	if (size > RT_CRIU_MESSAGE_MAX)
		return rt_fail(RT_CRIU, "criu answers with a message of %zu bytes, that can't be right", size);
	bytes = malloc(size);
	if (!bytes)
		return rt_error_oom();
	err = rt_receive_message(criu->socket, bytes, size, &got, &fd, 1, &fds);
	if (err)
		return rt_while(err, "hearing from criu");
	if (fds == 0)
		fd = -1;
	err = rt_unpack(&criu__response__descriptor, bytes, got, &message);
	if (err) {
		err->code = RT_CRIU;
		return rt_error_make(__FILE__, __LINE__, RT_CRIU, 0, err, "cannot understand criu's answer");
	}
	*ret = (Criu__Response *)message;
	*ret_fd = rt_take_fd(fd);
	return NULL;
}

/* ---- one request ---- */

/* Tells how CRIU ended where it went without an answer. */
static struct rt_error *gone(struct rt_criu *criu)
{
	bool ended = false;
	siginfo_t info = { 0 };
	_cleanup_error_ struct rt_error *err = rt_pidfd_wait(criu->pidfd, 1000, &ended);

	/* WNOWAIT: rt_criu_close() reaps it. */
	if (!err && ended && waitid(P_PID, (id_t)criu->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
		if (info.si_code == CLD_EXITED)
			return rt_fail(RT_CRIU, "criu exited with %d without an answer", info.si_status);
		return rt_fail(RT_CRIU, "criu died of signal %d", info.si_status);
	}
	return rt_fail(RT_CRIU, "criu broke off without an answer");
}

static struct rt_error *answer(struct rt_criu *criu, const struct rt_criu_notification *note, bool agreed)
{
	Criu__Request reply = CRIU__REQUEST__INIT;
	Criu__Opts opts = CRIU__OPTS__INIT;

	reply.type = CRIU__REQUEST_KIND__NOTIFY;
	reply.has_notify_success = true;
	reply.notify_success = agreed;
	if (agreed && note->external_count > 0) {
		opts.images_dir_fd = -1;
		opts.n_external = note->external_count;
		opts.external = (char **)note->external;
		reply.opts = &opts;
	}
	return send_request(criu->socket, &reply);
}

/* *refusal is the handler's error; the first one stands, whatever CRIU asks on its way back. */
static struct rt_error *notified(struct rt_criu *criu, const Criu__Response *response, int *fd,
				 const struct rt_criu_handler *handler, struct rt_error **refusal)
{
	const Criu__Notification *notify = response->notify;
	struct rt_criu_notification note = {
		.script = notify && notify->script ? notify->script : "",
		.pid = notify && notify->has_pid ? notify->pid : 0,
		.fd = *fd,
		.rolling_back = *refusal != NULL,
	};
	struct rt_error *err = NULL;

	rt_debug("criu notifies of '%s'", note.script);
	if (handler && handler->notify)
		err = handler->notify(handler->userdata, &note);
	*fd = note.fd;
	if (err && note.rolling_back) {
		/* A second refusal would only stop CRIU from undoing the rest. */
		rt_warn_ignored(rt_while(err, "at criu's '%s'", note.script));
		err = NULL;
	}
	if (err)
		*refusal = rt_while(err, "at criu's '%s'", note.script);
	return answer(criu, &note, !err);
}

/* CRIU's first error without its place in CRIU's source; not NUL-terminated, up to *ret_length. */
static const char *error_text(const char *text, int *ret_length)
{
	const char *after = strncmp(text, "Error (", 7) == 0 ? strstr(text, "): ") : NULL;

	if (after)
		text = after + 3;
	*ret_length = (int)strcspn(text, "\n");
	return text;
}

static struct rt_error *verdict(const Criu__Request *request, const Criu__Response *response,
				struct rt_criu_failure *failure)
{
	int number = response->has_cr_errno ? response->cr_errno : 0;
	int length;
	const char *text = error_text(response->cr_errmsg ? response->cr_errmsg : "", &length);

	if (response->type != request->type && response->type != CRIU__REQUEST_KIND__EMPTY)
		return rt_fail(RT_CRIU, "criu answers request %d with a response to %d", request->type, response->type);
	if (response->success && response->type == request->type)
		return NULL;
	failure->cr_errno = number;
	return rt_error_make(__FILE__, __LINE__, RT_CRIU, number > 0 && number < 4096 ? number : 0, NULL,
			     length ? "criu failed: %.*s" : "criu failed%.*s", length, text);
}

static struct rt_error *converse(struct rt_criu *criu, const Criu__Request *request, const struct rt_criu_handler *handler,
				 Criu__Response **ret, struct rt_error **refusal, struct rt_criu_failure *failure)
{
	struct rt_error *err;

	err = send_request(criu->socket, request);
	if (err) {
		if (err->errnum != EPIPE && err->errnum != ECONNRESET)
			return err;
		rt_error_free(err);
		failure->died = true;
		return gone(criu);
	}
	for (;;) {
		_cleanup_unpacked_ Criu__Response *response = NULL;
		_cleanup_close_ int fd = -1;

		err = receive_response(criu, &response, &fd);
		failure->refused = criu->given_up;
		if (err)
			return err;
		if (!response) {
			failure->died = true;
			return gone(criu);
		}
		if (response->type != CRIU__REQUEST_KIND__NOTIFY) {
			err = verdict(request, response, failure);
			if (!err && ret)
				*ret = rt_take_ptr(response);
			return err;
		}
		err = notified(criu, response, &fd, handler, refusal);
		if (err && (err->errnum == EPIPE || err->errnum == ECONNRESET)) {
			rt_error_free(err);
			failure->died = true;
			return gone(criu);
		}
		if (err)
			return err;
	}
}

struct rt_error *rt_criu_request(struct rt_criu *criu, const Criu__Request *request, const struct rt_criu_handler *handler,
				 Criu__Response **ret, struct rt_criu_failure *failure)
{
	struct rt_criu_failure own = { 0 };
	struct rt_error *refusal = NULL;
	Criu__Response *response = NULL;
	struct rt_error *err;

	criu->works = criu->works || handler;
	err = converse(criu, request, handler, &response, &refusal, &own);
	if (refusal) {
		/* CRIU can only say that we refused; why is ours to tell. If it went on regardless it did so in the
		 * release of what it held, and the request has failed all the same. */
		rt_error_free(err);
		err = refusal;
		own.refused = true;
	}
	if (failure)
		*failure = own;
	if (err || !ret)
		rt_unpack_free(response ? &response->base : NULL);
	else
		*ret = response;
	return err;
}

/* ---- questions ---- */

struct rt_error *rt_criu_version(struct rt_criu *criu, uint32_t *ret)
{
	_cleanup_unpacked_ Criu__Response *response = NULL;
	Criu__Request request = CRIU__REQUEST__INIT;
	const Criu__Version *version;
	struct rt_error *err;

	request.type = CRIU__REQUEST_KIND__VERSION;
	request.has_keep_open = true;
	request.keep_open = true;
	err = rt_criu_request(criu, &request, NULL, &response, NULL);
	if (err)
		return rt_while(err, "asking criu for its version");
	version = response->version;
	if (!version || version->major_number < 0 || version->major_number > 1000 || version->minor_number < 0 ||
	    version->minor_number > 98 || version->sublevel < 0 || version->sublevel > 99)
		return rt_fail(RT_CRIU, "cannot understand criu's version");
	*ret = (uint32_t)(version->major_number * 10000 + version->minor_number * 100);
	/* Built from git it is on its way to the next release and has what is new there. */
	*ret += version->git_id ? 100 : (uint32_t)version->sublevel;
	return NULL;
}

struct rt_error *rt_criu_require_version(struct rt_criu *criu, uint32_t *ret)
{
	struct rt_error *err;
	uint32_t version;

	err = rt_criu_version(criu, &version);
	if (err)
		return err;
	if (version < RT_CRIU_VERSION_MIN)
		return rt_fail(RT_CRIU, "criu is too old: this is %u.%u.%u, at least %u.%u is needed", version / 10000,
			       version / 100 % 100, version % 100, RT_CRIU_VERSION_MIN / 10000, RT_CRIU_VERSION_MIN / 100 % 100);
	if (ret)
		*ret = version;
	return NULL;
}

struct rt_error *rt_criu_features(struct rt_criu *criu, struct rt_criu_features *ret)
{
	_cleanup_unpacked_ Criu__Response *response = NULL;
	Criu__Request request = CRIU__REQUEST__INIT;
	Criu__Features asked = CRIU__FEATURES__INIT;
	struct rt_error *err;

	asked.has_mem_track = asked.mem_track = true;
	asked.has_lazy_pages = asked.lazy_pages = true;
	asked.has_pidfd_store = asked.pidfd_store = true;
	request.type = CRIU__REQUEST_KIND__FEATURE_CHECK;
	request.has_keep_open = true;
	request.keep_open = true;
	request.features = &asked;
	err = rt_criu_request(criu, &request, NULL, &response, NULL);
	if (err)
		return rt_while(err, "asking criu for its features");
	*ret = (struct rt_criu_features){ 0 };
	if (response->features) {
		ret->mem_track = response->features->mem_track;
		ret->lazy_pages = response->features->lazy_pages;
		ret->pidfd_store = response->features->pidfd_store;
	}
	return NULL;
}
