/* Device rules as the kernel's two interfaces take them. Pure, but for rt_devices_apply() in private.h.
 *
 * The meaning is that of the specification read in order, on top of "deny all": for each of read, write and mknod the last
 * rule that names the device decides. After the config's rules come the devices every container has (null, zero, full, random,
 * urandom, tty, console, ptmx, the pts) and making nodes of any kind, as in runc. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/spec/spec.h"

#include <linux/bpf.h>

/* The config's rules and the defaults, one after the other. In the arena. */
struct rt_error *rt_devices_all(const struct rt_spec_resources *resources, struct rt_arena *arena,
				struct rt_spec_device_rule **ret, size_t *ret_count) _must_check_;

/* v1: what is allowed (or denied) by default, and what is not so. */
struct rt_device_list {
	bool default_allow;
	struct rt_spec_device_rule *entries; /* `allow` says the opposite of the default; type 'b' or 'c' */
	size_t count, room;
};

/* RT_CONFIG where a rule takes a part out of an earlier, wider one: v1 has no way to say that. `entries` is in the arena. */
struct rt_error *rt_devices_list(const struct rt_spec_device_rule *rules, size_t count, struct rt_arena *arena,
				 struct rt_device_list *ret) _must_check_;
/* The text of devices.list, as a list. */
struct rt_error *rt_devices_parse(const char *text, struct rt_arena *arena, struct rt_device_list *ret) _must_check_;
/* "c 1:3 rwm". */
#define RT_DEVICE_TEXT_ROOM 64
const char *rt_device_text(const struct rt_spec_device_rule *rule, char text[RT_DEVICE_TEXT_ROOM]);

/* v2: a BPF_PROG_TYPE_CGROUP_DEVICE program. In the arena. */
struct rt_error *rt_devices_program(const struct rt_spec_device_rule *rules, size_t count, struct rt_arena *arena,
				    struct bpf_insn **ret, size_t *ret_count) _must_check_;
