/* Terminals: making one in the container, handing its master over, and relaying one to the person's own.
 *
 * Knows nothing about containers. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

#include <sys/types.h>

/* Child, after the switch of the root: opens a pty from the container's own devpts (/dev/pts/ptmx, verified to be
 * devpts: CVE-2025-52565), sets its size where one is given. Both ends are the caller's; the slave's path
 * ("/dev/pts/0") fits `slave_path`. */
struct rt_error *rt_console_open(int root_fd, const struct rt_spec_box *size, int *ret_master, int *ret_slave,
				 char slave_path[64]) _must_check_;

/* Child: new session, the slave as controlling terminal and as 0, 1 and 2, owned by the user. */
struct rt_error *rt_console_become(int slave, uid_t uid) _must_check_;

/* Sends the master to a unix socket, as conmon and containerd's shim expect: one message, the name "/dev/ptmx" or alike
 * as data, one fd. */
struct rt_error *rt_console_send(const char *socket_path, int master) _must_check_;

/* Foreground `rt run` and `rt exec`: the terminal of the person in raw mode, bytes both ways, window size on SIGWINCH,
 * until the child's end has closed or `pidfd` is ready. Restores the terminal in any case. Other signals are forwarded
 * to the process of the pidfd. */
struct rt_tty_relay {
	int master; /* -1: no terminal; only signals are forwarded */
	int pidfd;
	pid_t pid; /* whom to wait for: a child of ours */
};
/* What is to be forwarded waits from here on: before the process can run, so that whoever hears of it can signal it through us. For a process of one thread. */
struct rt_error *rt_tty_hold_signals(void) _must_check_;
/* *ret_status is as from waitpid(). */
struct rt_error *rt_tty_relay(const struct rt_tty_relay *relay, int *ret_status) _must_check_;
