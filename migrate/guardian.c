#include "migrate/guardian.h"

#include "runtime/base/guard.h"
#include "runtime/sys/cred.h"

#include <signal.h>

struct ward {
	const struct rt_context *context;
	const char *id;
};

static void watch(void *userdata, int pipe_fd)
{
	const struct ward *ward = userdata;
	struct rt_guard_message message;

	rt_error_free(rt_sys_set_name("rt-guardian"));
	if (!rt_guard_hear(pipe_fd, &message))
		rt_error_free(rt_container_kill(ward->context, ward->id, SIGKILL, RT_KILL_ALL));
}

struct rt_error *rt_guardian_start(const struct rt_context *context, const char *id, int *ret)
{
	static const int nothing[] = { -1 };
	struct ward ward = { .context = context, .id = id };
	struct rt_guard guard;
	struct rt_error *err = rt_guard_start(&(struct rt_guard_plan){
		.watch = watch, .userdata = &ward, .keep = nothing, .keep_count = RT_ARRAY_SIZE(nothing),
	}, &guard);

	if (!err)
		*ret = guard.fd;
	return err;
}

/* Not waited for: who dismisses it is about to end. */
void rt_guardian_dismiss(int *guardian)
{
	struct rt_guard guard = { .fd = *guardian };

	rt_guard_dismiss(&guard);
	*guardian = -1;
}
