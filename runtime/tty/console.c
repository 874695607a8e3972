#include "runtime/tty/tty.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/sys/unix.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#define PTMX_DEVICE makedev(5, 2)
#define FIRST_SLAVE_MAJOR 136 /* to 143 */

/* A devpts, and on it the multiplexer itself, not something bound over it. */
static bool is_ptmx(int fd)
{
	struct statfs fs;
	struct stat st;

	return fstatfs(fd, &fs) == 0 && fs.f_type == DEVPTS_SUPER_MAGIC && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == PTMX_DEVICE;
}

static struct rt_error *open_master(int root_fd, int *ret)
{
	_cleanup_close_ int place = -1, fd = -1;
	struct rt_error *err = rt_open_in_root(root_fd, "/dev/pts/ptmx", O_PATH, 0, &place);

	if (err)
		return rt_while(err, "opening '/dev/pts/ptmx' of the container, which a terminal needs");
	/* Looked at before it is opened: opening a device that an image put there could already do harm
	 * (CVE-2025-52565). */
	if (!is_ptmx(place))
		return rt_fail(RT_CONFIG, "'/dev/pts/ptmx' of the container is not on a devpts");
	err = rt_reopen(place, O_RDWR | O_NOCTTY | O_CLOEXEC, &fd);
	if (err)
		return rt_while(err, "opening '/dev/pts/ptmx' of the container");
	*ret = rt_take_fd(fd);
	return NULL;
}

static bool is_slave(int fd, unsigned number)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == FIRST_SLAVE_MAJOR + number / 256 &&
	       minor(st.st_rdev) == number % 256;
}

/* By the master, not by its path, which a mount may hide. */
static struct rt_error *open_slave(int master, int *ret, unsigned *ret_number)
{
	_cleanup_close_ int fd = -1;
	unsigned number;
	int unlocked = 0;

	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return rt_fail_errno("cannot unlock a terminal");
	if (ioctl(master, TIOCGPTN, &number) < 0)
		return rt_fail_errno("cannot get the number of a terminal");
	fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open the slave of a terminal");
	if (!is_slave(fd, number))
		return rt_fail(RT_SYSTEM, "the slave of terminal %u is another device", number);
	*ret = rt_take_fd(fd);
	*ret_number = number;
	return NULL;
}

struct rt_error *rt_console_open(int root_fd, const struct rt_spec_box *size, int *ret_master, int *ret_slave,
				 char slave_path[64])
{
	_cleanup_close_ int master = -1, slave = -1;
	struct rt_error *err = open_master(root_fd, &master);
	unsigned number = 0;

	if (!err)
		err = open_slave(master, &slave, &number);
	if (err)
		return err;
	if (size->height || size->width) {
		const struct winsize window = {.ws_row = (unsigned short)size->height,
					       .ws_col = (unsigned short)size->width};

		if (ioctl(master, TIOCSWINSZ, &window) < 0)
			return rt_fail_errno("cannot set the size of the terminal to 'process.consoleSize'");
	}
	snprintf(slave_path, 64, "/dev/pts/%u", number);
	*ret_master = rt_take_fd(master);
	*ret_slave = rt_take_fd(slave);
	return NULL;
}

struct rt_error *rt_console_become(int slave, uid_t uid)
{
	/* In a user namespace that doesn't map the owner of the devpts it belongs to us already, or can't. */
	if (uid != geteuid() && fchown(slave, uid, (gid_t)-1) < 0 && errno != EINVAL && errno != EPERM &&
	    errno != EROFS)
		return rt_fail_errno("cannot give the terminal to user %u", uid);
	if (setsid() < 0 && getsid(0) != getpid())
		return rt_fail_errno("cannot make a session for the terminal");
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return rt_fail_errno("cannot make the terminal the controlling one");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup3(slave, fd, 0) < 0 && !(errno == EINVAL && fd == slave))
			return rt_fail_errno("cannot make the terminal descriptor %d", fd);
	return NULL;
}

struct rt_error *rt_console_send(const char *socket_path, int master)
{
	static const char name[] = "/dev/ptmx";
	_cleanup_close_ int socket = -1;
	struct rt_error *err = rt_sys_connect(socket_path, &socket);

	if (!err)
		err = rt_send_message(socket, name, strlen(name), &master, 1);
	if (err)
		return rt_while(err, "sending the terminal to the console socket");
	return NULL;
}
