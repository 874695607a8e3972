/* What the files of the source share: one migration. */
#pragma once

#include "checkpoint/checkpoint.h"
#include "migrate/dumper.h"
#include "migrate/halt.h"
#include "migrate/http_client.h"
#include "migrate/message.h"
#include "migrate/network.h"
#include "migrate/outflow.h"
#include "migrate/precopy.h"
#include "migrate/progress.h"
#include "migrate/source.h"
#include "migrate/tracker.h"
#include "migrate/tree.h"

enum rt_move_mode { RT_MODE_AUTO, RT_MODE_STOP, RT_MODE_PRECOPY, RT_MODE_POSTCOPY, RT_MODE_HYBRID };

struct rt_source {
	const struct rt_context *context;
	const char *id, *target_id, *url;
	const struct rt_migrate_values *values;
	char migration[RT_MIGRATION_ID + 1];

	/* chosen: source_choose.c */
	enum rt_move_mode mode;
	bool may_follow; /* memory may be sent after the commit: offered as post_copy */
	enum rt_tracker_kind tracking;
	enum rt_compression compression;
	Rt__MoveRootfs rootfs;
	uint64_t bandwidth;
	unsigned parallel;
	bool lazy; /* memory goes as pages; else CRIU writes it to the images */
	bool tcp_established;

	/* the container */
	struct rt_container container; /* opened without its lock: others may use it while it is copied */
	const struct rt_spec *spec;
	char *config;
	size_t config_size;
	uint64_t memory; /* bytes, private */
	struct rt_network network;
	int tap_fd, host_tap_fd; /* of tap.h: at its door, on the host; -1: as diag_fd */
	int diag_fd; /* tells of its sockets; -1: its network does not move along */

	/* the dump */
	struct rt_criu_settings criu;
	char *directory, *image_path; /* ours, of this migration */
	struct rt_dumper dumper;

	/* the target */
	struct rt_http_client *client;
	struct rt_http_connection *control;
	char path_pages[80], path_rootfs[80], path_images[80], path_final[80], path_commit[80], path_abort[80], path_faults[80], path_frozen[80];

	/* memory */
	struct rt_halt halt; /* what soft-dirty tracking stops the tasks with */
	struct rt_tracker *tracker;
	struct rt_outflow *outflow;
	struct rt_outflow_space *spaces;
	size_t space_count;
	struct rt_page_ranges ranges; /* what the last look found, or what is left of it to send */
	struct rt_page_ranges earlier; /* source_recent.c: what a look before the last one found, and has not been sent since */
	bool watched; /* there was one */
	struct rt_precopy precopy;
	struct rt_puller *puller; /* source_pulled.c */
	_Atomic uint64_t link_rate; /* as rt_http_link_rate() has it */
	_Atomic uint64_t hurry_until; /* rt_now_us(): until then what the target has asked for goes first */
	struct rt_image_sender *images; /* source_images.c */
	struct rt_heartbeat *heartbeat; /* between freeze and commit */

	struct rt_tree *tree;
	struct rt_progress *progress;
	struct rt_report report;
	uint64_t began, frozen_at, proceeded_at, completed_at;
	bool paused; /* by its user, before we came */
	bool offered, frozen, detached, committed;
};

/* From any thread: whatever is asked of the target ends at once. */
void rt_source_cancel(struct rt_source *source);

#define RT_SOURCE_DIRECTORY "/run/rt-migrate" /* one directory a migration */

/* A migration's directory says whose it is, and is locked by the tool and its dumper as long as they live: --recover removes those that nobody is at. */
#define RT_SOURCE_OWNER "owner"
struct rt_error *rt_source_lock_directory(const char *directory) _must_check_; /* once a process; until it ends */
void rt_source_paths(struct rt_source *source); /* of the protocol, once `migration` is set */

/* source_choose.c: words to values, the container looked at, the mode. */
struct rt_error *rt_source_choose(struct rt_source *source) _must_check_;
const char *rt_move_mode_name(enum rt_move_mode mode);

/* source_offer.c */
struct rt_error *rt_source_offer(struct rt_source *source) _must_check_;
struct rt_error *rt_source_send_rootfs(struct rt_source *source) _must_check_;
struct rt_error *rt_source_send_changes(struct rt_source *source) _must_check_; /* of the root filesystem, frozen */
struct rt_error *rt_source_send_tree(struct rt_source *source, struct rt_tree_totals *ret) _must_check_;
struct rt_error *rt_source_note_mapped(struct rt_source *source) _must_check_;
/* POSTs a message (or nothing) and takes the Outcome. `ret` is freed by rt_unpack_free(). */
struct rt_error *rt_source_ask(struct rt_source *source, const char *path, unsigned timeout_ms, Rt__Outcome **ret) _must_check_;

/* Tells the target that the container is frozen and detached, so that it takes what is sent to it, and what came before; later, what came between. Failing is a note. */
void rt_source_tell_frozen(struct rt_source *source);
void rt_source_bring_late(struct rt_source *source);

/* source_memory.c */
struct rt_error *rt_source_copy_memory(struct rt_source *source) _must_check_; /* rounds */
/* What the last round's look found, which is not told again: to be called once more before the freeze, as late as possible. */
struct rt_error *rt_source_copy_rest(struct rt_source *source) _must_check_;
struct rt_error *rt_source_last_look(struct rt_source *source) _must_check_; /* frozen */
struct rt_error *rt_source_send_last(struct rt_source *source) _must_check_; /* begins sending what the last look found, or (hybrid) that it is old over there */
struct rt_error *rt_source_look(struct rt_source *source, unsigned flags) _must_check_; /* at whose memory it is, and what changed of it: `ranges` */
struct rt_error *rt_source_push(struct rt_source *source) _must_check_; /* post-copy: after the commit, until the target has all */

/* source_recent.c: in mode hybrid, what it is at work with does not follow but goes along: it would be asked for at once, page by page.
 *
 *	rt_source_look_earlier()	just before the freeze: all that was not sent up to now will follow
 *	rt_source_last_look()		frozen: what has changed since then it is at work with
 *	rt_source_send_recent()		begins sending this, while CRIU dumps
 *	rt_source_take_earlier()	that has been sent: `ranges` are the others */
struct rt_error *rt_source_look_earlier(struct rt_source *source) _must_check_;
struct rt_error *rt_source_send_recent(struct rt_source *source) _must_check_;
void rt_source_take_earlier(struct rt_source *source);

/* source_pulled.c: post-copy: answers what the target asks for, in threads of its own, from before the restore on; nothing in other modes. */
struct rt_error *rt_source_answer_begin(struct rt_source *source) _must_check_;
void rt_source_answer_end(struct rt_source *source);

/* source_images.c: the files of CRIU's images go as each is finished, in a thread of its own, while CRIU makes the next; what is left when all is dumped goes with
 * the request that makes the target restore. */
struct rt_error *rt_source_images_begin(struct rt_source *source) _must_check_; /* before the dump */
struct rt_error *rt_source_send_images(struct rt_source *source, Rt__Outcome **ret) _must_check_; /* after it. `ret` is freed by rt_unpack_free() */
void rt_source_images_cancel(struct rt_source *source); /* what is being sent ends with an error. From any thread */
void rt_source_images_end(struct rt_source *source); /* none are sent any more */
void rt_source_images_free(struct rt_source *source); /* once no other thread can cancel */

/* source_end.c */
struct rt_error *rt_source_final(struct rt_source *source) _must_check_;
struct rt_error *rt_source_commit(struct rt_source *source) _must_check_;
struct rt_error *rt_source_finish(struct rt_source *source) _must_check_;
/* Undoes all; returns `err`. */
struct rt_error *rt_source_abort(struct rt_source *source, struct rt_error *err) _must_check_;

/* recover.c: what the journal needs for asking the target again. */
struct rt_error *rt_source_write_journal(const struct rt_source *source) _must_check_;

/* How it is on the target: asks until it answers or `patience_ms` is over. *ret_known false: no answer. Asking makes a target that has not committed give up. */
struct rt_error *rt_source_resolve(struct rt_http_connection *control, const char *path_abort, unsigned patience_ms, bool *ret_known, Rt__MoveState *ret_state,
				   char **ret_reason) _must_check_;
bool rt_source_is_there(Rt__MoveState state); /* decided: never to be revived here as long as the target says so */
/* Committed, but not known to run there with all it needs: it stays frozen here for --recover. Returns `cause` with what to do. */
struct rt_error *rt_source_leave_frozen(struct rt_source *source, struct rt_error *cause) _must_check_;
/* What the dumper would have done, had it not been killed: the container runs again, or is taken away. What is in order is left alone. */
enum {
	RT_ALONE_THERE = 1 << 0, /* it lives on the target */
	RT_ALONE_KEEP = 1 << 1, /* what is taken away is only its processes */
	RT_ALONE_PAUSED = 1 << 2, /* it was paused before, and is to be so again */
};
struct rt_error *rt_source_act_alone(const struct rt_context *context, const char *id, const char *directory, unsigned flags) _must_check_;
/* The target need not remember it any more. That it did not hear so costs it a few bytes. */
void rt_source_release(struct rt_http_client *client, const char *migration);

/* source_pulse.c: while the container is frozen and nothing is decided, the target must show that it is there every few 100 ms; else whatever is waited for is
 * cancelled, so that the container runs again within a second. */
struct rt_heartbeat;
struct rt_error *rt_heartbeat_start(struct rt_source *source, struct rt_heartbeat **ret) _must_check_;
/* NULL: fine. The error is why the target was given up. */
enum rt_heartbeat_end { RT_HEARTBEAT_CANCEL, RT_HEARTBEAT_ANSWERED /* what is asked at the moment is waited for */ };
struct rt_error *rt_heartbeat_stop(struct rt_heartbeat *heartbeat, enum rt_heartbeat_end how) _must_check_;
