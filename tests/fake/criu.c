/* A `criu` that only speaks: for the tests of checkpoint/rpc.c, which run it as `criu swrk FD`. $FAKE_CRIU says how it behaves. */
#include "checkpoint/unpack.h"
#include "proto/criu_rpc.pb-c.h"
#include "runtime/base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define MESSAGE_MAX 1000000

static int socket_fd;

static void respond_with(const Criu__Response *response, const int *fds, size_t count)
{
	_cleanup_free_ void *bytes = NULL;
	size_t size;

	if (rt_pack(&response->base, &bytes, &size) || rt_send_message(socket_fd, bytes, size, fds, count))
		_exit(70);
}

static Criu__Request *hear(void)
{
	static char bytes[MESSAGE_MAX];
	ProtobufCMessage *message;
	size_t size;

	if (rt_receive_message(socket_fd, bytes, sizeof(bytes), &size, NULL, 0, NULL) || size == 0)
		_exit(71);
	if (rt_unpack(&criu__request__descriptor, bytes, size, &message))
		_exit(72);
	return (Criu__Request *)message;
}

/* True where the client agrees. */
static bool notify(const char *script, int pid, int fd)
{
	Criu__Notification notification = CRIU__NOTIFICATION__INIT;
	Criu__Response response = CRIU__RESPONSE__INIT;
	Criu__Request *answer;

	notification.script = (char *)script;
	notification.has_pid = pid != 0;
	notification.pid = pid;
	response.type = CRIU__REQUEST_KIND__NOTIFY;
	response.success = true;
	response.notify = &notification;
	respond_with(&response, &fd, fd >= 0);
	answer = hear();
	if (answer->type != CRIU__REQUEST_KIND__NOTIFY)
		_exit(73);
	if (strcmp(script, "query-ext-files") == 0 && (!answer->opts || answer->opts->n_external != 1))
		_exit(74);
	return answer->notify_success;
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (dir && readdir(dir))
		count++;
	return count - 3; /* ".", "..", the stream itself */
}

static void tell_version(const char *mode)
{
	Criu__Response response = CRIU__RESPONSE__INIT;
	Criu__Version version = CRIU__VERSION__INIT;

	response.type = CRIU__REQUEST_KIND__VERSION;
	response.success = true;
	response.version = &version;
	version.major_number = strcmp(mode, "old") == 0 ? 3 : 4;
	version.minor_number = strcmp(mode, "odd") == 0 ? 4000 : 1;
	version.has_sublevel = true;
	version.sublevel = strcmp(mode, "descriptors") == 0 ? count_descriptors() : 1;
	version.git_id = strcmp(mode, "git") == 0 ? (char *)"v4.1-7-gabcdef" : NULL;
	respond_with(&response, NULL, 0);
}

static void tell_features(void)
{
	Criu__Response response = CRIU__RESPONSE__INIT;
	Criu__Features features = CRIU__FEATURES__INIT;

	response.type = CRIU__REQUEST_KIND__FEATURE_CHECK;
	response.success = true;
	response.features = &features;
	features.has_lazy_pages = features.lazy_pages = true;
	respond_with(&response, NULL, 0);
}

static void dump(void)
{
	Criu__Response response = CRIU__RESPONSE__INIT;

	response.type = CRIU__REQUEST_KIND__DUMP;
	response.success = notify("pre-dump", 0, -1) && notify("query-ext-files", 0, -1) && notify("post-dump", 0, -1);
	/* CRIU's way back: the client is told again. */
	if (!response.success && !notify("network-unlock", 0, -1))
		_exit(75);
	respond_with(&response, NULL, 0);
}

static void restore(void)
{
	Criu__Response response = CRIU__RESPONSE__INIT;
	Criu__RestoreResponse restored = CRIU__RESTORE_RESPONSE__INIT;
	int master = open("/dev/null", O_RDWR);

	response.type = CRIU__REQUEST_KIND__RESTORE;
	response.restore = &restored;
	response.success = notify("orphan-pts-master", 0, master) && notify("post-restore", 4321, -1);
	restored.pid = 4321;
	respond_with(&response, NULL, 0);
}

static void fail(void)
{
	Criu__Response response = CRIU__RESPONSE__INIT;

	response.type = CRIU__REQUEST_KIND__DUMP;
	response.has_cr_errno = true;
	response.cr_errno = EEXIST;
	response.cr_errmsg = (char *)"Error (criu/mount.c:724): mnt: something is wrong\n";
	respond_with(&response, NULL, 0);
}

static void misbehave(const char *mode)
{
	if (strcmp(mode, "exit") == 0)
		_exit(3);
	if (strcmp(mode, "killed") == 0)
		raise(SIGKILL);
	if (strcmp(mode, "garbage") == 0)
		(void)!write(socket_fd, "\xff\xff\xff\xff garbage", 12);
	if (strcmp(mode, "wrong") == 0)
		tell_features();
	if (strcmp(mode, "fail") == 0)
		fail();
}

int main(int argc, char **argv)
{
	const char *mode = getenv("FAKE_CRIU");

	if (argc != 3 || strcmp(argv[1], "swrk") != 0)
		return 64;
	socket_fd = atoi(argv[2]);
	mode = mode ? mode : "";
	for (;;) {
		Criu__Request *request = hear();

		misbehave(mode);
		if (request->type == CRIU__REQUEST_KIND__VERSION)
			tell_version(mode);
		else if (request->type == CRIU__REQUEST_KIND__FEATURE_CHECK)
			tell_features();
		else if (request->type == CRIU__REQUEST_KIND__DUMP)
			dump();
		else if (request->type == CRIU__REQUEST_KIND__RESTORE)
			restore();
		if (!request->keep_open)
			return 0;
	}
}
