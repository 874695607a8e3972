/* The last steps before somebody else's code runs, and the first one of our own: loading a seccomp program, execve, and
 * moving the runtime's own binary out of the container's reach.
 *
 * Knows nothing of profiles (runtime/security makes the program) nor of containers. */
#pragma once

#include "runtime/base/error.h"

#include <linux/filter.h>
#include <stdint.h>

/* Variable of the environment that tells the second run that it is one. Holds our pid, which execve keeps: a value that
 * somebody else left there means nothing to us. */
#define RT_SEAL_MARK "_RT_SEALED_PID"

/* Puts a program on the calling thread, or with SECCOMP_FILTER_FLAG_TSYNC on all. With SECCOMP_FILTER_FLAG_NEW_LISTENER
 * in `flags` *ret_listener is the caller's to close (close-on-exec), else it is left alone and may be NULL. Needs
 * no_new_privs or CAP_SYS_ADMIN. */
struct rt_error *rt_sys_load_filter(const struct sock_filter *program, uint16_t length, unsigned flags,
				    int *ret_listener) _must_check_;

/* Where execve would find args[0]: a name without a slash is looked up in the PATH of `env`, as execvp(3) does. To be
 * called in the root, the directory and as the user of the process to be. Fails with the texts engines look for:
 * "executable file not found in $PATH", "no such file or directory", "permission denied". The caller frees *ret. */
struct rt_error *rt_sys_find_executable(const char *name, const char *const *env, char **ret) _must_check_;

/* execve of what rt_sys_find_executable() gave; comes back only with an error. */
struct rt_error *rt_sys_exec(const char *path, const char *const *args, const char *const *env) _must_check_;

/* Makes sure that our own binary can't be written to through /proc/PID/exe of a process that is on its way into a
 * container (CVE-2019-5736): unless it is out of reach already, runs it once more, with these arguments and our
 * environment, from a detached read-only mount, or, where we may not mount, from a sealed copy in memory. Returns where
 * nothing (more) is to be done; to be called before anything else, as all but descriptors is lost. */
struct rt_error *rt_sys_seal_self(char **argv) _must_check_;

/* The same, from the mount only, and before the C library is started: a program that is started twice need not pay for
 * that twice. Comes back silently where that can't be done; rt_sys_seal_self() must be called either way. x86-64. */
void rt_sys_seal_early(char **argv, char **envp);
