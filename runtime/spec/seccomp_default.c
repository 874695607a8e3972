#include "runtime/spec/seccomp_default.h"

#include "runtime/base/str.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/socket.h>

#define ANY_CAP (-1)

/* Newer than the headers of the oldest distribution we build on. */
#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF 39
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

/* Names with blanks between. Calls that only some architectures have are in the lists of all: a filter leaves out what it
 * has no number for. */
static const struct group {
	int cap; /* only for who has it; ANY_CAP: for everybody */
	const char *names;
} groups[] = {
	/* Files: opening, reading and writing. */
	{ ANY_CAP, "open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv pwritev preadv2 "
		   "pwritev2 lseek _llseek readahead sendfile sendfile64 splice tee vmsplice copy_file_range fallocate fadvise64 "
		   "fadvise64_64 arm_fadvise64_64 ftruncate ftruncate64 truncate truncate64 fsync fdatasync sync syncfs "
		   "sync_file_range sync_file_range2 arm_sync_file_range flock fcntl fcntl64 ioctl dup dup2 dup3 pipe pipe2" },
	/* Files: names, owners and attributes. */
	{ ANY_CAP, "access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 "
		   "fstatfs fstatfs64 chmod fchmod fchmodat fchmodat2 chown chown32 lchown lchown32 fchown fchown32 fchownat utime "
		   "utimes utimensat utimensat_time64 futimesat link linkat symlink symlinkat readlink readlinkat unlink unlinkat "
		   "rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat umask getdents getdents64 getcwd chdir fchdir "
		   "name_to_handle_at getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr "
		   "removexattr lremovexattr fremovexattr getxattrat setxattrat listxattrat removexattrat file_getattr "
		   "file_setattr" },
	/* What mounts there are may be asked; mounting is further down. */
	{ ANY_CAP, "statmount listmount" },
	/* Waiting for files, and being told of changes. */
	{ ANY_CAP, "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl "
		   "epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 inotify_init "
		   "inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark" },
	/* Asynchronous input and output as libaio does it. io_uring is left out: most holes of the kernel of its years were
	 * in it, and it works around filters. */
	{ ANY_CAP, "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64" },
	/* Memory. userfaultfd is left out: it makes races of the kernel easy to win. */
	{ ANY_CAP, "brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall "
		   "remap_file_pages memfd_create memfd_secret membarrier pkey_alloc pkey_free pkey_mprotect cachestat mseal "
		   "map_shadow_stack process_mrelease" },
	/* Processes and threads; clone has rules of its own. */
	{ ANY_CAP, "fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid "
		   "getsid setsid set_tid_address set_robust_list get_robust_list rseq futex futex_time64 futex_waitv futex_wait "
		   "futex_wake futex_requeue prctl pidfd_open pidfd_send_signal getrusage times restart_syscall uname sysinfo getcpu" },
	{ ANY_CAP, "arch_prctl modify_ldt get_thread_area set_thread_area set_tls cacheflush breakpoint swapcontext "
		   "riscv_flush_icache riscv_hwprobe s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr uretprobe" },
	/* A process may look into another of its own user; kernels before 4.8, where that circumvented filters, are none we
	 * run on. */
	{ ANY_CAP, "ptrace process_vm_readv process_vm_writev" },
	/* Signals. */
	{ ANY_CAP, "kill tkill tgkill rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn "
		   "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack sigprocmask sigreturn sigaction sigpending "
		   "sigsuspend signal pause alarm getitimer setitimer" },
	/* Users, groups and capabilities: a process can only do what it was left with. */
	{ ANY_CAP, "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32 "
		   "getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid "
		   "setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset" },
	/* Fewer rights still. */
	{ ANY_CAP, "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self lsm_get_self_attr lsm_set_self_attr "
		   "lsm_list_modules" },
	/* Limits and scheduling. */
	{ ANY_CAP, "getrlimit ugetrlimit setrlimit prlimit64 getpriority setpriority nice ioprio_get ioprio_set sched_yield "
		   "sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler "
		   "sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval "
		   "sched_rr_get_interval_time64" },
	/* Clocks and timers; reading them, and adjtimex which only root of the machine may set with. */
	{ ANY_CAP, "time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep "
		   "clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 timer_create timer_delete "
		   "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime "
		   "timerfd_gettime64 timerfd_settime timerfd_settime64" },
	/* Sockets; `socket` has a rule of its own. */
	{ ANY_CAP, "socketcall socketpair bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt shutdown "
		   "send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64" },
	/* System V and POSIX communication. */
	{ ANY_CAP, "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget "
		   "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 "
		   "mq_unlink" },
	/* Random numbers. */
	{ ANY_CAP, "getrandom" },

	{ CAP_DAC_READ_SEARCH, "open_by_handle_at" },
	{ CAP_SYS_ADMIN, "mount umount umount2 mount_setattr move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick setns "
			 "unshare clone clone3 sethostname setdomainname bpf perf_event_open fanotify_init quotactl quotactl_fd syslog "
			 "lookup_dcookie" },
	{ CAP_SYS_BOOT, "reboot" },
	{ CAP_SYS_CHROOT, "chroot" },
	{ CAP_SYS_MODULE, "init_module finit_module delete_module" },
	{ CAP_SYS_NICE, "get_mempolicy set_mempolicy mbind set_mempolicy_home_node" },
	{ CAP_SYS_PACCT, "acct" },
	{ CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise" },
	{ CAP_SYS_RAWIO, "iopl ioperm" },
	{ CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64" },
	{ CAP_SYS_TTY_CONFIG, "vhangup" },
	{ CAP_SYSLOG, "syslog" },
	{ CAP_BPF, "bpf" },
	{ CAP_PERFMON, "perf_event_open" },
};

/* The machine's own, and what its kernel runs besides. */
static const char *const architectures[] = {
#if defined(__x86_64__)
	"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
#elif defined(__aarch64__)
	"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
#elif defined(__s390x__)
	"SCMP_ARCH_S390X", "SCMP_ARCH_S390",
#elif defined(__powerpc64__)
	"SCMP_ARCH_PPC64LE",
#elif defined(__riscv)
	"SCMP_ARCH_RISCV64",
#elif defined(__loongarch__)
	"SCMP_ARCH_LOONGARCH64",
#elif defined(__i386__)
	"SCMP_ARCH_X86",
#elif defined(__arm__)
	"SCMP_ARCH_ARM",
#endif
};

/* clone(2) with none of these makes no namespace; s390 has the flags as its second argument. */
#define NAMESPACE_FLAGS                                                                                                \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)
#if defined(__s390__)
#define CLONE_FLAGS_INDEX 1
#else
#define CLONE_FLAGS_INDEX 0
#endif

static bool has_cap(uint64_t bounding, int cap)
{
	return cap == ANY_CAP || bounding & UINT64_C(1) << cap;
}

static bool has_name(const json_t *list, const char *name, size_t length)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *other = json_string_value(json_array_get(list, i));

		if (strlen(other) == length && memcmp(other, name, length) == 0)
			return true;
	}
	return false;
}

/* Once each: some calls come with more than one capability. */
static int add_names(json_t *list, const char *names)
{
	while (*names) {
		size_t length = strcspn(names, " ");

		if (!has_name(list, names, length) && json_array_append_new(list, json_stringn(names, length)) < 0)
			return -1;
		names += length + (names[length] == ' ');
	}
	return 0;
}

/* Takes over `args`, NULL for none. */
static int add_rule(json_t *rules, const char *names, const char *action, json_t *args)
{
	json_t *list = json_array(), *rule = json_object();
	int failed = add_names(list, names);

	failed |= json_object_set_new(rule, "names", list);
	failed |= json_object_set_new(rule, "action", json_string(action));
	if (args)
		failed |= json_object_set_new(rule, "args", args);
	return json_array_append_new(rules, rule) | failed;
}

static int allow_where(json_t *rules, const char *name, int index, json_int_t value, const char *op, const json_int_t *value_two)
{
	json_t *arg = json_pack("{s:i,s:I,s:s}", "index", index, "value", value, "op", op);
	json_t *args = json_array();

	if (value_two && json_object_set_new(arg, "valueTwo", json_integer(*value_two)) < 0) {
		json_decref(arg);
		arg = NULL;
	}
	if (json_array_append_new(args, arg) < 0) {
		json_decref(args);
		return -1;
	}
	return add_rule(rules, name, "SCMP_ACT_ALLOW", args);
}

/* Calls that depend on what they are asked for. */
static int add_conditional(json_t *rules, uint64_t bounding)
{
	/* As personality(2) is used: Linux and 32 bit Linux, each with UNAME26, and the question. */
	static const json_int_t personalities[] = { 0, 0x0008, 0x20000, 0x20008, 0xffffffff };
	static const json_int_t none = 0;
	json_t *last;
	int failed = 0;

	/* Sockets of virtual machines lead to the host. */
	failed |= allow_where(rules, "socket", 0, AF_VSOCK, "SCMP_CMP_NE", NULL);
	for (size_t i = 0; i < RT_ARRAY_SIZE(personalities); i++)
		failed |= allow_where(rules, "personality", 0, personalities[i], "SCMP_CMP_EQ", NULL);
	if (has_cap(bounding, CAP_SYS_ADMIN))
		return failed;
	failed |= allow_where(rules, "clone", CLONE_FLAGS_INDEX, NAMESPACE_FLAGS, "SCMP_CMP_MASKED_EQ", &none);
	/* Its flags are in memory, where no filter can look: libraries fall back to clone where it is said not to exist. */
	failed |= add_rule(rules, "clone3", "SCMP_ACT_ERRNO", NULL);
	last = json_array_get(rules, json_array_size(rules) - 1);
	return json_object_set_new(last, "errnoRet", json_integer(ENOSYS)) | failed;
}

struct rt_error *rt_seccomp_default(uint64_t bounding, json_t **ret)
{
	_cleanup_json_ json_t *profile = json_object();
	json_t *archs = json_array(), *rules = json_array(), *names = json_array(), *rule = json_object();
	int failed = 0;

	failed |= json_object_set_new(profile, "defaultAction", json_string("SCMP_ACT_ERRNO"));
	failed |= json_object_set_new(profile, "defaultErrnoRet", json_integer(EPERM));
	for (size_t i = 0; i < RT_ARRAY_SIZE(architectures); i++)
		failed |= json_array_append_new(archs, json_string(architectures[i]));
	failed |= json_object_set_new(profile, "architectures", archs);
	for (size_t i = 0; i < RT_ARRAY_SIZE(groups); i++)
		if (has_cap(bounding, groups[i].cap))
			failed |= add_names(names, groups[i].names);
	failed |= json_object_set_new(rule, "names", names);
	failed |= json_object_set_new(rule, "action", json_string("SCMP_ACT_ALLOW"));
	failed |= json_array_append_new(rules, rule);
	failed |= add_conditional(rules, bounding);
	failed |= json_object_set_new(profile, "syscalls", rules);
	if (failed)
		return rt_error_oom();
	*ret = rt_take_ptr(profile);
	return NULL;
}

void rt_seccomp_default_names(void (*visit)(void *userdata, const char *name), void *userdata)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(groups); i++) {
		char name[64];

		for (const char *at = groups[i].names; *at; at += strspn(at, " ")) {
			size_t length = strcspn(at, " ");

			snprintf(name, sizeof(name), "%.*s", (int)length, at);
			visit(userdata, name);
			at += length;
		}
	}
}
