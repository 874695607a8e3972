#include "runtime/tty/tty.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#include <cmocka.h>

static int make_root(void **state)
{
	char *path = strdup("/tmp/rt-console-XXXXXX");

	*state = path;
	return path && mkdtemp(path) ? 0 : -1;
}

static int remove_root(void **state)
{
	rt_error_free(rt_remove_tree_at(AT_FDCWD, *state));
	free(*state);
	return 0;
}

static int root_of(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void a_terminal_has_the_size_asked_for(void **state)
{
	const struct rt_spec_box size = {.height = 31, .width = 97};
	_cleanup_close_ int root = root_of("/");
	int master = -1, slave = -1;
	struct winsize window;
	char path[64];

	/* Where devpts gives its multiplexer to nobody but root. */
	if (access("/dev/pts/ptmx", R_OK | W_OK) < 0)
		skip();
	assert_null(rt_console_open(root, &size, &master, &slave, path));
	assert_int_equal(strncmp(path, "/dev/pts/", 9), 0);
	assert_int_equal(ioctl(slave, TIOCGWINSZ, &window), 0);
	assert_int_equal(window.ws_row, 31);
	assert_int_equal(window.ws_col, 97);
	close(master);
	close(slave);
}

static void check_refused(const char *path, const char *said)
{
	const struct rt_spec_box size = {0};
	_cleanup_close_ int root = root_of(path);
	_cleanup_error_ struct rt_error *err = NULL;
	_cleanup_free_ char *text = NULL;
	int master = -1, slave = -1;
	char slave_path[64];

	err = rt_console_open(root, &size, &master, &slave, slave_path);
	text = err ? rt_error_text(err) : NULL;
	assert_non_null(text);
	assert_non_null(strstr(text, said));
	assert_int_equal(master, -1);
}

/* What an image could have put there instead (CVE-2025-52565). */
static void a_multiplexer_that_is_none_is_refused(void **state)
{
	char path[128];

	check_refused(*state, "no such file or directory");
	snprintf(path, sizeof(path), "%s/dev", (char *)*state);
	mkdir(path, 0755);
	strcat(path, "/pts");
	mkdir(path, 0755);
	strcat(path, "/ptmx");
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
	check_refused(*state, "not on a devpts");
	unlink(path);
	assert_int_equal(symlink("/proc/self/fd/0", path), 0);
	check_refused(*state, "/dev/pts/ptmx");
	unlink(path);
	if (mknod(path, S_IFCHR | 0666, makedev(5, 2)) == 0)
		check_refused(*state, "not on a devpts");
}

static void the_master_goes_to_the_socket_in_one_message(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	_cleanup_close_ int received = -1, peer = -1;
	char data[64] = "";
	unsigned number, expected;
	size_t size, count;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", (char *)*state);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_null(rt_console_send(address.sun_path, master));
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_null(rt_receive_message(peer, data, sizeof(data) - 1, &size, &received, 1, &count));
	assert_int_equal(count, 1);
	assert_string_equal(data, "/dev/ptmx");
	assert_int_equal(ioctl(master, TIOCGPTN, &expected), 0);
	assert_int_equal(ioctl(received, TIOCGPTN, &number), 0);
	assert_int_equal(number, expected);
	assert_int_equal(read(peer, data, 1), 0);
}

static void a_socket_with_a_long_path_can_be_reached(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	_cleanup_close_ int directory = -1;
	char path[512];
	int used = snprintf(path, sizeof(path), "%s", (char *)*state);

	for (int i = 0; i < 3; i++) {
		used += snprintf(path + used, sizeof(path) - (size_t)used,
				 "/a-directory-whose-name-is-quite-long-for-a-socket");
		assert_int_equal(mkdir(path, 0755), 0);
	}
	directory = root_of(path);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket", directory);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	strcat(path, "/socket");
	assert_null(rt_console_send(path, master));
}

static void nobody_listening_is_an_error_that_names_the_socket(void **state)
{
	_cleanup_error_ struct rt_error *err = rt_console_send("/none/at/all.sock", 0);
	_cleanup_free_ char *text = rt_error_text(err);

	assert_non_null(strstr(text, "/none/at/all.sock"));
}

static int become(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY |
				  O_CLOEXEC); /* closed by the end of the process: before, it would hang up on us */
	int slave;

	if (master < 0 || unlockpt(master) < 0)
		return 1;
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || rt_console_become(slave, geteuid()))
		return 2;
	for (int fd = 0; fd <= 2; fd++)
		if (!isatty(fd) || fcntl(fd, F_GETFD) & FD_CLOEXEC || tcgetsid(fd) != getpid())
			return 3;
	return getsid(0) == getpid() ? 0 : 4;
}

static void a_process_gets_the_terminal_as_its_controlling_one(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(become());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_terminal_has_the_size_asked_for),
		WITH_ROOT(a_multiplexer_that_is_none_is_refused),
		WITH_ROOT(the_master_goes_to_the_socket_in_one_message),
		WITH_ROOT(a_socket_with_a_long_path_can_be_reached),
		cmocka_unit_test(nobody_listening_is_an_error_that_names_the_socket),
		cmocka_unit_test(a_process_gets_the_terminal_as_its_controlling_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
