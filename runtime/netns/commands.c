#include "runtime/netns/commands.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/netns/catch.h"
#include "runtime/netns/defaults.h"
#include "runtime/netns/endpoint.h"
#include "runtime/netns/hook.h"
#include "runtime/netns/list.h"

#define MOST_JSON (256 << 10)

struct make_values {
	struct rt_request_words words;
	unsigned pid;
	const char *netns;
};

struct remove_values {
	bool force;
};

struct list_values {
	const char *format;
	bool quiet;
};

struct announce_values {
	unsigned count;
};

static struct rt_error *read_target(const struct make_values *values, struct rt_endpoint_target *ret)
{
	if (!values->pid == !values->netns)
		return rt_fail(RT_USAGE, "give the network namespace by one of --pid and --netns");
	*ret = (struct rt_endpoint_target){ .pid = (pid_t)values->pid, .path = values->netns };
	return NULL;
}

static struct rt_error *make(const struct rt_netns_invocation *invocation, const struct rt_network *saved)
{
	const struct make_values *values = invocation->values;
	struct rt_endpoint_target target;
	struct rt_request request;
	struct rt_error *err = read_target(values, &target);

	if (!err)
		err = rt_request_make(&values->words, saved, &request);
	return err ? err : rt_endpoint_make(invocation->globals->state_directory, invocation->operands[0], &target, &request, 0);
}

static struct rt_error *run_create(const struct rt_netns_invocation *invocation)
{
	return make(invocation, NULL);
}

static struct rt_error *run_load(const struct rt_netns_invocation *invocation)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	struct rt_network network = { .mtu = 0 };
	struct rt_json root;
	struct rt_error *err;
	size_t size;

	err = rt_read_all(STDIN_FILENO, MOST_JSON, &text, &size);
	if (!err)
		err = rt_json_parse(text, size, "standard input", &json);
	if (err)
		return err;
	root = rt_json_root(json);
	err = rt_network_from_json(&root, &network);
	return err ? rt_while(err, "reading the network from standard input") : make(invocation, &network);
}

static struct rt_error *run_save(const struct rt_netns_invocation *invocation)
{
	_cleanup_json_ json_t *json = json_object();
	struct rt_record record;
	struct rt_error *err;

	err = rt_endpoint_load(invocation->globals->state_directory, invocation->operands[0], &record);
	if (!err)
		err = json ? rt_network_to_json(&record.network, json) : rt_error_oom();
	return err ? err : rt_list_print_json(json);
}

static struct rt_error *run_hook(const struct rt_netns_invocation *invocation)
{
	const struct make_values *values = invocation->values;

	return rt_hook_run(invocation->globals->state_directory, &values->words, values->netns);
}

static struct rt_error *run_remove(const struct rt_netns_invocation *invocation)
{
	const struct remove_values *values = invocation->values;
	bool found = false;
	struct rt_error *err;

	err = rt_endpoint_remove(invocation->globals->state_directory, invocation->operands[0], &found);
	if (!err && !found && !values->force)
		err = rt_fail(RT_NOT_FOUND, "container '%s' has no network of ours", invocation->operands[0]);
	return err;
}

static struct rt_error *run_list(const struct rt_netns_invocation *invocation)
{
	const struct list_values *values = invocation->values;

	return rt_list(invocation->globals->state_directory, values->format ? values->format : "table", values->quiet);
}

static struct rt_error *run_join(const struct rt_netns_invocation *invocation)
{
	return rt_endpoint_join(invocation->globals->state_directory, invocation->operands[0], 0);
}

static struct rt_error *run_detach(const struct rt_netns_invocation *invocation)
{
	return rt_endpoint_detach(invocation->globals->state_directory, invocation->operands[0]);
}

static struct rt_error *run_announce(const struct rt_netns_invocation *invocation)
{
	const struct announce_values *values = invocation->values;

	return rt_endpoint_announce(invocation->globals->state_directory, invocation->operands[0], values->count ? values->count : 1);
}

/* Where the hook of the same options will put the container. What is said next on standard input stays unread. */
static struct rt_error *run_catch(const struct rt_netns_invocation *invocation)
{
	const struct make_values *values = invocation->values;
	_cleanup_json_ json_t *json = NULL;
	struct rt_network network = { .mtu = 0 };
	struct rt_request request;
	json_error_t error;
	struct rt_json root;
	struct rt_error *err;

	json = json_loadfd(STDIN_FILENO, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
	if (!json)
		return rt_fail(RT_CONFIG, "standard input has no network as JSON: %s", error.text);
	root = rt_json_root(json);
	err = rt_network_from_json(&root, &network);
	if (err)
		return rt_while(err, "reading the network from standard input");
	err = rt_request_make(&values->words, NULL, &request);
	if (err)
		return err;
	rt_request_follow(&request, &network);
	return rt_catch(invocation->globals->state_directory, invocation->operands[0], &request.network);
}

static struct rt_error *run_help(const struct rt_netns_invocation *invocation)
{
	rt_netns_help(stdout, NULL);
	return rt_list_finish();
}

static struct rt_error *run_man(const struct rt_netns_invocation *invocation)
{
	rt_netns_manual(stdout);
	return rt_list_finish();
}

#define WORD(field) offsetof(struct make_values, words.field)

/* What the hook, create and load have in common. */
#define NETWORK_OPTIONS                                                                                                       \
	{ "bridge", 'b', RT_OPTION_STRING, .argument = "NAME", .offset = WORD(bridge),                                            \
	  .help = "the bridge to join (default: " RT_NETNS_BRIDGE "); made where it is missing, and removed with its last container" }, \
	{ "ifname", 'i', RT_OPTION_STRING, .argument = "NAME", .offset = WORD(ifname),                                            \
	  .help = "the device inside the container (default: " RT_NETNS_IFNAME ")" },                                             \
	{ "subnet", 0, RT_OPTION_STRING, .argument = "PREFIX", .offset = WORD(subnet),                                            \
	  .help = "IPv4 addresses come from here (default: " RT_NETNS_SUBNET "); none: no IPv4" },                                \
	{ "ip-pool", 0, RT_OPTION_STRING, RT_OPTION_HIDDEN, "PREFIX", WORD(subnet), .help = "another name of --subnet" },         \
	{ "subnet6", 0, RT_OPTION_STRING, .argument = "PREFIX", .offset = WORD(subnet6),                                          \
	  .help = "IPv6 addresses come from here (default: none)" },                                                              \
	{ "ip", 0, RT_OPTION_STRING, .argument = "ADDRESS[/LENGTH]", .offset = WORD(ip),                                          \
	  .help = "a fixed IPv4 address, of the subnet or with a prefix length of its own" },                                     \
	{ "ip6", 0, RT_OPTION_STRING, .argument = "ADDRESS[/LENGTH]", .offset = WORD(ip6), .help = "a fixed IPv6 address" },      \
	{ "gateway", 0, RT_OPTION_STRING, .argument = "ADDRESS", .offset = WORD(gateway),                                         \
	  .help = "gateway of the default route, and the bridge's own address (default: the bridge's, or the subnet's first)" },  \
	{ "gateway6", 0, RT_OPTION_STRING, .argument = "ADDRESS", .offset = WORD(gateway6), .help = "the same for IPv6" },        \
	{ "mac", 0, RT_OPTION_STRING, .argument = "MAC", .offset = WORD(mac),                                                     \
	  .help = "hardware address inside the container (default: follows from the address)" },                                  \
	{ "mtu", 0, RT_OPTION_UNSIGNED, .argument = "BYTES", .offset = WORD(mtu), .help = "MTU of both ends (default: the kernel's)" }, \
	{ "nat", 0, RT_OPTION_FLAG, .offset = WORD(nat), .given = WORD(nat_given),                                                \
	  .help = "let the container out with the host's address" },                                                              \
	{ "publish", 'p', RT_OPTION_LIST, .argument = "[ADDRESS:]PORT:PORT[/PROTOCOL]", .offset = WORD(publish),                  \
	  .help = "a port of the host, of one address or all, leads to a port of the container; tcp (default), udp or sctp" },    \
	{ "static-route", 0, RT_OPTION_LIST, .argument = "PREFIX=GATEWAY", .offset = WORD(routes),                                \
	  .help = "a further route inside the container" },                                                                       \
	{ "hostless", 0, RT_OPTION_FLAG, .offset = WORD(hostless), .given = WORD(hostless_given),                                 \
	  .help = "the bridge is yours: the host gets no address on it, no NAT, and is no gateway" },                             \
	{ "hold", 0, RT_OPTION_FLAG, .offset = WORD(hold),                                                                        \
	  .help = "make everything, but stay off the bridge until `release`" }

static const struct rt_option hook_options[] = {
	{ "netns", 0, RT_OPTION_STRING, .argument = "PATH", .offset = offsetof(struct make_values, netns),
	  .help = "the network namespace as a file, where the container's process is not there yet; once it is, the hook is to be called again" },
	NETWORK_OPTIONS,
	{ NULL },
};

static const struct rt_option catch_options[] = { NETWORK_OPTIONS, { NULL } };

static const struct rt_option make_options[] = {
	{ "pid", 0, RT_OPTION_UNSIGNED, .argument = "PID", .offset = offsetof(struct make_values, pid),
	  .help = "a process in the container's network namespace" },
	{ "netns", 0, RT_OPTION_STRING, .argument = "PATH", .offset = offsetof(struct make_values, netns),
	  .help = "the network namespace as a file, such as /run/netns/web" },
	NETWORK_OPTIONS,
	{ NULL },
};

static const struct rt_option remove_options[] = {
	{ "force", 'f', RT_OPTION_FLAG, .offset = offsetof(struct remove_values, force),
	  .help = "no error where there is nothing to remove" },
	{ NULL },
};

static const struct rt_option list_options[] = {
	{ "format", 'f', RT_OPTION_STRING, .argument = "table|json", .offset = offsetof(struct list_values, format),
	  .help = "how to print the list (default: table)" },
	{ "quiet", 'q', RT_OPTION_FLAG, .offset = offsetof(struct list_values, quiet), .help = "print only the ids" },
	{ NULL },
};

static const struct rt_option announce_options[] = {
	{ "count", 'c', RT_OPTION_UNSIGNED, .argument = "N", .offset = offsetof(struct announce_values, count),
	  .help = "how many times, 100 ms apart (default: 1)" },
	{ NULL },
};

const struct rt_option rt_netns_global_options[] = {
	{ "state-dir", 0, RT_OPTION_STRING, .argument = "DIR", .offset = offsetof(struct rt_netns_globals, state_directory),
	  .help = "where records are kept (default: " RT_NETNS_STATE_DIR "); one for each host" },
	{ "debug", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_netns_globals, debug), .help = "say where an error was made" },
	{ "version", 'v', RT_OPTION_FLAG, .offset = offsetof(struct rt_netns_globals, version), .help = "print the version" },
	{ NULL },
};

const struct rt_netns_command rt_netns_commands[] = {
	{ "hook", "", 0, "as an OCI hook: make or remove a network, as the state on standard input says", hook_options,
	  sizeof(struct make_values), .run = run_hook },
	{ "create", "ID", 1, "make the network of a container", make_options, sizeof(struct make_values), .run = run_create },
	{ "ls", "", 0, "list networks and their containers", list_options, sizeof(struct list_values), .run = run_list },
	{ "rm", "ID", 1, "remove the network of a container, whole or half made", remove_options, sizeof(struct remove_values),
	  .run = run_remove },
	{ "save", "ID", 1, "print the network of a container as JSON", .run = run_save },
	{ "load", "ID", 1, "make the same network again, from JSON on standard input", make_options, sizeof(struct make_values),
	  .run = run_load },
	{ "release", "ID", 1, "join the bridge after --hold, and announce the addresses", .run = run_join },
	{ "detach", "ID", 1, "take a container off its bridge: nothing gets in or out", .run = run_detach },
	{ "attach", "ID", 1, "undo detach", .run = run_join },
	{ "catch", "ID", 1, "keep what is sent to a container that is moving here, network as JSON on standard input, until it runs", catch_options,
	  sizeof(struct make_values), .run = run_catch },
	{ "announce", "ID", 1, "tell neighbours and switches where the container's addresses are", announce_options,
	  sizeof(struct announce_values), .run = run_announce },
	{ "help", "", 0, "print this help", .run = run_help },
	{ "man", "", 0, "print the manual page for man(1)", .hidden = true, .run = run_man },
	{ NULL },
};
