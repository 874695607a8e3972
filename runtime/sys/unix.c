#include "runtime/sys/unix.h"

#include "runtime/base/fs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct rt_error *rt_sys_connect(const char *path, int *ret)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int target = -1;
	int result;

	if (fd < 0)
		return rt_fail_errno("cannot make a socket");
	if (strlen(path) < sizeof(address.sun_path)) {
		strcpy(address.sun_path, path);
	} else {
		target = open(path, O_PATH | O_CLOEXEC);
		if (target < 0)
			return rt_fail_errno("cannot open socket '%s'", path);
		strcpy(address.sun_path, rt_fd_path(target).text);
	}
	do
		result = connect(fd, (struct sockaddr *)&address, sizeof(address));
	while (result < 0 && errno == EINTR);
	if (result < 0)
		return rt_fail_errno("cannot connect to socket '%s'", path);
	*ret = rt_take_fd(fd);
	return NULL;
}
