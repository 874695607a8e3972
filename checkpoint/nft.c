#include "checkpoint/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

/* All that follows until the next one is part of this message. */
static void begin(struct rt_nft_batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags };
	struct nfgenmsg rest = { .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource) };

	memcpy(batch->bytes + batch->used, &header, sizeof(header));
	memcpy(batch->bytes + batch->used + NLMSG_HDRLEN, &rest, sizeof(rest));
	batch->used += NLMSG_LENGTH(sizeof(rest));
}

void rt_nft_begin(struct rt_nft_batch *batch, int type, uint16_t flags)
{
	begin(batch, (uint16_t)((NFNL_SUBSYS_NFTABLES << 8) | type), flags, NFPROTO_INET, 0);
}

static void put(struct rt_nft_batch *batch, int type, const void *value, size_t size)
{
	struct nlattr attribute = { .nla_type = (uint16_t)type, .nla_len = (uint16_t)(NLA_HDRLEN + size) };

	memcpy(batch->bytes + batch->used, &attribute, sizeof(attribute));
	if (size > 0)
		memcpy(batch->bytes + batch->used + NLA_HDRLEN, value, size);
	batch->used += NLA_ALIGN(attribute.nla_len);
}

void rt_nft_put_text(struct rt_nft_batch *batch, int type, const char *text)
{
	put(batch, type, text, strlen(text) + 1);
}

void rt_nft_put_number(struct rt_nft_batch *batch, int type, uint32_t number)
{
	number = htonl(number);
	put(batch, type, &number, sizeof(number));
}

size_t rt_nft_nest(struct rt_nft_batch *batch, int type)
{
	size_t start = batch->used;

	put(batch, type | NLA_F_NESTED, NULL, 0);
	return start;
}

void rt_nft_end_nest(struct rt_nft_batch *batch, size_t start)
{
	struct nlattr *attribute = (void *)(batch->bytes + start);

	attribute->nla_len = (uint16_t)(batch->used - start);
}

void rt_nft_end(struct rt_nft_batch *batch, size_t start)
{
	struct nlmsghdr *header = (void *)(batch->bytes + start);

	header->nlmsg_len = (uint32_t)(batch->used - start);
}

bool rt_nft_means_none(int error)
{
	return error == EINVAL || error == EOPNOTSUPP || error == ENOENT || error == EPROTONOSUPPORT;
}

void rt_nft_open(struct rt_nft_batch *batch)
{
	*batch = (struct rt_nft_batch){ .used = 0 };
	begin(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	rt_nft_end(batch, 0);
}

struct rt_error *rt_nft_commit(int socket, struct rt_nft_batch *batch, int *ret_error)
{
	char answer[1024];
	size_t start = batch->used;
	ssize_t got;

	begin(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	rt_nft_end(batch, start);
	if (send(socket, batch->bytes, batch->used, 0) < 0)
		return rt_fail_errno("cannot speak to the kernel");
	do {
		got = recv(socket, answer, sizeof(answer), 0);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return rt_fail_errno("cannot hear the kernel");
	if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return rt_fail(RT_SYSTEM, "the kernel's answer is too short");
	*ret_error = 0;
	if (((struct nlmsghdr *)answer)->nlmsg_type == NLMSG_ERROR)
		*ret_error = -((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
	return NULL;
}

static void change_table(struct rt_nft_batch *batch, int type, uint16_t flags, const char *name)
{
	size_t start = batch->used;

	rt_nft_begin(batch, type, flags);
	rt_nft_put_text(batch, NFTA_TABLE_NAME, name);
	rt_nft_end(batch, start);
}

void rt_nft_make_table(struct rt_nft_batch *batch, const char *name)
{
	/* What is not there can't be deleted. */
	change_table(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, name);
	change_table(batch, NFT_MSG_DELTABLE, 0, name);
	change_table(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, name);
}

void rt_nft_add_chain(struct rt_nft_batch *batch, const char *table, const char *name, uint32_t hook, uint32_t policy, uint16_t flags)
{
	size_t start = batch->used, about;

	rt_nft_begin(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL | flags);
	rt_nft_put_text(batch, NFTA_CHAIN_TABLE, table);
	rt_nft_put_text(batch, NFTA_CHAIN_NAME, name);
	about = rt_nft_nest(batch, NFTA_CHAIN_HOOK);
	rt_nft_put_number(batch, NFTA_HOOK_HOOKNUM, hook);
	rt_nft_put_number(batch, NFTA_HOOK_PRIORITY, 0);
	rt_nft_end_nest(batch, about);
	rt_nft_put_number(batch, NFTA_CHAIN_POLICY, policy);
	rt_nft_put_text(batch, NFTA_CHAIN_TYPE, "filter");
	rt_nft_end(batch, start);
}

/* One step of a rule: end_step() after its attributes. */
struct step {
	size_t element, data;
};

static struct step begin_step(struct rt_nft_batch *batch, const char *name)
{
	struct step step = { .element = rt_nft_nest(batch, NFTA_LIST_ELEM) };

	rt_nft_put_text(batch, NFTA_EXPR_NAME, name);
	step.data = rt_nft_nest(batch, NFTA_EXPR_DATA);
	return step;
}

static void end_step(struct rt_nft_batch *batch, struct step step)
{
	rt_nft_end_nest(batch, step.data);
	rt_nft_end_nest(batch, step.element);
}

static void put_value(struct rt_nft_batch *batch, int type, const void *value, size_t size)
{
	size_t start = rt_nft_nest(batch, type);

	put(batch, NFTA_DATA_VALUE, value, size);
	rt_nft_end_nest(batch, start);
}

void rt_nft_load_meta(struct rt_nft_batch *batch, uint32_t key)
{
	struct step step = begin_step(batch, "meta");

	rt_nft_put_number(batch, NFTA_META_DREG, NFT_REG_1);
	rt_nft_put_number(batch, NFTA_META_KEY, key);
	end_step(batch, step);
}

void rt_nft_compare(struct rt_nft_batch *batch, uint32_t operation, const void *value, size_t size)
{
	struct step step = begin_step(batch, "cmp");

	rt_nft_put_number(batch, NFTA_CMP_SREG, NFT_REG_1);
	rt_nft_put_number(batch, NFTA_CMP_OP, operation);
	put_value(batch, NFTA_CMP_DATA, value, size);
	end_step(batch, step);
}

void rt_nft_load_tcp_flags(struct rt_nft_batch *batch, uint8_t mask)
{
	static const uint8_t zero = 0;
	struct step step = begin_step(batch, "payload");

	rt_nft_put_number(batch, NFTA_PAYLOAD_DREG, NFT_REG_1);
	rt_nft_put_number(batch, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	rt_nft_put_number(batch, NFTA_PAYLOAD_OFFSET, 13);
	rt_nft_put_number(batch, NFTA_PAYLOAD_LEN, 1);
	end_step(batch, step);
	step = begin_step(batch, "bitwise");
	rt_nft_put_number(batch, NFTA_BITWISE_SREG, NFT_REG_1);
	rt_nft_put_number(batch, NFTA_BITWISE_DREG, NFT_REG_1);
	rt_nft_put_number(batch, NFTA_BITWISE_LEN, 1);
	put_value(batch, NFTA_BITWISE_MASK, &mask, 1);
	put_value(batch, NFTA_BITWISE_XOR, &zero, 1);
	end_step(batch, step);
}

void rt_nft_decide(struct rt_nft_batch *batch, uint32_t code)
{
	struct step step = begin_step(batch, "immediate");
	size_t data, verdict;

	rt_nft_put_number(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = rt_nft_nest(batch, NFTA_IMMEDIATE_DATA);
	verdict = rt_nft_nest(batch, NFTA_DATA_VERDICT);
	rt_nft_put_number(batch, NFTA_VERDICT_CODE, code);
	rt_nft_end_nest(batch, verdict);
	rt_nft_end_nest(batch, data);
	end_step(batch, step);
}
