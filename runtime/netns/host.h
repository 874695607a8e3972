/* The settings of the host that NAT and published ports need. They stay afterwards: others may have come to rely on them. */
#pragma once

#include "runtime/netns/network.h"

/* Forwarding, for the families that the network has; and on its bridge, for published ports, that 127.0.0.1 may be left. */
struct rt_error *rt_host_prepare(const struct rt_network *network) _must_check_;
