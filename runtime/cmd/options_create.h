/* The options that create and run have in common, and restore after them, so that they cannot differ. Their values are
 * a struct rt_create_options. */
#pragma once

#include "runtime/cmd/command.h"

#define RT_CREATE_OPTIONS RT_CREATE_OPTIONS_AT(0)

/* Where the struct rt_create_options stands at `base` in the command's values. */
#define RT_CREATE_OPTIONS_AT(base)                                                                                             \
	{ "bundle", 'b', RT_OPTION_STRING, .argument = "DIR", .offset = (base) + offsetof(struct rt_create_options, bundle),                     \
	  .help = "directory of config.json and the root filesystem (default: the current directory)" },              \
	{ "config", 'f', RT_OPTION_STRING, .argument = "FILE", .offset = (base) + offsetof(struct rt_create_options, config),                    \
	  .help = "configuration to use in place of the bundle's config.json" },                                      \
	{ "console-socket", 0, RT_OPTION_STRING, .argument = "SOCKET", .offset = (base) + offsetof(struct rt_create_options, console_socket),    \
	  .help = "unix socket that receives the master end of the container's terminal" },                           \
	{ "no-new-keyring", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_create_options, no_new_keyring),                            \
	  .help = "keep the caller's session keyring" },                                                              \
	{ "no-pivot", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_create_options, no_pivot),                                        \
	  .help = "move the root mount in place of pivot_root, as a root filesystem on a ramdisk needs" },            \
	{ "pid-file", 0, RT_OPTION_STRING, .argument = "FILE", .offset = (base) + offsetof(struct rt_create_options, pid_file),                  \
	  .help = "file to write the process id of the container's init to" },                                        \
	{ "pidfd-socket", 0, RT_OPTION_STRING, .argument = "SOCKET", .offset = (base) + offsetof(struct rt_create_options, pidfd_socket),        \
	  .help = "unix socket that receives a pidfd of the container's init" },                                      \
	{ "preserve-fds", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = (base) + offsetof(struct rt_create_options, preserve_fds),           \
	  .help = "pass N descriptors more than standard input, output, error and $LISTEN_FDS" }
