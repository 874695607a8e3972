/* What applies where an option is not given. */
#pragma once

#define RT_NETNS_STATE_DIR "/run/rt-netns"
#define RT_NETNS_BRIDGE "rt0"
#define RT_NETNS_IFNAME "eth0"
#define RT_NETNS_SUBNET "172.19.0.0/16"
#define RT_NETNS_ANNOTATION "org.rt.netns"
