#include "runtime/netns/nftables.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <string.h>
#include <sys/socket.h>

/* The interface that nftables/libnftables.h of the build describes. */
#define LIBRARY "libnftables.so.1"
#define ROOM 8192

struct library {
	struct nft_ctx *(*ctx_new)(uint32_t flags);
	void (*ctx_free)(struct nft_ctx *context);
	int (*buffer_output)(struct nft_ctx *context);
	int (*buffer_error)(struct nft_ctx *context);
	const char *(*error_buffer)(struct nft_ctx *context);
	int (*run)(struct nft_ctx *context, const char *commands);
};

/* It stays open: nothing is gained by closing it in a program that ends soon. */
static struct rt_error *open_library(struct library *ret)
{
	const struct {
		const char *name;
		void **function;
	} wanted[] = {
		{ "nft_ctx_new", (void **)&ret->ctx_new }, { "nft_ctx_free", (void **)&ret->ctx_free },
		{ "nft_ctx_buffer_output", (void **)&ret->buffer_output }, { "nft_ctx_buffer_error", (void **)&ret->buffer_error },
		{ "nft_ctx_get_error_buffer", (void **)&ret->error_buffer }, { "nft_run_cmd_from_buffer", (void **)&ret->run },
	};
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return rt_fail(RT_SYSTEM, "cannot load " LIBRARY ", which rules of nftables need: %s", dlerror());
	for (size_t i = 0; i < RT_ARRAY_SIZE(wanted); i++) {
		*wanted[i].function = dlsym(library, wanted[i].name);
		if (!*wanted[i].function)
			return rt_fail(RT_SYSTEM, LIBRARY " has no %s()", wanted[i].name);
	}
	return NULL;
}

struct rt_error *rt_nftables_run(const char *commands)
{
	struct library nft;
	struct rt_error *err = open_library(&nft);
	struct nft_ctx *context;

	if (err)
		return err;
	context = nft.ctx_new(NFT_CTX_DEFAULT);
	if (!context)
		return rt_error_oom();
	if (nft.buffer_output(context) != 0 || nft.buffer_error(context) != 0) {
		err = rt_error_oom();
	} else if (nft.run(context, commands) != 0) {
		const char *text = nft.error_buffer(context);

		/* The first line says it; the others quote the commands. */
		err = rt_fail(RT_SYSTEM, "nftables refused: %.*s", (int)strcspn(text, "\n"), text);
	}
	nft.ctx_free(context);
	return err;
}

static int note_answer(const struct nlmsghdr *answer, void *found)
{
	(void)answer;
	*(bool *)found = true;
	return MNL_CB_OK;
}

bool rt_nftables_has_chain(uint8_t family, const char *table, const char *chain)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	_Alignas(MNL_ALIGNTO) char room[ROOM];
	struct nlmsghdr *request = mnl_nlmsg_put_header(room);
	struct nfgenmsg *about;
	bool found = false;
	ssize_t got;

	if (!socket)
		return false;
	request->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	about = mnl_nlmsg_put_extra_header(request, sizeof(*about));
	about->nfgen_family = family;
	about->version = NFNETLINK_V0;
	mnl_attr_put_strz(request, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(request, NFTA_CHAIN_NAME, chain);
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 && mnl_socket_sendto(socket, request, request->nlmsg_len) >= 0) {
		got = mnl_socket_recvfrom(socket, room, sizeof(room));
		if (got > 0)
			mnl_cb_run(room, (size_t)got, 0, 0, note_answer, &found);
	}
	mnl_socket_close(socket);
	return found;
}
