/* Session, session keyring, and the names a UTS namespace shows. */
#pragma once

#include "runtime/base/error.h"

/* A new session and process group, without a controlling terminal. Already a leader: fine. */
struct rt_error *rt_sys_new_session(void) _must_check_;

/* A session keyring of this name (keyrings(7)), so that the container does not share its creator's. Where the kernel has no keyrings
 * nothing happens. */
struct rt_error *rt_sys_new_session_keyring(const char *name) _must_check_;

struct rt_error *rt_sys_set_host_name(const char *name) _must_check_;
struct rt_error *rt_sys_set_domain_name(const char *name) _must_check_;
