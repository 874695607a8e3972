/* The options that checkpoint and restore have in common, so that they cannot differ. Their values are a struct rt_criu_settings at
 * `base` in the command's values. */
#pragma once

#include "checkpoint/checkpoint.h"
#include "runtime/cmd/command.h"

#define RT_CRIU_OPTIONS(base)                                                                                         \
	{ "auto-dedup", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, auto_dedup),          \
	  .help = "drop pages from the parent's images that a newer image has" },                                     \
	{ "empty-ns", 0, RT_OPTION_LIST, .argument = "KIND", .offset = (base) + offsetof(struct rt_criu_settings, empty_ns), \
	  .help = "restore the namespace without its content: 'network', the default" },            \
	{ "ext-unix-sk", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, ext_unix_sk),        \
	  .help = "allow unix sockets whose other end is outside of the container" },                                 \
	{ "file-locks", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, file_locks),          \
	  .help = "allow file locks" },                                                                               \
	{ "image-path", 0, RT_OPTION_STRING, .argument = "DIR", .offset = (base) + offsetof(struct rt_criu_settings, image_path), \
	  .help = "directory of the images (default: 'checkpoint')" },                                                \
	{ "lazy-pages", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, lazy_pages),          \
	  .help = "move memory over userfaultfd after the restore" },                                                 \
	{ "link-remap", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, link_remap),          \
	  .help = "allow open files that were removed, by linking them back for a moment" },                          \
	{ "manage-cgroups-mode", 0, RT_OPTION_STRING, .argument = "MODE",                                             \
	  .offset = (base) + offsetof(struct rt_criu_settings, manage_cgroups_mode),                                  \
	  .help = "'soft' (the default), 'full', 'strict' or 'ignore'" },                                             \
	{ "network-lock", 0, RT_OPTION_STRING, .argument = "METHOD",                                                  \
	  .offset = (base) + offsetof(struct rt_criu_settings, network_lock),                                         \
	  .help = "'nftables' (the default), 'iptables' or 'skip'" },                                                 \
	{ "shell-job", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, shell_job),            \
	  .help = "allow a terminal that was not made for the container" },                                           \
	{ "tcp-close", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, tcp_close),            \
	  .help = "close established TCP connections at the restore" },                                               \
	{ "tcp-established", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, tcp_established), \
	  .help = "keep established TCP connections" },                                                               \
	{ "tcp-skip-in-flight", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, tcp_skip_in_flight), \
	  .help = "leave out TCP connections that are not established yet" },                                         \
	{ "tls", 0, RT_OPTION_FLAG, .offset = (base) + offsetof(struct rt_criu_settings, tls),                        \
	  .help = "speak TLS with the page server" },                                                                 \
	{ "tls-cacert", 0, RT_OPTION_STRING, .argument = "FILE", .offset = (base) + offsetof(struct rt_criu_settings, tls_cacert), \
	  .help = "trusted certificates for --tls" },                                                                 \
	{ "tls-cacrl", 0, RT_OPTION_STRING, .argument = "FILE", .offset = (base) + offsetof(struct rt_criu_settings, tls_cacrl), \
	  .help = "revoked certificates for --tls" },                                                                 \
	{ "tls-cert", 0, RT_OPTION_STRING, .argument = "FILE", .offset = (base) + offsetof(struct rt_criu_settings, tls_cert), \
	  .help = "own certificate for --tls" },                                                                      \
	{ "tls-key", 0, RT_OPTION_STRING, .argument = "FILE", .offset = (base) + offsetof(struct rt_criu_settings, tls_key), \
	  .help = "own key for --tls" },                                                                              \
	{ "work-path", 0, RT_OPTION_STRING, .argument = "DIR", .offset = (base) + offsetof(struct rt_criu_settings, work_path), \
	  .help = "directory of logs and statistics (default: that of the images)" }
