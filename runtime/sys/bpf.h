/* bpf(2), for the one thing a runtime needs of it: the device filter of a cgroup v2. */
#pragma once

#include "runtime/base/error.h"

#include <linux/bpf.h>

/* Loads a BPF_PROG_TYPE_CGROUP_DEVICE program and puts it on the cgroup (a directory's descriptor, not O_PATH). With
 * `replace`, programs put there before are gone afterwards, without a moment in which none holds. */
struct rt_error *rt_sys_attach_device_filter(int cgroup_fd, const struct bpf_insn *code, size_t count, bool replace) _must_check_;
