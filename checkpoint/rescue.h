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

#include "runtime/base/guard.h"
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
	int rules_fd; /* of netlock.h; -1: not used yet */
	struct rt_guard guard;
};
#define RT_RESCUE_NULL ((struct rt_rescue){ .work_fd = -1, .network_fd = -1, .init_fd = -1, .rules_fd = -1, .guard = RT_GUARD_NULL })

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
 * is still at work may undo what it did. `own_network`: its network namespace is nobody else's. */
struct rt_error *rt_rescue_late(const struct rt_container *container, const char *work_path, bool was_frozen, bool own_network) _must_check_;

/* Dismisses the guard. */
void rt_rescue_deinit(struct rt_rescue *rescue);

/* The same for a restore: nothing of it is to stay.
 *
 * Its guard differs in what it keeps an eye on. With rst_sibling the half-restored tasks are our children, not CRIU's; where we are killed they wait for CRIU, and CRIU
 * for them: it has stopped listening for SIGCHLD by the time it has seized them, so one that is killed then (`rt delete --force`) it waits for without end. The
 * guard holds the container's lock meanwhile, so that who deletes it comes after. Then it ends what can only be the restore's: the members of CRIU's process group,
 * which it belongs to itself, so that the number stays what it is; those of the container's cgroup; and the init. Each task is in one of these from its fork on.
 *
 * Who kills all of our cgroup kills the guard, too, as with every guard; what is left then is the container's cgroup, and 'delete --force' ends that.
 *
 * When all is restored the container is one, and our death is not its end any more; CRIU alone is seen off, which waits forever for an init that is killed before it
 * has let that go. */
struct rt_restore_rescue {
	const struct rt_container *container; /* borrowed */
	int network_fd; /* the network namespace it joins; -1: one that goes with its processes */
	char *run_id; /* of the CRIU that made the images; owned */
	bool was_locked; /* since the dump, which is for a restore that succeeds to undo */
	pid_t criu;
	int criu_fd; /* its pidfd */
	struct rt_guard guard;
};
#define RT_RESTORE_RESCUE_NULL ((struct rt_restore_rescue){ .network_fd = -1, .criu_fd = -1, .guard = RT_GUARD_NULL })

/* Before CRIU, which runs, is asked to restore: starts the guard. The container must be registered, its cgroup made. Where the network that it joins is locked since
 * the dump, and this version of CRIU would fail on that, the lock becomes ours; a restore that fails leaves it so, for the next. */
struct rt_error *rt_restore_rescue_arm(struct rt_restore_rescue *rescue, const struct rt_container *container, int image_fd, pid_t criu,
				       uint32_t criu_version) _must_check_;

/* There is an init, whether it runs or not. */
struct rt_error *rt_restore_rescue_note_init(struct rt_restore_rescue *rescue, pid_t pid) _must_check_;

/* All is restored, the last word before CRIU is told to let it go. A lock that became ours ends. */
struct rt_error *rt_restore_rescue_commit(struct rt_restore_rescue *rescue) _must_check_;

/* CRIU has let it go: dismisses the guard, which is waited for only by rt_restore_rescue_deinit(). */
void rt_restore_rescue_dismiss(struct rt_restore_rescue *rescue);

/* After a failure, once CRIU has ended: its half-restored tasks, which are our children, and its rules. Our caller removes the cgroup and
 * what lives in it. */
void rt_restore_rescue_clean(struct rt_restore_rescue *rescue);
void rt_restore_rescue_deinit(struct rt_restore_rescue *rescue);
