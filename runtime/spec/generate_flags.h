/* The flags of `rt spec generate`, sorted by name. Included with FLAG() defined: for the table of what they do (generate.c), and
 * for the table of options (cmd/spec_generate.c). Names and forms are those of runtime-tools' `oci-runtime-tool generate`.
 *
 *     FLAG(stage, kind, name, argument, function, data, help)
 *
 * kind: SET (a flag), ONE (the last counts), MANY. function: of generate_private.h; data: a path in the document, or what else it
 * wants. */
#define HOOK_FLAGS(name, kind)                                                                                         \
	FLAG(CHANGE, MANY, "hooks-" name, "CMD[:ARG...]", hook, kind, "a command for the " kind " hooks")                  \
	FLAG(CHANGE, MANY, "hooks-" name "-add", "JSON", hook_json, kind, "a hook as config.json has it; its path names it") \
	FLAG(CHANGE, MANY, "hooks-" name "-env", "CMD:NAME=VALUE", hook_env, kind, "a variable for one of the commands")       \
	FLAG(CLEAR, SET, "hooks-" name "-remove-all", NULL, remove, "hooks." kind, "no " kind " hooks")                     \
	FLAG(CHANGE, MANY, "hooks-" name "-timeout", "CMD:SECONDS", hook_timeout, kind, "how long one of the commands may take")
#define CAP_FLAGS(verb, function, help)                                                                                \
	FLAG(CHANGE, MANY, "process-cap-" verb "-ambient", "CAP", function, "ambient", help " the ambient set")             \
	FLAG(CHANGE, MANY, "process-cap-" verb "-bounding", "CAP", function, "bounding", help " the bounding set")          \
	FLAG(CHANGE, MANY, "process-cap-" verb "-effective", "CAP", function, "effective", help " the effective set")       \
	FLAG(CHANGE, MANY, "process-cap-" verb "-inheritable", "CAP", function, "inheritable", help " the inheritable set") \
	FLAG(CHANGE, MANY, "process-cap-" verb "-permitted", "CAP", function, "permitted", help " the permitted set")
#define BLOCK_IO "linux.resources.blockIO."
#define CPU "linux.resources.cpu."
#define MEMORY "linux.resources.memory."

FLAG(CHANGE, MANY, "args", "WORD", args, NULL, "the command and its arguments, one each; they replace the template's")
FLAG(CHANGE, ONE, "domainname", "NAME", string, "domainname", "NIS domain name")
FLAG(CHANGE, MANY, "env", "NAME=VALUE", env, NULL, "environment variable")
FLAG(CHANGE, MANY, "env-file", "FILE", env_file, NULL, "file of lines NAME=VALUE; lines that start with # are comments")
HOOK_FLAGS("create-container", "createContainer")
HOOK_FLAGS("create-runtime", "createRuntime")
HOOK_FLAGS("poststart", "poststart")
HOOK_FLAGS("poststop", "poststop")
HOOK_FLAGS("prestart", "prestart")
HOOK_FLAGS("start-container", "startContainer")
FLAG(CHANGE, ONE, "hostname", "NAME", string, "hostname", "host name")
FLAG(CHANGE, MANY, "label", "NAME=VALUE", name_value, "annotations", "annotation")
FLAG(CHANGE, ONE, "linux-apparmor", "PROFILE", string, "process.apparmorProfile", "AppArmor profile")
FLAG(CHANGE, ONE, "linux-blkio-leaf-weight", "WEIGHT", whole, BLOCK_IO "leafWeight", "weight of the cgroup itself against its children, 10 to 1000")
FLAG(CHANGE, MANY, "linux-blkio-leaf-weight-device", "MAJOR:MINOR:WEIGHT", block_device, "leafWeight", "the same for a device; -1 removes it")
FLAG(CHANGE, MANY, "linux-blkio-read-bps-device", "MAJOR:MINOR:RATE", block_device, "throttleReadBpsDevice", "bytes a second read from a device; -1 removes it")
FLAG(CHANGE, MANY, "linux-blkio-read-iops-device", "MAJOR:MINOR:RATE", block_device, "throttleReadIOPSDevice", "reads a second; -1 removes it")
FLAG(CHANGE, ONE, "linux-blkio-weight", "WEIGHT", whole, BLOCK_IO "weight", "share of block devices, 10 to 1000")
FLAG(CHANGE, MANY, "linux-blkio-weight-device", "MAJOR:MINOR:WEIGHT", block_device, "weight", "the same for a device; -1 removes it")
FLAG(CHANGE, MANY, "linux-blkio-write-bps-device", "MAJOR:MINOR:RATE", block_device, "throttleWriteBpsDevice", "bytes a second written to a device; -1 removes it")
FLAG(CHANGE, MANY, "linux-blkio-write-iops-device", "MAJOR:MINOR:RATE", block_device, "throttleWriteIOPSDevice", "writes a second; -1 removes it")
FLAG(CHANGE, ONE, "linux-cgroups-path", "PATH", string, "linux.cgroupsPath", "cgroup of the container")
FLAG(CHANGE, ONE, "linux-cpu-burst", "US", whole, CPU "burst", "CPU time that may be saved up")
FLAG(CHANGE, ONE, "linux-cpu-idle", "0|1", whole, CPU "idle", "run only when nothing else wants to")
FLAG(CHANGE, ONE, "linux-cpu-period", "US", whole, CPU "period", "period of the CPU quota")
FLAG(CHANGE, ONE, "linux-cpu-quota", "US", whole, CPU "quota", "CPU time in each period; -1: no limit")
FLAG(CHANGE, ONE, "linux-cpu-shares", "N", whole, CPU "shares", "share of the CPU against other cgroups")
FLAG(CHANGE, ONE, "linux-cpus", "LIST", string, CPU "cpus", "CPUs to run on, '0-3,7'")
FLAG(CHANGE, MANY, "linux-device-add", "TYPE:MAJOR:MINOR:PATH[:fileMode=N][:uid=N][:gid=N]", device, NULL, "device to make, type b, c, u or p")
FLAG(CHANGE, MANY, "linux-device-cgroup-add", "allow[,type=c][,major=N][,minor=N][,access=rwm]", device_rule, NULL, "rule for access to devices; or deny")
FLAG(CHANGE, MANY, "linux-device-cgroup-remove", "allow[,type=c]...", device_rule_remove, NULL, "remove such a rule")
FLAG(CHANGE, MANY, "linux-device-remove", "PATH", device_remove, NULL, "remove a device")
FLAG(CLEAR, SET, "linux-device-remove-all", NULL, remove, "linux.devices", "no devices but the usual ones")
FLAG(CHANGE, SET, "linux-disable-oom-kill", NULL, boolean, MEMORY "disableOOMKiller", "wait in place of being killed when memory is out")
FLAG(CHANGE, MANY, "linux-gidmappings", "HOST:CONTAINER:SIZE", id_map, "linux.gidMappings", "map groups, in a user namespace")
FLAG(CHANGE, MANY, "linux-hugepage-limits-add", "SIZE:LIMIT", hugepages, NULL, "bytes of huge pages, '2MB:4194304'")
FLAG(CHANGE, MANY, "linux-hugepage-limits-drop", "SIZE", hugepages_remove, NULL, "remove that limit")
FLAG(CHANGE, ONE, "linux-intelRdt-closid", "NAME", string, "linux.intelRdt.closID", "class of service of resctrl")
FLAG(CHANGE, ONE, "linux-intelRdt-l3CacheSchema", "SCHEMA", string, "linux.intelRdt.l3CacheSchema", "share of the L3 cache")
FLAG(CHANGE, ONE, "linux-intelRdt-memBwSchema", "SCHEMA", string, "linux.intelRdt.memBwSchema", "share of the memory's bandwidth")
FLAG(CHANGE, MANY, "linux-masked-paths", "PATH", word, "linux.maskedPaths", "path to hide")
FLAG(CLEAR, SET, "linux-masked-paths-remove-all", NULL, remove, "linux.maskedPaths", "hide nothing")
FLAG(CHANGE, ONE, "linux-mem-kernel-limit", "BYTES", size, MEMORY "kernel", "memory of the kernel, before Linux 5.16")
FLAG(CHANGE, ONE, "linux-mem-kernel-tcp", "BYTES", size, MEMORY "kernelTCP", "buffers of TCP")
FLAG(CHANGE, ONE, "linux-mem-limit", "BYTES", size, MEMORY "limit", "memory")
FLAG(CHANGE, ONE, "linux-mem-reservation", "BYTES", size, MEMORY "reservation", "memory kept when it gets short")
FLAG(CHANGE, ONE, "linux-mem-swap", "BYTES", size, MEMORY "swap", "memory and swap together; -1: no limit")
FLAG(CHANGE, ONE, "linux-mem-swappiness", "N", whole, MEMORY "swappiness", "0 to 100")
FLAG(CHANGE, ONE, "linux-mems", "LIST", string, CPU "mems", "memory nodes to use, '0-1'")
FLAG(CHANGE, ONE, "linux-mount-label", "LABEL", string, "linux.mountLabel", "SELinux label of mounts")
FLAG(CHANGE, MANY, "linux-namespace-add", "TYPE[:PATH]", namespace, NULL, "make a namespace, or join that of the path")
FLAG(CHANGE, MANY, "linux-namespace-remove", "TYPE", namespace_remove, NULL, "stay in the runtime's")
FLAG(CLEAR, SET, "linux-namespace-remove-all", NULL, remove, "linux.namespaces", "no namespaces")
FLAG(CHANGE, ONE, "linux-network-classid", "N", whole, "linux.resources.network.classID", "class of its packets")
FLAG(CHANGE, MANY, "linux-network-priorities", "INTERFACE:N", network_priority, NULL, "priority of its packets; -1 removes it")
FLAG(CHANGE, ONE, "linux-oom-score-adj", "N", whole, "process.oomScoreAdj", "-1000 to 1000: who is killed first when memory is out")
FLAG(CHANGE, ONE, "linux-personality", "LINUX|LINUX32", string, "linux.personality.domain", "kind of machine that programs see")
FLAG(CHANGE, ONE, "linux-pids-limit", "N", whole, "linux.resources.pids.limit", "processes; -1: no limit")
FLAG(CHANGE, MANY, "linux-rdma", "DEVICE:HANDLES:OBJECTS", rdma, NULL, "limits of an RDMA device")
FLAG(CHANGE, MANY, "linux-readonly-paths", "PATH", word, "linux.readonlyPaths", "path that can't be written")
FLAG(CLEAR, SET, "linux-readonly-paths-remove-all", NULL, remove, "linux.readonlyPaths", "protect no paths")
FLAG(CHANGE, ONE, "linux-realtime-period", "US", whole, CPU "realtimePeriod", "period of the real-time quota")
FLAG(CHANGE, ONE, "linux-realtime-runtime", "US", whole, CPU "realtimeRuntime", "CPU time of real-time processes in each period")
FLAG(CHANGE, ONE, "linux-rootfs-propagation", "MODE", string, "linux.rootfsPropagation", "shared, slave, private, unbindable, or with an r before it")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-allow", "SYSCALL,... or SYSCALL:ARG:VALUE:VALUE2:OP", seccomp_rule, "SCMP_ACT_ALLOW", "allow system calls; OP: NE LT LE EQ GE GT ME")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-arch", "ARCH", seccomp_arch, NULL, "architecture to filter for, 'x86_64'")
FLAG(SECCOMP_CLEAR, ONE, "linux-seccomp-default", "ACTION", seccomp_default, NULL, "for all other calls: errno, kill, ...; removes rules that say the same")
FLAG(SECCOMP_CLEAR, ONE, "linux-seccomp-default-force", "ACTION", seccomp_default_force, NULL, "the same, and keeps them")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-errno", "SYSCALL...", seccomp_rule, "SCMP_ACT_ERRNO", "have them fail with EPERM")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-kill", "SYSCALL...", seccomp_rule, "SCMP_ACT_KILL", "kill who makes them")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-kill-process", "SYSCALL...", seccomp_rule, "SCMP_ACT_KILL_PROCESS", "the same with all its threads")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-log", "SYSCALL...", seccomp_rule, "SCMP_ACT_LOG", "allow and log them")
FLAG(SECCOMP_CLEAR, ONE, "linux-seccomp-profile", "default|unconfined", seccomp_profile, NULL, "the maintained allow-list for the capabilities there are, or no filter")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-remove", "SYSCALL[,...]", seccomp_remove, NULL, "remove their rules")
FLAG(SECCOMP_CLEAR, SET, "linux-seccomp-remove-all", NULL, seccomp_remove_all, NULL, "remove all rules; the default action stays")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-trace", "SYSCALL...", seccomp_rule, "SCMP_ACT_TRACE", "ask a tracer")
FLAG(SECCOMP_CHANGE, MANY, "linux-seccomp-trap", "SYSCALL...", seccomp_rule, "SCMP_ACT_TRAP", "send SIGSYS")
FLAG(CHANGE, ONE, "linux-selinux-label", "LABEL", string, "process.selinuxLabel", "SELinux label of the process")
FLAG(CHANGE, MANY, "linux-sysctl", "NAME=VALUE", name_value, "linux.sysctl", "kernel parameter of a namespace")
FLAG(CHANGE, MANY, "linux-time-offset", "CLOCK:SECONDS[:NANOSECONDS]", time_offset, NULL, "offset of monotonic or boottime, in a time namespace")
FLAG(CHANGE, MANY, "linux-uidmappings", "HOST:CONTAINER:SIZE", id_map, "linux.uidMappings", "map users, in a user namespace")
FLAG(CHANGE, MANY, "linux-unified", "FILE=VALUE", name_value, "linux.resources.unified", "file of cgroup v2, 'memory.high=1G'")
FLAG(CHANGE, MANY, "mount-bind", "SOURCE:DESTINATION[:OPTION...]", mount_bind, NULL, "directory or file of the host")
FLAG(CHANGE, ONE, "mount-cgroups", "rw|ro|no", mount_cgroups, NULL, "cgroups at /sys/fs/cgroup")
FLAG(CHANGE, MANY, "mounts-add", "JSON", mount_json, NULL, "a mount as config.json has it; its destination names it")
FLAG(CHANGE, MANY, "mounts-remove", "DESTINATION", mount_remove, NULL, "remove a mount")
FLAG(CLEAR, SET, "mounts-remove-all", NULL, remove, "mounts", "no mounts")
FLAG(CHANGE, ONE, "oci-version", "VERSION", string, "ociVersion", "version of the specification")
FLAG(CLEAR, SET, "privileged", NULL, privileged, NULL, "all capabilities and devices, no seccomp nor LSM, nothing masked or read-only")
FLAG(CHANGE, MANY, "process-cap-add", "CAP", cap_add_all, NULL, "add to the bounding, effective and permitted sets")
CAP_FLAGS("add", cap_add, "add to")
FLAG(CHANGE, MANY, "process-cap-drop", "CAP", cap_drop_all, NULL, "remove from all sets")
FLAG(CLEAR, SET, "process-cap-drop-all", NULL, cap_clear, NULL, "no capabilities")
CAP_FLAGS("drop", cap_drop, "remove from")
FLAG(CHANGE, ONE, "process-consolesize", "WIDTH:HEIGHT", console_size, NULL, "size of the terminal")
FLAG(CHANGE, ONE, "process-cwd", "DIR", string, "process.cwd", "directory to start in")
FLAG(CHANGE, ONE, "process-gid", "GID", whole, "process.user.gid", "group")
FLAG(CHANGE, MANY, "process-groups", "GID", group, NULL, "additional group")
FLAG(CHANGE, SET, "process-no-new-privileges", NULL, boolean, "process.noNewPrivileges", "setuid programs gain nothing")
FLAG(CHANGE, MANY, "process-rlimits-add", "RLIMIT:HARD:SOFT", rlimit, NULL, "limit, 'RLIMIT_NOFILE:1024:1024'; 'unlimited' is a number too")
FLAG(CHANGE, MANY, "process-rlimits-remove", "RLIMIT", rlimit_remove, NULL, "remove a limit")
FLAG(CLEAR, SET, "process-rlimits-remove-all", NULL, remove, "process.rlimits", "no limits")
FLAG(CHANGE, SET, "process-terminal", NULL, boolean, "process.terminal", "with a terminal")
FLAG(CHANGE, SET, "process-tty", NULL, boolean, "process.terminal", "the same")
FLAG(CHANGE, ONE, "process-uid", "UID", whole, "process.user.uid", "user")
FLAG(CHANGE, ONE, "process-umask", "MASK", octal, "process.user.umask", "umask, octal")
FLAG(CHANGE, ONE, "rootfs-path", "PATH", string, "root.path", "root filesystem, from the bundle")
FLAG(CHANGE, SET, "rootfs-readonly", NULL, boolean, "root.readonly", "the root filesystem can't be written")
FLAG(CHANGE, MANY, "tmpfs", "DESTINATION[:OPTION,...]", tmpfs, NULL, "tmpfs, '/tmp:size=64m,mode=1777'")

#undef HOOK_FLAGS
#undef CAP_FLAGS
#undef BLOCK_IO
#undef CPU
#undef MEMORY
#undef FLAG
