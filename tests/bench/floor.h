/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the floor program share: its options, and the steps it is made of. See
 * floor.c for what it is for.
 */
#pragma once

enum { FLOOR_MAX_MARKS = 64, FLOOR_MAX_HIERARCHIES = 24 };

enum floor_join {
	FLOOR_JOIN_TASKS,       /* the child writes 0 to `tasks` (cgroup.procs on v2) */
	FLOOR_JOIN_SELF_PROCS,  /* the child writes 0 to `cgroup.procs` */
	FLOOR_JOIN_PARENT,      /* the parent writes the child's pid to `cgroup.procs` */
	FLOOR_JOIN_NONE,        /* no cgroups are made at all */
};

enum { FLOOR_V1 = 1 << 0, FLOOR_V2 = 1 << 1 };

/* One mounted cgroup hierarchy of the machine; strings live as long as the program. */
struct floor_hierarchy {
	const char *mountpoint;
	const char *name;        /* the directory under /sys/fs/cgroup */
	const char *options;     /* "cpu", "name=systemd", or NULL for v2 */
	char *path;              /* the cgroup made for the run */
};

struct floor_options {
	const char *rootfs;
	enum floor_join join;
	int no_into_cgroup, no_cgroupns, overlap, no_net, no_mounts, no_cgroup_mount;
	int old_mounts, mask_each;
	int no_exec, runs, phases, pause_ms, exec_pid;
	int n_hierarchies;
	struct floor_hierarchy hierarchy[FLOOR_MAX_HIERARCHIES];
};

void floor_mark(const char *name);
void floor_die(const char *what) __attribute__((noreturn));

/* floor_cgroup.c */
void floor_cgroup_find(struct floor_options *opt);
void floor_cgroup_create(const struct floor_options *opt, int versions);
/* -1 where no cgroup2 is mounted. */
int floor_cgroup_unified_fd(const struct floor_options *opt);
void floor_cgroup_join_self(const struct floor_options *opt);
void floor_cgroup_join_pid(const struct floor_options *opt, int pid);
void floor_cgroup_remove(const struct floor_options *opt);

/* floor_rootfs.c */
void floor_rootfs_mounts(const struct floor_options *opt);   /* what needs no cgroup */
void floor_rootfs_finish(const struct floor_options *opt);   /* and what comes after joining */
void floor_seal(void);

/* floor_exec.c: runs argv in the container of opt->exec_pid and waits for it. */
void floor_exec(struct floor_options *opt, char **argv);
