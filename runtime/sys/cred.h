/* Who the calling process is and what it may do: ids, capabilities, and the switches of prctl(2).
 *
 * Each function is one kernel interface with its failure put into words. When to call which, and with what, is for
 * runtime/security and runtime/init to know. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* --- ids --- */

/* Root of the user namespace we have just entered: group, supplementary groups (none, where setgroups is allowed at
 * all), user. */
struct rt_error *rt_sys_become_root(void) _must_check_;

/* All three gids, the supplementary groups, all three uids, in the order that keeps the right to go on. Keeps permitted
 * capabilities only after rt_sys_set_keep_caps(true). Where /proc/self/setgroups says "deny" an empty list of groups is
 * fine and any other an error. */
struct rt_error *rt_sys_set_user(uid_t uid, gid_t gid, const uint32_t *additional_gids, size_t count) _must_check_;

/* --- capabilities: bit n stands for capability number n --- */

struct rt_sys_caps {
	uint64_t effective, permitted, inheritable;
};
struct rt_error *rt_sys_get_caps(struct rt_sys_caps *ret) _must_check_;
struct rt_error *rt_sys_set_caps(const struct rt_sys_caps *caps) _must_check_;

/* *ret_known is false for a number that the kernel doesn't know (an answer). */
struct rt_error *rt_sys_bounding_has(int cap, bool *ret, bool *ret_known) _must_check_;
struct rt_error *rt_sys_bounding_drop(int cap) _must_check_;

struct rt_error *rt_sys_ambient_clear(void) _must_check_;
/* Fails with EPERM unless the capability is permitted and inheritable. */
struct rt_error *rt_sys_ambient_raise(int cap) _must_check_;

/* --- prctl --- */

/* Whether permitted capabilities outlive the next change of all uids from root; execve resets it. */
struct rt_error *rt_sys_set_keep_caps(bool keep) _must_check_;

/* Whether others of the same user may look into /proc/self and ptrace us. execve sets it again. */
struct rt_error *rt_sys_set_dumpable(bool dumpable) _must_check_;

/* For good: execve gives no more rights from here on. */
struct rt_error *rt_sys_set_no_new_privs(void) _must_check_;

/* SECBIT_* */
struct rt_error *rt_sys_set_securebits(unsigned long bits) _must_check_;

/* The kernel's thread for it (KSM) may keep pages of this process, and of those it makes, once that are equal. Linux 6.7; before, what is
 * executed later takes no part in it. */
struct rt_error *rt_sys_merge_memory(void) _must_check_;

/* /proc/self/comm; cut to 15 bytes. */
struct rt_error *rt_sys_set_name(const char *name) _must_check_;

/* Signal sent to us when our parent ends; 0: none. */
struct rt_error *rt_sys_set_parent_death_signal(int signal) _must_check_;

/* Orphans below us become our children. */
struct rt_error *rt_sys_set_child_subreaper(bool subreaper) _must_check_;
