/* One container's record: its network, where it is, and how far it has got. Its form as JSON; store.h keeps it on disk. Pure. */
#pragma once

#include "runtime/netns/network.h"

#include <sys/types.h>

enum rt_record_phase {
	RT_RECORD_MAKING, /* being made, or a crash left it half made: only `rm` and making it again may touch it */
	RT_RECORD_UP,
	RT_RECORD_HELD, /* everything but the bridge, until `release` */
	RT_RECORD_DETACHED, /* taken off the bridge, until `attach` */
};
const char *rt_record_phase_name(enum rt_record_phase phase);

#define RT_RECORD_ID_ROOM 192 /* with ".json.new" a file name */
#define RT_RECORD_PATH_ROOM 512

/* A value: copied by assignment, nothing to free. */
struct rt_record {
	char id[RT_RECORD_ID_ROOM];
	enum rt_record_phase phase;
	bool guarded; /* guard.h has left a table inside */
	pid_t pid; /* a process in the network namespace; 0: none was told */
	char path[RT_RECORD_PATH_ROOM]; /* of the namespace; empty: /proc/<pid>/ns/net */
	uint64_t device, inode; /* of the namespace, so that neither a pid nor a path used again is mistaken for it */
	char host_ifname[IFNAMSIZ]; /* the veth's end on the host */
	struct rt_network network;
};

/* RT_USAGE: letters, digits and "_+-.", not starting with '.', and not too long. */
struct rt_error *rt_record_id_check(const char *id) _must_check_;

/* The host's end of the veth follows from the id and the state directory, so that it can be removed without a record. */
void rt_record_host_ifname(const char *state_directory, const char *id, char ret[IFNAMSIZ]);

/* And that of the catcher (catch.h), while there is one. */
void rt_record_catcher_ifname(const char *state_directory, const char *id, char ret[IFNAMSIZ]);

/* The path by which the namespace can be opened. */
void rt_record_namespace_path(const struct rt_record *record, char ret[RT_RECORD_PATH_ROOM]);

/* *ret is the caller's to json_decref(). */
struct rt_error *rt_record_to_json(const struct rt_record *record, json_t **ret) _must_check_;
struct rt_error *rt_record_from_json(const struct rt_json *object, struct rt_record *ret) _must_check_;
