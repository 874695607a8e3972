/* exec: one more process in a container that runs. */
#include "runtime/container/birth.h"

#include "runtime/base/io.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/tty/tty.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PROCESS_LIMIT (16u << 20)

struct execution {
	const struct rt_exec_options *options;
	struct rt_container container;
	const struct rt_spec *spec; /* of the container */
	struct rt_spec *process_spec; /* holds what to run */
	struct rt_cgroup *cgroup; /* the one to enter: the container's, or below it */
	int filter_cache_fd;
	struct rt_init_plan plan;
	struct rt_init_process process;
	char *listen_fds;
	int master;
};

static void execution_deinit(struct execution *execution)
{
	rt_init_process_deinit(&execution->process);
	rt_init_plan_deinit(&execution->plan);
	rt_cgroup_free(execution->cgroup);
	rt_spec_free(execution->process_spec);
	rt_container_deinit(&execution->container);
	rt_closep(&execution->filter_cache_fd);
	rt_closep(&execution->master);
	free(execution->listen_fds);
}

static struct rt_error *set_json(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? rt_error_oom() : NULL;
}

static struct rt_error *set_strings(json_t *object, const char *key, const char *const *texts, bool append)
{
	json_t *array = append ? json_object_get(object, key) : NULL;

	if (!array) {
		array = json_array();
		if (json_object_set_new(object, key, array) < 0)
			return rt_error_oom();
	}
	for (; texts && *texts; texts++)
		if (json_array_append_new(array, json_string(*texts)) < 0)
			return rt_fail(RT_USAGE, "'%s' is not UTF-8", *texts);
	return NULL;
}

/* A variable given again takes the place of the container's, or of the one given before: of two with one name some programs
 * take the first, others the last. */
static struct rt_error *set_env(json_t *process, const char *const *variables)
{
	struct rt_error *err = NULL;

	for (const char *const *at = variables; !err && at && *at; at++) {
		const char *const one[] = { *at, NULL };
		json_t *env = json_object_get(process, "env");
		size_t name = strcspn(*at, "=") + 1;

		for (size_t i = json_array_size(env); i > 0; i--)
			if (strncmp(json_string_value(json_array_get(env, i - 1)), *at, name) == 0)
				json_array_remove(env, i - 1);
		err = set_strings(process, "env", one, true);
	}
	return err;
}

static struct rt_error *set_user(json_t *process, const char *text)
{
	const char *colon = strchr(text, ':');
	_cleanup_free_ char *uid_text = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
	json_t *user = json_object_get(process, "user");
	uint64_t uid, gid = 0;
	struct rt_error *err;

	if (!uid_text)
		return rt_error_oom();
	if (!rt_str_to_u64(uid_text, &uid) || uid > UINT32_MAX || (colon && (!rt_str_to_u64(colon + 1, &gid) || gid > UINT32_MAX)))
		return rt_fail(RT_USAGE, "'%s' is not a user: it must be a number, or two with a colon between", text);
	if (!user) {
		user = json_object();
		if (json_object_set_new(process, "user", user) < 0)
			return rt_error_oom();
	}
	err = set_json(user, "uid", json_integer((json_int_t)uid));
	if (!err && colon)
		err = set_json(user, "gid", json_integer((json_int_t)gid));
	return err;
}

static struct rt_error *add_gids(json_t *process, const char *const *gids)
{
	json_t *user = json_object_get(process, "user");
	json_t *array;

	if (!gids || !*gids)
		return NULL;
	if (!user) {
		user = json_object();
		if (json_object_set_new(process, "user", user) < 0)
			return rt_error_oom();
	}
	array = json_object_get(user, "additionalGids");
	if (!array) {
		array = json_array();
		if (json_object_set_new(user, "additionalGids", array) < 0)
			return rt_error_oom();
	}
	for (; *gids; gids++) {
		uint64_t gid;

		if (!rt_str_to_u64(*gids, &gid) || gid > UINT32_MAX)
			return rt_fail(RT_USAGE, "'%s' is not a group id", *gids);
		if (json_array_append_new(array, json_integer((json_int_t)gid)) < 0)
			return rt_error_oom();
	}
	return NULL;
}

/* As in runc: an added capability is bounding, effective and permitted, and ambient where the process inherits it. */
static struct rt_error *add_caps(json_t *process, const char *const *caps)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	json_t *object = json_object_get(process, "capabilities");

	if (!caps || !*caps)
		return NULL;
	if (!object) {
		object = json_object();
		if (json_object_set_new(process, "capabilities", object) < 0)
			return rt_error_oom();
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(sets); i++) {
		struct rt_error *err = set_strings(object, sets[i], caps, true);

		if (err)
			return err;
	}
	if (json_array_size(json_object_get(object, "inheritable")) == 0)
		return NULL;
	return set_strings(object, "ambient", caps, true);
}

/* The container's own process with what the command line changes of it. */
static struct rt_error *describe_process(const struct execution *execution, json_t **ret)
{
	const struct rt_exec_options *options = execution->options;
	_cleanup_json_ json_t *process = json_deep_copy(json_object_get(execution->spec->json, "process"));
	struct rt_error *err = NULL;

	if (!process)
		return rt_error_oom();
	err = set_strings(process, "args", options->args, false);
	if (!err)
		err = set_env(process, options->env);
	if (!err)
		err = set_json(process, "terminal", json_boolean(options->tty));
	if (!err && options->cwd)
		err = set_json(process, "cwd", json_string(options->cwd));
	if (!err && options->user)
		err = set_user(process, options->user);
	if (!err)
		err = add_gids(process, options->additional_gids);
	if (!err)
		err = add_caps(process, options->caps);
	if (!err && options->process_label)
		err = set_json(process, "selinuxLabel", json_string(options->process_label));
	if (!err && options->apparmor)
		err = set_json(process, "apparmorProfile", json_string(options->apparmor));
	if (!err && options->has_no_new_privs)
		err = set_json(process, "noNewPrivileges", json_boolean(options->no_new_privs));
	/* The container's own console has a size; this one takes that of the terminal it is relayed to. */
	json_object_del(process, "consoleSize");
	if (err)
		return err;
	*ret = rt_take_ptr(process);
	return NULL;
}

static struct rt_error *load_process(struct execution *execution)
{
	const struct rt_exec_options *options = execution->options;
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	size_t size;

	if (options->process) {
		err = rt_read_file_at(AT_FDCWD, options->process, PROCESS_LIMIT, &text, &size);
		if (err)
			return err;
		err = rt_spec_load_process(text, size, options->process, &execution->process_spec);
	} else {
		err = describe_process(execution, &json);
		if (err)
			return err;
		text = json_dumps(json, JSON_COMPACT);
		if (!text)
			return rt_error_oom();
		err = rt_spec_load_process(text, strlen(text), "the process of exec", &execution->process_spec);
	}
	if (err)
		return err;
	/* A process file that is silent about capabilities means those of the container, as in runc. */
	if (!execution->process_spec->process.capabilities.present)
		execution->process_spec->process.capabilities = execution->spec->process.capabilities;
	if (options->process && options->has_tty)
		execution->process_spec->process.terminal = options->tty;
	return NULL;
}

static struct rt_error *check_status(const struct execution *execution, enum rt_status status)
{
	switch (status) {
	case RT_STATUS_CREATED:
	case RT_STATUS_RUNNING:
		return NULL;
	case RT_STATUS_PAUSED:
		if (execution->options->ignore_paused)
			return NULL;
		return rt_fail(RT_WRONG_STATE, "cannot exec in a paused container (use --ignore-paused to override)");
	case RT_STATUS_CREATING:
	case RT_STATUS_STOPPED:
		return rt_fail(RT_WRONG_STATE, "cannot exec a container that has stopped: container not running");
	}
	return NULL;
}

/* The cache that create filled. Without it, under a root that is not ours to write say, the filter is just compiled. */
static int open_filter_cache(const struct rt_context *context)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/" RT_FILTER_CACHE, context->root) < 0) {
		path = NULL;
		return -1;
	}
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static struct rt_error *plan(struct execution *execution)
{
	struct rt_container *container = &execution->container;
	struct rt_init_plan *plan = &execution->plan;
	int pidfd;
	struct rt_error *err;

	err = rt_container_pidfd(container, &pidfd);
	if (!err && pidfd < 0)
		return rt_fail(RT_WRONG_STATE, "container not running");
	if (err)
		return err;
	plan->target_pidfd = pidfd;
	if (container->cgroup) {
		execution->cgroup = rt_take_ptr(container->cgroup);
		err = rt_cgroup_enter_below(execution->cgroup, execution->options->cgroups, container->state.pid);
	}
	if (err)
		return err;
	plan->spec = execution->spec;
	plan->process = &execution->process_spec->process;
	plan->cgroup = execution->cgroup;
	plan->rootless = container->state.rootless;
	return rt_init_plan_exec(plan, container->state.pid, execution->filter_cache_fd);
}

static struct rt_error *take_console(void *context, int master)
{
	struct execution *execution = context;
	struct rt_error *err;

	if (!execution->options->console_socket) {
		execution->master = master;
		return NULL;
	}
	err = rt_console_send(execution->options->console_socket, master);
	close(master);
	return err;
}

static struct rt_error *take_listener(void *context, pid_t pid, int listener)
{
	struct execution *execution = context;
	const struct rt_container *container = &execution->container;
	_cleanup_close_ int fd = listener;
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err;

	err = rt_container_state_json(&container->state, execution->spec, RT_STATUS_RUNNING, container->state.pid, &state);
	if (!err)
		err = rt_filter_send_listener(&execution->spec->seccomp, fd, pid, state);
	return err;
}

static struct rt_error *ready(void *context, pid_t pid, int pidfd)
{
	const struct rt_exec_options *options = ((struct execution *)context)->options;
	struct rt_error *err = NULL;

	if (options->pid_file)
		err = rt_write_pid_file(options->pid_file, pid);
	if (!err && options->pidfd_socket)
		err = rt_send_pidfd(options->pidfd_socket, pidfd);
	return err || options->detach ? err : rt_tty_hold_signals();
}

static struct rt_error *launch(struct execution *execution)
{
	const struct rt_init_requests requests = {
		.context = execution,
		.take_console = take_console,
		.take_listener = take_listener,
		.ready = ready,
	};
	struct rt_error *err;

	err = rt_container_spec(&execution->container, &execution->spec);
	if (!err)
		err = load_process(execution);
	if (!err)
		err = rt_check_terminal(execution->process_spec->process.terminal, execution->options->detach,
					execution->options->console_socket);
	if (!err)
		err = plan(execution);
	if (!err)
		err = rt_init_launch(&execution->plan, &requests, &execution->process);
	if (!err)
		err = rt_init_wait_started(&execution->process);
	return err;
}

struct rt_error *rt_container_exec(const struct rt_context *context, const char *id,
				   const struct rt_exec_options *options, int *ret_status)
{
	_cleanup_(execution_deinit) struct execution execution = {
		.options = options,
		.container = RT_CONTAINER_NULL,
		.filter_cache_fd = -1,
		.plan = RT_INIT_PLAN_NULL,
		.process = RT_INIT_PROCESS_NULL,
		.master = -1,
	};
	enum rt_status status;
	struct rt_error *err;

	err = rt_plan_descriptors(options->preserve_fds, &execution.plan, &execution.listen_fds);
	if (!err)
		err = rt_container_lookup(context, id, 0, &execution.container, &status);
	if (!err)
		err = check_status(&execution, status);
	if (err)
		return err;
	if (!options->detach && !options->no_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return rt_fail_errno("cannot become a subreaper");
	execution.filter_cache_fd = open_filter_cache(context);
	err = launch(&execution);
	if (err)
		return rt_while(err, "cannot exec in '%s'", id);
	*ret_status = 0;
	if (options->detach)
		return NULL;
	return rt_wait_in_foreground(&execution.process, execution.master, ret_status);
}
