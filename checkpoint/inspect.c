#include "checkpoint/inspect_private.h"

#include "checkpoint/cpu.h"
#include "checkpoint/manifest.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* ---- building the document ---- */

struct rt_error *rt_inspect_put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? rt_error_oom() : NULL;
}

struct rt_error *rt_inspect_add(json_t *array, json_t *value)
{
	return json_array_append_new(array, value) < 0 ? rt_error_oom() : NULL;
}

static json_t *number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

/* ---- from the manifest ---- */

static const char *stream_name(Rt__StreamKind kind)
{
	static const char *const names[] = {
		[RT__STREAM_KIND__STREAM_CLOSED] = "closed",	 [RT__STREAM_KIND__STREAM_NULL] = "null",
		[RT__STREAM_KIND__STREAM_PIPE] = "pipe",	 [RT__STREAM_KIND__STREAM_FILE] = "file",
		[RT__STREAM_KIND__STREAM_TERMINAL] = "terminal", [RT__STREAM_KIND__STREAM_SOCKET] = "socket",
		[RT__STREAM_KIND__STREAM_INSIDE] = "inside",	 [RT__STREAM_KIND__STREAM_OTHER] = "other",
	};

	return (unsigned)kind < RT_ARRAY_SIZE(names) ? names[kind] : "other";
}

static const char *namespace_name(Rt__NamespaceKind kind)
{
	static const char *const names[] = { "unknown", "user", "mount",  "pid", "network",
					     "ipc",	"uts",	"cgroup", "time" };

	return (unsigned)kind < RT_ARRAY_SIZE(names) ? names[kind] : "unknown";
}

static struct rt_error *add_streams(json_t *container, const Rt__Container *from)
{
	json_t *list = json_array();
	struct rt_error *err = rt_inspect_put(container, "streams", list);

	for (size_t i = 0; !err && i < from->n_streams; i++) {
		const Rt__Stream *stream = from->streams[i];

		err = rt_inspect_add(list,
				     json_pack("{s:I,s:s,s:o}", "fd", (json_int_t)stream->fd, "kind",
					       stream_name(stream->kind), "path", rt_json_visible_string(stream->path)));
	}
	return err;
}

static struct rt_error *add_namespaces(json_t *document, const Rt__Container *from)
{
	static const char *const origins[] = { "host", "new", "joined" };
	json_t *list = json_array();
	struct rt_error *err = rt_inspect_put(document, "namespaces", list);

	for (size_t i = 0; !err && i < from->n_namespaces; i++) {
		const Rt__Namespace *ns = from->namespaces[i];

		err = rt_inspect_add(list, json_pack("{s:s,s:s,s:o}", "type", namespace_name(ns->kind), "origin",
						     (unsigned)ns->origin < 3 ? origins[ns->origin] : "unknown", "path",
						     rt_json_visible_string(ns->path)));
	}
	return err;
}

static struct rt_error *add_container(json_t *document, const Rt__Container *from)
{
	struct rt_error *err;
	json_t *container;

	if (!from)
		return NULL;
	container = json_pack("{s:o,s:o,s:o,s:o,s:b,s:b}", "id", rt_json_visible_string(from->id), "created",
			      rt_json_visible_string(from->created), "bundle", rt_json_visible_string(from->bundle), "rootfs",
			      rt_json_visible_string(from->rootfs), "terminal", from->terminal, "paused",
			      from->cgroup && from->cgroup->frozen);
	err = rt_inspect_put(document, "container", container);
	if (!err)
		err = add_streams(container, from);
	if (!err)
		err = add_namespaces(document, from);
	return err;
}

static struct rt_error *add_timings(json_t *document, const Rt__Timings *from)
{
	if (!from || !from->total)
		return NULL;
	return rt_inspect_put(json_object_get(document, "timings"), "checkpoint",
			      json_pack("{s:o,s:o,s:o,s:o}", "total_us", number(from->total), "preflight_us",
					number(from->preflight), "frozen_us", number(from->frozen), "finish_us",
					number(from->finish)));
}

static struct rt_error *add_features(json_t *maker, const Rt__Cpu *cpu)
{
	_cleanup_free_ char *features = NULL;
	struct rt_error *err = rt_cpu_features(cpu, &features);

	return err ? err : rt_inspect_put(maker, "processorFeatures", rt_json_visible_string(features ? features : ""));
}

static struct rt_error *add_manifest(json_t *document, const Rt__Manifest *manifest)
{
	const Rt__Maker *maker = manifest->maker;
	struct rt_error *err;

	err = rt_inspect_put(document, "checkpoint",
			     json_pack("{s:o,s:o,s:o,s:b}", "id", rt_json_visible_string(manifest->id), "created",
				       rt_json_visible_string(manifest->created), "parent",
				       rt_json_visible_string(manifest->parent_id), "establishedTcp",
				       manifest->established_tcp));
	if (!err && maker)
		err = rt_inspect_put(document, "maker",
				     json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "rt", rt_json_visible_string(maker->rt_version),
					       "criu", number(maker->criu_version), "kernel",
					       rt_json_visible_string(maker->kernel_release), "architecture",
					       rt_json_visible_string(maker->architecture), "host",
					       rt_json_visible_string(maker->host), "processor",
					       rt_json_visible_string(manifest->cpu ? manifest->cpu->model : "")));
	if (!err && maker && manifest->cpu)
		err = add_features(json_object_get(document, "maker"), manifest->cpu);
	if (!err)
		err = add_container(document, manifest->container);
	if (!err)
		err = add_timings(document, manifest->timings);
	return err;
}

/* ---- images there are any number of ---- */

static const char *file_system(uint32_t type)
{
	static const char *const names[] = { "unsupported", "proc",    "sysfs",	  "devtmpfs", "binfmt_misc",
					     "tmpfs",	    "devpts",  "simfs",	  "pstore",   "securityfs",
					     "fusectl",	    "debugfs", "cgroup",  "aufs",     "mqueue",
					     "fuse",	    "auto",    "overlay", "autofs",   "tracefs" };

	if (type == 23)
		return "cgroup2";
	return type < RT_ARRAY_SIZE(names) ? names[type] : "unknown";
}

static struct rt_error *add_mount(void *userdata, const ProtobufCMessage *entry)
{
	json_t *document = userdata;
	const Img__MountPoint *mount = (const Img__MountPoint *)entry;
	const char *path = mount->mountpoint + (mount->mountpoint[0] == '.' && mount->mountpoint[1] == '/');
	const char *type = mount->fsname && *mount->fsname ? mount->fsname : file_system(mount->fstype);

	return rt_inspect_add(json_object_get(document, "mounts"),
			      json_pack("{s:o,s:o,s:o,s:o,s:b,s:o}", "destination", rt_json_visible_string(path), "type",
					rt_json_visible_string(type), "source", rt_json_visible_string(mount->source), "root",
					rt_json_visible_string(mount->root), "external", mount->ext_mount || mount->ext_key,
					"key", rt_json_visible_string(mount->ext_key)));
}

static struct rt_error *add_device(void *userdata, const ProtobufCMessage *entry)
{
	static const char *const types[] = { "unknown", "loopback", "veth",    "tun", "external",
					     "venet",	"bridge",   "macvlan", "sit" };
	const Img__NetDevice *device = (const Img__NetDevice *)entry;

	return rt_inspect_add(json_object_get(userdata, "network"),
			      json_pack("{s:o,s:s,s:I,s:b}", "name", rt_json_visible_string(device->name), "type",
					device->type < RT_ARRAY_SIZE(types) ? types[device->type] : "unknown", "mtu",
					(json_int_t)device->mtu, "up", device->flags & 1));
}

static struct rt_error *add_uts(void *userdata, const ProtobufCMessage *entry)
{
	return rt_inspect_put(userdata, "hostname", rt_json_visible_string(((const Img__UtsNamespace *)entry)->nodename));
}

static struct rt_error *add_cgroups(void *userdata, const ProtobufCMessage *entry)
{
	const Img__Cgroups *cgroups = (const Img__Cgroups *)entry;
	struct rt_error *err = NULL;

	for (size_t i = 0; i < cgroups->n_sets; i++)
		for (size_t j = 0; !err && j < cgroups->sets[i]->n_members; j++) {
			const Img__CgroupMember *member = cgroups->sets[i]->members[j];

			err = rt_inspect_add(json_object_get(userdata, "cgroups"),
					     json_pack("{s:I,s:o,s:o}", "set", (json_int_t)cgroups->sets[i]->id,
						       "controllers", rt_json_visible_string(member->name), "path",
						       rt_json_visible_string(member->path)));
		}
	return err;
}

static struct rt_error *add_stats(void *userdata, const ProtobufCMessage *entry)
{
	const Img__Stats *stats = (const Img__Stats *)entry;
	const Img__DumpStats *dump = stats->dump;
	const Img__RestoreStats *restore = stats->restore;
	json_t *timings = json_object_get(userdata, "timings");
	struct rt_error *err = NULL;

	if (dump)
		err = rt_inspect_put(
			timings, "dump",
			json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "freezing_us", number(dump->freezing_time),
				  "frozen_us", number(dump->frozen_time), "memory_dump_us", number(dump->memdump_time),
				  "memory_write_us", number(dump->memwrite_time), "pages_scanned",
				  number(dump->pages_scanned), "pages_skipped", number(dump->pages_skipped_parent),
				  "pages_written", number(dump->pages_written)));
	if (!err && restore)
		err = rt_inspect_put(timings, "restore",
				     json_pack("{s:o,s:o,s:o,s:o}", "forking_us", number(restore->forking_time),
					       "restore_us", number(restore->restore_time), "pages_compared",
					       number(restore->pages_compared), "pages_restored",
					       number(restore->pages_restored)));
	return err;
}

static rt_image_fn reader_of(enum rt_image_kind kind)
{
	static const rt_image_fn readers[RT_IMAGE_KINDS] = {
		[RT_IMAGE_MOUNTPOINTS] = add_mount, [RT_IMAGE_NETDEV] = add_device, [RT_IMAGE_UTSNS] = add_uts,
		[RT_IMAGE_CGROUP] = add_cgroups,    [RT_IMAGE_STATS] = add_stats,
	};

	return readers[kind];
}

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static struct rt_error *read_image(struct rt_inspection *inspection, const char *name, uint64_t *bytes, uint64_t *count)
{
	enum rt_image_kind kind;
	uint64_t number_in_name;
	rt_image_fn reader;
	struct stat st;

	if (fstatat(inspection->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot look at '%s'", name);
	if (!S_ISREG(st.st_mode))
		return NULL;
	*bytes += (uint64_t)st.st_size;
	(*count)++;
	if (!rt_image_kind_of(name, &kind, &number_in_name))
		return NULL;
	reader = reader_of(kind);
	return reader ? rt_image_each(inspection->dir_fd, name, kind, reader, inspection->document) : NULL;
}

/* Where there is a manifest its sizes count: an archive's large images may not be unpacked. */
static void count_images(const Rt__Manifest *manifest, uint64_t *bytes, uint64_t *count)
{
	if (!manifest || manifest->n_files == 0)
		return;
	*count = manifest->n_files;
	*bytes = 0;
	for (size_t i = 0; i < manifest->n_files; i++)
		*bytes += manifest->files[i]->size;
}

static struct rt_error *read_directory(struct rt_inspection *inspection, const Rt__Manifest *manifest)
{
	uint64_t bytes = 0, count = 0;
	struct rt_error *err = NULL;
	struct dirent **names;
	int found = scandirat(inspection->dir_fd, ".", &names, no_dots, alphasort);

	if (found < 0)
		return rt_fail_errno("cannot list the images");
	for (int i = 0; i < found; i++) {
		if (!err)
			err = read_image(inspection, names[i]->d_name, &bytes, &count);
		free(names[i]);
	}
	free(names);
	count_images(manifest, &bytes, &count);
	if (!err)
		err = rt_inspect_put(inspection->document, "images",
				     json_pack("{s:o,s:o}", "files", number(count), "bytes", number(bytes)));
	return err;
}

static struct rt_error *start_document(struct rt_inspection *inspection)
{
	static const char *const lists[] = { "processes", "sockets", "mounts", "namespaces", "cgroups", "network" };
	struct rt_error *err = NULL;

	inspection->document = json_object();
	inspection->files = json_object();
	if (!inspection->document || !inspection->files)
		return rt_error_oom();
	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(lists); i++)
		err = rt_inspect_put(inspection->document, lists[i], json_array());
	if (!err)
		err = rt_inspect_put(inspection->document, "timings", json_object());
	return err;
}

static struct rt_error *inspect(struct rt_inspection *inspection)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	_cleanup_unpacked_ Img__Inventory *inventory = NULL;
	struct rt_error *err;

	err = start_document(inspection);
	if (!err)
		err = rt_images_inventory(inspection->dir_fd, &inventory);
	if (!err)
		err = rt_manifest_load(inspection->dir_fd, &manifest);
	if (!err && manifest)
		err = add_manifest(inspection->document, manifest);
	if (!err)
		err = rt_inspect_files(inspection);
	if (!err)
		err = rt_inspect_processes(inspection);
	if (!err)
		err = read_directory(inspection, manifest);
	return err;
}

struct rt_error *rt_inspect(int dir_fd, json_t **ret)
{
	struct rt_inspection inspection = { .dir_fd = dir_fd };
	struct rt_error *err = inspect(&inspection);

	json_decref(inspection.files);
	if (err)
		json_decref(inspection.document);
	else
		*ret = inspection.document;
	return err;
}
