/* The container's side: its loopback, its device, its addresses and routes, from outside, through a socket in its network namespace. */
#pragma once

#include "runtime/netns/network.h"

/* Fails where the namespace has a device of this name. */
struct rt_error *rt_inside_is_free(int namespace_fd, const char *ifname) _must_check_;

/* Brings the loopback up, and the device with all that the network says of it. */
struct rt_error *rt_inside_configure(int namespace_fd, const struct rt_network *network) _must_check_;
