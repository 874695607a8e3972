// SPDX-License-Identifier: Apache-2.0
/* The floor program's cgroups: one directory in every mounted hierarchy, v1 or v2. */
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>

/* What a runtime allows by default, so that the device rules cost the same here. */
static const char *const device_rules[] = {
	"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
	"c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
};

/* The mount options of a v1 hierarchy end in its controllers, or in name=. */
static const char *hierarchy_options(const char *opts)
{
	static const char *const flags[] = { "rw", "ro", "nosuid", "nodev", "noexec", "relatime",
					     "xattr", "seclabel" };
	char *copy = strdup(opts), *save = NULL, *out = calloc(1, strlen(opts) + 1);

	for (char *o = strtok_r(copy, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		int is_flag = 0;

		for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			is_flag |= strcmp(o, flags[i]) == 0;
		if (is_flag || strncmp(o, "release_agent=", 14) == 0)
			continue;
		if (*out)
			strcat(out, ",");
		strcat(out, o);
	}
	free(copy);
	return out;
}

void floor_cgroup_find(struct floor_options *opt)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;

	if (opt->join == FLOOR_JOIN_NONE)
		return;
	if (!f)
		floor_die("/proc/self/mounts");
	while ((m = getmntent(f)) && opt->n_hierarchies < FLOOR_MAX_HIERARCHIES) {
		struct floor_hierarchy *h = &opt->hierarchy[opt->n_hierarchies];
		int v2 = strcmp(m->mnt_type, "cgroup2") == 0;

		if (!v2 && strcmp(m->mnt_type, "cgroup") != 0)
			continue;
		h->mountpoint = strdup(m->mnt_dir);
		h->name = strrchr(h->mountpoint, '/') + 1;
		h->options = v2 ? NULL : hierarchy_options(m->mnt_opts);
		if (asprintf(&h->path, "%s/floor-%d", h->mountpoint, getpid()) < 0)
			floor_die("asprintf");
		opt->n_hierarchies++;
	}
	endmntent(f);
}

static void put_fd(int fd, const char *path, const char *value)
{
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		floor_die(path);
}

static void put(const char *dir, const char *file, const char *value)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	put_fd(fd, path, value);
	close(fd);
}

static void allow_devices(const char *dir)
{
	char path[4096];

	put(dir, "devices.deny", "a");
	snprintf(path, sizeof(path), "%s/devices.allow", dir);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	for (size_t r = 0; r < sizeof(device_rules) / sizeof(device_rules[0]); r++)
		put_fd(fd, path, device_rules[r]);
	close(fd);
}

/* cgroup2 asks a BPF program instead of a list. This one allows everything: that it is loaded and
 * attached costs, what it compares hardly does. */
static void attach_device_program(const char *dir)
{
	const struct bpf_insn allow[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uintptr_t)allow,
		.insn_cnt = sizeof(allow) / sizeof(allow[0]),
		.license = (uintptr_t) "Apache-2.0",
	};
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int program = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	union bpf_attr attach = {
		.target_fd = dir_fd,
		.attach_bpf_fd = program,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};

	if (dir_fd < 0 || program < 0 ||
	    syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)) < 0)
		floor_die("device program");
	close(program);
	close(dir_fd);
}

static void copy_from_parent(const struct floor_hierarchy *h, const char *file)
{
	char path[4096], value[256];

	snprintf(path, sizeof(path), "%s/%s", h->mountpoint, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, value, sizeof(value) - 1);

	if (n < 0)
		floor_die(path);
	close(fd);
	value[n] = 0;
	put(h->path, file, value);
}

void floor_cgroup_create(const struct floor_options *opt, int versions)
{
	for (int i = 0; i < opt->n_hierarchies; i++) {
		const struct floor_hierarchy *h = &opt->hierarchy[i];

		if (!(versions & (h->options ? FLOOR_V1 : FLOOR_V2)))
			continue;
		if (mkdir(h->path, 0755) < 0)
			floor_die(h->path);
		if (h->options && strcmp(h->options, "cpuset") == 0) {
			/* A v1 cpuset starts empty, and refuses tasks until it is not. */
			copy_from_parent(h, "cpuset.cpus");
			copy_from_parent(h, "cpuset.mems");
		}
		if (h->options && strcmp(h->options, "devices") == 0)
			allow_devices(h->path);
		if (opt->n_hierarchies == 1 && !h->options)
			attach_device_program(h->path);
	}
}

int floor_cgroup_unified_fd(const struct floor_options *opt)
{
	for (int i = 0; i < opt->n_hierarchies; i++)
		if (!opt->hierarchy[i].options)
			return open(opt->hierarchy[i].path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return -1;
}

void floor_cgroup_join_self(const struct floor_options *opt)
{
	for (int i = 0; i < opt->n_hierarchies; i++) {
		const struct floor_hierarchy *h = &opt->hierarchy[i];

		if (!h->options && !opt->no_into_cgroup)
			continue;
		put(h->path, h->options && opt->join == FLOOR_JOIN_TASKS ? "tasks" : "cgroup.procs",
		    "0");
	}
}

void floor_cgroup_join_pid(const struct floor_options *opt, int pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	for (int i = 0; i < opt->n_hierarchies; i++)
		if (opt->hierarchy[i].options || opt->no_into_cgroup)
			put(opt->hierarchy[i].path, "cgroup.procs", text);
}

void floor_cgroup_remove(const struct floor_options *opt)
{
	for (int i = 0; i < opt->n_hierarchies; i++)
		if (rmdir(opt->hierarchy[i].path) < 0)
			floor_die(opt->hierarchy[i].path);
}
