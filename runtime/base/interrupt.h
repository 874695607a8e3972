/* Being asked to stop (SIGINT, SIGTERM, SIGHUP, SIGQUIT) in the middle of something that must be undone first.
 *
 * The signals wait, blocked, and nobody takes them: who works looks now and then whether one is there, undoes what it did, and
 * fails. What is past undoing goes on; the signal is then still there for whoever comes next, such as the relay that passes it on to a
 * container (tty/relay.c). Children start without the block (rt_signals_reset()). */
#pragma once

#include "runtime/base/error.h"

/* For the rest of the process' life. What our caller had us ignore, as nohup does, stays ignored. */
struct rt_error *rt_interrupt_defer(void) _must_check_;

/* "interrupted by SIGTERM"; NULL as long as no signal waits, or rt_interrupt_defer() was not called. */
struct rt_error *rt_interrupt_check(void) _must_check_;

/* Becomes readable when a signal waits; for poll() only. -1, which poll() ignores, without rt_interrupt_defer(). */
int rt_interrupt_fd(void);
