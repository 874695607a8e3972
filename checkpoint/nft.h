/* Messages to nf_tables in the kernel, for the few rules that are made while a container is frozen: no library, whose start alone would take longer than they do.
 *
 * A batch is a row of messages, all of which count or none: rt_nft_open(), changes, rt_nft_commit(). Room is for some ten of them; what is too much is a bug. */
#pragma once

#include "runtime/base/error.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdint.h>

struct rt_nft_batch {
	_Alignas(NLMSG_ALIGNTO) char bytes[2048];
	size_t used;
};

void rt_nft_open(struct rt_nft_batch *batch);
/* The last change must have asked for an answer (NLM_F_ACK). *ret_error: what the kernel has against the batch, an errno. */
struct rt_error *rt_nft_commit(int socket, struct rt_nft_batch *batch, int *ret_error) _must_check_;
/* A kernel without nf_tables has no tables. */
bool rt_nft_means_none(int error);

/* One message, NFT_MSG_*, on a table of family inet: between its begin and its end, for which `start` is what `used` was before. */
void rt_nft_begin(struct rt_nft_batch *batch, int type, uint16_t flags);
void rt_nft_put_text(struct rt_nft_batch *batch, int type, const char *text);
void rt_nft_put_number(struct rt_nft_batch *batch, int type, uint32_t number);
size_t rt_nft_nest(struct rt_nft_batch *batch, int type);
void rt_nft_end_nest(struct rt_nft_batch *batch, size_t start);
void rt_nft_end(struct rt_nft_batch *batch, size_t start);

/* An empty table, whatever was there of this name (somebody may have been killed before it was taken away). A chain is a base chain of type filter at NF_INET_*, priority 0. */
void rt_nft_make_table(struct rt_nft_batch *batch, const char *name);
void rt_nft_add_chain(struct rt_nft_batch *batch, const char *table, const char *name, uint32_t hook, uint32_t policy, uint16_t flags);

/* Steps of a rule, within its NFTA_RULE_EXPRESSIONS. What is loaded the next one compares. */
void rt_nft_load_meta(struct rt_nft_batch *batch, uint32_t key); /* NFT_META_* */
void rt_nft_load_tcp_flags(struct rt_nft_batch *batch, uint8_t mask); /* RFC 9293, 3.1 */
void rt_nft_compare(struct rt_nft_batch *batch, uint32_t operation, const void *value, size_t size); /* NFT_CMP_* */
void rt_nft_decide(struct rt_nft_batch *batch, uint32_t code); /* NF_DROP, NF_ACCEPT */
