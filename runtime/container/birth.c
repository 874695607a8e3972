#include "runtime/container/birth.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/container/in_force.h"
#include "runtime/init/hooks.h"
#include "runtime/sys/netdev.h"

#include <fcntl.h>
#include <time.h>

#define CONFIG_LIMIT (16u << 20)

void rt_birth_deinit(struct rt_birth *birth)
{
	free(birth->config_text);
	rt_spec_free(birth->limits);
	rt_closep(&birth->root_fd);
	rt_container_deinit(&birth->container);
	*birth = RT_BIRTH_NULL;
}

/* Names from /etc/passwd would take a name service; the one who matters is root. */
static struct rt_error *describe_owner(char **ret)
{
	return geteuid() == 0 ? rt_format(ret, "root") : rt_format(ret, "%u", geteuid());
}

static struct rt_error *describe_now(char **ret)
{
	struct timespec now;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return rt_format(ret, "%s.%09ldZ", text, now.tv_nsec);
}

static struct rt_error *describe(struct rt_state *state, const struct rt_context *context, const char *id)
{
	struct rt_error *err;

	state->creating = true;
	state->rootless = context->rootless;
	state->systemd_cgroup = context->manager == RT_CGROUP_SYSTEMD;
	state->id = strdup(id);
	if (!state->id)
		return rt_error_oom();
	err = describe_now(&state->created);
	return err ? err : describe_owner(&state->owner);
}

struct rt_error *rt_birth_load(struct rt_birth *birth, const struct rt_context *context, const char *id, const char *bundle,
			       const char *config)
{
	struct rt_state *state = &birth->container.state;
	_cleanup_free_ char *path = NULL;
	struct rt_error *err;

	birth->container.context = context;
	err = rt_container_check_id(id);
	if (!err)
		err = describe(state, context, id);
	if (err)
		return err;
	err = rt_real_path(bundle ? bundle : ".", &state->bundle);
	if (err)
		return rt_while(err, "opening the bundle");
	if (config)
		err = rt_format(&path, "%s", config);
	else
		err = rt_format(&path, "%s/config.json", state->bundle);
	if (!err)
		err = rt_read_file_at(AT_FDCWD, path, CONFIG_LIMIT, &birth->config_text, &birth->config_size);
	if (!err)
		err = rt_spec_load_text(birth->config_text, birth->config_size, path, &birth->container.spec);
	return err;
}

struct rt_error *rt_birth_set_limits(struct rt_birth *birth, const json_t *resources)
{
	_cleanup_free_ char *text = json_dumps(resources, JSON_COMPACT);

	return text ? rt_spec_load_resources(text, strlen(text), "limits", &birth->limits) : rt_error_oom();
}

static struct rt_error *make_directory(struct rt_birth *birth)
{
	const char *root = birth->container.context->root;
	const char *id = birth->container.state.id;
	struct rt_error *err;

	birth->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (birth->root_fd < 0 && errno == ENOENT) {
		err = rt_make_dirs(root, 0711);
		if (err)
			return rt_while(err, "making the root directory");
		birth->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (birth->root_fd < 0)
		return rt_fail_errno("cannot open '%s'", root);
	if (mkdirat(birth->root_fd, id, 0700) < 0) {
		if (errno == EEXIST)
			return rt_fail(RT_EXISTS, "container with id '%s' exists: it already exists", id);
		return rt_fail_errno("cannot create '%s/%s'", root, id);
	}
	birth->registered = true;
	birth->container.dir_fd = openat(birth->root_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (birth->container.dir_fd < 0)
		return rt_fail_errno("cannot open '%s/%s'", root, id);
	return rt_lock_at(birth->container.dir_fd, "lock", &birth->container.lock_fd);
}

/* Root of the container's user namespace, who is given a v2 cgroup that only the container sees. */
static uid_t cgroup_owner(const struct rt_spec *spec)
{
	const struct rt_spec_namespace *cgroup = &spec->namespaces[RT_NS_CGROUP];

	if (!cgroup->wanted || cgroup->path)
		return (uid_t)-1;
	for (size_t i = 0; i < spec->uid_mappings.count; i++) {
		const struct rt_id_map *map = &spec->uid_mappings.entries[i];

		if (map->container_id == 0)
			return map->host_id;
	}
	return (uid_t)-1;
}

static struct rt_cgroup_request cgroup_request(const struct rt_birth *birth)
{
	const struct rt_container *container = &birth->container;
	const struct rt_spec *spec = container->spec;

	return (struct rt_cgroup_request){
		.id = container->state.id,
		.path = spec->cgroups_path,
		.manager = container->context->manager,
		.rootless = container->context->rootless,
		.resources = birth->limits ? &birth->limits->resources : &spec->resources,
		.annotations = spec->annotations,
		.annotation_count = spec->annotation_count,
		.must_be_new = true,
		.owner = cgroup_owner(spec),
	};
}

static struct rt_error *store_cgroup(struct rt_container *container)
{
	json_t *json;
	struct rt_error *err;

	if (!container->cgroup)
		return NULL;
	err = rt_cgroup_to_json(container->cgroup, &json);
	if (err)
		return err;
	json_decref(container->state.cgroup);
	container->state.cgroup = json;
	return NULL;
}

static struct rt_error *plan_cgroup(struct rt_birth *birth)
{
	const struct rt_cgroup_request request = cgroup_request(birth);
	struct rt_container *container = &birth->container;
	struct rt_error *err;

	if (container->context->manager == RT_CGROUP_DISABLED)
		return NULL;
	err = rt_cgroup_plan(&request, &container->cgroup);
	return err ? err : store_cgroup(container);
}

struct rt_error *rt_birth_register(struct rt_birth *birth)
{
	struct rt_error *err = make_directory(birth);

	return err ? err : plan_cgroup(birth);
}

/* So that the commands to come need not parse the configuration. */
static void settle(struct rt_container *container)
{
	const struct rt_spec *spec = container->spec;
	const struct rt_spec_namespace *pid = &spec->namespaces[RT_NS_PID];

	container->state.own_pid_namespace = pid->wanted && !pid->path;
	container->state.self_contained = spec->hooks[RT_HOOK_POSTSTART].count == 0 &&
					  spec->hooks[RT_HOOK_POSTSTOP].count == 0 && !spec->intel_rdt.present;
}

struct rt_error *rt_birth_commit(struct rt_birth *birth)
{
	struct rt_container *container = &birth->container;
	const struct rt_cgroup_request request = cgroup_request(birth);
	struct rt_error *err;

	settle(container);
	err = rt_replace_file_at(container->dir_fd, "config.json", birth->config_text, birth->config_size, 0600);
	if (!err && birth->limits)
		err = rt_in_force_store(container->dir_fd, birth->limits->json);
	if (!err)
		err = rt_state_store(container->dir_fd, &container->state);
	if (!err && container->cgroup)
		err = rt_cgroup_create(container->cgroup, &request);
	return err;
}

struct rt_error *rt_birth_change_limits(struct rt_birth *birth)
{
	struct rt_container *container = &birth->container;
	struct rt_error *err;

	if (!birth->limits)
		return NULL;
	err = rt_in_force_store(container->dir_fd, birth->limits->json);
	return err || !container->cgroup ? err : rt_cgroup_apply(container->cgroup, &birth->limits->resources);
}

struct rt_error *rt_birth_complete(struct rt_birth *birth, pid_t pid, int pidfd, const char *pid_file, const char *pidfd_socket)
{
	struct rt_container *container = &birth->container;
	struct rt_proc_stat stat;
	struct rt_error *err;
	bool found;

	err = rt_proc_stat(pid, &stat, &found);
	if (!err && !found)
		return rt_fail(RT_SYSTEM, "the container's process has ended");
	if (!err && container->spec->intel_rdt.present)
		err = rt_intel_rdt_apply(&container->spec->intel_rdt, container->state.id, pid, &container->state.rdt_created);
	if (err)
		return err;
	container->state.pid = pid;
	container->state.start_time = stat.start_time;
	container->state.creating = birth->holder > 0;
	if (birth->holder > 0)
		err = rt_hold_note(birth->holder, pid, &container->state.hold);
	if (err)
		return err;
	/* Where the cgroup really is, once it had to be asked for (systemd) or parts of it could not be had (rootless). */
	err = store_cgroup(container);
	if (!err)
		err = rt_state_store(container->dir_fd, &container->state);
	if (!err && pid_file)
		err = rt_write_pid_file(pid_file, pid);
	if (!err && pidfd_socket)
		err = rt_send_pidfd(pidfd_socket, pidfd);
	return err;
}

struct rt_error *rt_birth_release(struct rt_birth *birth)
{
	birth->container.state.creating = false;
	birth->container.state.hold = (struct rt_state_hold){ .pid = 0 };
	return rt_state_store(birth->container.dir_fd, &birth->container.state);
}

struct rt_error *rt_birth_undo(struct rt_birth *birth, struct rt_error *err)
{
	if (birth->registered)
		rt_warn_ignored(rt_container_destroy(&birth->container));
	return err;
}

struct rt_error *rt_birth_run_hooks(const struct rt_birth *birth, pid_t pid)
{
	const struct rt_container *container = &birth->container;
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err;

	err = rt_sys_move_net_devices(container->spec->net_devices, container->spec->net_device_count, pid);
	if (!err)
		err = rt_container_state_json(&container->state, container->spec, RT_STATUS_CREATING, pid, &state);
	if (!err)
		err = rt_hooks_run(container->spec, RT_HOOK_PRESTART, state);
	if (!err)
		err = rt_hooks_run(container->spec, RT_HOOK_CREATE_RUNTIME, state);
	return err;
}

struct rt_error *rt_birth_run_poststart(const struct rt_container *container)
{
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err;

	if (container->spec->hooks[RT_HOOK_POSTSTART].count == 0)
		return NULL;
	err = rt_container_state_json(&container->state, container->spec, RT_STATUS_RUNNING, container->state.pid, &state);
	return err ? err : rt_hooks_run(container->spec, RT_HOOK_POSTSTART, state);
}

struct rt_error *rt_check_terminal(bool terminal, bool detaches, const char *console_socket)
{
	if (terminal && detaches && !console_socket)
		return rt_fail(RT_USAGE, "cannot allocate tty if rt will detach without setting console socket");
	if (console_socket && !(terminal && detaches))
		return rt_fail(RT_USAGE, "cannot use console socket if rt will not detach or allocate tty");
	return NULL;
}

/* Somebody else may have deleted it while it ran, which is fine. */
static struct rt_error *clean_up(const struct rt_container *container)
{
	struct rt_error *err = rt_container_delete(container->context, container->state.id, RT_DELETE_FORCE);

	if (err && err->code == RT_NOT_FOUND)
		err = rt_error_free(err);
	return err;
}

struct rt_error *rt_birth_stay(struct rt_birth *birth, const struct rt_init_process *process, int master, bool keep,
			       int *ret_status)
{
	struct rt_container *container = &birth->container;
	struct rt_error *err, *second;

	rt_closep(&container->lock_fd);
	container->lock_fd = -1;
	err = rt_wait_in_foreground(process, master, ret_status);
	if (keep)
		return err;
	second = clean_up(container);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}
