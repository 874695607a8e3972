/* What the tests of init/ share: a plan with something for every step, and the launch of it on a fake kernel. */
#pragma once

#include "runtime/init/init.h"
#include "tests/fake/kernel.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

struct launch {
	struct rt_spec spec;
	struct rt_init_plan plan;
	struct rt_init_requests requests;
	char asked[256]; /* the requests that were served */
	const char *refused; /* the one that fails; NULL: none */
	struct rt_init_process process;
	int32_t oom_score_adj;
	struct sock_filter filter;
};

static inline struct rt_error *asked(struct launch *launch, const char *what)
{
	strcat(strcat(launch->asked, what), " ");
	if (launch->refused && strcmp(launch->refused, what) == 0)
		return rt_fail(RT_SYSTEM, "refused: %s", what);
	return NULL;
}

static inline struct rt_error *ask_hooks(void *context, pid_t pid)
{
	return asked(context, "hooks");
}

static inline struct rt_error *ask_console(void *context, int master)
{
	close(master);
	return asked(context, "console");
}

static inline struct rt_error *ask_ready(void *context, pid_t pid, int pidfd)
{
	return asked(context, "ready");
}

/* Nothing behind these two is looked at: whoever would is a fake. */
static inline void *opaque(void)
{
	static char nothing;

	return &nothing;
}

static inline void launch_init(struct launch *launch)
{
	static const char *const args[] = { "program", NULL }, *const env[] = { "HOME=/", NULL };
	static const struct rt_spec_hook hook = { .path = "/hook" };

	fake_reset();
	*launch = (struct launch){ .plan = RT_INIT_PLAN_NULL, .process = RT_INIT_PROCESS_NULL, .oom_score_adj = 5 };
	launch->spec.process = (struct rt_spec_process){
		.args = args, .arg_count = 1, .env = env, .env_count = 1, .cwd = "/", .no_new_privileges = true,
		.terminal = true, .scheduler.present = true, .has_io_priority = true, .oom_score_adj = &launch->oom_score_adj,
	};
	launch->spec.hostname = "host";
	launch->spec.domainname = "domain";
	launch->spec.sysctl_count = 1;
	launch->spec.memory_policy.present = launch->spec.personality.present = true;
	launch->spec.hooks[RT_HOOK_PRESTART].entries = &hook;
	launch->spec.hooks[RT_HOOK_PRESTART].count = 1;
	launch->requests = (struct rt_init_requests){
		.context = launch, .run_hooks = ask_hooks, .take_console = ask_console, .ready = ask_ready,
	};
	launch->plan.spec = &launch->spec;
	launch->plan.process = &launch->spec.process;
	launch->plan.rootfs = opaque();
	launch->plan.cgroup = opaque();
	launch->plan.clone_flags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID;
	launch->plan.unshare_flags = CLONE_NEWCGROUP;
	launch->plan.in_user_namespace = true;
	launch->plan.keyring = "ring";
	launch->plan.apparmor_profile = "profile";
	launch->plan.filter = (struct rt_filter){ .program = &launch->filter, .length = 1 };
	launch->plan.proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static inline void launch_init_exec(struct launch *launch)
{
	launch_init(launch);
	launch->plan.rootfs = NULL;
	launch->plan.clone_flags = launch->plan.unshare_flags = 0;
	launch->plan.target_pidfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	launch->plan.target_flags = CLONE_NEWNS | CLONE_NEWUSER;
}

/* To the end: NULL means that the program was started. No process is left in any case. */
static inline struct rt_error *launch_run(struct launch *launch)
{
	struct rt_error *err = rt_init_launch(&launch->plan, &launch->requests, &launch->process);

	if (!err) {
		err = rt_init_wait_started(&launch->process);
		assert_int_equal(waitpid(launch->process.pid, NULL, 0), launch->process.pid);
	}
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return err;
}

static inline void launch_deinit(struct launch *launch)
{
	rt_init_process_deinit(&launch->process);
	rt_closep(&launch->plan.proc_fd);
	rt_closep(&launch->plan.target_pidfd);
	for (int kind = 0; kind < RT_NS_KINDS; kind++)
		rt_closep(&launch->plan.join_fds[kind]);
}
