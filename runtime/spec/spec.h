/* config.json as the OCI runtime specification 1.3.0 defines it for Linux, checked and in C.
 *
 * rt_spec_load() and its like give a `struct rt_spec` that is const from then on: whoever holds it may rely on everything
 * that validate.c checks. Strings and arrays belong to the spec and live until rt_spec_free(). Pure: nothing here asks the
 * kernel or the file system about anything but the config file itself.
 *
 * Conventions: a string that is absent is NULL; an array is a pointer and a count; an optional number is a pair
 * `has_x, x` or a pointer (NULL = absent) where zero means something. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/base/json.h"

#include <linux/types.h>
#include <stdint.h>
#include <sys/types.h>

#define RT_SPEC_VERSION "1.3.0"

struct rt_spec_box {
	uint32_t height, width; /* characters */
};

/* Sets of capabilities, bit n for CAP number n. */
struct rt_spec_caps {
	bool present; /* false: process.capabilities is absent: none for the first process, the container's for exec */
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct rt_spec_rlimit {
	int resource; /* RLIMIT_* */
	const char *name; /* "RLIMIT_NOFILE" */
	uint64_t soft, hard;
};

struct rt_spec_user {
	uint32_t uid, gid;
	bool has_umask;
	uint32_t umask;
	const uint32_t *additional_gids;
	size_t additional_gid_count;
};

struct rt_spec_scheduler {
	bool present;
	int policy; /* SCHED_* */
	int32_t nice, priority;
	uint64_t flags; /* SCHED_FLAG_* */
	uint64_t runtime, deadline, period; /* ns */
};

struct rt_spec_process {
	bool terminal;
	struct rt_spec_box console_size; /* 0x0 where absent */
	struct rt_spec_user user;
	const char *const *args; /* NULL-terminated; NULL where absent (allowed for create; then start fails) */
	size_t arg_count;
	const char *const *env; /* NULL-terminated, never NULL */
	size_t env_count;
	const char *cwd; /* absolute */
	struct rt_spec_caps capabilities;
	const struct rt_spec_rlimit *rlimits;
	size_t rlimit_count;
	bool no_new_privileges;
	const char *apparmor_profile, *selinux_label;
	const int32_t *oom_score_adj; /* NULL: keep */
	struct rt_spec_scheduler scheduler;
	bool has_io_priority;
	int io_priority_class; /* IOPRIO_CLASS_* */
	int io_priority;
	const char *cpu_affinity_initial, *cpu_affinity_final; /* process.execCPUAffinity, lists such as "0-3,7"; NULL: none */
};

struct rt_id_map {
	uint32_t container_id, host_id, size;
};

struct rt_id_maps {
	const struct rt_id_map *entries;
	size_t count;
};

struct rt_spec_mount {
	const char *destination; /* as written; relative ones are taken from the root */
	const char *type; /* NULL where absent */
	const char *source; /* NULL where absent; relative ones are taken from the bundle */
	const char *const *options;
	size_t option_count;
	struct rt_id_maps uid_mappings, gid_mappings; /* of the mount itself */
};

struct rt_spec_hook {
	const char *path; /* absolute */
	const char *const *args; /* NULL-terminated; NULL: just the path */
	const char *const *env; /* NULL-terminated; NULL: that of the runtime */
	int32_t timeout_s; /* 0: none */
};

enum rt_hook_kind {
	RT_HOOK_PRESTART,
	RT_HOOK_CREATE_RUNTIME,
	RT_HOOK_CREATE_CONTAINER,
	RT_HOOK_START_CONTAINER,
	RT_HOOK_POSTSTART,
	RT_HOOK_POSTSTOP,
	RT_HOOK_KINDS,
};

struct rt_spec_hooks {
	const struct rt_spec_hook *entries;
	size_t count;
};

/* One bit per kind; also the index in arrays that hold one of each. */
enum rt_namespace_kind {
	RT_NS_USER, /* first: it owns the others */
	RT_NS_MOUNT,
	RT_NS_PID,
	RT_NS_NETWORK,
	RT_NS_IPC,
	RT_NS_UTS,
	RT_NS_CGROUP,
	RT_NS_TIME,
	RT_NS_KINDS,
};

struct rt_spec_namespace {
	bool wanted;
	const char *path; /* join this one; NULL: make a new one */
};

struct rt_spec_device {
	char type; /* 'c' (also for "u"), 'b' or 'p' */
	const char *path;
	int64_t major, minor;
	uint32_t mode; /* permission bits; 0666 where absent */
	bool has_mode;
	uint32_t uid, gid;
};

struct rt_spec_net_device {
	const char *host_name; /* the key of linux.netDevices */
	const char *name; /* in the container, perhaps a template, "eth%d"; NULL: as on the host */
};

struct rt_spec_key_value {
	const char *key, *value;
};

struct rt_spec_device_rule {
	bool allow;
	char type; /* 'a', 'b', 'c' */
	int64_t major, minor; /* -1: any */
	bool read, write, mknod;
};

struct rt_spec_memory {
	const int64_t *limit, *reservation, *swap, *kernel, *kernel_tcp; /* bytes, -1: unlimited; NULL: leave */
	const uint64_t *swappiness;
	const bool *disable_oom_killer, *use_hierarchy;
	bool check_before_update;
};

struct rt_spec_cpu {
	const uint64_t *shares, *period, *burst, *realtime_period;
	const int64_t *quota, *realtime_runtime, *idle; /* us; quota -1: unlimited */
	const char *cpus, *mems;
};

struct rt_spec_weight_device {
	int64_t major, minor;
	const uint16_t *weight, *leaf_weight;
};

struct rt_spec_throttle_device {
	int64_t major, minor;
	uint64_t rate;
};

struct rt_spec_throttle {
	const struct rt_spec_throttle_device *entries;
	size_t count;
};

struct rt_spec_block_io {
	const uint16_t *weight, *leaf_weight;
	const struct rt_spec_weight_device *weight_devices;
	size_t weight_device_count;
	struct rt_spec_throttle read_bps, write_bps, read_iops, write_iops;
};

struct rt_spec_hugepage_limit {
	const char *page_size; /* "2MB" */
	uint64_t limit; /* bytes */
};

struct rt_spec_interface_priority {
	const char *name;
	uint32_t priority;
};

struct rt_spec_rdma {
	const char *device;
	const uint32_t *handles, *objects;
};

/* linux.resources; also what `rt update --resources` reads. */
struct rt_spec_resources {
	const struct rt_spec_device_rule *devices;
	size_t device_count;
	struct rt_spec_memory memory;
	struct rt_spec_cpu cpu;
	const int64_t *pids_limit; /* -1: unlimited, 0: as the spec says, no limit set */
	struct rt_spec_block_io block_io;
	const struct rt_spec_hugepage_limit *hugepage_limits;
	size_t hugepage_limit_count;
	const uint32_t *network_class_id;
	const struct rt_spec_interface_priority *network_priorities;
	size_t network_priority_count;
	const struct rt_spec_rdma *rdma;
	size_t rdma_count;
	const struct rt_spec_key_value *unified; /* cgroup v2 file name and what to write */
	size_t unified_count;
};

enum rt_seccomp_action {
	RT_SECCOMP_KILL_THREAD, /* also SCMP_ACT_KILL */
	RT_SECCOMP_KILL_PROCESS,
	RT_SECCOMP_TRAP,
	RT_SECCOMP_ERRNO,
	RT_SECCOMP_TRACE,
	RT_SECCOMP_LOG,
	RT_SECCOMP_ALLOW,
	RT_SECCOMP_NOTIFY,
};

enum rt_seccomp_op {
	RT_SECCOMP_NE,
	RT_SECCOMP_LT,
	RT_SECCOMP_LE,
	RT_SECCOMP_EQ,
	RT_SECCOMP_GE,
	RT_SECCOMP_GT,
	RT_SECCOMP_MASKED_EQ,
};

struct rt_seccomp_arg {
	uint32_t index; /* 0 to 5 */
	enum rt_seccomp_op op;
	uint64_t value, value_two;
};

struct rt_seccomp_rule {
	const char *const *names;
	size_t name_count;
	enum rt_seccomp_action action;
	bool has_errno;
	uint32_t errno_ret;
	const struct rt_seccomp_arg *args;
	size_t arg_count;
};

struct rt_spec_seccomp {
	bool present;
	enum rt_seccomp_action default_action;
	bool has_default_errno;
	uint32_t default_errno;
	const char *const *architectures; /* "SCMP_ARCH_X86_64" */
	size_t architecture_count;
	const char *const *flags; /* "SECCOMP_FILTER_FLAG_LOG"; NULL where absent, which is not the same as empty: runc then sets SPEC_ALLOW */
	size_t flag_count;
	const struct rt_seccomp_rule *rules;
	size_t rule_count;
	const char *listener_path, *listener_metadata;
	json_t *json; /* borrowed: linux.seccomp as it stands, the key of the cache of compiled programs */
};

struct rt_spec_intel_rdt {
	bool present;
	const char *clos_id, *l3_schema, *mem_bw_schema;
	const char *const *schemata;
	size_t schema_count;
	bool enable_monitoring; /* also the older enableCMT and enableMBM */
};

struct rt_spec_memory_policy {
	bool present;
	int mode; /* MPOL_* */
	const char *nodes; /* list such as "0-3,7" */
	uint32_t flags; /* MPOL_F_* */
};

struct rt_spec_time_offset {
	bool present;
	int64_t secs;
	uint32_t nanosecs;
};

struct rt_spec_personality {
	bool present;
	unsigned long domain; /* PER_LINUX or PER_LINUX32 */
};

struct rt_spec {
	const char *oci_version;
	struct rt_spec_process process;
	bool has_process;
	const char *root_path; /* relative to the bundle unless absolute */
	bool root_readonly;
	const char *hostname, *domainname;
	const struct rt_spec_mount *mounts;
	size_t mount_count;
	struct rt_spec_hooks hooks[RT_HOOK_KINDS];
	const struct rt_spec_key_value *annotations;
	size_t annotation_count;

	struct rt_spec_namespace namespaces[RT_NS_KINDS];
	struct rt_id_maps uid_mappings, gid_mappings;
	struct rt_spec_time_offset offset_monotonic, offset_boottime;
	const struct rt_spec_device *devices;
	size_t device_count;
	const struct rt_spec_net_device *net_devices;
	size_t net_device_count;
	const struct rt_spec_key_value *sysctl;
	size_t sysctl_count;
	const char *cgroups_path; /* NULL: ours to choose */
	struct rt_spec_resources resources;
	struct rt_spec_seccomp seccomp;
	const char *rootfs_propagation; /* "shared", "slave", "private", "unbindable" or with an r; NULL: default */
	const char *const *masked_paths;
	size_t masked_path_count;
	const char *const *readonly_paths;
	size_t readonly_path_count;
	const char *mount_label;
	struct rt_spec_intel_rdt intel_rdt;
	struct rt_spec_memory_policy memory_policy;
	struct rt_spec_personality personality;

	json_t *json; /* owned: the document itself */
	struct rt_arena arena; /* owned: every array above */
};

/* Reads and checks a config file; `path` is of a config.json. *ret is freed by rt_spec_free(). RT_CONFIG names the field. */
struct rt_error *rt_spec_load_file(const char *path, struct rt_spec **ret) _must_check_;
/* The same from memory; `name` is for messages. */
struct rt_error *rt_spec_load_text(const char *text, size_t size, const char *name, struct rt_spec **ret) _must_check_;

/* The process of `rt exec --process FILE`: a bare process object. The result is a spec of which only `process`, `json` and
 * `arena` are filled. */
struct rt_error *rt_spec_load_process(const char *text, size_t size, const char *name, struct rt_spec **ret) _must_check_;

/* The resources of `rt update --resources FILE`: a bare resources object; only `resources` is filled. */
struct rt_error *rt_spec_load_resources(const char *text, size_t size, const char *name, struct rt_spec **ret) _must_check_;

/* What an audit of a config tells, one call a finding. Everything is borrowed for the call. */
enum rt_spec_severity {
	RT_SPEC_VIOLATION, /* the loaders above fail with the first of these */
	RT_SPEC_WARNING, /* tolerated; the loaders log it */
};
struct rt_spec_finding {
	enum rt_spec_severity severity;
	const char *path; /* "linux.resources.memory.swap"; "" for the document itself */
	const char *section; /* of the specification: "config-linux.md#memory" */
	const char *message; /* the sentence, which names the field */
};
struct rt_spec_visitor {
	void (*found)(void *userdata, const struct rt_spec_finding *finding);
	void *userdata;
	void (*read)(void *userdata, const struct rt_spec *spec); /* once, at the end: what could be read; may be NULL */
};

/* Reports every violation instead of failing with the first, with the code the loaders use. An error only where there is no
 * document to audit: not JSON, or no memory. */
struct rt_error *rt_spec_audit(const char *text, size_t size, const char *name, const struct rt_spec_visitor *visitor)
	_must_check_;

void rt_spec_free(struct rt_spec *spec);
static inline void rt_spec_freep(struct rt_spec **spec)
{
	rt_spec_free(*spec);
}

/* What `rt spec` writes: runc's default configuration, for root or for an ordinary user. The caller decrefs it. As runc, it looks at
 * the machine once: where /sys/fs/cgroup is cgroup2, the container gets a cgroup namespace. */
struct rt_error *rt_spec_template(bool rootless, uid_t uid, gid_t gid, json_t **ret) _must_check_;

/* What `rt features` prints (features.md of the specification). The caller decrefs it. It tells of every layer, so it lives in
 * runtime/container/features.c. */
struct rt_error *rt_spec_features(json_t **ret) _must_check_;

/* The part of it that follows from what the loader knows: versions, hooks, namespaces, capabilities, seccomp, memoryPolicy. The
 * caller decrefs it. */
struct rt_error *rt_spec_vocabulary(json_t **ret) _must_check_;

/* "pid", "network", ... as config.json spells them; the CLONE_NEW* flag; the file name below /proc/PID/ns. */
const char *rt_namespace_name(enum rt_namespace_kind kind);
uint64_t rt_namespace_flag(enum rt_namespace_kind kind);
const char *rt_namespace_file(enum rt_namespace_kind kind);

/* "prestart", "createRuntime", ... */
const char *rt_hook_kind_name(enum rt_hook_kind kind);

/* "CAP_SYS_ADMIN" (any case, with or without the prefix) to its number; false: unknown. And back; NULL: unknown. */
bool rt_cap_from_name(const char *name, int *ret);
const char *rt_cap_name(int cap);

/* By its type or one of its options. */
bool rt_spec_mount_is_bind(const struct rt_spec_mount *mount);
/* By an option, or by maps of its own. */
bool rt_spec_mount_is_mapped(const struct rt_spec_mount *mount);

/* The value of an annotation, or NULL. */
const char *rt_spec_annotation(const struct rt_spec *spec, const char *key);
