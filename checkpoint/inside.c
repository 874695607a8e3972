#include "checkpoint/inside.h"

#include "checkpoint/images.h"
#include "checkpoint/unpack.h"
#include "proto/criu_images.pb-c.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>

#define INVENTORY "inventory.img"
#define KERNEL_CACHE "/run/criu.kdat" /* criu/kerndat.c */
#define INVENTORY_LIMIT (1u << 20)
/* CRIU counts its namespaces from 1. */
#define NO_NAMESPACE_OF_THE_CONTAINER (1u << 30)
/* criu/include/cr_options.h numbers the methods */
#define LOCK_NFTABLES 2u
#define LOCK_SKIP 3u

/* What comes before the message: which image it is, and the message's length. */
struct head {
	uint32_t magic, size;
};

bool rt_inside_is_possible(const struct rt_criu_settings *settings, const struct rt_spec *spec)
{
	const struct rt_spec_namespace *network = &spec->namespaces[RT_NS_NETWORK];

	if (!network->wanted || network->path || settings->pre_dump || settings->page_server)
		return false;
	if (settings->lazy_pages && !settings->memory_elsewhere)
		return false;
	return !settings->network_lock || !rt_str_equal(settings->network_lock, "iptables");
}

bool rt_inside_is_quick(void)
{
	return access(KERNEL_CACHE, F_OK) == 0;
}

struct rt_error *rt_inside_start(int network_fd, const struct rt_criu_options *options, struct rt_criu **ret)
{
	_cleanup_close_ int own = -1;
	struct rt_error *err = rt_sys_open_namespace_of(0, RT_NS_NETWORK, &own), *second;

	if (!err)
		err = rt_sys_setns(network_fd, CLONE_NEWNET);
	if (err)
		return err;
	err = rt_criu_start(options, ret);
	second = rt_sys_setns(own, CLONE_NEWNET);
	if (!err)
		return second;
	rt_error_free(second);
	return err;
}

static struct rt_error *store(int image_fd, uint32_t magic, const Img__Inventory *inventory)
{
	_cleanup_free_ void *message = NULL;
	_cleanup_free_ char *bytes = NULL;
	_cleanup_close_ int fd = -1;
	struct head head = { .magic = magic };
	struct rt_error *err;
	size_t size;

	err = rt_pack(&inventory->base, &message, &size);
	if (err)
		return err;
	bytes = malloc(sizeof(head) + size);
	if (!bytes)
		return rt_error_oom();
	head.size = (uint32_t)size;
	memcpy(bytes, &head, sizeof(head));
	memcpy(bytes + sizeof(head), message, size);
	fd = openat(image_fd, INVENTORY, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open it");
	return rt_write_all(fd, bytes, sizeof(head) + size);
}

/* By the numbers of namespaces a restore tells which ones the container has for itself: those that its init has and CRIU had not. */
static struct rt_error *correct(Img__Inventory *inventory, const void *userdata)
{
	const bool locked = *(const bool *)userdata;

	if (!inventory->root_ids || !inventory->root_ids->has_net_ns_id)
		return rt_fail(RT_CRIU, "it does not say in which network namespace criu was");
	inventory->root_ids->net_ns_id = NO_NAMESPACE_OF_THE_CONTAINER;
	/* A restore locks the network as it was locked at the dump. */
	if (locked) {
		inventory->has_network_lock = 1;
		inventory->network_lock = LOCK_NFTABLES;
	}
	return NULL;
}

/* What both do with the inventory. */
typedef struct rt_error *(*change_fn)(Img__Inventory *inventory, const void *userdata);

static struct rt_error *change_inventory(int image_fd, change_fn change, const void *userdata)
{
	_cleanup_unpacked_ ProtobufCMessage *inventory = NULL;
	_cleanup_free_ char *bytes = NULL;
	struct rt_error *err;
	struct head head;
	size_t size;

	err = rt_read_file_at(image_fd, INVENTORY, INVENTORY_LIMIT, &bytes, &size);
	if (!err && size < sizeof(head))
		err = rt_fail(RT_CRIU, "it is too short");
	if (!err)
		err = rt_unpack(&img__inventory__descriptor, bytes + sizeof(head), size - sizeof(head), &inventory);
	if (!err)
		err = change((Img__Inventory *)inventory, userdata);
	if (!err) {
		memcpy(&head, bytes, sizeof(head));
		err = store(image_fd, head.magic, (Img__Inventory *)inventory);
	}
	return err ? rt_while(err, "correcting image '%s'", INVENTORY) : NULL;
}

struct rt_error *rt_inside_correct(int image_fd, bool locked)
{
	return change_inventory(image_fd, correct, &locked);
}

/* The number by which the images call the network namespace of init, the first of the tree. */
static struct rt_error *find_network(int image_fd, uint32_t *ret)
{
	_cleanup_unpacked_ ProtobufCMessage *init = NULL, *ids = NULL;
	_cleanup_image_ struct rt_image *tree = NULL;
	struct rt_error *err;
	char name[32];

	err = rt_image_open(image_fd, "pstree.img", RT_IMAGE_PSTREE, &tree);
	if (!err && tree)
		err = rt_image_next(tree, &init);
	if (!err && init) {
		snprintf(name, sizeof(name), "ids-%u.img", ((Img__Process *)init)->pid);
		err = rt_image_read_one(image_fd, name, RT_IMAGE_IDS, &ids);
	}
	if (err)
		return err;
	if (!ids || !((Img__KernelIds *)ids)->has_net_ns_id)
		return rt_fail(RT_CRIU, "the images do not say which network namespace is the container's");
	*ret = ((Img__KernelIds *)ids)->net_ns_id;
	return NULL;
}

static struct rt_error *join(Img__Inventory *inventory, const void *userdata)
{
	if (!inventory->root_ids)
		return rt_fail(RT_CRIU, "it does not say in which namespaces criu was");
	inventory->root_ids->has_net_ns_id = 1;
	inventory->root_ids->net_ns_id = *(const uint32_t *)userdata;
	inventory->has_network_lock = 1;
	inventory->network_lock = LOCK_SKIP;
	return NULL;
}

struct rt_error *rt_inside_join(int image_fd)
{
	uint32_t network = 0;
	struct rt_error *err = find_network(image_fd, &network);

	return err ? err : change_inventory(image_fd, join, &network);
}
