#include "migrate/network.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/netns/defaults.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PROGRAM "rt-netns"
#define SAVED_MAX (64u << 10)
#define ANSWER_ROOM 16384
/* include/net/tcp_states.h */
#define TCP_STATE_SYN_RECV 3
#define TCP_STATE_FIN_WAIT1 4
#define TCP_STATE_LAST_ACK 9
#define TCP_STATE_LISTEN 10
#define TCP_STATE_CLOSING 11
#define SETTLE_STEP_US 500
#define DRAIN_STEP_US 1000

void rt_network_deinit(struct rt_network *network)
{
	for (char **word = network->words; word && *word; word++)
		free(*word);
	free(network->words);
	free(network->program);
	free(network->state_dir);
	free(network->saved);
	*network = (struct rt_network){ NULL };
}

static bool is_ours(const char *path)
{
	const char *slash = strrchr(path, '/');

	return rt_str_equal(slash ? slash + 1 : path, PROGRAM);
}

static struct rt_error *take_hook(const struct rt_spec_hook *hook, struct rt_network *ret)
{
	struct rt_error *err = rt_format(&ret->program, "%s", hook->path);
	size_t count = 0;

	while (hook->args && hook->args[count])
		count++;
	ret->words = calloc(count + 1, sizeof(*ret->words));
	if (!ret->words)
		return err ? err : rt_error_oom();
	for (size_t i = 0; i < count && !err; i++) {
		err = rt_format(&ret->words[i], "%s", hook->args[i]);
		if (err)
			break;
		if (rt_str_starts(hook->args[i], "--state-dir="))
			err = rt_format(&ret->state_dir, "%s", hook->args[i] + strlen("--state-dir="));
		else if (rt_str_equal(hook->args[i], "--state-dir") && hook->args[i + 1])
			err = rt_format(&ret->state_dir, "%s", hook->args[i + 1]);
	}
	return err;
}

struct rt_error *rt_network_find(const struct rt_spec *spec, struct rt_network *ret)
{
	static const enum rt_hook_kind kinds[] = { RT_HOOK_PRESTART, RT_HOOK_CREATE_RUNTIME };

	ret->alone = spec->hooks[RT_HOOK_PRESTART].count + spec->hooks[RT_HOOK_CREATE_RUNTIME].count == 1 && spec->net_device_count == 0;
	for (size_t k = 0; k < RT_ARRAY_SIZE(kinds); k++) {
		const struct rt_spec_hooks *hooks = &spec->hooks[kinds[k]];

		for (size_t i = 0; i < hooks->count; i++)
			if (is_ours(hooks->entries[i].path))
				return take_hook(&hooks->entries[i], ret);
	}
	return NULL;
}

/* The source's network came with the configuration. */
struct rt_error *rt_network_find_moved(const struct rt_spec *spec, struct rt_network *ret)
{
	struct rt_error *err = rt_network_find(spec, ret);
	const char *saved = rt_spec_annotation(spec, RT_NETNS_ANNOTATION);

	return err || !saved ? err : rt_format(&ret->saved, "%s", saved);
}

#define WORDS 6

/* The state directory is said before the verb, or not at all. */
static void fill_words(const struct rt_network *network, const char *verb, const char *id, const char *ret[WORDS])
{
	size_t count = 0;

	ret[count++] = PROGRAM;
	if (network->state_dir) {
		ret[count++] = "--state-dir";
		ret[count++] = network->state_dir;
	}
	ret[count++] = verb;
	ret[count++] = id;
	ret[count] = NULL;
}

static struct rt_error *run(const struct rt_network *network, const char *verb, const char *id)
{
	const char *argv[WORDS];
	struct rt_error *err;

	if (!network->program)
		return NULL;
	fill_words(network, verb, id, argv);
	err = rt_run_program(&(struct rt_run_options){ .path = network->program, .argv = argv, .envp = rt_plain_environment, .timeout_ms = 10000 });
	return err ? rt_while(err, "network of '%s'", id) : NULL;
}

struct rt_error *rt_network_detach(const struct rt_network *network, const char *id)
{
	return network->saved ? run(network, "detach", id) : NULL;
}

bool rt_network_mac(const struct rt_network *network, uint8_t ret[6])
{
	_cleanup_json_ json_t *saved = network->saved ? json_loads(network->saved, 0, NULL) : NULL;
	const char *text = json_string_value(json_object_get(saved, "mac"));

	return text && sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &ret[0], &ret[1], &ret[2], &ret[3], &ret[4], &ret[5]) == 6;
}

/* ---- connections that nobody has accepted ---- */

bool rt_network_answer_waits(const void *bytes, size_t size, bool *ret_end)
{
	size_t left = size;
	bool found = false;

	*ret_end = false;
	for (const struct nlmsghdr *header = bytes; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
		const struct inet_diag_msg *listener = NLMSG_DATA(header);

		if (header->nlmsg_type != TCPDIAG_GETSOCK || header->nlmsg_len < NLMSG_LENGTH(sizeof(*listener))) {
			*ret_end = true; /* NLMSG_DONE, or an error: then the dump will tell */
			break;
		}
		found = found || listener->idiag_rqueue > 0;
	}
	return found;
}

/* Asks for the TCP sockets in these states (a mask), and hands each answer to `take`. The old request, as it alone is for both families: the kernel walks the
 * connections of the whole machine for each, which takes milliseconds. */
static void ask(int fd, uint32_t states, void (*take)(const void *bytes, size_t size, bool *ret_end, void *userdata), void *userdata)
{
	const struct {
		struct nlmsghdr header;
		struct inet_diag_req request;
	} question = {
		.header = { .nlmsg_len = sizeof(question), .nlmsg_type = TCPDIAG_GETSOCK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.request = { .idiag_states = states },
	};
	_Alignas(struct nlmsghdr) char answer[ANSWER_ROOM];
	bool end = false;

	if (send(fd, &question, sizeof(question), 0) < 0)
		return;
	while (!end) { /* to its end, as the next question goes over the same socket */
		ssize_t size = recv(fd, answer, sizeof(answer), 0);

		if (size <= 0)
			return;
		take(answer, (size_t)size, &end, userdata);
	}
}

static void take_waiting(const void *bytes, size_t size, bool *ret_end, void *found)
{
	bool waits = rt_network_answer_waits(bytes, size, ret_end);

	*(bool *)found = *(bool *)found || waits;
}

/* Listening sockets alone: /proc/PID/net/tcp walks the connections of the whole machine, which takes milliseconds. */
bool rt_network_waits(int diag_fd)
{
	bool found = false;

	ask(diag_fd, 1u << TCP_STATE_LISTEN, take_waiting, &found);
	return found;
}

/* ---- connections that no file of anybody's has ---- */

unsigned rt_network_answer_unheld(const void *bytes, size_t size, bool *ret_end)
{
	size_t left = size;
	unsigned count = 0;

	*ret_end = false;
	for (const struct nlmsghdr *header = bytes; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
		const struct inet_diag_msg *socket = NLMSG_DATA(header);

		if (header->nlmsg_type != TCPDIAG_GETSOCK || header->nlmsg_len < NLMSG_LENGTH(sizeof(*socket))) {
			*ret_end = true;
			break;
		}
		/* Of one that is being closed: not all that it sent has been confirmed. */
		if (socket->idiag_inode == 0 && (socket->idiag_state == TCP_STATE_SYN_RECV || socket->idiag_wqueue > 0))
			count++;
	}
	return count;
}

static void take_unheld(const void *bytes, size_t size, bool *ret_end, void *count)
{
	*(unsigned *)count += rt_network_answer_unheld(bytes, size, ret_end);
}

static unsigned count_unheld(int diag_fd, uint32_t states)
{
	unsigned count = 0;

	ask(diag_fd, states, take_unheld, &count);
	return count;
}

/* Handshakes first: what has come through one has to be accepted. */
void rt_network_settle(int diag_fd, unsigned accept_us, unsigned handshake_us)
{
	for (unsigned waited = 0; waited < handshake_us && count_unheld(diag_fd, 1u << TCP_STATE_SYN_RECV) > 0; waited += DRAIN_STEP_US)
		usleep(DRAIN_STEP_US);
	for (unsigned waited = 0; waited < accept_us && rt_network_waits(diag_fd); waited += SETTLE_STEP_US)
		usleep(SETTLE_STEP_US);
}

/* The whole machine's, at no cost: mostly there is none. Where that can't be read, there may be. */
static bool may_have_orphans(void)
{
	_cleanup_free_ char *text = NULL;
	const char *number = NULL;

	rt_error_free(rt_read_file_at(AT_FDCWD, "/proc/net/sockstat", 4096, &text, NULL));
	number = text ? strstr(text, " orphan ") : NULL;
	return !number || atol(number + strlen(" orphan ")) != 0;
}

unsigned rt_network_drain(int diag_fd, unsigned us)
{
	const uint32_t closing = 1u << TCP_STATE_FIN_WAIT1 | 1u << TCP_STATE_CLOSING | 1u << TCP_STATE_LAST_ACK;
	unsigned left = 0;

	for (unsigned waited = 0; may_have_orphans() && (left = count_unheld(diag_fd, closing)) > 0 && waited < us; waited += DRAIN_STEP_US)
		usleep(DRAIN_STEP_US);
	return left;
}

struct rt_error *rt_network_open_diag(pid_t pid, int *ret)
{
	_cleanup_close_ int namespace_fd = -1;
	struct rt_error *err = rt_sys_open_namespace_of(pid, RT_NS_NETWORK, &namespace_fd);

	return err ? err : rt_sys_socket_in(namespace_fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG, ret);
}

/* ---- off and on ---- */

struct rt_error *rt_network_attach(const struct rt_network *network, const char *id)
{
	return network->saved ? run(network, "attach", id) : NULL;
}

struct rt_error *rt_network_announce(const struct rt_network *network, const char *id)
{
	return network->saved ? run(network, "announce", id) : NULL;
}

struct rt_error *rt_network_release(const struct rt_network *network, const char *id)
{
	return run(network, "release", id);
}

/* Its standard output, where it succeeds. */
struct rt_error *rt_network_save(struct rt_network *network, const char *id)
{
	const char *argv[WORDS];
	_cleanup_close_ int out = -1;
	struct rt_error *err;
	int status;
	pid_t pid;

	if (!network->program)
		return NULL;
	fill_words(network, "save", id, argv);
	err = rt_fork_with_pipe(RT_PIPE_FROM_CHILD, &pid, &out);
	if (err)
		return err;
	if (pid == 0) {
		rt_signals_reset();
		dup2(out, STDOUT_FILENO);
		execv(network->program, (char *const *)argv);
		_exit(127);
	}
	err = rt_read_all(out, SAVED_MAX, &network->saved, NULL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!err && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		err = rt_fail(RT_SYSTEM, "'%s save %s' failed: its network can't move along", network->program, id);
	return err;
}

struct rt_error *rt_network_put_into(const char *saved, char **config, size_t *size)
{
	_cleanup_json_ json_t *network = json_loads(saved, 0, NULL);
	_cleanup_json_ json_t *document = json_loadb(*config, *size, 0, NULL);
	_cleanup_free_ char *value = NULL;
	json_t *annotations = json_object_get(document, "annotations");
	char *text;

	if (!json_is_object(network))
		return rt_fail(RT_PEER, "the source's network is no JSON object");
	if (!json_is_object(document))
		return rt_fail(RT_CONFIG, "the configuration is no JSON object");
	if (!json_is_object(annotations)) {
		annotations = json_object();
		if (json_object_set_new(document, "annotations", annotations) < 0)
			return rt_error_oom();
	}
	if (json_object_set_new(network, "hold", json_true()) < 0)
		return rt_error_oom();
	value = json_dumps(network, JSON_COMPACT);
	if (!value || json_object_set_new(annotations, RT_NETNS_ANNOTATION, json_string(value)) < 0)
		return rt_error_oom();
	text = json_dumps(document, JSON_INDENT(1));
	if (!text)
		return rt_error_oom();
	free(*config);
	*config = text;
	*size = strlen(text);
	return NULL;
}
