/* What comes for a container that can't take it is taken in its place, and brought to the target, which hands it over when it runs there. Without it each would be sent again by its
 * client, a connection's first segment a second later:
 *
 *	- while its door is closed (checkpoint/netlock.h): segments that ask for a new connection, as they come to its devices;
 *	- between its leaving this host's network and the target's announcement: segments of TCP for its hardware address, as they come to this host's devices.
 *
 * On the wire: for each the length of what follows (16 bits, little-endian), a struct virtio_net_hdr, and the Ethernet frame. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <sys/types.h>

#define RT_TAP_FRAME_MAX 320 /* bytes: header and all options included, but no data to speak of */
#define RT_TAP_LIMIT (64u << 10) /* bytes in all; more are lost, as without it */

/* At the door: in the network namespace of a process. */
struct rt_error *rt_tap_open(pid_t pid, int *ret) _must_check_;
/* On the host: in our network namespace; `mac` is the container's. */
struct rt_error *rt_tap_open_host(const uint8_t mac[6], int *ret) _must_check_;
/* All that has come. The caller frees *ret; NULL where it is nothing. */
struct rt_error *rt_tap_take(int fd, void **ret, size_t *ret_size) _must_check_;

/* For each frame of what came over the wire; RT_PEER where it is not as it must be. `each` NULL: only looks. */
typedef void (*rt_tap_fn)(void *userdata, const void *frame, size_t size);
struct rt_error *rt_tap_each(const void *bytes, size_t size, rt_tap_fn each, void *userdata) _must_check_;
