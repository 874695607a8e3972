// SPDX-License-Identifier: Apache-2.0
/*
 * The floor program's root file system: the default mounts, devices, masked and read-only paths,
 * and the switch into it; then the credentials every default configuration asks for.
 */
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/capability.h>

struct fs {
	const char *target, *type;
	unsigned int attr;      /* MOUNT_ATTR_*; the same bits as MS_* for those used here */
	const char *options;    /* as mount(2) takes them */
};

static const struct fs defaults[] = {
	{ "proc", "proc", 0, NULL },
	{ "dev", "tmpfs", MOUNT_ATTR_NOSUID, "mode=755,size=65536k" },
	{ "dev/pts", "devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
	  "newinstance,ptmxmode=0666,mode=0620,gid=5" },
	{ "dev/shm", "tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV,
	  "mode=1777,size=65536k" },
	{ "dev/mqueue", "mqueue", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV, NULL },
	{ "sys", "sysfs",
	  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY, NULL },
};

static const struct {
	const char *path;
	unsigned int major, minor;
} devices[] = {
	{ "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 },
	{ "dev/tty", 5, 0 }, { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 },
};

static const char *const links[][2] = {
	{ "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" },
	{ "/proc/self/fd/1", "dev/stdout" }, { "/proc/self/fd/2", "dev/stderr" },
	{ "pts/ptmx", "dev/ptmx" }, { "/proc/kcore", "dev/core" },
};

static const char *const masked[] = {
	"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
	"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
};

static const char *const read_only[] = {
	"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger",
};

/* Splits "a,b=c" into the calls fsconfig wants, one an option. */
static void configure(int fs_fd, const char *options)
{
	char *copy = strdup(options), *save = NULL;

	for (char *o = strtok_r(copy, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		char *value = strchr(o, '=');

		if (value)
			*value++ = 0;
		if (fsconfig(fs_fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, o, value,
			     0) < 0)
			floor_die(o);
	}
	free(copy);
}

static int new_mount(const struct fs *fs)
{
	int fs_fd = fsopen(fs->type, FSOPEN_CLOEXEC);

	if (fs_fd < 0)
		floor_die(fs->type);
	if (fs->options)
		configure(fs_fd, fs->options);
	if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		floor_die(fs->type);
	int mnt = fsmount(fs_fd, FSMOUNT_CLOEXEC, fs->attr);

	if (mnt < 0)
		floor_die("fsmount");
	close(fs_fd);
	return mnt;
}

static void attach(int mnt, const char *target)
{
	if (move_mount(mnt, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		floor_die(target);
	close(mnt);
}

static void mount_fs(const struct floor_options *opt, const struct fs *fs)
{
	if (!opt->old_mounts)
		attach(new_mount(fs), fs->target);
	else if (mount(fs->type, fs->target, fs->type, fs->attr, fs->options) < 0)
		floor_die(fs->target);
}

/* The container's view of its own cgroups: every hierarchy once more, as its namespace sees it. */
static void mount_cgroups(const struct floor_options *opt)
{
	const unsigned int attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;
	const struct fs base = { "sys/fs/cgroup", "tmpfs", attr, "mode=755" };
	char target[256];

	mount_fs(opt, &base);
	for (int i = 0; i < opt->n_hierarchies; i++) {
		const struct floor_hierarchy *h = &opt->hierarchy[i];

		snprintf(target, sizeof(target), "sys/fs/cgroup/%s", h->name);
		if (mkdir(target, 0755) < 0)
			floor_die(target);
		/* mount(2) even with the new API: name= hierarchies differ there. */
		if (mount("cgroup", target, h->options ? "cgroup" : "cgroup2", attr | MS_RDONLY,
			  h->options) < 0)
			floor_die(target);
	}
	if (mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | attr | MS_RDONLY, NULL) < 0)
		floor_die("sys/fs/cgroup read-only");
}

static void make_devices(void)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		if (mknod(devices[i].path, S_IFCHR | 0666,
			  makedev(devices[i].major, devices[i].minor)) < 0)
			floor_die(devices[i].path);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			floor_die(links[i][1]);
}

static void mask(const struct floor_options *opt)
{
	const struct fs empty = { NULL, "tmpfs", MOUNT_ATTR_RDONLY, "size=0" };
	int shared = -1;
	struct stat st;

	for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++) {
		if (stat(masked[i], &st) < 0)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			if (mount("dev/null", masked[i], NULL, MS_BIND, NULL) < 0)
				floor_die(masked[i]);
			continue;
		}
		if (opt->old_mounts) {
			if (mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "size=0") < 0)
				floor_die(masked[i]);
			continue;
		}
		if (opt->mask_each) {
			attach(new_mount(&empty), masked[i]);
			continue;
		}
		if (shared < 0)
			shared = new_mount(&empty);
		int copy = open_tree(shared, "",
				     AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

		if (copy < 0)
			floor_die("open_tree");
		attach(copy, masked[i]);
	}
	if (shared >= 0)
		close(shared);
}

static void make_read_only(const struct floor_options *opt)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };

	for (size_t i = 0; i < sizeof(read_only) / sizeof(read_only[0]); i++) {
		const char *path = read_only[i];

		if (access(path, F_OK) < 0)
			continue;
		if (opt->old_mounts) {
			if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0 ||
			    mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
				floor_die(path);
			continue;
		}
		int mnt = open_tree(AT_FDCWD, path,
				    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

		if (mnt < 0 || mount_setattr(mnt, "", AT_EMPTY_PATH | AT_RECURSIVE, &ro,
					     sizeof(ro)) < 0)
			floor_die(path);
		attach(mnt, path);
	}
}

/* Takes the root over; the old one is stacked underneath and let go of at once. */
static void switch_root(void)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };

	if (mount_setattr(AT_FDCWD, ".", 0, &ro, sizeof(ro)) < 0)
		floor_die("read-only root");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		floor_die("pivot_root");
	floor_mark("pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		floor_die("detaching the old root");
	floor_mark("detach old root");
}

/* Every runtime does so in a new network namespace. */
static void raise_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		floor_die("loopback up");
	close(fd);
	floor_mark("loopback up");
}

void floor_rootfs_mounts(const struct floor_options *opt)
{
	if (sethostname("floor", 5) < 0)
		floor_die("sethostname");
	if (!opt->no_net)
		raise_loopback();
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "floor") < 0)
		floor_die("session keyring");
	floor_mark("session keyring");
	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		floor_die("private propagation");
	floor_mark("private propagation");
	if (mount(opt->rootfs, opt->rootfs, NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    chdir(opt->rootfs) < 0)
		floor_die(opt->rootfs);
	floor_mark("bind the root");
	for (size_t i = 0; !opt->no_mounts && i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		if (strncmp(defaults[i].target, "dev/", 4) == 0 &&
		    mkdir(defaults[i].target, 0755) < 0)
			floor_die(defaults[i].target);
		mount_fs(opt, &defaults[i]);
		floor_mark(defaults[i].target);
	}
}

void floor_rootfs_finish(const struct floor_options *opt)
{
	if (!opt->no_mounts) {
		if (opt->n_hierarchies && !opt->no_cgroup_mount) {
			mount_cgroups(opt);
			floor_mark("sys/fs/cgroup");
		}
		make_devices();
		floor_mark("devices and links");
		mask(opt);
		floor_mark("masked paths");
		make_read_only(opt);
		floor_mark("read-only paths");
	}
	switch_root();
}

void floor_seal(void)
{
	const unsigned int keep = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL |
				  1u << CAP_NET_BIND_SERVICE;
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { keep, keep, keep }, { 0, 0, 0 } };
	const struct rlimit nofile = { 1024, 1024 };

	setrlimit(RLIMIT_NOFILE, &nofile);
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!(cap < 32 && keep & 1u << cap))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) < 0)
		floor_die("capset");
	for (int cap = 0; cap < 32; cap++)
		if (keep & 1u << cap)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		floor_die("no_new_privs");
}
