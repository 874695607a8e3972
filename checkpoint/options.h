/* CRIU's options as people give them, and as the RPC wants them: one place for what dump and restore share. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/container/container.h"
#include "proto/criu_rpc.pb-c.h"

/* Of the command line: what checkpoint and restore have in common, and what only one of them reads. NULL, false and 0: not given. */
struct rt_criu_settings {
	const char *image_path; /* default "checkpoint" */
	const char *work_path; /* default: the image directory */
	bool tcp_established, tcp_close, tcp_skip_in_flight, ext_unix_sk, shell_job, file_locks, link_remap, lazy_pages, auto_dedup;
	const char *manage_cgroups_mode; /* soft, full, strict, ignore */
	const char *const *empty_ns; /* "network" */
	const char *network_lock; /* nftables, iptables, skip */
	const char *cpu_cap; /* none, cpu, fpu, ins, all */
	unsigned ghost_limit; /* bytes */
	unsigned timeout; /* s, for freezing */
	/* CRIU logs only what goes wrong, unless we are asked to be verbose: a tenth of what it does for a small container is writing its log. */
	bool brief_log;
	bool tls;
	const char *tls_cert, *tls_key, *tls_cacert, *tls_cacrl;
	/* checkpoint */
	const char *parent_path; /* relative to the image directory */
	const char *page_server; /* ADDRESS:PORT */
	unsigned status_fd; /* a NUL byte is written to it once lazy pages can be asked for */
	bool has_status_fd, leave_running, pre_dump;
	/* With lazy_pages: the pages that can be restored lazily are not in the images, and CRIU serves them to nobody, as somebody else has them (migration). */
	bool memory_elsewhere;
	bool marks_are_taken; /* memory_elsewhere: somebody else wipes and reads the kernel's marks of written pages (soft-dirty) */
	/* What is in the container's tmpfs mounts goes by another way, too: CRIU runs tar and gzip for each. Such mounts are in the manifest with a key that
	 * rt_mount_is_elsewhere() knows; a restore needs the `mounts` hook for them. */
	bool tmpfs_elsewhere;
	const char *export_file; /* also write an archive */
	/* restore */
	const char *lsm_profile, *lsm_mount_context;
	const char *import_file; /* the images are in this archive */
};

/* criu/include/log.h: debugging. */
#define RT_CRIU_LOG_ALL 4

/* An Opts message whose parts live in the arena. */
struct rt_criu_opts {
	Criu__Opts opts;
	struct rt_arena arena;
	int config_fd; /* of rt_criu_opts_add_config(); -1: none */
};
void rt_criu_opts_init(struct rt_criu_opts *options);
void rt_criu_opts_deinit(struct rt_criu_opts *options);

/* Everything that follows from the settings alone, and the configuration file of CRIU: the annotation org.criu.config of the container, else
 * /etc/criu/runc.conf where there is one, as in runc. `image_fd` and `work_fd` must stay open during the request. RT_USAGE names the option. */
struct rt_error *rt_criu_opts_fill(struct rt_criu_opts *options, const struct rt_criu_settings *settings, const struct rt_spec *spec,
				   int image_fd, int work_fd, const char *log_file) _must_check_;

/* Lines of CRIU's configuration file, for what its request has no field for: they are added to the file that rt_criu_opts_fill() chose. */
struct rt_error *rt_criu_opts_add_config(struct rt_criu_opts *options, const char *lines) _must_check_;

struct rt_error *rt_criu_opts_add_mount(struct rt_criu_opts *options, const char *key, const char *value) _must_check_;
struct rt_error *rt_criu_opts_add_external(struct rt_criu_opts *options, const char *text) _must_check_;
struct rt_error *rt_criu_opts_add_inherited(struct rt_criu_opts *options, const char *key, int fd) _must_check_;
struct rt_error *rt_criu_opts_add_join(struct rt_criu_opts *options, const char *kind, const char *path, const char *extra) _must_check_;
struct rt_error *rt_criu_opts_add_cgroup_root(struct rt_criu_opts *options, const char *controller, const char *path) _must_check_;

/* Opens the image directory (made where `make`, 0700) and the work directory. */
struct rt_error *rt_criu_open_directories(const struct rt_criu_settings *settings, bool make, int *ret_image_fd, int *ret_work_fd) _must_check_;
