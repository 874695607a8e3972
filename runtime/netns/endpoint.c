#include "runtime/netns/endpoint.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/netns/allot.h"
#include "runtime/netns/announce.h"
#include "runtime/netns/filter.h"
#include "runtime/netns/nftables.h"
#include "runtime/netns/guard.h"
#include "runtime/netns/inside.h"
#include "runtime/netns/pool.h"
#include "runtime/sys/ns.h"

#include <sys/stat.h>

/* One making, from the look around to the last step. */
struct making {
	struct rt_store store;
	struct rt_link link; /* of the host */
	int namespace_fd; /* the container's */
	struct rt_record *records; /* all, the container's earlier one too */
	size_t count;
	struct rt_bridge bridge;
	struct rt_request request;
	struct rt_record record; /* what is being made */
	bool rules_remain; /* of an earlier life */
};

static void making_deinit(struct making *making)
{
	rt_link_close(&making->link);
	rt_closep(&making->namespace_fd);
	rt_freep(&making->records);
	rt_store_close(&making->store);
}

/* Opens the namespace and writes down which one it is. */
static struct rt_error *open_target(const struct rt_endpoint_target *target, struct rt_record *record, int *ret)
{
	char path[RT_RECORD_PATH_ROOM];
	struct stat theirs, ours;
	struct rt_error *err;

	if (target->path && strlen(target->path) >= sizeof(record->path))
		return rt_fail(RT_USAGE, "path '%s' is too long", target->path);
	snprintf(record->path, sizeof(record->path), "%s", target->path ? target->path : "");
	record->pid = target->pid;
	rt_record_namespace_path(record, path);
	err = rt_sys_open_namespace(path, RT_NS_NETWORK, ret);
	if (err && err->errnum == ENOENT && !target->path) {
		rt_error_free(err);
		return rt_fail(RT_NOT_FOUND, "there is no process %d", target->pid);
	}
	if (err)
		return err;
	if (fstat(*ret, &theirs) < 0 || stat("/proc/self/ns/net", &ours) < 0)
		return rt_fail_errno("cannot look at '%s'", path);
	if (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino)
		return rt_fail(RT_CONFIG, "it has no network namespace of its own: '%s' is the host's", path);
	record->device = theirs.st_dev;
	record->inode = theirs.st_ino;
	return NULL;
}

bool rt_endpoint_is_alive(const struct rt_record *record)
{
	char path[RT_RECORD_PATH_ROOM];
	struct stat now;

	rt_record_namespace_path(record, path);
	return stat(path, &now) == 0 && now.st_dev == record->device && now.st_ino == record->inode;
}

static struct rt_error *open_namespace(const struct rt_record *record, int *ret)
{
	char path[RT_RECORD_PATH_ROOM];

	if (!rt_endpoint_is_alive(record))
		return rt_fail(RT_WRONG_STATE, "its network namespace is gone");
	rt_record_namespace_path(record, path);
	return rt_sys_open_namespace(path, RT_NS_NETWORK, ret);
}

static struct rt_record *find_record(const struct making *making, const char *id)
{
	for (size_t i = 0; i < making->count; i++)
		if (rt_str_equal(making->records[i].id, id))
			return &making->records[i];
	return NULL;
}

/* Made for the namespace before the process was there, or for another in it. */
static struct rt_error *note_whereabouts(const struct making *making, const struct rt_record *earlier)
{
	struct rt_record record = *earlier;

	if (record.pid == making->record.pid && rt_str_equal(record.path, making->record.path))
		return NULL;
	record.pid = making->record.pid;
	snprintf(record.path, sizeof(record.path), "%s", making->record.path);
	return rt_store_save(&making->store, &record);
}

/* What an earlier making of this id means. *ret_done: there is nothing left to do. */
static struct rt_error *meet_earlier(struct making *making, unsigned flags, bool *ret_done)
{
	const struct rt_record *earlier = find_record(making, making->record.id);
	bool whole, same;

	if (!earlier)
		return NULL;
	/* The kernel gives a namespace's number to the next one: alone it proves nothing. */
	whole = earlier->phase != RT_RECORD_MAKING && rt_endpoint_is_alive(earlier);
	same = whole && earlier->device == making->record.device && earlier->inode == making->record.inode;
	*ret_done = same && flags & RT_ENDPOINT_AGAIN;
	if (*ret_done)
		return note_whereabouts(making, earlier);
	if (same)
		return rt_fail(RT_EXISTS, "it has a network already");
	if (whole)
		return rt_fail(RT_EXISTS, "there is a network of this id already, of a container with process %d", earlier->pid);
	rt_request_keep(&making->request, &earlier->network);
	making->rules_remain = rt_filter_is_needed(earlier);
	return NULL;
}

/* All rules, as if the record `without` (may be NULL) were not there. */
static struct rt_error *write_filter(const struct rt_store *store, const char *without)
{
	_cleanup_free_ struct rt_record *records = NULL;
	_cleanup_free_ char *commands = NULL;
	char table[RT_FILTER_NAME_ROOM];
	struct rt_error *err;
	size_t count, kept = 0;

	err = rt_store_list(store, &records, &count);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		if (!without || !rt_str_equal(records[i].id, without))
			records[kept++] = records[i];
	rt_filter_name(store->path, table);
	err = rt_filter_text(table, records, kept, &commands);
	return err ? err : rt_nftables_run(commands);
}

static struct rt_error *delete_veth(struct rt_link *link, const char *name)
{
	struct rt_link_device device;
	bool found;
	struct rt_error *err = rt_link_find(link, name, &device, &found);

	if (!err && found)
		err = rt_link_delete(link, device.index);
	return err ? rt_while(err, "removing veth '%s'", name) : NULL;
}

/* Where the namespace outlives the container. */
static void lower_guard(const struct rt_record *record)
{
	_cleanup_close_ int namespace_fd = -1;
	struct rt_error *err;

	if (!rt_endpoint_is_alive(record))
		return;
	err = open_namespace(record, &namespace_fd);
	rt_warn_ignored(err ? err : rt_guard_lower(namespace_fd));
}

/* Everything of it, whole or half: what does not exist is passed over. The record goes last. */
static struct rt_error *undo(const struct rt_store *store, struct rt_link *link, const struct rt_record *record)
{
	_cleanup_free_ struct rt_record *records = NULL;
	struct rt_error *err;
	size_t count;

	err = delete_veth(link, record->host_ifname);
	if (record->guarded)
		lower_guard(record);
	if (!err && rt_filter_is_needed(record))
		err = write_filter(store, record->id);
	if (!err)
		err = rt_store_list(store, &records, &count);
	if (!err && *record->network.bridge)
		err = rt_bridge_leave(store, link, record->network.bridge, records, count, record->id);
	return err ? err : rt_store_remove(store, record->id);
}

static struct rt_error *join(struct rt_link *link, const struct rt_record *record, unsigned flags)
{
	struct rt_link_device bridge, veth;
	bool bridge_found, found;
	struct rt_error *err = rt_link_find(link, record->network.bridge, &bridge, &bridge_found);

	if (!err)
		err = rt_link_find(link, record->host_ifname, &veth, &found);
	if (err)
		return err;
	if (!found)
		return rt_fail(RT_WRONG_STATE, "its device '%s' is gone", record->host_ifname);
	if (!bridge_found)
		return rt_fail(RT_WRONG_STATE, "bridge '%s' is gone", record->network.bridge);
	err = rt_link_join(link, veth.index, bridge.index);
	if (!err)
		err = rt_link_learning(link, veth.index, !(flags & RT_ENDPOINT_QUIETLY));
	if (!err && record->network.port_count)
		err = rt_link_hairpin(link, veth.index);
	return err ? rt_while(err, "making '%s' a port of bridge '%s'", veth.name, bridge.name) : NULL;
}

/* Both ends, the host's up but not on the bridge: what the container sends ends there, as the host has no address on it. So nothing has
 * to be waited for when it joins. */
static struct rt_error *make_veth(struct making *making)
{
	const struct rt_network *network = &making->record.network;
	const char *name = making->record.host_ifname;
	const struct rt_link_veth veth = { .name = name, .mac = rt_pool_port_mac(name), .peer_name = network->ifname,
					   .peer_namespace = making->namespace_fd, .peer_mac = network->mac, .mtu = network->mtu };
	struct rt_link_device device;
	struct rt_error *err;
	bool found = false;

	err = rt_link_add_veth(&making->link, &veth);
	if (!err)
		err = rt_link_find(&making->link, veth.name, &device, &found);
	if (!err && !found)
		err = rt_fail(RT_SYSTEM, "veth '%s' vanished", veth.name);
	if (!err)
		err = rt_link_without_addresses(&making->link, device.index);
	return err ? err : rt_link_up(&making->link, device.index);
}

static struct rt_error *build(struct making *making)
{
	const struct rt_network *network = &making->record.network;
	struct rt_error *err;

	/* Of an earlier life of the container, or half of one. */
	err = delete_veth(&making->link, making->record.host_ifname);
	if (!err)
		err = rt_bridge_prepare(&making->store, &making->link, network, &making->bridge);
	if (!err)
		err = rt_inside_is_free(making->namespace_fd, network->ifname);
	if (!err)
		err = make_veth(making);
	if (!err)
		err = rt_inside_configure(making->namespace_fd, network);
	if (!err && (rt_filter_is_needed(&making->record) || making->rules_remain))
		err = write_filter(&making->store, NULL);
	if (!err && making->record.guarded)
		rt_warn_ignored(rt_guard_raise(making->namespace_fd, network->ifname));
	/* Last, as from here on it is seen. */
	if (!err && !making->request.hold)
		err = join(&making->link, &making->record, 0);
	if (err)
		return err;
	making->record.phase = making->request.hold ? RT_RECORD_HELD : RT_RECORD_UP;
	return rt_store_save(&making->store, &making->record);
}

/* The record is about to be replaced, and with it what we know of another bridge. */
static struct rt_error *leave_earlier_bridge(struct making *making)
{
	const struct rt_record *earlier = find_record(making, making->record.id);

	if (!earlier || rt_str_equal(earlier->network.bridge, making->request.network.bridge))
		return NULL;
	return undo(&making->store, &making->link, earlier);
}

static struct rt_error *allot(struct making *making)
{
	const struct rt_allotment allotment = { .store = &making->store, .link = &making->link, .records = making->records,
						.count = making->count, .id = making->record.id, .request = &making->request };

	/* Held back, nobody speaks to it before CRIU has locked it. */
	making->record.guarded = !making->request.hold && making->record.pid && rt_guard_is_needed(making->record.pid);
	return rt_allot(&allotment, &making->record.network, &making->bridge);
}

static struct rt_error *make(struct making *making, unsigned flags)
{
	struct rt_error *err;
	bool done = false;

	err = rt_store_list(&making->store, &making->records, &making->count);
	if (!err)
		err = meet_earlier(making, flags, &done);
	if (err || done)
		return err;
	err = rt_link_open(&making->link);
	if (!err)
		err = leave_earlier_bridge(making);
	if (!err)
		err = allot(making);
	if (!err)
		err = rt_store_save(&making->store, &making->record);
	if (err)
		return err;
	err = build(making);
	if (err) {
		rt_warn_ignored(undo(&making->store, &making->link, &making->record));
		return err;
	}
	if (!making->request.hold)
		rt_warn_ignored(rt_announce_send(making->namespace_fd, &making->record.network, 1));
	return NULL;
}

struct rt_error *rt_endpoint_make(const char *state_directory, const char *id, const struct rt_endpoint_target *target,
				  const struct rt_request *request, unsigned flags)
{
	_cleanup_(making_deinit) struct making making = { .store = RT_STORE_NULL, .namespace_fd = -1, .request = *request };
	struct rt_error *err = rt_record_id_check(id);

	if (err)
		return err;
	snprintf(making.record.id, sizeof(making.record.id), "%s", id);
	rt_record_host_ifname(state_directory, id, making.record.host_ifname);
	err = open_target(target, &making.record, &making.namespace_fd);
	if (!err)
		err = rt_store_open(state_directory, &making.store);
	if (!err)
		err = make(&making, flags);
	return err ? rt_while(err, "making the network of '%s'", id) : NULL;
}

struct rt_error *rt_endpoint_remove(const char *state_directory, const char *id, bool *ret_found)
{
	_cleanup_store_ struct rt_store store = RT_STORE_NULL;
	_cleanup_link_ struct rt_link link = RT_LINK_NULL;
	struct rt_record record = { .phase = RT_RECORD_MAKING };
	struct rt_error *err = rt_record_id_check(id);
	char catcher[IFNAMSIZ];

	if (!err)
		err = rt_store_open(state_directory, &store);
	if (err)
		return err;
	err = rt_store_load(&store, id, &record, ret_found);
	if (err) {
		/* Unreadable: what follows from the id alone, and all rules anew. */
		rt_warn_ignored(err);
		*ret_found = true;
		record = (struct rt_record){ .network.nat = true };
	}
	snprintf(record.id, sizeof(record.id), "%s", id);
	rt_record_host_ifname(state_directory, id, record.host_ifname);
	err = rt_link_open(&link);
	/* Of a catcher that was killed. */
	rt_record_catcher_ifname(state_directory, id, catcher);
	if (!err)
		err = delete_veth(&link, catcher);
	if (!err)
		err = undo(&store, &link, &record);
	return err ? rt_while(err, "removing the network of '%s'", id) : NULL;
}

struct rt_error *rt_endpoint_load(const char *state_directory, const char *id, struct rt_record *ret)
{
	_cleanup_store_ struct rt_store store = RT_STORE_NULL;
	bool found = false;
	struct rt_error *err = rt_record_id_check(id);

	if (!err)
		err = rt_store_look(state_directory, &store);
	if (!err)
		err = rt_store_load(&store, id, ret, &found);
	if (!err && !found)
		err = rt_fail(RT_NOT_FOUND, "container '%s' has no network of ours", id);
	return err;
}

struct rt_error *rt_endpoint_announce(const char *state_directory, const char *id, unsigned times)
{
	_cleanup_close_ int namespace_fd = -1;
	struct rt_record record;
	struct rt_error *err = rt_endpoint_load(state_directory, id, &record);

	if (err)
		return err;
	if (record.phase != RT_RECORD_UP)
		err = rt_fail(RT_WRONG_STATE, "it is %s: nobody would hear it", rt_record_phase_name(record.phase));
	if (!err)
		err = open_namespace(&record, &namespace_fd);
	if (!err)
		err = rt_announce_send(namespace_fd, &record.network, times);
	return err ? rt_while(err, "announcing '%s'", id) : NULL;
}

/* Under the lock, a record that is whole. */
static struct rt_error *open_whole(const char *state_directory, const char *id, struct rt_store *store, struct rt_record *ret)
{
	bool found = false;
	struct rt_error *err = rt_record_id_check(id);

	if (!err)
		err = rt_store_open(state_directory, store);
	if (!err)
		err = rt_store_load(store, id, ret, &found);
	if (!err && !found)
		err = rt_fail(RT_NOT_FOUND, "container '%s' has no network of ours", id);
	if (!err && ret->phase == RT_RECORD_MAKING)
		err = rt_fail(RT_WRONG_STATE, "the network of '%s' is half made: remove it", id);
	return err;
}

struct rt_error *rt_endpoint_join(const char *state_directory, const char *id, unsigned flags)
{
	_cleanup_store_ struct rt_store store = RT_STORE_NULL;
	_cleanup_link_ struct rt_link link = RT_LINK_NULL;
	_cleanup_close_ int namespace_fd = -1;
	struct rt_record record;
	struct rt_error *err = open_whole(state_directory, id, &store, &record);

	if (err)
		return err;
	err = open_namespace(&record, &namespace_fd);
	if (!err)
		err = rt_link_open(&link);
	if (!err)
		err = join(&link, &record, flags);
	if (!err) {
		/* Somebody waits for it: the record can follow, as joining again does no harm. */
		if (!(flags & RT_ENDPOINT_QUIETLY))
			rt_warn_ignored(rt_announce_send(namespace_fd, &record.network, 1));
		record.phase = RT_RECORD_UP;
		err = rt_store_save(&store, &record);
	}
	return err ? rt_while(err, "joining '%s' to bridge '%s'", id, record.network.bridge) : NULL;
}

struct rt_error *rt_endpoint_detach(const char *state_directory, const char *id)
{
	_cleanup_store_ struct rt_store store = RT_STORE_NULL;
	_cleanup_link_ struct rt_link link = RT_LINK_NULL;
	struct rt_link_device veth;
	struct rt_record record;
	struct rt_error *err = open_whole(state_directory, id, &store, &record);
	bool found = false;

	if (err)
		return err;
	err = rt_link_open(&link);
	if (!err)
		err = rt_link_find(&link, record.host_ifname, &veth, &found);
	/* First the record: from the moment that it is off, what is sent to it is lost until somebody else takes it. `attach` mends either half. */
	if (!err) {
		record.phase = RT_RECORD_DETACHED;
		err = rt_store_save(&store, &record);
	}
	/* Gone with its namespace: as detached as can be. */
	if (!err && found)
		err = rt_link_join(&link, veth.index, 0);
	return err ? rt_while(err, "taking '%s' off bridge '%s'", id, record.network.bridge) : NULL;
}
