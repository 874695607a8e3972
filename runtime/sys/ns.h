/* Namespaces and processes in them: clone3, setns, unshare, and the maps of a user namespace. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

#include <sys/types.h>

struct rt_clone_options {
	uint64_t flags; /* CLONE_NEW*, CLONE_PARENT, ... */
	int cgroup_fd; /* CLONE_INTO_CGROUP (v2); -1: inherit */
};
/* fork() by clone3: *ret_pid is 0 in the child. The parent also gets a pidfd (close-on-exec). */
struct rt_error *rt_sys_clone(const struct rt_clone_options *options, pid_t *ret_pid, int *ret_pidfd) _must_check_;

struct rt_error *rt_sys_setns(int fd, uint64_t flag) _must_check_;
struct rt_error *rt_sys_unshare(uint64_t flags) _must_check_;

/* Opens a namespace file and checks that it is one of this kind (NS_GET_NSTYPE). */
struct rt_error *rt_sys_open_namespace(const char *path, enum rt_namespace_kind kind, int *ret) _must_check_;
/* The one that a process is in; pid 0: ours. */
struct rt_error *rt_sys_open_namespace_of(pid_t pid, enum rt_namespace_kind kind, int *ret) _must_check_;

/* Writes /proc/PID/{setgroups,gid_map,uid_map}; where we may not (unprivileged and more than ourselves), runs newuidmap and newgidmap. */
struct rt_error *rt_sys_write_id_maps(pid_t pid, const struct rt_id_maps *uids, const struct rt_id_maps *gids) _must_check_;

/* Makes a user namespace with these maps that no process lives in, for id-mapped mounts; *ret is its descriptor. */
struct rt_error *rt_sys_make_user_namespace(const struct rt_id_maps *uids, const struct rt_id_maps *gids, int *ret) _must_check_;

/* A network namespace that no process lives in; it goes with its last descriptor. */
struct rt_error *rt_sys_make_network_namespace(int *ret) _must_check_;

/* Calls it in a mount namespace that was made for it: it sees what we see, but what it mounts is not seen by us or anybody else. Then we are back in ours, and in the directory we were in. */
struct rt_error *rt_sys_call_in_own_mounts(struct rt_error *(*call)(void *userdata), void *userdata) _must_check_;

/* Offsets of the time namespace that our next child enters (after rt_sys_unshare(CLONE_NEWTIME)). */
struct rt_error *rt_sys_write_time_offsets(const struct rt_spec_time_offset *monotonic, const struct rt_spec_time_offset *boottime) _must_check_;

/* Brings the loopback interface up (netlink-free: one ioctl): of this network namespace, or of that a process is in. */
struct rt_error *rt_sys_loopback_up(void) _must_check_;
struct rt_error *rt_sys_loopback_up_of(pid_t pid) _must_check_;

/* socket(2) in another network namespace: a socket belongs for good to the one it was opened in. Close-on-exec. */
struct rt_error *rt_sys_socket_in(int namespace_fd, int domain, int type, int protocol, int *ret) _must_check_;
