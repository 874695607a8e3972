#include "checkpoint/inside.h"

#include "checkpoint/image_change.h"
#include "checkpoint/unmarked.h"
#include "checkpoint/unpack.h"
#include "proto/criu_images.pb-c.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/vfs.h>

#define INVENTORY "inventory.img"
/* criu/kerndat.c */
#define RUN "/run"
/* CRIU counts its namespaces from 1. */
#define NO_NAMESPACE_OF_THE_CONTAINER (1u << 30)
/* criu/include/cr_options.h numbers the methods */
#define LOCK_NFTABLES 2u
#define LOCK_SKIP 3u

bool rt_inside_is_possible(const struct rt_criu_settings *settings, const struct rt_spec *spec)
{
	const struct rt_spec_namespace *network = &spec->namespaces[RT_NS_NETWORK];

	if (!network->wanted || network->path || settings->pre_dump || settings->page_server)
		return false;
	if (settings->lazy_pages && !settings->memory_elsewhere)
		return false;
	return !settings->network_lock || !rt_str_equal(settings->network_lock, "iptables");
}

static bool can_be_kept(void)
{
	struct statfs fs;

	return statfs(RUN, &fs) == 0 && fs.f_type == TMPFS_MAGIC; /* what is on a disk might be of another kernel */
}

bool rt_inside_make_quick(void)
{
	const struct rt_criu_options options = { .flags = RT_CRIU_QUIET };
	struct rt_criu_features features;
	struct rt_criu *criu = NULL;
	struct rt_error *err;

	if (access(RT_CRIU_KERNEL_CACHE, F_OK) == 0)
		return true;
	if (!can_be_kept())
		return false;
	err = rt_criu_start(&options, &criu);
	if (!err)
		err = rt_criu_features(criu, &features);
	rt_criu_close(criu);
	rt_error_free(err); /* whoever goes on without hears it from a criu that does more */
	return access(RT_CRIU_KERNEL_CACHE, F_OK) == 0;
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

/* By the numbers of namespaces a restore tells which ones the container has for itself: those that its init has and CRIU had not. */
static struct rt_error *correct(ProtobufCMessage *message, const void *userdata, bool *changed)
{
	Img__Inventory *inventory = (Img__Inventory *)message;
	const bool locked = *(const bool *)userdata;

	if (!inventory->root_ids || !inventory->root_ids->has_net_ns_id)
		return rt_fail(RT_CRIU, "it does not say in which network namespace criu was");
	inventory->root_ids->net_ns_id = NO_NAMESPACE_OF_THE_CONTAINER;
	/* A restore locks the network as it was locked at the dump. */
	if (locked) {
		inventory->has_network_lock = 1;
		inventory->network_lock = LOCK_NFTABLES;
	}
	*changed = true;
	return NULL;
}

struct rt_error *rt_inside_correct(int image_fd, bool locked)
{
	return rt_image_change(image_fd, INVENTORY, RT_IMAGE_INVENTORY, correct, &locked);
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

static struct rt_error *join(ProtobufCMessage *message, const void *userdata, bool *changed)
{
	Img__Inventory *inventory = (Img__Inventory *)message;

	if (!inventory->root_ids)
		return rt_fail(RT_CRIU, "it does not say in which namespaces criu was");
	inventory->root_ids->has_net_ns_id = 1;
	inventory->root_ids->net_ns_id = *(const uint32_t *)userdata;
	inventory->has_network_lock = 1;
	inventory->network_lock = LOCK_SKIP;
	*changed = true;
	return NULL;
}

struct rt_error *rt_inside_join(int image_fd)
{
	uint32_t network = 0;
	struct rt_error *err = find_network(image_fd, &network);

	return err ? err : rt_image_change(image_fd, INVENTORY, RT_IMAGE_INVENTORY, join, &network);
}
