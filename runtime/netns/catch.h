/* `rt-netns catch`: on the host that a container moves to, takes what is sent to it from the moment it is frozen on the other, and hands it
 * over when it runs here. What would have been lost is late instead: nobody's TCP waits for a retransmission.
 *
 * While it stands in for the container it has a veth pair: one end is a port of the bridge, with the container's hardware address behind it, the other is in a network
 * namespace of its own, so that the host's stack never sees a frame, and the kernel removes the pair with the process, however it ends. */
#pragma once

#include "runtime/netns/network.h"

/* Makes the pair, then does as the lines on standard input say, and answers each but "frame" by a line on standard output:
 *
 *	start		the container is frozen: joins the bridge, announces the addresses, answers who asks for them, keeps what comes
 *	frame HEX	one that came before, to be handed over as those are: a struct virtio_net_hdr and the Ethernet frame
 *	join		the container's own end joins the bridge as well: it may speak, but what is sent to it still comes here
 *	release		it runs: hands it all that was kept, then what is sent to it goes straight to it; ends
 *
 * End of file before that: the pair goes, and what was kept with it. */
struct rt_error *rt_catch(const char *state_directory, const char *id, const struct rt_network *network) _must_check_;
