/* Against a race at restore: CRIU locks the network of the new namespace only after the hooks have run (criu 4.2, restore_root_task). A peer
 * of a connection that is about to come back must not be answered before by a kernel that knows of no such connection yet.
 *
 * For a few seconds the namespace says nothing of the kind: no RST, no ICMP "unreachable". That does not delay anything: what is asked
 * meanwhile is asked again. The table stays, without an effect, until the network is removed. */
#pragma once

#include "runtime/base/error.h"

#include <sys/types.h>

/* Whether the process is one that CRIU is making. */
bool rt_guard_is_needed(pid_t pid);

/* In the container's network namespace, for what leaves by the device. */
struct rt_error *rt_guard_raise(int namespace_fd, const char *ifname) _must_check_;
/* There was none: fine. */
struct rt_error *rt_guard_lower(int namespace_fd) _must_check_;
