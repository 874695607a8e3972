/* A dump, or a restore, by a CRIU that is inside the container's network namespace.
 *
 * A network namespace that CRIU is not in itself it dumps, though rt wants nothing of it (empty_ns): it asks the kernel for the connections it tracks,
 * twice, and each time the kernel walks the whole table of the host, 13 ms with the 262144 buckets that a host of more than 4 GiB has. And it
 * locks the network through libnftables, which takes some more. So CRIU is started inside: for it the network is then the one that everybody is in, of which it dumps
 * the container's sockets alone, and the lock is ours (netlock.h). In the images the difference is one number, which is put right
 * before anybody reads them: they restore as any others, by whomever.
 *
 * Not for a namespace that the container joined by path (its images need a name for it), nor where CRIU has to connect to somebody. */
#pragma once

#include "checkpoint/options.h"
#include "checkpoint/rpc.h"

bool rt_inside_is_possible(const struct rt_criu_settings *settings, const struct rt_spec *spec);

/* Sees to it that CRIU has looked at this kernel since it booted, and kept what it found: else it would have its looks at the network in there, whose loopback may be
 * down, or closed by the container's own rules. The first time takes some 100 ms, which CRIU would take later otherwise. False: it cannot keep it (/run is on a disk). */
bool rt_inside_make_quick(void);

/* As rt_criu_start(). */
struct rt_error *rt_inside_start(int network_fd, const struct rt_criu_options *options, struct rt_criu **ret) _must_check_;

/* With all images written. `locked`: the container's network was, by us. */
struct rt_error *rt_inside_correct(int image_fd, bool locked) _must_check_;

/* The other way round, for a restore: the container is to have the network namespace that CRIU is in, and none that CRIU makes. The lock is the caller's. */
struct rt_error *rt_inside_join(int image_fd) _must_check_;
