#include "migrate/source_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TABLE_MAX (16u << 20)
/* How long its processes have for taking the connections that are made but not accept()ed: they are awake, and it is all they have to do. */
#define SETTLE_US 50000
#define LOOK_US 1000

/* Whether a listening socket of one of the kernel's tables, as /proc has them, has such connections: its receive queue is their number. */
static bool has_waiting(const char *table)
{
	for (const char *line = strchr(table, '\n'); line; line = strchr(line + 1, '\n')) {
		unsigned state, sending, waiting;

		if (sscanf(line + 1, " %*u: %*[0-9A-Fa-f:] %*[0-9A-Fa-f:] %x %x:%x", &state, &sending, &waiting) == 3 && state == 0x0a && waiting > 0)
			return true;
	}
	return false;
}

static bool is_settled(pid_t pid)
{
	static const char *const tables[] = { "tcp", "tcp6" };
	bool settled = true;

	for (size_t i = 0; i < RT_ARRAY_SIZE(tables) && settled; i++) {
		_cleanup_free_ char *text = NULL;
		char path[64];
		struct rt_error *err;
		size_t size;

		snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, tables[i]);
		err = rt_read_file_at(AT_FDCWD, path, TABLE_MAX, &text, &size);
		settled = err || !has_waiting(text);
		rt_error_free(err); /* without IPv6 there is no such table */
	}
	return settled;
}

/* CRIU can't dump connections that nobody has accept()ed yet, and a server that is busy always has some. So first the way to it is closed, as nothing
 * is lost that the target catches, and then it has a moment for what is there. */
struct rt_error *rt_source_leave_network(struct rt_source *source)
{
	uint64_t until = rt_source_now() + SETTLE_US;
	struct rt_error *err;

	if (!source->network.saved)
		return NULL;
	source->detached = true;
	err = rt_network_detach(&source->network, source->id);
	if (err)
		return err;
	rt_source_tell_frozen(source);
	while (!is_settled(source->container.state.pid) && rt_source_now() < until)
		usleep(LOOK_US);
	return NULL;
}
