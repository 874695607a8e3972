#include "migrate/dumper.h"

#include "migrate/link.h"
#include "migrate/tmpfs.h"
#include "migrate/pause.h"
#include "migrate/source_private.h"
#include "runtime/base/clock.h"
#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/container/private.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define KEEPER_SOCKET "migration.sock"
#define HANDSHAKE_US 100000 /* a round trip to a client that is far away; nobody is kept waiting but new ones */
#define ACCEPT_US 10000 /* a server that does not accept in so long is not going to */
#define DRAIN_US 30000 /* some round trips; the container is frozen meanwhile */

struct dumping {
	const struct rt_dumper_options *options;
	int fd;
	int diag_fd; /* tells of the container's sockets; -1: its network does not move along */
	uint64_t frozen_at; /* us; 0: not noted */
	bool held, frozen, kept;
};

/* ---- the socket of one whose tool has died ---- */

static struct rt_error *keeper_address(int dir_fd, struct sockaddr_un *ret)
{
	int length = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/" KEEPER_SOCKET, rt_fd_path(dir_fd).text);

	ret->sun_family = AF_UNIX;
	return length < (int)sizeof(ret->sun_path) ? NULL : rt_fail(RT_SYSTEM, "the name of a socket is too long");
}

static struct rt_error *listen_as_keeper(int dir_fd, int *ret)
{
	struct sockaddr_un address = { 0 };
	_cleanup_close_ int fd = -1;
	struct rt_error *err = keeper_address(dir_fd, &address);

	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return rt_fail_errno("cannot make a socket");
	unlinkat(dir_fd, KEEPER_SOCKET, 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0)
		return rt_fail_errno("cannot listen on '" KEEPER_SOCKET "'");
	*ret = rt_take_fd(fd);
	return NULL;
}

/* Only root can connect: the container's directory is its own. Waits for a decision, however long that takes. */
static struct rt_error *wait_as_keeper(struct dumping *dumping, bool *ret_commit)
{
	struct rt_link_message message;
	_cleanup_close_ int listener = -1, dir_fd = -1;
	struct rt_error *err = rt_container_open_dir(dumping->options->context, dumping->options->id, &dir_fd);
	bool there;

	if (!err)
		err = listen_as_keeper(dir_fd, &listener);

	while (!err) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0 && errno != EINTR)
			return rt_fail_errno("cannot accept");
		if (fd < 0)
			continue;
		err = rt_link_receive(fd, -1, &message, &there);
		if (!err && (message.word == RT_LINK_COMMIT || message.word == RT_LINK_ABORT)) {
			*ret_commit = message.word == RT_LINK_COMMIT;
			rt_closep(&dumping->fd);
			dumping->kept = true;
			unlinkat(dir_fd, KEEPER_SOCKET, 0);
			dumping->fd = fd; /* who decides is told how it ends */
			return NULL;
		}
		close(fd);
	}
	return err;
}

/* ---- the hooks ---- */

/* Says where it is. The answer is waited for by rt_link_expect(). */
static struct rt_error *say_where(struct dumping *dumping, enum rt_link_word where)
{
	rt_pause(where == RT_LINK_PREPARED ? "dumper-prepared" : "dumper-frozen");
	return rt_link_send(dumping->fd, &(struct rt_link_message){ .word = where, .a = dumping->frozen_at });
}

static struct rt_error *await_proceed(struct dumping *dumping)
{
	return rt_link_expect(dumping->fd, RT_LINK_PROCEED, "migration's tool");
}

static struct rt_error *prepared(void *userdata)
{
	struct rt_error *err = say_where(userdata, RT_LINK_PREPARED);

	return err ? err : await_proceed(userdata);
}

static void settle(void *userdata)
{
	struct dumping *dumping = userdata;

	rt_network_settle(dumping->diag_fd, ACCEPT_US, HANDSHAKE_US);
	dumping->frozen_at = rt_now_us();
}

/* The network is still there: what the container has sent goes its way. */
static bool is_settled(void *userdata)
{
	const struct dumping *dumping = userdata;
	unsigned left;

	if (rt_network_waits(dumping->diag_fd))
		return false;
	left = rt_network_drain(dumping->diag_fd, DRAIN_US);
	if (left > 0)
		rt_warn("%u connections that the container has closed already lose the rest of what it sent: their other sides take it too slowly", left);
	return true;
}

/* While the tool takes the container off its network. */
static struct rt_error *frozen(void *userdata, pid_t init, const Rt__Container *described, int image_fd)
{
	struct dumping *dumping = userdata;
	struct rt_error *err;

	dumping->frozen = true;
	err = say_where(dumping, RT_LINK_FROZEN);
	if (!err)
		err = rt_tmpfs_pack(init, described, image_fd);
	return err ? err : await_proceed(dumping);
}

static struct rt_error *hold(struct dumping *dumping, struct rt_dump *dump)
{
	struct rt_error *err = rt_dump_hold(dump);

	if (err)
		return err;
	dumping->held = true;
	return rt_link_say(dumping->fd, RT_LINK_HELD);
}

static struct rt_error *complete(void *userdata, struct rt_dump *dump, int image_fd)
{
	struct dumping *dumping = userdata;
	struct rt_link_message message;
	struct rt_error *err;
	bool commit = false, there;

	rt_pause("dumper-complete");
	err = rt_link_say(dumping->fd, RT_LINK_COMPLETE);
	if (err)
		return err;
	for (;;) {
		err = rt_link_receive(dumping->fd, -1, &message, &there);
		if (!err && message.word == RT_LINK_COMMIT) {
			rt_pause("dumper-commit");
			return NULL;
		}
		if (!err && message.word == RT_LINK_HOLD) {
			err = hold(dumping, dump);
			if (!err)
				continue;
		}
		if (!err && message.word == RT_LINK_ABORT)
			return rt_fail(RT_PEER, "%s", *message.text ? message.text : "the migration was given up");
		if (!dumping->held)
			return err ? err : rt_fail(RT_SYSTEM, "the migration's tool has ended");
		rt_error_free(err);
		err = wait_as_keeper(dumping, &commit);
		if (err) {
			/* Undecided, it must neither run nor die: our end leaves it frozen for --recover. */
			rt_warn_ignored(err);
			_exit(1);
		}
		if (commit)
			return NULL;
		return rt_fail(RT_PEER, "the migration was undone");
	}
}

/* ---- the process ---- */

/* A tool that was killed has cleaned nothing up. One that asked a keeper does it by itself. */
static void clean_up(struct dumping *dumping, bool failed)
{
	const struct rt_dumper_options *options = dumping->options;
	struct pollfd tool = { .fd = dumping->fd, .events = POLLIN | POLLRDHUP };

	if (dumping->kept || poll(&tool, 1, 0) < 1 || !(tool.revents & (POLLRDHUP | POLLHUP)))
		return;
	if (failed && dumping->frozen && options->network->program)
		rt_warn_ignored(rt_network_attach(options->network, options->id));
	rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, options->directory));
}

static void run(struct dumping *dumping)
{
	const bool moves = dumping->diag_fd >= 0;
	const struct rt_dump_hooks hooks = {
		.prepared = prepared, .settle = moves ? settle : NULL, .is_settled = moves ? is_settled : NULL, .frozen = frozen, .complete = complete,
		.userdata = dumping,
	};
	const struct rt_dumper_options *options = dumping->options;
	struct rt_link_message message;
	struct rt_error *err;
	bool there, failed;

	/* Ctrl-C is for the tool, which tells us. */
	setsid();
	prctl(PR_SET_NAME, "rt-dumper");
	rt_warn_ignored(rt_source_lock_directory(dumping->options->directory));
	err = rt_link_receive(dumping->fd, -1, &message, &there);
	if (err || message.word != RT_LINK_GO) {
		rt_error_free(err);
		clean_up(dumping, true);
		_exit(0);
	}
	err = rt_container_dump(options->context, options->id, options->settings, options->flags, &hooks);
	failed = err;
	if (err)
		rt_link_send_failure(dumping->fd, err);
	else
		rt_error_free(rt_link_say(dumping->fd, RT_LINK_DONE));
	clean_up(dumping, failed);
	_exit(failed ? 1 : 0);
}

struct rt_error *rt_dumper_start(const struct rt_dumper_options *options, struct rt_dumper *ret)
{
	struct dumping dumping = { .options = options, .diag_fd = options->diag_fd };
	struct rt_error *err;
	int ends[2];

	err = rt_link_pair(ends);
	if (err)
		return err;
	ret->pid = fork();
	if (ret->pid == 0) {
		close(ends[0]);
		dumping.fd = ends[1];
		run(&dumping);
	}
	close(ends[1]);
	if (ret->pid < 0) {
		ret->pid = 0;
		close(ends[0]);
		return rt_fail_errno("cannot fork");
	}
	ret->fd = ends[0];
	return NULL;
}

bool rt_dumper_end(struct rt_dumper *dumper)
{
	int status = 0;

	rt_closep(&dumper->fd);
	while (dumper->pid > 0 && waitpid(dumper->pid, &status, 0) < 0 && errno == EINTR)
		;
	*dumper = RT_DUMPER_NULL;
	return WIFEXITED(status);
}

void rt_dumper_deinit(struct rt_dumper *dumper)
{
	rt_dumper_end(dumper);
}

struct rt_error *rt_dumper_decide(const struct rt_context *context, const char *id, bool commit, bool *ret_there)
{
	struct sockaddr_un address = { 0 };
	_cleanup_close_ int dir_fd = -1, fd = -1;
	struct rt_link_message message;
	struct rt_error *err = rt_container_open_dir(context, id, &dir_fd);
	bool there;

	*ret_there = false;
	if (!err)
		err = keeper_address(dir_fd, &address);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return rt_fail_errno("cannot make a socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == ENOENT || errno == ECONNREFUSED ? NULL : rt_fail_errno("cannot reach the process that keeps '%s' frozen", id);
	*ret_there = true;
	err = rt_link_say(fd, commit ? RT_LINK_COMMIT : RT_LINK_ABORT);
	if (!err)
		err = rt_link_receive(fd, -1, &message, &there);
	if (err)
		return err;
	/* An abort ends with the failure of the dump: that is what it is. */
	if (message.word == RT_LINK_DONE || !commit)
		return NULL;
	return rt_fail(RT_SYSTEM, "%s", message.word == RT_LINK_FAILED ? message.text : "the process that kept the container frozen has ended");
}
