#include "checkpoint/netlock.h"

#include "checkpoint/nft.h"
#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

#define TABLE_PREFIX "CRIU-"
/* SOCCR_MARK, soccr/soccr.h */
#define CRIU_MARK 0xc114u
#define OWN_TABLE "rt-lock"
#define TAKEN_PREFIX OWN_TABLE "-"
#define DOOR_TABLE "rt-door"
#define DOOR_CHAIN "input"
/* Less of a run id would not tell two CRIUs apart. */
#define RUN_ID_LEAST 8
#define RUN_ID_MAX 63
#define LOG_HEAD (64u << 10)
#define MOST_TABLES 32
#define ANSWER_ROOM (32u << 10)

struct tables {
	char names[MOST_TABLES][NFT_NAME_MAXLEN];
	size_t count;
};

/* The log of a huge dump is read as far as its head. */
static struct rt_error *read_head(int work_dir_fd, const char *name, char **ret)
{
	_cleanup_close_ int fd = openat(work_dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *text = malloc(LOG_HEAD + 1);
	ssize_t got;

	if (!text)
		return rt_error_oom();
	text[0] = '\0';
	if (fd < 0 && errno != ENOENT)
		return rt_fail_errno("cannot open criu's log '%s'", name);
	got = fd < 0 ? 0 : pread(fd, text, LOG_HEAD, 0);
	if (got < 0)
		return rt_fail_errno("cannot read criu's log '%s'", name);
	text[got] = '\0';
	*ret = rt_take_ptr(text);
	return NULL;
}

struct rt_error *rt_netlock_run_ids(int work_dir_fd, const char *log_name, char **ret)
{
	static const char mark[] = "CRIU run id = ";
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = read_head(work_dir_fd, log_name, &text);
	char *ids;
	size_t used = 0;

	if (err)
		return err;
	ids = calloc(1, strlen(text) + 1);
	if (!ids)
		return rt_error_oom();
	for (const char *at = text; (at = strstr(at, mark)); at++) {
		const char *id = at + strlen(mark);
		size_t length = strcspn(id, " \n");

		if (length < RUN_ID_LEAST || length > RUN_ID_MAX)
			continue;
		memcpy(ids + used, id, length);
		used += length;
		ids[used++] = ' ';
	}
	*ret = ids;
	return NULL;
}

static bool is_of(const char *name, const char *prefix, const char *run_ids)
{
	const char *id = run_ids;
	size_t length;

	if (!rt_str_starts(name, prefix))
		return false;
	name += strlen(prefix);
	length = strlen(name);
	while (length >= RUN_ID_LEAST && *id) {
		size_t whole = strcspn(id, " ");

		if (length <= whole && memcmp(id, name, length) == 0)
			return true;
		id += whole + strspn(id + whole, " ");
	}
	return false;
}

bool rt_netlock_is_of(const char *name, const char *run_ids)
{
	return is_of(name, TABLE_PREFIX, run_ids);
}

static struct rt_error *open_nfnetlink(int namespace_fd, int *ret)
{
	return rt_sys_socket_in(namespace_fd, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, ret);
}

static void take_table(const struct nlmsghdr *answer, const char *prefix, const char *run_ids, struct tables *tables)
{
	const struct nlattr *attribute = (const void *)((const char *)NLMSG_DATA(answer) + NLMSG_ALIGN(sizeof(struct nfgenmsg)));
	size_t left = NLMSG_PAYLOAD(answer, NLMSG_ALIGN(sizeof(struct nfgenmsg)));

	while (left >= NLA_HDRLEN && attribute->nla_len >= NLA_HDRLEN && attribute->nla_len <= left) {
		const char *name = (const char *)attribute + NLA_HDRLEN;
		size_t size = attribute->nla_len - NLA_HDRLEN, step = NLA_ALIGN(attribute->nla_len);

		if ((attribute->nla_type & NLA_TYPE_MASK) == NFTA_TABLE_NAME && size > 0 && size <= NFT_NAME_MAXLEN &&
		    name[size - 1] == '\0' && tables->count < MOST_TABLES && is_of(name, prefix, run_ids))
			memcpy(tables->names[tables->count++], name, size);
		if (step >= left)
			break;
		left -= step;
		attribute = (const void *)((const char *)attribute + step);
	}
}

static struct rt_error *list_tables(int socket, const char *prefix, const char *run_ids, struct tables *tables)
{
	_cleanup_free_ char *room = malloc(ANSWER_ROOM);
	struct rt_nft_batch request = { .used = 0 };

	if (!room)
		return rt_error_oom();
	rt_nft_begin(&request, NFT_MSG_GETTABLE, NLM_F_DUMP);
	rt_nft_end(&request, 0);
	if (send(socket, request.bytes, request.used, 0) < 0)
		return rt_fail_errno("cannot ask for tables");
	for (;;) {
		ssize_t got = recv(socket, room, ANSWER_ROOM, 0);
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot hear the kernel");
		for (const struct nlmsghdr *at = (void *)room; NLMSG_OK(at, (unsigned)left); at = NLMSG_NEXT(at, left)) {
			if (at->nlmsg_type == NLMSG_DONE)
				return NULL;
			if (at->nlmsg_type == NLMSG_ERROR) {
				int error = -((const struct nlmsgerr *)NLMSG_DATA(at))->error;

				return error == 0 || rt_nft_means_none(error) ? NULL : rt_fail_with(error, "cannot list tables");
			}
			take_table(at, prefix, run_ids, tables);
		}
	}
}

static void put_deletion(struct rt_nft_batch *batch, const char *name)
{
	size_t start = batch->used;

	rt_nft_begin(batch, NFT_MSG_DELTABLE, NLM_F_ACK);
	rt_nft_put_text(batch, NFTA_TABLE_NAME, name);
	rt_nft_end(batch, start);
}

static struct rt_error *delete_table(int socket, const char *name)
{
	struct rt_error *err;
	struct rt_nft_batch batch;
	int error;

	rt_nft_open(&batch);
	put_deletion(&batch, name);
	err = rt_nft_commit(socket, &batch, &error);
	if (!err && error && !rt_nft_means_none(error))
		err = rt_fail_with(error, "it refuses");
	return err ? rt_while(err, "removing table '%s'", name) : NULL;
}

static struct rt_error *commit(int namespace_fd, struct rt_nft_batch *batch, int *socket)
{
	struct rt_error *err = *socket < 0 ? open_nfnetlink(namespace_fd, socket) : NULL;
	int error = 0;

	if (!err)
		err = rt_nft_commit(*socket, batch, &error);
	if (!err && error)
		err = rt_fail_with(error, "the kernel refuses the rules (of nftables)");
	return err;
}

static struct rt_error *take_away(int namespace_fd, const char *table, int *socket)
{
	struct rt_error *err = *socket < 0 ? open_nfnetlink(namespace_fd, socket) : NULL;

	return err ? err : delete_table(*socket, table);
}

/* A rule at the end of a chain: its steps stand between the two. */
struct rule {
	size_t start, steps;
};

static struct rule begin_rule(struct rt_nft_batch *batch, const char *table, const char *chain, uint16_t flags)
{
	struct rule rule = { .start = batch->used };

	rt_nft_begin(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | flags);
	rt_nft_put_text(batch, NFTA_RULE_TABLE, table);
	rt_nft_put_text(batch, NFTA_RULE_CHAIN, chain);
	rule.steps = rt_nft_nest(batch, NFTA_RULE_EXPRESSIONS);
	return rule;
}

static void end_rule(struct rt_nft_batch *batch, struct rule rule)
{
	rt_nft_end_nest(batch, rule.steps);
	rt_nft_end(batch, rule.start);
}

/* CRIU brings connections that are closed on one side back by packets of its own, which it marks: to them its own lock is open, too. */
static void add_exception(struct rt_nft_batch *batch, const char *table, const char *chain, uint16_t flags)
{
	static const uint32_t mark = CRIU_MARK;
	struct rule rule = begin_rule(batch, table, chain, flags);

	rt_nft_load_meta(batch, NFT_META_MARK);
	rt_nft_compare(batch, NFT_CMP_EQ, &mark, sizeof(mark));
	rt_nft_decide(batch, NF_ACCEPT);
	end_rule(batch, rule);
}

/* `flags` of the last change. */
static void put_lock(struct rt_nft_batch *batch, const char *table, uint16_t flags)
{
	rt_nft_make_table(batch, table);
	rt_nft_add_chain(batch, table, "input", NF_INET_LOCAL_IN, NF_DROP, 0);
	rt_nft_add_chain(batch, table, "output", NF_INET_LOCAL_OUT, NF_DROP, 0);
	add_exception(batch, table, "input", 0);
	add_exception(batch, table, "output", flags);
}

struct rt_error *rt_netlock_add_own(int namespace_fd, int *socket)
{
	struct rt_error *err;
	struct rt_nft_batch batch;

	rt_nft_open(&batch);
	put_lock(&batch, OWN_TABLE, NLM_F_ACK);
	err = commit(namespace_fd, &batch, socket);
	return err ? rt_while(err, "locking the network") : NULL;
}

struct rt_error *rt_netlock_remove_own(int namespace_fd, int *socket)
{
	struct rt_error *err = take_away(namespace_fd, OWN_TABLE, socket);

	return err ? rt_while(err, "unlocking the network") : NULL;
}

/* ---- the door ---- */

/* iif != lo, l4proto == tcp, flags & (syn | ack) == syn: drop */
static void add_door_rule(struct rt_nft_batch *batch)
{
	static const uint8_t tcp = IPPROTO_TCP, syn = TH_SYN;
	static const uint32_t loopback = 1; /* its index in every namespace */
	struct rule rule = begin_rule(batch, DOOR_TABLE, DOOR_CHAIN, NLM_F_ACK);

	rt_nft_load_meta(batch, NFT_META_IIF);
	rt_nft_compare(batch, NFT_CMP_NEQ, &loopback, sizeof(loopback));
	rt_nft_load_meta(batch, NFT_META_L4PROTO);
	rt_nft_compare(batch, NFT_CMP_EQ, &tcp, 1);
	rt_nft_load_tcp_flags(batch, TH_SYN | TH_ACK);
	rt_nft_compare(batch, NFT_CMP_EQ, &syn, 1);
	rt_nft_decide(batch, NF_DROP);
	end_rule(batch, rule);
}

struct rt_error *rt_netlock_close_door(int namespace_fd, int *socket)
{
	struct rt_error *err;
	struct rt_nft_batch batch;

	rt_nft_open(&batch);
	rt_nft_make_table(&batch, DOOR_TABLE);
	rt_nft_add_chain(&batch, DOOR_TABLE, DOOR_CHAIN, NF_INET_LOCAL_IN, NF_ACCEPT, 0);
	add_door_rule(&batch);
	err = commit(namespace_fd, &batch, socket);
	return err ? rt_while(err, "keeping new connections out") : NULL;
}

struct rt_error *rt_netlock_open_door(int namespace_fd, int *socket)
{
	struct rt_error *err = take_away(namespace_fd, DOOR_TABLE, socket);

	return err ? rt_while(err, "letting new connections in") : NULL;
}

static struct rt_error *find_tables(int namespace_fd, const char *prefix, const char *run_ids, int *socket, struct tables *tables)
{
	struct rt_error *err;

	tables->count = 0;
	if (!*run_ids)
		return NULL;
	err = open_nfnetlink(namespace_fd, socket);
	return err ? err : list_tables(*socket, prefix, run_ids, tables);
}

struct rt_error *rt_netlock_is_there(int namespace_fd, const char *run_ids, bool *ret)
{
	struct tables tables;
	_cleanup_close_ int socket = -1;
	struct rt_error *err = find_tables(namespace_fd, TABLE_PREFIX, run_ids, &socket, &tables);

	*ret = tables.count > 0;
	return err;
}

static struct rt_error *remove_tables(int namespace_fd, const char *prefix, const char *run_ids)
{
	struct tables tables;
	_cleanup_close_ int socket = -1;
	struct rt_error *err = find_tables(namespace_fd, prefix, run_ids, &socket, &tables);

	for (size_t i = 0; i < tables.count && !err; i++)
		err = delete_table(socket, tables.names[i]);
	return err ? rt_while(err, "unlocking the network") : NULL;
}

struct rt_error *rt_netlock_remove(int namespace_fd, const char *run_ids)
{
	return remove_tables(namespace_fd, TABLE_PREFIX, run_ids);
}

struct rt_error *rt_netlock_take_over(int namespace_fd, const char *run_ids)
{
	char name[sizeof(TAKEN_PREFIX) + NFT_NAME_MAXLEN];
	struct tables tables;
	struct rt_nft_batch batch;
	_cleanup_close_ int socket = -1;
	struct rt_error *err = find_tables(namespace_fd, TABLE_PREFIX, run_ids, &socket, &tables);

	for (size_t i = 0; i < tables.count && !err; i++) {
		snprintf(name, sizeof(name), TAKEN_PREFIX "%s", tables.names[i] + strlen(TABLE_PREFIX));
		rt_nft_open(&batch);
		put_lock(&batch, name, 0);
		put_deletion(&batch, tables.names[i]);
		err = commit(namespace_fd, &batch, &socket);
	}
	return err ? rt_while(err, "taking over the lock of the network") : NULL;
}

struct rt_error *rt_netlock_let_go(int namespace_fd, const char *run_ids)
{
	return remove_tables(namespace_fd, TAKEN_PREFIX, run_ids);
}

static int enter_network(void *userdata)
{
	struct rt_error *err = rt_sys_setns(*(const int *)userdata, CLONE_NEWNET);

	rt_error_free(err);
	return err != NULL;
}

struct rt_error *rt_netlock_remove_iptables(int namespace_fd)
{
	/* Each of its own: the chain may be there without its jumps, if CRIU died between the two. */
	static const char *const scripts[] = {
		"*filter\n-D INPUT -j CRIU\nCOMMIT\n", "*filter\n-D OUTPUT -j CRIU\nCOMMIT\n", "*filter\n-F CRIU\n-X CRIU\nCOMMIT\n",
	};
	static const char *const programs[] = { "iptables-restore", "ip6tables-restore" };

	for (size_t program = 0; program < RT_ARRAY_SIZE(programs); program++) {
		for (size_t i = 0; i < RT_ARRAY_SIZE(scripts); i++) {
			const char *const argv[] = { programs[program], "-w", "--noflush", NULL };

			/* What is not there cannot be deleted, which is no failure here. */
			rt_error_free(rt_run_program(&(struct rt_run_options){
				.path = programs[program], .argv = argv, .envp = rt_plain_environment, .input = scripts[i],
				.input_size = strlen(scripts[i]), .timeout_ms = 5000, .before_exec = enter_network, .userdata = &namespace_fd,
			}));
		}
	}
	return NULL;
}
