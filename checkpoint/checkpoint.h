/* The verbs of this layer: `rt checkpoint` and `rt restore`. */
#pragma once

#include "checkpoint/describe.h"
#include "checkpoint/options.h"
#include "checkpoint/preflight.h"
#include "runtime/cgroup/warm.h"
#include "runtime/container/container.h"

/* Dumps the container into settings->image_path: images, logs, and at the very end the manifest. Without leave_running and pre_dump
 * the container is gone afterwards. When it fails the container runs on as it did. RT_CRIU errors quote the line of CRIU's log
 * that explains them. */
struct rt_error *rt_container_checkpoint(const struct rt_context *context, const char *id,
					 const struct rt_criu_settings *settings) _must_check_;

/* For a dump whose outcome is decided elsewhere (migration). All are called while CRIU waits, and may be NULL but for the last; an error makes the dump fail with it, and the container
 * runs on. */
struct rt_dump; /* a dump at hand */
struct rt_dump_hooks {
	struct rt_error *(*prepared)(void *userdata); /* all is ready, the container runs: it is frozen as soon as this returns */
	/* Nobody can dump a connection that is made but not yet accepted. Both or none: nobody outside can open a new connection to the container any more when the
	 * first is called, which waits for it to accept what has come; the second, when it is frozen, says whether it has. If not, it runs once more for a moment. */
	void (*settle)(void *userdata);
	bool (*is_settled)(void *userdata);
	/* No task runs any more; CRIU has not looked at them yet. What travels by other ways (rt_mount_is_elsewhere()) can be read. */
	struct rt_error *(*frozen)(void *userdata, pid_t init, const Rt__Container *described, int image_fd);
	/* Images and manifest are complete, the tree is frozen, its network locked. After success CRIU takes its life. */
	struct rt_error *(*complete)(void *userdata, struct rt_dump *dump, int image_fd);
	void *userdata;
};

/* In complete(): from here on our death leaves the container frozen, as another host may have it running. */
struct rt_error *rt_dump_hold(struct rt_dump *dump) _must_check_;

/* The same with hooks, and flags. KEEP: the container stays, stopped. SENT: the images go elsewhere, where each piece of them is checked as it comes, so the manifest has
 * no digests of memory. */
enum {
	RT_DUMP_KEEP = 1 << 0,
	RT_DUMP_SENT = 1 << 1,
};
struct rt_error *rt_container_dump(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings, unsigned flags,
				   const struct rt_dump_hooks *hooks) _must_check_;

/* Without touching it: every reason for which such a checkpoint would fail, in `report`. */
struct rt_error *rt_container_check(const struct rt_context *context, const char *id, const struct rt_criu_settings *settings,
				    struct rt_preflight *report) _must_check_;

/* For a restore whose outcome is decided elsewhere. An error makes the restore fail with it, and nothing is left. */
struct rt_restore_hooks {
	/* All that needs no images is done, the place taken among it; returns when they are there. NULL: they are there, and looked at before anything is done. */
	struct rt_error *(*await_images)(void *userdata);
	/* Sets the source of each mount that rt_mount_is_elsewhere(): a path in the mount namespace of `criu`. NULL: there is none. */
	struct rt_error *(*mounts)(void *userdata, Rt__Container *described, int image_fd, pid_t criu);
	/* CRIU is about to be asked; the directories as in rt_criu_settings. */
	struct rt_error *(*begin)(void *userdata, int image_fd, int work_fd);
	struct rt_error *(*restored)(void *userdata); /* everything stands, network locked, no task runs: after success they do */
	void (*running)(void *userdata); /* they do; poststart hooks have not run */
	void *userdata;
};

struct rt_restore_options {
	const struct rt_restore_hooks *hooks; /* NULL: none */
	struct rt_criu_settings criu;
	/* A network namespace that is to be the container's, in the place of one that is made. Only where its configuration asks for a new one, and for no user namespace.
	 * It is locked (netlock.h) by the time that `begin` is called, until after `restored`. */
	bool has_network;
	int network_fd;
	/* With it: hooks that only find done what they would do for new namespaces. They don't hold CRIU up, and have ended before `restored`. */
	bool hooks_beside;
	/* Begun by the caller where it knows before the images come that they will (runtime/cgroup/warm.h); borrowed, and ended by the restore. NULL: not known. */
	struct rt_cgroup_warmer *warmer;
	struct rt_create_options create; /* bundle, console_socket, pid_file, detach, ... as in create */
};

/* A new container of this id out of images. *ret_status as of rt_container_run(). When it fails nothing is left. */
struct rt_error *rt_container_restore(const struct rt_context *context, const char *id, const struct rt_restore_options *options,
				      int *ret_status) _must_check_;
