/* One migration on the target: what has come of it so far, and the worker that restores it. The routes (target_routes.c) act on it from as many threads as
 * there are connections; all of it is under one lock. It knows no HTTP. */
#pragma once

#include "migrate/pageset.h"
#include "migrate/tree.h"
#include "migrate/worker.h"
#include "proto/migrate.pb-c.h"

#include <pthread.h>

struct rt_move_want {
	uint64_t space, start, pages;
};

struct rt_move {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned references; /* of the registry's lock, not this one */
	struct rt_move *next;

	/* set when it is made */
	const struct rt_context *context;
	Rt__Offer *offer;
	char *directory; /* <state>/<migration> */
	char *bundle;
	char *rootfs; /* where a sent one goes */
	int dir_fd;
	uint64_t began_us; /* monotonic */

	/* under the lock */
	Rt__MoveState state;
	char *reason; /* why it was aborted */
	bool made_bundle, made_config, made_rootfs; /* the directory, what is in it: ours to remove */
	bool rootfs_changed; /* the operator's own base, by a diff: can't be undone */
	struct rt_tree_merged *merged; /* with a diff */
	bool prepared, restored_told, ended; /* the worker has said so, or has ended */
	bool released; /* complete, and the source knows: nobody will ask any more */
	int worker_fd; /* -1: none */
	pid_t worker_pid; /* 0: not our child */
	pthread_t listener;
	bool listening;
	struct rt_pagesets *sets; /* NULL: memory comes in the images, or has been given up */
	bool sets_given; /* to the worker: no new ones */
	unsigned users; /* requests that are storing something: what they store into stays until they have ended */
	unsigned exclusive; /* what one of them is changing, a mask of RT_MOVE_ROOTFS and RT_MOVE_IMAGES */
	uint64_t last_heard_us; /* of the source */
	uint64_t restore_us, resume_us, ready_us;
	uint64_t image_bytes; /* of images that have come before the last request for them */
	struct rt_move_want *wants;
	size_t want_count, want_room;
};

/* Takes the offer over. `directory` must exist. */
struct rt_error *rt_move_new(const struct rt_context *context, Rt__Offer *offer, const char *directory, const char *bundle, uint64_t memory_limit,
			     struct rt_move **ret) _must_check_;
void rt_move_free(struct rt_move *move);

/* Starts the worker and waits until it has taken what it needs: the bundle with its root filesystem must be there. */
struct rt_error *rt_move_start_worker(struct rt_move *move) _must_check_;
/* A worker that has survived an earlier daemon. */
struct rt_error *rt_move_adopt_worker(struct rt_move *move, int fd) _must_check_;

enum { RT_MOVE_ROOTFS = 1 << 0, RT_MOVE_IMAGES = 1 << 1 };
/* A request begins to store: memory, or what `exclusive` says, and is the only one then that does. RT_WRONG_STATE where nothing is received any more (after a
 * post-copy commit pages are). */
struct rt_error *rt_move_use(struct rt_move *move, unsigned exclusive) _must_check_;
void rt_move_unuse(struct rt_move *move, unsigned exclusive);

/* Frozen on the source: what is sent to it is caught here from now on. RT_WRONG_STATE where it has no network of ours, or nothing waits for it any more. */
struct rt_error *rt_move_catch(struct rt_move *move, const void *frames, size_t size) _must_check_;
/* The images are complete: restores, and waits until it is ready. `gone` is asked now and then whether anybody still waits. */
struct rt_error *rt_move_restore(struct rt_move *move, bool (*gone)(void *userdata), void *userdata) _must_check_;
/* Decides. When it returns NULL the container runs. */
struct rt_error *rt_move_commit(struct rt_move *move) _must_check_;
/* Unless it is decided already: gives it up and waits until nothing is left of it. Returns the state. */
Rt__MoveState rt_move_abort(struct rt_move *move, const char *reason);

/* Pages that have been stored. */
void rt_move_arrived(struct rt_move *move, uint64_t space, uint64_t start, uint64_t pages);
/* The next page that is asked for; waits for at most timeout_ms. *ret_end: there will be no more. */
bool rt_move_next_want(struct rt_move *move, unsigned timeout_ms, struct rt_move_want *ret, bool *ret_end);

/* The source is alive. An error where nothing of it is wanted any more: a request that is storing something must end. */
struct rt_error *rt_move_heard(struct rt_move *move) _must_check_;
/* The source has let go of it. False: it is not complete. */
bool rt_move_release(struct rt_move *move);
/* Writes it down, where its worker could not any more. */
struct rt_error *rt_move_note_complete(struct rt_move *move) _must_check_;
/* Of an earlier daemon, and its worker has died: what became of the container. Takes away what is no use. */
Rt__MoveState rt_move_look_at(const struct rt_move *move, Rt__MoveState written);
Rt__MoveState rt_move_state(struct rt_move *move);
/* A copy of the reason, or NULL; the caller's. */
char *rt_move_reason(struct rt_move *move);
