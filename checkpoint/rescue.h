/* What becomes of a container when a dump of it does not end well: it runs on, as it was frozen or not before, with its connections and its
 * network as they were.
 *
 * CRIU undoes its work where it fails, and where we die (rpc.h). What is left for us:
 *
 *	a CRIU that was killed		leaves the cgroup frozen, TCP sockets in repair mode, rules in the network namespace. The tasks
 *					it had seized the kernel lets go, and what it had put into them ends by itself
 *	our own freezing		rt_rescue_freeze() freezes before CRIU, which then finds the cgroup frozen and leaves it so
 *
 * What can't be repaired: a task that CRIU was making a system call in at the very moment dies of the trap behind it. */
#pragma once

#include "runtime/container/container.h"

/* Who locks the network for the time of the dump, and how. */
enum rt_lock {
	RT_LOCK_CRIU, /* CRIU, with nftables or not at all */
	RT_LOCK_IPTABLES, /* CRIU, in a namespace of the container's own */
	RT_LOCK_OWN, /* we (rt_rescue_lock()) */
};

struct rt_rescue {
	const struct rt_container *container; /* borrowed */
	const char *log_name; /* of CRIU, in work_fd */
	int work_fd, network_fd; /* network_fd: the container's network namespace; -1: it has none we could open */
	int init_fd; /* pidfd of its init */
	bool was_frozen;
	enum rt_lock lock;
	bool door; /* may be closed */
	int guard_fd; /* to the guard; -1: none */
	pid_t guard;
};
#define RT_RESCUE_NULL ((struct rt_rescue){ .work_fd = -1, .network_fd = -1, .init_fd = -1, .guard_fd = -1 })

/* Notes how the container is, and starts the guard: a process that does rt_rescue_revive() in our place where we are killed. `work_fd` and
 * `log_name` must stay valid. `door`: it will be closed. To be called before CRIU is started, whose socket the guard must not hold. */
struct rt_error *rt_rescue_arm(struct rt_rescue *rescue, const struct rt_container *container, int work_fd, const char *log_name,
			       enum rt_lock lock, bool door) _must_check_;

/* Tells the guard whom to wait for. */
struct rt_error *rt_rescue_watch(struct rt_rescue *rescue, pid_t criu) _must_check_;

/* From here on nobody outside opens a new connection to the container. Only where `door` was armed. */
struct rt_error *rt_rescue_close_door(struct rt_rescue *rescue) _must_check_;

/* Freezes the container unless it is. CRIU can do it too, but looks only every 100 ms whether it has worked. */
struct rt_error *rt_rescue_freeze(struct rt_rescue *rescue) _must_check_;

/* Undoes that, for another try. */
struct rt_error *rt_rescue_thaw(struct rt_rescue *rescue) _must_check_;

/* Whether the container still has its init. */
bool rt_rescue_is_alive(const struct rt_rescue *rescue);

/* Whether it ends now that it runs again: of the trap that can't be repaired. */
bool rt_rescue_ends_soon(const struct rt_rescue *rescue);

/* Makes the container run as before. CRIU must have ended. Each step is tried whatever became of the others, and what is in order is left alone. */
void rt_rescue_revive(struct rt_rescue *rescue);

/* Locks the network where that is for us to do: once the container is frozen. */
struct rt_error *rt_rescue_lock(struct rt_rescue *rescue) _must_check_;

/* Undoes our own lock, door and freezing, for where all went well and the container stays. */
struct rt_error *rt_rescue_resume(struct rt_rescue *rescue) _must_check_;

/* Dismisses the guard early: our death leaves the container frozen from here on. rt_rescue_revive() and rt_rescue_resume() still work. */
struct rt_error *rt_rescue_hold(struct rt_rescue *rescue) _must_check_;

/* The same for a container whose dumping process, and its guard, are gone; `work_path` is where CRIU's log is, `was_frozen` how the container was before. A CRIU that
 * is still at work may undo what it did. */
struct rt_error *rt_rescue_late(const struct rt_container *container, const char *work_path, bool was_frozen) _must_check_;

/* Dismisses the guard. */
void rt_rescue_deinit(struct rt_rescue *rescue);

/* The same for a restore: nothing of it is to stay. */
struct rt_restore_rescue {
	int network_fd; /* the network namespace it joins; -1: one that goes with its processes */
	char *run_id; /* of the CRIU that made the images; owned */
	bool was_locked; /* since the dump, which is for a restore that succeeds to undo */
};
#define RT_RESTORE_RESCUE_NULL ((struct rt_restore_rescue){ .network_fd = -1 })

/* Before CRIU is asked to restore. */
struct rt_error *rt_restore_rescue_arm(struct rt_restore_rescue *rescue, const struct rt_spec *spec, int image_fd) _must_check_;

/* After a failure, once CRIU has ended: its half-restored tasks, which are our children, and its rules. Our caller removes the cgroup and
 * what lives in it. */
void rt_restore_rescue_clean(struct rt_restore_rescue *rescue);
void rt_restore_rescue_deinit(struct rt_restore_rescue *rescue);
