#include "checkpoint/netlock.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>

#define TABLE_PREFIX "CRIU-"
#define OWN_TABLE "rt-lock"
#define DOOR_TABLE "rt-door"
#define DOOR_CHAIN "input"
/* Less of a run id would not tell two CRIUs apart. */
#define RUN_ID_LEAST 8
#define RUN_ID_MAX 63
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define LOG_HEAD (64u << 10)
#define MOST_TABLES 32
#define ANSWER_ROOM (32u << 10)

struct tables {
	char names[MOST_TABLES][NFT_NAME_MAXLEN];
	size_t count;
};

/* Messages of nf_tables, one behind the other. */
struct batch {
	_Alignas(NLMSG_ALIGNTO) char bytes[2048];
	size_t used;
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

bool rt_netlock_is_of(const char *name, const char *run_ids)
{
	const char *id = run_ids;
	size_t length;

	if (!rt_str_starts(name, TABLE_PREFIX))
		return false;
	name += strlen(TABLE_PREFIX);
	length = strlen(name);
	while (length >= RUN_ID_LEAST && *id) {
		size_t whole = strcspn(id, " ");

		if (length <= whole && memcmp(id, name, length) == 0)
			return true;
		id += whole + strspn(id + whole, " ");
	}
	return false;
}

/* All that follows until the next one is part of this message. */
static void begin(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags };
	struct nfgenmsg rest = { .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource) };

	memcpy(batch->bytes + batch->used, &header, sizeof(header));
	memcpy(batch->bytes + batch->used + NLMSG_HDRLEN, &rest, sizeof(rest));
	batch->used += NLMSG_LENGTH(sizeof(rest));
}

static void begin_change(struct batch *batch, int type, uint16_t flags)
{
	begin(batch, (uint16_t)((NFNL_SUBSYS_NFTABLES << 8) | type), flags, NFPROTO_INET, 0);
}

static void put(struct batch *batch, int type, const void *value, size_t size)
{
	struct nlattr attribute = { .nla_type = (uint16_t)type, .nla_len = (uint16_t)(NLA_HDRLEN + size) };

	memcpy(batch->bytes + batch->used, &attribute, sizeof(attribute));
	if (size > 0)
		memcpy(batch->bytes + batch->used + NLA_HDRLEN, value, size);
	batch->used += NLA_ALIGN(attribute.nla_len);
}

static void put_text(struct batch *batch, int type, const char *text)
{
	put(batch, type, text, strlen(text) + 1);
}

static void put_number(struct batch *batch, int type, uint32_t number)
{
	number = htonl(number);
	put(batch, type, &number, sizeof(number));
}

static size_t nest(struct batch *batch, int type)
{
	size_t start = batch->used;

	put(batch, type | NLA_F_NESTED, NULL, 0);
	return start;
}

static void end_nest(struct batch *batch, size_t start)
{
	struct nlattr *attribute = (void *)(batch->bytes + start);

	attribute->nla_len = (uint16_t)(batch->used - start);
}

/* The length of the message that began at `start` is known. */
static void end(struct batch *batch, size_t start)
{
	struct nlmsghdr *header = (void *)(batch->bytes + start);

	header->nlmsg_len = (uint32_t)(batch->used - start);
}

static struct rt_error *open_nfnetlink(int namespace_fd, int *ret)
{
	return rt_sys_socket_in(namespace_fd, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, ret);
}

static void take_table(const struct nlmsghdr *answer, const char *run_ids, struct tables *tables)
{
	const struct nlattr *attribute = (const void *)((const char *)NLMSG_DATA(answer) + NLMSG_ALIGN(sizeof(struct nfgenmsg)));
	size_t left = NLMSG_PAYLOAD(answer, NLMSG_ALIGN(sizeof(struct nfgenmsg)));

	while (left >= NLA_HDRLEN && attribute->nla_len >= NLA_HDRLEN && attribute->nla_len <= left) {
		const char *name = (const char *)attribute + NLA_HDRLEN;
		size_t size = attribute->nla_len - NLA_HDRLEN, step = NLA_ALIGN(attribute->nla_len);

		if ((attribute->nla_type & NLA_TYPE_MASK) == NFTA_TABLE_NAME && size > 0 && size <= NFT_NAME_MAXLEN &&
		    name[size - 1] == '\0' && tables->count < MOST_TABLES && rt_netlock_is_of(name, run_ids))
			memcpy(tables->names[tables->count++], name, size);
		if (step >= left)
			break;
		left -= step;
		attribute = (const void *)((const char *)attribute + step);
	}
}

/* A kernel without nf_tables has no tables. */
static bool means_none(int error)
{
	return error == EINVAL || error == EOPNOTSUPP || error == ENOENT || error == EPROTONOSUPPORT;
}

static struct rt_error *list_tables(int socket, const char *run_ids, struct tables *tables)
{
	_cleanup_free_ char *room = malloc(ANSWER_ROOM);
	struct batch request = { .used = 0 };

	if (!room)
		return rt_error_oom();
	begin_change(&request, NFT_MSG_GETTABLE, NLM_F_DUMP);
	end(&request, 0);
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

				return error == 0 || means_none(error) ? NULL : rt_fail_with(error, "cannot list tables");
			}
			take_table(at, run_ids, tables);
		}
	}
}

static void open_batch(struct batch *batch)
{
	*batch = (struct batch){ .used = 0 };
	begin(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(batch, 0);
}

/* nf_tables takes changes as batches only, and all of one or none. *ret_error: what it has against this one. */
static struct rt_error *commit(int socket, struct batch *batch, int *ret_error)
{
	char answer[1024];
	size_t start = batch->used;
	ssize_t got;

	begin(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(batch, start);
	if (send(socket, batch->bytes, batch->used, 0) < 0)
		return rt_fail_errno("cannot speak to the kernel");
	do {
		got = recv(socket, answer, sizeof(answer), 0);
	} while (got < 0 && errno == EINTR);
	if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return rt_fail_errno("cannot hear the kernel");
	*ret_error = 0;
	if (((struct nlmsghdr *)answer)->nlmsg_type == NLMSG_ERROR)
		*ret_error = -((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
	return NULL;
}

static struct rt_error *delete_table(int socket, const char *name)
{
	struct rt_error *err;
	struct batch batch;
	size_t start;
	int error;

	open_batch(&batch);
	start = batch.used;
	begin_change(&batch, NFT_MSG_DELTABLE, NLM_F_ACK);
	put_text(&batch, NFTA_TABLE_NAME, name);
	end(&batch, start);
	err = commit(socket, &batch, &error);
	if (!err && error && !means_none(error))
		err = rt_fail_with(error, "it refuses");
	return err ? rt_while(err, "removing table '%s'", name) : NULL;
}

static void add_table(struct batch *batch, const char *name)
{
	size_t start = batch->used;

	begin_change(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	put_text(batch, NFTA_TABLE_NAME, name);
	end(batch, start);
}

static void add_chain(struct batch *batch, const char *table, const char *name, uint32_t hook, uint32_t policy, uint16_t flags)
{
	size_t start = batch->used, about;

	begin_change(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL | flags);
	put_text(batch, NFTA_CHAIN_TABLE, table);
	put_text(batch, NFTA_CHAIN_NAME, name);
	about = nest(batch, NFTA_CHAIN_HOOK);
	put_number(batch, NFTA_HOOK_HOOKNUM, hook);
	put_number(batch, NFTA_HOOK_PRIORITY, 0);
	end_nest(batch, about);
	put_number(batch, NFTA_CHAIN_POLICY, policy);
	put_text(batch, NFTA_CHAIN_TYPE, "filter");
	end(batch, start);
}

static struct rt_error *add(int namespace_fd, struct batch *batch)
{
	_cleanup_close_ int socket = -1;
	struct rt_error *err = open_nfnetlink(namespace_fd, &socket);
	int error = 0;

	if (!err)
		err = commit(socket, batch, &error);
	if (!err && error)
		err = rt_fail_with(error, "the kernel refuses the rules (of nftables)");
	return err;
}

static struct rt_error *take_away(int namespace_fd, const char *table)
{
	_cleanup_close_ int socket = -1;
	struct rt_error *err = open_nfnetlink(namespace_fd, &socket);

	return err ? err : delete_table(socket, table);
}

struct rt_error *rt_netlock_add_own(int namespace_fd)
{
	struct rt_error *err;
	struct batch batch;

	open_batch(&batch);
	add_table(&batch, OWN_TABLE);
	add_chain(&batch, OWN_TABLE, "input", NF_INET_LOCAL_IN, NF_DROP, 0);
	add_chain(&batch, OWN_TABLE, "output", NF_INET_LOCAL_OUT, NF_DROP, NLM_F_ACK);
	err = add(namespace_fd, &batch);
	return err ? rt_while(err, "locking the network") : NULL;
}

struct rt_error *rt_netlock_remove_own(int namespace_fd)
{
	struct rt_error *err = take_away(namespace_fd, OWN_TABLE);

	return err ? rt_while(err, "unlocking the network") : NULL;
}

/* ---- the door ---- */

/* One step of a rule: end_step() after its attributes. */
struct step {
	size_t element, data;
};

static struct step begin_step(struct batch *batch, const char *name)
{
	struct step step = { .element = nest(batch, NFTA_LIST_ELEM) };

	put_text(batch, NFTA_EXPR_NAME, name);
	step.data = nest(batch, NFTA_EXPR_DATA);
	return step;
}

static void end_step(struct batch *batch, struct step step)
{
	end_nest(batch, step.data);
	end_nest(batch, step.element);
}

static void put_value(struct batch *batch, int type, const void *value, size_t size)
{
	size_t start = nest(batch, type);

	put(batch, NFTA_DATA_VALUE, value, size);
	end_nest(batch, start);
}

static void load_meta(struct batch *batch, uint32_t key)
{
	struct step step = begin_step(batch, "meta");

	put_number(batch, NFTA_META_DREG, NFT_REG_1);
	put_number(batch, NFTA_META_KEY, key);
	end_step(batch, step);
}

static void compare(struct batch *batch, uint32_t operation, const void *value, size_t size)
{
	struct step step = begin_step(batch, "cmp");

	put_number(batch, NFTA_CMP_SREG, NFT_REG_1);
	put_number(batch, NFTA_CMP_OP, operation);
	put_value(batch, NFTA_CMP_DATA, value, size);
	end_step(batch, step);
}

/* The byte with TCP's flags (RFC 9293, 3.1), of which two are looked at. */
static void load_flags(struct batch *batch)
{
	static const uint8_t mask = TCP_SYN | TCP_ACK, zero = 0;
	struct step step = begin_step(batch, "payload");

	put_number(batch, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_number(batch, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	put_number(batch, NFTA_PAYLOAD_OFFSET, 13);
	put_number(batch, NFTA_PAYLOAD_LEN, 1);
	end_step(batch, step);
	step = begin_step(batch, "bitwise");
	put_number(batch, NFTA_BITWISE_SREG, NFT_REG_1);
	put_number(batch, NFTA_BITWISE_DREG, NFT_REG_1);
	put_number(batch, NFTA_BITWISE_LEN, 1);
	put_value(batch, NFTA_BITWISE_MASK, &mask, 1);
	put_value(batch, NFTA_BITWISE_XOR, &zero, 1);
	end_step(batch, step);
}

static void drop(struct batch *batch)
{
	struct step step = begin_step(batch, "immediate");
	size_t data, verdict;

	put_number(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = nest(batch, NFTA_IMMEDIATE_DATA);
	verdict = nest(batch, NFTA_DATA_VERDICT);
	put_number(batch, NFTA_VERDICT_CODE, NF_DROP);
	end_nest(batch, verdict);
	end_nest(batch, data);
	end_step(batch, step);
}

/* iif != lo, l4proto == tcp, flags & (syn | ack) == syn: drop */
static void add_door_rule(struct batch *batch)
{
	static const uint8_t tcp = IPPROTO_TCP, syn = TCP_SYN;
	static const uint32_t loopback = 1; /* its index in every namespace */
	size_t start = batch->used, steps;

	begin_change(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK);
	put_text(batch, NFTA_RULE_TABLE, DOOR_TABLE);
	put_text(batch, NFTA_RULE_CHAIN, DOOR_CHAIN);
	steps = nest(batch, NFTA_RULE_EXPRESSIONS);
	load_meta(batch, NFT_META_IIF);
	compare(batch, NFT_CMP_NEQ, &loopback, sizeof(loopback));
	load_meta(batch, NFT_META_L4PROTO);
	compare(batch, NFT_CMP_EQ, &tcp, 1);
	load_flags(batch);
	compare(batch, NFT_CMP_EQ, &syn, 1);
	drop(batch);
	end_nest(batch, steps);
	end(batch, start);
}

struct rt_error *rt_netlock_close_door(int namespace_fd)
{
	struct rt_error *err;
	struct batch batch;

	open_batch(&batch);
	add_table(&batch, DOOR_TABLE);
	add_chain(&batch, DOOR_TABLE, DOOR_CHAIN, NF_INET_LOCAL_IN, NF_ACCEPT, 0);
	add_door_rule(&batch);
	err = add(namespace_fd, &batch);
	return err ? rt_while(err, "keeping new connections out") : NULL;
}

struct rt_error *rt_netlock_open_door(int namespace_fd)
{
	struct rt_error *err = take_away(namespace_fd, DOOR_TABLE);

	return err ? rt_while(err, "letting new connections in") : NULL;
}

struct rt_error *rt_netlock_is_there(int namespace_fd, const char *run_ids, bool *ret)
{
	struct tables tables = { .count = 0 };
	_cleanup_close_ int socket = -1;
	struct rt_error *err = open_nfnetlink(namespace_fd, &socket);

	if (!err)
		err = list_tables(socket, run_ids, &tables);
	*ret = tables.count > 0;
	return err;
}

struct rt_error *rt_netlock_remove(int namespace_fd, const char *run_ids)
{
	struct tables tables = { .count = 0 };
	_cleanup_close_ int socket = -1;
	struct rt_error *err;

	if (!*run_ids)
		return NULL;
	err = open_nfnetlink(namespace_fd, &socket);
	if (!err)
		err = list_tables(socket, run_ids, &tables);
	for (size_t i = 0; i < tables.count && !err; i++)
		err = delete_table(socket, tables.names[i]);
	return err ? rt_while(err, "unlocking the network") : NULL;
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
	static const char *const environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };

	for (size_t program = 0; program < RT_ARRAY_SIZE(programs); program++) {
		for (size_t i = 0; i < RT_ARRAY_SIZE(scripts); i++) {
			const char *const argv[] = { programs[program], "-w", "--noflush", NULL };

			/* What is not there cannot be deleted, which is no failure here. */
			rt_error_free(rt_run_program(&(struct rt_run_options){
				.path = programs[program], .argv = argv, .envp = environment, .input = scripts[i],
				.input_size = strlen(scripts[i]), .timeout_ms = 5000, .before_exec = enter_network, .userdata = &namespace_fd,
			}));
		}
	}
	return NULL;
}
