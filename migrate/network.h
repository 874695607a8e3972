/* The part of rt-netns in a migration: the address moves along. Containers whose network is nobody's or somebody else's have none of this.
 *
 * Found by the container's own hooks: a createRuntime or prestart hook whose program is called rt-netns. */
#pragma once

#include "runtime/spec/spec.h"

#include <sys/types.h>

struct rt_network {
	char *program; /* NULL: not ours */
	char *state_dir; /* NULL: the default */
	char **words; /* of the hook, argv[0] included; NULL-terminated */
	bool alone; /* nobody else has anything to do where the namespaces are new: no other hook, no device that moves in */
	char *saved; /* JSON of rt-netns save; NULL: there is nothing to save. On the target: what put_into() made of it */
};
void rt_network_deinit(struct rt_network *network);

struct rt_error *rt_network_find(const struct rt_spec *spec, struct rt_network *ret) _must_check_;

/* Source. */
struct rt_error *rt_network_save(struct rt_network *network, const char *id) _must_check_;
struct rt_error *rt_network_detach(const struct rt_network *network, const char *id) _must_check_;
/* Its hardware address; false: there is nothing saved. */
bool rt_network_mac(const struct rt_network *network, uint8_t ret[6]);
/* `diag_fd`: a netlink socket in the container's network namespace, made beforehand. Whether a connection lies in a queue that nobody has accepted. */
struct rt_error *rt_network_open_diag(pid_t pid, int *ret) _must_check_;
bool rt_network_waits(int diag_fd);
/* Where no new ones come: until the handshakes are over that are in the middle, and what they led to is accepted; at most so long. */
void rt_network_settle(int diag_fd, unsigned accept_us, unsigned handshake_us);
/* What a process wrote before it closed a connection, its kernel sends for it: from a socket that nobody holds, and nobody can dump. Waits until the other sides have
 * all of it, at most so long; returns how many have not. */
unsigned rt_network_drain(int diag_fd, unsigned us);
/* Of an answer: whether a listener has a connection that nobody has accepted; *ret_end: no more follows. */
bool rt_network_answer_waits(const void *bytes, size_t size, bool *ret_end);
/* Of an answer: how many sockets that no process holds have still to get something out, or are in a handshake. */
unsigned rt_network_answer_unheld(const void *bytes, size_t size, bool *ret_end);
struct rt_error *rt_network_attach(const struct rt_network *network, const char *id) _must_check_;
struct rt_error *rt_network_announce(const struct rt_network *network, const char *id) _must_check_; /* once more, after attach */

/* Target: `saved` goes into the configuration, with "hold". `config` is replaced. */
struct rt_error *rt_network_put_into(const char *saved, char **config, size_t *size) _must_check_;
/* As rt_network_find(), with what put_into() left there. */
struct rt_error *rt_network_find_moved(const struct rt_spec *spec, struct rt_network *ret) _must_check_;
struct rt_error *rt_network_release(const struct rt_network *network, const char *id) _must_check_;
