/* Stands in for everything below init/ that touches the machine: sys, rootfs, cgroup, security, tty. Each call is
 * written down, in the process that made it, and fails where the test says so. Linked into the test program itself,
 * before librt, whose own versions the linker then has no reason to take.
 *
 * rt_sys_clone() really makes a process, without any namespaces, so that parent and child talk as they do in earnest. */
#pragma once

#include "runtime/base/error.h"

/* Forgets all calls, and what was to fail. */
void fake_reset(void);

/* The next calls of this name fail, in whatever process: "told to fail", EIO. */
void fake_fail(const char *name);

/* What rt_cgroup_needs_adopt() answers. */
void fake_cgroup_needs_adopt(bool needs);

/* Names of the calls made so far, each followed by a space, by this process, and by its children. Static. */
const char *fake_calls_of_parent(void);
const char *fake_calls_of_child(void);
