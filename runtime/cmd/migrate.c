#include "runtime/cmd/migrate.h"

#include "runtime/cmd/dispatch.h"

#define VALUE(field) offsetof(struct rt_migrate_values, field)

static struct rt_error *run_migrate(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_dispatch_to_helper(invocation, "rt-migrate", "migrate");
}

static const struct rt_option options[] = {
	{ "bandwidth", 0, RT_OPTION_STRING, .argument = "BYTES", .offset = VALUE(bandwidth),
	  .help = "at most so many bytes a second, with K, M or G (default: no limit)" },
	{ "cacert", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(cacert),
	  .help = "certificates that the target's must be signed by (default: the system's)" },
	{ "cert", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(cert), .help = "our certificate, for a target that asks for one" },
	{ "compress", 0, RT_OPTION_STRING, .argument = "CODEC", .offset = VALUE(compress),
	  .help = "none, lz4, zstd, or auto: zstd on a slow link (default: auto)" },
	{ "downtime", 0, RT_OPTION_UNSIGNED, .argument = "MS", .offset = VALUE(downtime), .given = VALUE(has_downtime),
	  .help = "freeze once the predicted downtime is below this (default: 100)" },
	{ "dry-run", 0, RT_OPTION_FLAG, .offset = VALUE(dry_run), .help = "only ask both hosts what would stand in the way; nothing is moved" },
	{ "ext-unix-sk", 0, RT_OPTION_FLAG, .offset = VALUE(ext_unix_sk),
	  .help = "allow unix sockets whose other end is outside of the container" },
	{ "file-locks", 0, RT_OPTION_FLAG, .offset = VALUE(file_locks), .help = "allow file locks" },
	{ "insecure", 0, RT_OPTION_FLAG, .offset = VALUE(insecure), .help = "allow plain http:// to another host" },
	{ "json", 0, RT_OPTION_FLAG, .offset = VALUE(json), .help = "print one JSON object a line for each event" },
	{ "keep", 0, RT_OPTION_FLAG, .offset = VALUE(keep), .help = "leave the stopped container here, instead of deleting it" },
	{ "key", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(key), .help = "private key of --cert" },
	{ "link-remap", 0, RT_OPTION_FLAG, .offset = VALUE(link_remap),
	  .help = "allow open files that were removed, by linking them back for a moment" },
	{ "max-rounds", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = VALUE(max_rounds), .given = VALUE(has_max_rounds),
	  .help = "rounds over memory before freezing whatever is predicted (default: 30)" },
	{ "mode", 0, RT_OPTION_STRING, .argument = "MODE", .offset = VALUE(mode),
	  .help = "'stop', 'pre-copy', 'post-copy', 'hybrid' or 'auto' (the default)" },
	{ "new-id", 0, RT_OPTION_STRING, .argument = "ID", .offset = VALUE(new_id), .help = "id of the container on the target (default: the same)" },
	{ "parallel", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = VALUE(parallel), .given = VALUE(has_parallel),
	  .help = "connections for memory (default: 2)" },
	{ "recover", 0, RT_OPTION_FLAG, .offset = VALUE(recover),
	  .help = "finish or undo what an earlier migration of the container left when it was interrupted" },
	{ "report", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(report),
	  .help = "write a page with a timeline of the migration (HTML)" },
	{ "rootfs", 0, RT_OPTION_STRING, .argument = "HOW", .offset = VALUE(rootfs),
	  .help = "how the root filesystem gets there: 'none' (the default), 'shared', 'copy', 'diff'" },
	{ "tcp-established", 0, RT_OPTION_FLAG, .offset = VALUE(tcp_established), .given = VALUE(has_tcp_established),
	  .help = "keep TCP connections (default: yes, if it has its own network)" },
	{ "timeout", 0, RT_OPTION_UNSIGNED, .argument = "SECONDS", .offset = VALUE(timeout),
	  .help = "how long the target may be silent before it is given up (default: 30)" },
	{ "token-file", 0, RT_OPTION_STRING, .argument = "FILE", .offset = VALUE(token_file), .help = "the token that the target asks for, one line" },
	{ "track", 0, RT_OPTION_STRING, .argument = "HOW", .offset = VALUE(track),
	  .help = "'uffd-wp', 'soft-dirty', 'hash' or 'auto' (the default): how changed pages are found" },
	{ NULL },
};

const struct rt_command rt_cmd_migrate = {
	.name = "migrate",
	.operands = "<container-id> <url>",
	.min_operands = 0,
	.max_operands = 2,
	.summary = "move a running container to another host",
	.description =
		"Moves a running container, with its memory, files, limits and connections, to a host on which\n"
		"'rt receive' listens. The container runs on while its memory is copied; then it is frozen, what\n"
		"has changed since follows, and it goes on over there. When anything fails before that, it runs\n"
		"on here.\n"
		"\n"
		"    rt migrate --cacert ca.pem --token-file token web https://hostb:7443\n"
		"\n"
		"Modes: 'stop' freezes first and copies then; 'pre-copy' copies in rounds until the rest is small;\n"
		"'post-copy' lets it run over there at once and sends memory after it; 'hybrid' does rounds first\n"
		"and the rest afterwards; 'auto' looks at the container and says what it chose and why.\n"
		"\n"
		"'rt migrate --recover [<container-id>]' finishes or undoes what an interrupted migration left.",
	.options = options,
	.values_size = sizeof(struct rt_migrate_values),
	.run = run_migrate,
};
