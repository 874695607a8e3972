/* CRIU's lock of a network, seen from outside: how it is found and taken away where a CRIU that died left it.
 *
 * With nftables it is a table of family inet named "CRIU-" and as much of CRIU's run id as found room in CRIU's buffer (21 characters in 4.2); the
 * run id stands in CRIU's log. CRIU before 4.0 put a pid there. With iptables it is a chain "CRIU" that INPUT and OUTPUT
 * jump to.
 *
 * And the one that we put there ourselves where CRIU does not (inside.h): a table of family inet named "rt-lock", which lets nothing in or out. Only for
 * network namespaces that are a container's own: there is one name for all. */
#pragma once

#include "runtime/base/error.h"

/* Of CRIU's log in this directory; *ret is "" where there is none, and the caller's to free. A worker that answered questions first
 * has had several, separated by blanks: the last is that of its dump. */
struct rt_error *rt_netlock_run_ids(int work_dir_fd, const char *log_name, char **ret) _must_check_;

/* Whether the table of one of these run ids is in this network namespace. */
struct rt_error *rt_netlock_is_there(int namespace_fd, const char *run_ids, bool *ret) _must_check_;

/* Takes away the tables of these run ids. None: fine. */
struct rt_error *rt_netlock_remove(int namespace_fd, const char *run_ids) _must_check_;

/* For a CRIU that would make such a table once more at the restore, and fails where it is: puts one of ours in its place that lets as little through, in one step. It is
 * named "rt-lock-" and what the other's name had of the run id. None: fine. */
struct rt_error *rt_netlock_take_over(int namespace_fd, const char *run_ids) _must_check_;
/* Takes that away. None: fine. */
struct rt_error *rt_netlock_let_go(int namespace_fd, const char *run_ids) _must_check_;

/* Takes away the chains of iptables and ip6tables, if there are any. Only for namespaces that are the container's own: the chains
 * bear no name of who made them. */
struct rt_error *rt_netlock_remove_iptables(int namespace_fd) _must_check_;

/* `socket`: -1, or from another call for this namespace; the caller's to close, when nobody waits any more: after a change that takes a grace period, 10 ms. */
struct rt_error *rt_netlock_add_own(int namespace_fd, int *socket) _must_check_;
/* None: fine. */
struct rt_error *rt_netlock_remove_own(int namespace_fd, int *socket) _must_check_;

/* Another such table, "rt-door": nobody outside can open a new TCP connection to the container; those that are there go on. */
struct rt_error *rt_netlock_close_door(int namespace_fd, int *socket) _must_check_;
/* None: fine. */
struct rt_error *rt_netlock_open_door(int namespace_fd, int *socket) _must_check_;

/* Pure: whether the table `name` is that of one of the run ids. */
bool rt_netlock_is_of(const char *name, const char *run_ids);
