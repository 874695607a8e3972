#include "runtime/spec/loader.h"

#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <strings.h>
#include <sys/personality.h>
#include <sys/resource.h>

/* Newer than the headers of the oldest distribution we build on. */
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
enum { MODE_PREFERRED_MANY = 5, MODE_WEIGHTED_INTERLEAVE = 6 }; /* Linux 5.15 and 6.9 */
enum { FLAG_NUMA_BALANCING = 1 << 13 };				/* Linux 5.12 */
enum { IO_CLASS_RT = 1, IO_CLASS_BE = 2, IO_CLASS_IDLE = 3 };	/* linux/ioprio.h hides them from older programs */
enum { POLICY_ISO = 4 };					/* reserved by the kernel, but in the specification */

const struct rt_word rt_words_namespace[] = {
	{"pid", RT_NS_PID},	  {"network", RT_NS_NETWORK}, {"mount", RT_NS_MOUNT},
	{"ipc", RT_NS_IPC},	  {"uts", RT_NS_UTS},	      {"user", RT_NS_USER},
	{"cgroup", RT_NS_CGROUP}, {"time", RT_NS_TIME},	      {NULL, 0},
};

const struct rt_word rt_words_rlimit[] = {
	{"RLIMIT_AS", RLIMIT_AS},
	{"RLIMIT_CORE", RLIMIT_CORE},
	{"RLIMIT_CPU", RLIMIT_CPU},
	{"RLIMIT_DATA", RLIMIT_DATA},
	{"RLIMIT_FSIZE", RLIMIT_FSIZE},
	{"RLIMIT_LOCKS", RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
	{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", RLIMIT_NICE},
	{"RLIMIT_NOFILE", RLIMIT_NOFILE},
	{"RLIMIT_NPROC", RLIMIT_NPROC},
	{"RLIMIT_RSS", RLIMIT_RSS},
	{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
	{"RLIMIT_RTTIME", RLIMIT_RTTIME},
	{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
	{"RLIMIT_STACK", RLIMIT_STACK},
	{NULL, 0},
};

const struct rt_word rt_words_scheduler_policy[] = {
	{"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO}, {"SCHED_RR", SCHED_RR}, {"SCHED_BATCH", SCHED_BATCH},
	{"SCHED_ISO", POLICY_ISO},    {"SCHED_IDLE", SCHED_IDLE}, {"SCHED_DEADLINE", 6},  {NULL, 0},
};

const struct rt_word rt_words_scheduler_flag[] = {
	{"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
	{"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
	{"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
	{"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}, {NULL, 0},
};

const struct rt_word rt_words_io_class[] = {
	{"IOPRIO_CLASS_RT", IO_CLASS_RT},
	{"IOPRIO_CLASS_BE", IO_CLASS_BE},
	{"IOPRIO_CLASS_IDLE", IO_CLASS_IDLE},
	{NULL, 0},
};

const struct rt_word rt_words_seccomp_action[] = {
	{"SCMP_ACT_ALLOW", RT_SECCOMP_ALLOW},
	{"SCMP_ACT_ERRNO", RT_SECCOMP_ERRNO},
	{"SCMP_ACT_KILL", RT_SECCOMP_KILL_THREAD},
	{"SCMP_ACT_KILL_PROCESS", RT_SECCOMP_KILL_PROCESS},
	{"SCMP_ACT_KILL_THREAD", RT_SECCOMP_KILL_THREAD},
	{"SCMP_ACT_LOG", RT_SECCOMP_LOG},
	{"SCMP_ACT_NOTIFY", RT_SECCOMP_NOTIFY},
	{"SCMP_ACT_TRACE", RT_SECCOMP_TRACE},
	{"SCMP_ACT_TRAP", RT_SECCOMP_TRAP},
	{NULL, 0},
};

const struct rt_word rt_words_seccomp_op[] = {
	{"SCMP_CMP_EQ", RT_SECCOMP_EQ}, {"SCMP_CMP_GE", RT_SECCOMP_GE},
	{"SCMP_CMP_GT", RT_SECCOMP_GT}, {"SCMP_CMP_LE", RT_SECCOMP_LE},
	{"SCMP_CMP_LT", RT_SECCOMP_LT}, {"SCMP_CMP_MASKED_EQ", RT_SECCOMP_MASKED_EQ},
	{"SCMP_CMP_NE", RT_SECCOMP_NE}, {NULL, 0},
};

/* Names only: which of them the libseccomp at hand can make a filter for is not a question of the configuration. */
const struct rt_word rt_words_seccomp_arch[] = {
	{"SCMP_ARCH_AARCH64", 0},     {"SCMP_ARCH_ARM", 0},    {"SCMP_ARCH_LOONGARCH64", 0},
	{"SCMP_ARCH_M68K", 0},	      {"SCMP_ARCH_MIPS", 0},   {"SCMP_ARCH_MIPS64", 0},
	{"SCMP_ARCH_MIPS64N32", 0},   {"SCMP_ARCH_MIPSEL", 0}, {"SCMP_ARCH_MIPSEL64", 0},
	{"SCMP_ARCH_MIPSEL64N32", 0}, {"SCMP_ARCH_PARISC", 0}, {"SCMP_ARCH_PARISC64", 0},
	{"SCMP_ARCH_PPC", 0},	      {"SCMP_ARCH_PPC64", 0},  {"SCMP_ARCH_PPC64LE", 0},
	{"SCMP_ARCH_RISCV64", 0},     {"SCMP_ARCH_S390", 0},   {"SCMP_ARCH_S390X", 0},
	{"SCMP_ARCH_SH", 0},	      {"SCMP_ARCH_SHEB", 0},   {"SCMP_ARCH_X32", 0},
	{"SCMP_ARCH_X86", 0},	      {"SCMP_ARCH_X86_64", 0}, {NULL, 0},
};

const struct rt_word rt_words_seccomp_flag[] = {
	{"SECCOMP_FILTER_FLAG_LOG", 0},
	{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", 0},
	{"SECCOMP_FILTER_FLAG_TSYNC", 0},
	{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0},
	{NULL, 0},
};

const struct rt_word rt_words_memory_mode[] = {
	{"MPOL_BIND", MPOL_BIND},
	{"MPOL_DEFAULT", MPOL_DEFAULT},
	{"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
	{"MPOL_LOCAL", MPOL_LOCAL},
	{"MPOL_PREFERRED", MPOL_PREFERRED},
	{"MPOL_PREFERRED_MANY", MODE_PREFERRED_MANY},
	{"MPOL_WEIGHTED_INTERLEAVE", MODE_WEIGHTED_INTERLEAVE},
	{NULL, 0},
};

const struct rt_word rt_words_memory_flag[] = {
	{"MPOL_F_NUMA_BALANCING", FLAG_NUMA_BALANCING},
	{"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
	{"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES},
	{NULL, 0},
};

const struct rt_word rt_words_personality[] = {
	{"LINUX", PER_LINUX},
	{"LINUX32", PER_LINUX32},
	{NULL, 0},
};

/* The specification has the first four; runc, and so everybody, also the recursive ones. */
const struct rt_word rt_words_propagation[] = {
	{"shared", 0}, {"slave", 0},	{"private", 0},	    {"unbindable", 0}, {"rshared", 0},
	{"rslave", 0}, {"rprivate", 0}, {"runbindable", 0}, {NULL, 0},
};

static const struct {
	const char *name, *file;
	uint64_t flag;
} namespaces[RT_NS_KINDS] = {
	[RT_NS_USER] = {"user", "user", CLONE_NEWUSER},
	[RT_NS_MOUNT] = {"mount", "mnt", CLONE_NEWNS},
	[RT_NS_PID] = {"pid", "pid", CLONE_NEWPID},
	[RT_NS_NETWORK] = {"network", "net", CLONE_NEWNET},
	[RT_NS_IPC] = {"ipc", "ipc", CLONE_NEWIPC},
	[RT_NS_UTS] = {"uts", "uts", CLONE_NEWUTS},
	[RT_NS_CGROUP] = {"cgroup", "cgroup", CLONE_NEWCGROUP},
	[RT_NS_TIME] = {"time", "time", CLONE_NEWTIME},
};

const char *rt_namespace_name(enum rt_namespace_kind kind)
{
	return namespaces[kind].name;
}

uint64_t rt_namespace_flag(enum rt_namespace_kind kind)
{
	return namespaces[kind].flag;
}

const char *rt_namespace_file(enum rt_namespace_kind kind)
{
	return namespaces[kind].file;
}

static const char *const hook_kinds[RT_HOOK_KINDS] = {
	[RT_HOOK_PRESTART] = "prestart",
	[RT_HOOK_CREATE_RUNTIME] = "createRuntime",
	[RT_HOOK_CREATE_CONTAINER] = "createContainer",
	[RT_HOOK_START_CONTAINER] = "startContainer",
	[RT_HOOK_POSTSTART] = "poststart",
	[RT_HOOK_POSTSTOP] = "poststop",
};

const char *rt_hook_kind_name(enum rt_hook_kind kind)
{
	return hook_kinds[kind];
}

static const char *const caps[] = {
	[CAP_CHOWN] = "CAP_CHOWN",
	[CAP_DAC_OVERRIDE] = "CAP_DAC_OVERRIDE",
	[CAP_DAC_READ_SEARCH] = "CAP_DAC_READ_SEARCH",
	[CAP_FOWNER] = "CAP_FOWNER",
	[CAP_FSETID] = "CAP_FSETID",
	[CAP_KILL] = "CAP_KILL",
	[CAP_SETGID] = "CAP_SETGID",
	[CAP_SETUID] = "CAP_SETUID",
	[CAP_SETPCAP] = "CAP_SETPCAP",
	[CAP_LINUX_IMMUTABLE] = "CAP_LINUX_IMMUTABLE",
	[CAP_NET_BIND_SERVICE] = "CAP_NET_BIND_SERVICE",
	[CAP_NET_BROADCAST] = "CAP_NET_BROADCAST",
	[CAP_NET_ADMIN] = "CAP_NET_ADMIN",
	[CAP_NET_RAW] = "CAP_NET_RAW",
	[CAP_IPC_LOCK] = "CAP_IPC_LOCK",
	[CAP_IPC_OWNER] = "CAP_IPC_OWNER",
	[CAP_SYS_MODULE] = "CAP_SYS_MODULE",
	[CAP_SYS_RAWIO] = "CAP_SYS_RAWIO",
	[CAP_SYS_CHROOT] = "CAP_SYS_CHROOT",
	[CAP_SYS_PTRACE] = "CAP_SYS_PTRACE",
	[CAP_SYS_PACCT] = "CAP_SYS_PACCT",
	[CAP_SYS_ADMIN] = "CAP_SYS_ADMIN",
	[CAP_SYS_BOOT] = "CAP_SYS_BOOT",
	[CAP_SYS_NICE] = "CAP_SYS_NICE",
	[CAP_SYS_RESOURCE] = "CAP_SYS_RESOURCE",
	[CAP_SYS_TIME] = "CAP_SYS_TIME",
	[CAP_SYS_TTY_CONFIG] = "CAP_SYS_TTY_CONFIG",
	[CAP_MKNOD] = "CAP_MKNOD",
	[CAP_LEASE] = "CAP_LEASE",
	[CAP_AUDIT_WRITE] = "CAP_AUDIT_WRITE",
	[CAP_AUDIT_CONTROL] = "CAP_AUDIT_CONTROL",
	[CAP_SETFCAP] = "CAP_SETFCAP",
	[CAP_MAC_OVERRIDE] = "CAP_MAC_OVERRIDE",
	[CAP_MAC_ADMIN] = "CAP_MAC_ADMIN",
	[CAP_SYSLOG] = "CAP_SYSLOG",
	[CAP_WAKE_ALARM] = "CAP_WAKE_ALARM",
	[CAP_BLOCK_SUSPEND] = "CAP_BLOCK_SUSPEND",
	[CAP_AUDIT_READ] = "CAP_AUDIT_READ",
	[CAP_PERFMON] = "CAP_PERFMON",
	[CAP_BPF] = "CAP_BPF",
	[CAP_CHECKPOINT_RESTORE] = "CAP_CHECKPOINT_RESTORE",
};

bool rt_cap_from_name(const char *name, int *ret)
{
	if (strncasecmp(name, "CAP_", 4) == 0)
		name += 4;
	for (size_t i = 0; i < RT_ARRAY_SIZE(caps); i++) {
		if (strcasecmp(caps[i] + 4, name) == 0) {
			*ret = (int)i;
			return true;
		}
	}
	return false;
}

const char *rt_cap_name(int cap)
{
	return cap >= 0 && (size_t)cap < RT_ARRAY_SIZE(caps) ? caps[cap] : NULL;
}
