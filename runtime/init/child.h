/* The child's half: tables of steps, walked from the top. Shared by child.c and the steps_*.c files only. */
#pragma once

#include "runtime/init/init.h"

/* Rights only ever go down. */
enum rt_phase {
	RT_PHASE_HOST, /* host mounts can still be seen */
	RT_PHASE_ROOT, /* only the container's files, still with all rights in it */
	RT_PHASE_USER, /* as the user of the process */
	RT_PHASE_SEALED, /* under its filter */
};

/* What the steps learn on their way. */
struct rt_init_child {
	struct rt_init_plan *plan;
	int sync; /* to the parent; -1 once start_fd has taken its place */
	int report; /* where a failure after start is told: the start connection, or sync */
	bool cloned_into_cgroup;
	bool must_wait; /* the parent has work to do on us before we go on */
	bool in_directory; /* process.cwd was entered with root's rights */
	char *executable; /* found path of args[0] */
	const char *const *env; /* of the process */
};

struct rt_init_step {
	enum rt_phase phase;
	const char *what; /* "switching root": begins the error of a failing step */
	struct rt_error *(*run)(struct rt_init_child *child);
};

/* steps_host.c */
struct rt_error *rt_step_wait_for_parent(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_hide(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_enter_cgroups(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_enter_namespaces(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_become_root(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_make_namespaces(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_new_session(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_loopback(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_names(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_isolate(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_mount(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_host_hooks(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_container_hooks(struct rt_init_child *child) _must_check_;

/* steps_root.c */
struct rt_error *rt_step_switch(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_console(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_sysctl(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_seal_root(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_working_directory(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_attributes(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_label(struct rt_init_child *child) _must_check_;

/* steps_user.c */
struct rt_error *rt_step_reopen_null(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_stdio_owner(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_switch_user(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_try_directory(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_enter_directory(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_find_executable(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_close_descriptors(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_reset_signals(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_seal_with_listener(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_report_ready(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_wait_for_start(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_start_hooks(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_final_attributes(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_seal(struct rt_init_child *child) _must_check_;
struct rt_error *rt_step_exec(struct rt_init_child *child) _must_check_;

/* Walks the right table for the plan; never returns. `sync` is the child's end. */
void rt_init_child_main(struct rt_init_plan *plan, int sync, bool cloned_into_cgroup, bool must_wait) __attribute__((noreturn));

/* The intermediate process: enters the user namespace, clones the real child as a sibling of itself, hands its pidfd over and ends. */
void rt_init_intermediate_main(struct rt_init_plan *plan, int sync, bool must_wait) __attribute__((noreturn));
