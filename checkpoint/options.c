#include "checkpoint/options.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#define LOG_WARNINGS 2

#define CONFIG_ANNOTATION "org.criu.config"
#define CONFIG_LIMIT (1u << 20)
#define RUNC_CONFIG "/etc/criu/runc.conf"

/* criu/include/cpu.h numbers them in bits. */
#define CPU_CAP_NONE 0u
#define CPU_CAP_FPU 1u
#define CPU_CAP_CPU 2u
#define CPU_CAP_INS 4u
#define CPU_CAP_ALL 7u

void rt_criu_opts_init(struct rt_criu_opts *options)
{
	*options = (struct rt_criu_opts){ .arena = RT_ARENA_NULL, .config_fd = -1 };
	criu__opts__init(&options->opts);
}

void rt_criu_opts_deinit(struct rt_criu_opts *options)
{
	rt_closep(&options->config_fd);
	rt_arena_deinit(&options->arena);
}

/* Room for one more at the end of a repeated field; grows by doubling, the old array stays in the arena. */
static void *append(struct rt_criu_opts *options, void *array, size_t *count, size_t size)
{
	void ***field = array;
	void *item = rt_arena_calloc(&options->arena, 1, size);

	if (!item)
		return NULL;
	if ((*count & (*count - 1)) == 0) {
		void **larger = rt_arena_calloc(&options->arena, *count ? *count * 2 : 1, sizeof(*larger));

		if (!larger)
			return NULL;
		if (*count)
			memcpy(larger, *field, *count * sizeof(*larger));
		*field = larger;
	}
	(*field)[(*count)++] = item;
	return item;
}

static char *keep(struct rt_criu_opts *options, const char *text)
{
	return rt_arena_printf(&options->arena, "%s", text);
}

struct rt_error *rt_criu_opts_add_mount(struct rt_criu_opts *options, const char *key, const char *value)
{
	Criu__ExternalMount *mount = append(options, &options->opts.ext_mnt, &options->opts.n_ext_mnt, sizeof(*mount));

	if (!mount)
		return rt_error_oom();
	criu__external_mount__init(mount);
	mount->key = keep(options, key);
	mount->value = keep(options, value);
	return mount->key && mount->value ? NULL : rt_error_oom();
}

struct rt_error *rt_criu_opts_add_external(struct rt_criu_opts *options, const char *text)
{
	char *copy = append(options, &options->opts.external, &options->opts.n_external, strlen(text) + 1);

	if (!copy)
		return rt_error_oom();
	strcpy(copy, text);
	return NULL;
}

struct rt_error *rt_criu_opts_add_inherited(struct rt_criu_opts *options, const char *key, int fd)
{
	Criu__InheritFd *inherited = append(options, &options->opts.inherit_fd, &options->opts.n_inherit_fd, sizeof(*inherited));

	if (!inherited)
		return rt_error_oom();
	criu__inherit_fd__init(inherited);
	inherited->key = keep(options, key);
	inherited->fd = fd;
	return inherited->key ? NULL : rt_error_oom();
}

struct rt_error *rt_criu_opts_add_join(struct rt_criu_opts *options, const char *kind, const char *path, const char *extra)
{
	Criu__JoinNamespace *join = append(options, &options->opts.join_ns, &options->opts.n_join_ns, sizeof(*join));

	if (!join)
		return rt_error_oom();
	criu__join_namespace__init(join);
	join->kind = keep(options, kind);
	join->file = keep(options, path);
	join->extra = extra ? keep(options, extra) : NULL;
	return join->kind && join->file ? NULL : rt_error_oom();
}

struct rt_error *rt_criu_opts_add_cgroup_root(struct rt_criu_opts *options, const char *controller, const char *path)
{
	Criu__CgroupRoot *root = append(options, &options->opts.cg_root, &options->opts.n_cg_root, sizeof(*root));

	if (!root)
		return rt_error_oom();
	criu__cgroup_root__init(root);
	root->controller = controller ? keep(options, controller) : NULL;
	root->path = keep(options, path);
	return root->path ? NULL : rt_error_oom();
}

struct word {
	const char *text;
	unsigned value;
};

static struct rt_error *look_up(const struct word *words, const char *option, const char *text, unsigned *ret)
{
	for (; words->text; words++) {
		if (rt_str_equal(words->text, text)) {
			*ret = words->value;
			return NULL;
		}
	}
	return rt_fail(RT_USAGE, "invalid value '%s' for --%s", text, option);
}

static struct rt_error *fill_modes(struct rt_criu_opts *options, const struct rt_criu_settings *settings)
{
	static const struct word cgroup_modes[] = {
		{ "", CRIU__CGROUP_MODE__CGROUP_SOFT }, { "soft", CRIU__CGROUP_MODE__CGROUP_SOFT },
		{ "full", CRIU__CGROUP_MODE__CGROUP_FULL }, { "strict", CRIU__CGROUP_MODE__CGROUP_STRICT },
		{ "ignore", CRIU__CGROUP_MODE__CGROUP_IGNORE }, { NULL, 0 },
	};
	/* iptables is CRIU's own default; it forks a program and needs one, nftables is built in. */
	static const struct word locks[] = {
		{ "", CRIU__NETWORK_LOCK__NETWORK_LOCK_NFTABLES }, { "nftables", CRIU__NETWORK_LOCK__NETWORK_LOCK_NFTABLES },
		{ "iptables", CRIU__NETWORK_LOCK__NETWORK_LOCK_IPTABLES }, { "skip", CRIU__NETWORK_LOCK__NETWORK_LOCK_SKIP },
		{ NULL, 0 },
	};
	static const struct word caps[] = {
		{ "", CPU_CAP_ALL }, { "all", CPU_CAP_ALL }, { "none", CPU_CAP_NONE }, { "cpu", CPU_CAP_CPU },
		{ "fpu", CPU_CAP_FPU }, { "ins", CPU_CAP_INS }, { NULL, 0 },
	};
	unsigned mode = 0, lock = 0, cap = 0;
	struct rt_error *err;

	err = look_up(cgroup_modes, "manage-cgroups-mode", settings->manage_cgroups_mode ? settings->manage_cgroups_mode : "", &mode);
	if (!err)
		err = look_up(locks, "network-lock", settings->network_lock ? settings->network_lock : "", &lock);
	if (!err)
		err = look_up(caps, "cpu-cap", settings->cpu_cap ? settings->cpu_cap : "", &cap);
	if (err)
		return err;
	options->opts.has_manage_cgroups = options->opts.has_manage_cgroups_mode = 1;
	options->opts.manage_cgroups = 1;
	options->opts.manage_cgroups_mode = (Criu__CgroupMode)mode;
	options->opts.has_network_lock = 1;
	options->opts.network_lock = (Criu__NetworkLock)lock;
	options->opts.has_cpu_cap = settings->cpu_cap != NULL;
	options->opts.cpu_cap = cap;
	return NULL;
}

/* Network devices and their addresses are for hooks to make, as in runc: the network namespace itself comes back empty. */
static struct rt_error *fill_empty_namespaces(struct rt_criu_opts *options, const struct rt_criu_settings *settings)
{
	options->opts.has_empty_ns = 1;
	options->opts.empty_ns = CLONE_NEWNET;
	for (const char *const *name = settings->empty_ns; name && *name; name++)
		if (!rt_str_equal(*name, "network"))
			return rt_fail(RT_USAGE, "namespace '%s' is not supported by --empty-ns", *name);
	return NULL;
}

static void fill_flags(struct rt_criu_opts *options, const struct rt_criu_settings *settings)
{
	Criu__Opts *opts = &options->opts;
	const struct {
		bool value;
		protobuf_c_boolean *has, *field;
	} flags[] = {
		{ settings->tcp_established, &opts->has_tcp_established, &opts->tcp_established },
		{ settings->tcp_close, &opts->has_tcp_close, &opts->tcp_close },
		{ settings->tcp_skip_in_flight, &opts->has_tcp_skip_in_flight, &opts->tcp_skip_in_flight },
		{ settings->ext_unix_sk, &opts->has_ext_unix_sk, &opts->ext_unix_sk },
		{ settings->shell_job, &opts->has_shell_job, &opts->shell_job },
		{ settings->file_locks, &opts->has_file_locks, &opts->file_locks },
		{ settings->link_remap, &opts->has_link_remap, &opts->link_remap },
		{ settings->lazy_pages, &opts->has_lazy_pages, &opts->lazy_pages },
		{ settings->auto_dedup, &opts->has_auto_dedup, &opts->auto_dedup },
		{ settings->tls, &opts->has_tls, &opts->tls },
		{ true, &opts->has_notify_scripts, &opts->notify_scripts },
		/* The master of a container's terminal is with the engine, outside of the tree. */
		{ true, &opts->has_orphan_pts_master, &opts->orphan_pts_master },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(flags); i++) {
		*flags[i].has = flags[i].value;
		*flags[i].field = flags[i].value;
	}
	opts->has_ghost_limit = settings->ghost_limit > 0;
	opts->ghost_limit = settings->ghost_limit;
	opts->has_timeout = settings->timeout > 0;
	opts->timeout = settings->timeout;
}

static struct rt_error *fill_tls(struct rt_criu_opts *options, const struct rt_criu_settings *settings)
{
	const struct {
		const char *value;
		char **field;
	} files[] = {
		{ settings->tls_cert, &options->opts.tls_cert }, { settings->tls_key, &options->opts.tls_key },
		{ settings->tls_cacert, &options->opts.tls_cacert }, { settings->tls_cacrl, &options->opts.tls_cacrl },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(files); i++) {
		if (!files[i].value)
			continue;
		*files[i].field = keep(options, files[i].value);
		if (!*files[i].field)
			return rt_error_oom();
	}
	return NULL;
}

/* "" tells CRIU to read none: what an operator configured for `criu` on the command line is not meant for containers. */
static struct rt_error *fill_config_file(struct rt_criu_opts *options, const struct rt_spec *spec)
{
	const char *path = spec ? rt_spec_annotation(spec, CONFIG_ANNOTATION) : NULL;

	if (!path)
		path = access(RUNC_CONFIG, F_OK) == 0 ? RUNC_CONFIG : "";
	options->opts.config_file = keep(options, path);
	return options->opts.config_file ? NULL : rt_error_oom();
}

struct rt_error *rt_criu_opts_add_config(struct rt_criu_opts *options, const char *lines)
{
	_cleanup_close_ int fd = memfd_create("criu.conf", MFD_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = NULL;
	size_t size = 0;

	if (fd < 0)
		return rt_fail_errno("cannot make a file in memory");
	if (*options->opts.config_file)
		err = rt_read_file_at(AT_FDCWD, options->opts.config_file, CONFIG_LIMIT, &text, &size);
	if (!err && size > 0)
		err = rt_write_all(fd, text, size);
	if (!err && size > 0)
		err = rt_write_all(fd, "\n", 1);
	if (!err)
		err = rt_write_all(fd, lines, strlen(lines));
	if (err)
		return rt_while(err, "making a configuration file for criu");
	rt_closep(&options->config_fd);
	options->config_fd = rt_take_fd(fd);
	options->opts.config_file = rt_arena_printf(&options->arena, "/proc/%d/fd/%d", getpid(), options->config_fd);
	return options->opts.config_file ? NULL : rt_error_oom();
}

struct rt_error *rt_criu_opts_fill(struct rt_criu_opts *options, const struct rt_criu_settings *settings, const struct rt_spec *spec,
				   int image_fd, int work_fd, const char *log_file)
{
	Criu__Opts *opts = &options->opts;
	struct rt_error *err;

	opts->images_dir_fd = image_fd;
	opts->has_work_dir_fd = 1;
	opts->work_dir_fd = work_fd;
	opts->has_log_level = 1;
	opts->log_level = settings->brief_log && !rt_log_debug_enabled() ? LOG_WARNINGS : RT_CRIU_LOG_ALL;
	opts->log_file = keep(options, log_file);
	if (!opts->log_file)
		return rt_error_oom();
	fill_flags(options, settings);
	err = fill_modes(options, settings);
	if (!err)
		err = fill_empty_namespaces(options, settings);
	if (!err)
		err = fill_tls(options, settings);
	if (!err)
		err = fill_config_file(options, spec);
	return err;
}

static struct rt_error *open_directory(const char *path, bool make, int *ret)
{
	struct rt_error *err = make ? rt_make_dirs(path, 0700) : NULL;

	if (err)
		return err;
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? rt_fail_errno("cannot open directory '%s'", path) : NULL;
}

struct rt_error *rt_criu_open_directories(const struct rt_criu_settings *settings, bool make, int *ret_image_fd, int *ret_work_fd)
{
	const char *image_path = settings->image_path ? settings->image_path : "checkpoint";
	struct rt_error *err;

	err = open_directory(image_path, make, ret_image_fd);
	if (err)
		return rt_while(err, "opening the image directory");
	err = open_directory(settings->work_path ? settings->work_path : image_path, true, ret_work_fd);
	if (err)
		return rt_while(err, "opening the work directory");
	return NULL;
}
