#include "runtime/cmd/dispatch.h"
#include "runtime/cmd/migrate.h"

#define VALUE(field) offsetof(struct rt_receive_values, field)

static struct rt_error *run_receive(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_dispatch_to_helper(invocation, "rt-migrate", "migrate");
}

static const struct rt_option options[] = {
	{ "allow-config", 0, RT_OPTION_FLAG, .offset = VALUE(allow_config),
	  .help = "take the configuration from the source where there is no bundle of that id here" },
	{ "allow-hook", 0, RT_OPTION_LIST, .argument = "PATH", .offset = VALUE(allow_hooks),
	  .help = "a program that a source's configuration may name as a hook" },
	{ "allow-id", 0, RT_OPTION_LIST, .argument = "PATTERN", .offset = VALUE(allow_ids),
	  .help = "ids that may be received, as a shell pattern (default: all)" },
	{ "allow-mount", 0, RT_OPTION_LIST, .argument = "PATH", .offset = VALUE(allow_mounts),
	  .help = "a directory below which a source's configuration may bind" },
	{ "bundles", 0, RT_OPTION_STRING, .argument = "DIR", .offset = VALUE(bundles),
	  .help = "where the bundles are, or are made, one directory an id (default: /var/lib/rt/bundles)" },
	{ "cert", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(cert), .help = "our certificate (TLS)" },
	{ "client-ca", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(client_ca),
	  .help = "sources must have a certificate signed by this" },
	{ "insecure", 0, RT_OPTION_FLAG, .offset = VALUE(insecure), .help = "allow plain HTTP on an address other than the loopback" },
	{ "key", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(key), .help = "private key of --cert" },
	{ "listen", 0, RT_OPTION_STRING, .argument = "ADDRESS:PORT", .offset = VALUE(listen), .help = "where to listen (default: 127.0.0.1:7443)" },
	{ "max-memory", 0, RT_OPTION_STRING, .argument = "BYTES", .offset = VALUE(max_memory),
	  .help = "memory that one migration may bring, with K, M or G (default: what is available)" },
	{ "max-migrations", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = VALUE(max_migrations), .help = "at the same time (default: 8)" },
	{ "max-rootfs", 0, RT_OPTION_STRING, .argument = "BYTES", .offset = VALUE(max_rootfs),
	  .help = "largest root filesystem, with K, M or G (default: what is free)" },
	{ "state-dir", 0, RT_OPTION_STRING, .argument = "DIR", .offset = VALUE(state_dir),
	  .help = "where images and journals are kept meanwhile (default: /run/rt-receive)" },
	{ "timeout", 0, RT_OPTION_UNSIGNED, .argument = "SECONDS", .offset = VALUE(timeout),
	  .help = "how long a source may be silent before its migration is undone (default: 30)" },
	{ "token-file", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(token_file), .help = "sources must know this token, one line" },
	{ "worker", 0, RT_OPTION_FLAG, RT_OPTION_HIDDEN, .offset = VALUE(worker), .help = "restore one container, for the daemon" },
	{ NULL },
};

const struct rt_command rt_cmd_receive = {
	.name = "receive",
	.operands = "",
	.max_operands = 1,
	.summary = "take in containers that other hosts migrate here",
	.description =
		"Listens for 'rt migrate' of other hosts. A container comes with its memory and, if asked for, its\n"
		"root filesystem; it runs here once everything of it has arrived and been restored, and never in\n"
		"two places.\n"
		"\n"
		"    rt receive --listen 0.0.0.0:7443 --cert host.pem --key host.key --token-file token\n"
		"\n"
		"The bundle of a container 'web' is the directory 'web' below --bundles. Where it is not there,\n"
		"--allow-config lets the source bring the configuration, as far as --allow-mount and --allow-hook\n"
		"permit. Who may migrate to a host is root there: give the token and certificates accordingly.\n"
		"\n"
		"GET /v1/status and /v1/metrics tell how it is.",
	.options = options,
	.values_size = sizeof(struct rt_receive_values),
	.run = run_receive,
};
