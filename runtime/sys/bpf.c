#include "runtime/sys/bpf.h"

#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* More than anybody stacks on one cgroup. */
#define PROGRAMS_MOST 64
#define LOG_ROOM 4096

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int load(const struct bpf_insn *code, size_t count, char *log)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = (uint32_t)count;
	attr.license = (uintptr_t) "Apache-2.0";
	memcpy(attr.prog_name, "rt_devices", sizeof("rt_devices"));
	if (log) {
		attr.log_buf = (uintptr_t)log;
		attr.log_size = LOG_ROOM;
		attr.log_level = 1;
	}
	return bpf(BPF_PROG_LOAD, &attr);
}

/* Kernels before 5.11 charge programs to RLIMIT_MEMLOCK and say EPERM when it is used up. */
static int load_unlimited(const struct bpf_insn *code, size_t count)
{
	struct rlimit kept, unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int fd, saved;

	if (getrlimit(RLIMIT_MEMLOCK, &kept) < 0 || setrlimit(RLIMIT_MEMLOCK, &unlimited) < 0) {
		errno = EPERM;
		return -1;
	}
	fd = load(code, count, NULL);
	saved = errno;
	setrlimit(RLIMIT_MEMLOCK, &kept);
	errno = saved;
	return fd;
}

static struct rt_error *load_filter(const struct bpf_insn *code, size_t count, int *ret)
{
	int fd = load(code, count, NULL);

	if (fd < 0 && errno == EPERM)
		fd = load_unlimited(code, count);
	if (fd < 0 && (errno == EINVAL || errno == EACCES)) {
		char log[LOG_ROOM] = "";
		char *line;

		load(code, count, log);
		line = strchr(log, '\n');
		if (line)
			*line = '\0';
		return rt_fail_with(EINVAL, "the kernel refused the device filter (%s)", log);
	}
	if (fd < 0)
		return rt_fail_errno("cannot load the device filter");
	*ret = fd;
	return NULL;
}

static bool query(int cgroup_fd, uint32_t *ids, uint32_t *count)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)cgroup_fd;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uintptr_t)ids;
	attr.query.prog_cnt = *count;
	if (bpf(BPF_PROG_QUERY, &attr) < 0)
		return false;
	*count = attr.query.prog_cnt;
	return true;
}

static void detach(int cgroup_fd, uint32_t id)
{
	_cleanup_close_ int fd = -1;
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
	if (fd < 0)
		return;
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	bpf(BPF_PROG_DETACH, &attr);
}

struct rt_error *rt_sys_attach_device_filter(int cgroup_fd, const struct bpf_insn *code, size_t count, bool replace)
{
	uint32_t ids[PROGRAMS_MOST], before = 0;
	_cleanup_close_ int fd = -1;
	struct rt_error *err = load_filter(code, count, &fd);
	union bpf_attr attr;

	if (err)
		return err;
	if (replace) {
		before = PROGRAMS_MOST;
		if (!query(cgroup_fd, ids, &before))
			return rt_fail_errno("cannot ask for the cgroup's device filters");
	}
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	/* MULTI: an engine inside the container may filter its own containers further, and systemd this one. */
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (bpf(BPF_PROG_ATTACH, &attr) < 0)
		return rt_fail_errno("cannot attach the device filter");
	/* All filters of a cgroup must agree: between attach and detach the narrower of the two holds. */
	for (uint32_t i = 0; i < before; i++)
		detach(cgroup_fd, ids[i]);
	return NULL;
}
