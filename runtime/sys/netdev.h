/* Moving network devices of the host into a container (linux.netDevices), over rtnetlink. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

#include <sys/types.h>

/* Moves each device to the network namespace of the process, renames it there, gives it back its permanent addresses of global scope,
 * and brings it up, as config-linux.md (network devices) demands. Stops at the first failure, naming the device; a device that was
 * moved goes back to the host, or away if it is a virtual one, when its namespace ends. count 0: nothing happens. */
struct rt_error *rt_sys_move_net_devices(const struct rt_spec_net_device *devices, size_t count, pid_t pid) _must_check_;

/* Sets all links of a network namespace down but the loopback: what ends in there says no good-bye to its peers. */
struct rt_error *rt_sys_net_links_down(int namespace_fd) _must_check_;
