/* What would make a checkpoint fail, said in words before anything is frozen.
 *
 * Looks at the live container, the settings and the host; changes nothing. What is found here, CRIU would find too, later and in its own words; what
 * only CRIU can know stays for its log (criulog.h). A container runs on while we look, so an empty report is no promise. */
#pragma once

#include "checkpoint/members.h"
#include "checkpoint/options.h"
#include "checkpoint/rpc.h"

struct rt_preflight {
	char **obstacles; /* one sentence each, owned */
	size_t count;
	bool tracks_memory; /* the kernel marks pages that are written to; not looked at where nothing depends on it */
	char *note; /* what does not stand in the way but had better be known; owned, NULL: nothing */
};
#define RT_PREFLIGHT_NULL ((struct rt_preflight){ .count = 0 })
void rt_preflight_deinit(struct rt_preflight *report);

/* Appends a sentence. */
struct rt_error *rt_preflight_add(struct rt_preflight *report, const char *format, ...) _must_check_ __attribute__((format(printf, 2, 3)));

/* Everything below, in the order a person would ask. `criu` NULL: it is started and asked for its version here. `image_fd` -1: the
 * directory may not be there yet; the room is that where settings->image_path says. */
struct rt_error *rt_preflight_dump(const struct rt_container *container, const struct rt_spec *spec,
				   const struct rt_criu_settings *settings, struct rt_criu *criu, int image_fd,
				   struct rt_preflight *report) _must_check_;

/* All obstacles as one RT_CRIU error; NULL where there are none. */
struct rt_error *rt_preflight_verdict(const struct rt_preflight *report) _must_check_;

/* preflight_tasks.c: what processes of the container hold. *ret_memory: bytes of memory that would be written. */
struct rt_preflight_subject {
	const struct rt_criu_settings *settings;
	pid_t init;
	bool own_user_namespace;
	bool may_raise_limits; /* we have CAP_SYS_RESOURCE */
};
struct rt_error *rt_preflight_tasks(const struct rt_preflight_subject *subject, const struct rt_members *members,
				    struct rt_preflight *report, uint64_t *ret_memory) _must_check_;
