#include "checkpoint/inspect_private.h"

#include "runtime/base/str.h"

#include <string.h>

/* Levels of the tree. Deeper ones don't exist outside of attacks on whoever walks the document by recursion. */
#define DEPTH_MAX 500


struct tree {
	struct rt_inspection *inspection;
	json_t *by_pid; /* pid as text: {"process": borrowed through a reference, "depth"} */
	uint64_t pages, parent_pages, lazy_pages;
	uint64_t processes, threads;
};

struct memory {
	uint64_t pages, parent_pages, lazy_pages;
	bool has_head;
};

static struct rt_error *count_pages(void *userdata, const ProtobufCMessage *entry)
{
	const Img__PagemapEntry *pagemap = (const Img__PagemapEntry *)entry;
	struct memory *memory = userdata;
	uint64_t pages;

	if (!memory->has_head) {
		memory->has_head = true;
		return NULL;
	}
	pages = rt_pagemap_pages(pagemap);
	if (pages > UINT64_MAX / 65536 - memory->pages - memory->parent_pages - memory->lazy_pages)
		return rt_fail(RT_CONFIG, "the page map of a process covers more memory than there can be");
	if (pagemap->in_parent || (pagemap->flags & RT_ENTRY_IN_PARENT))
		memory->parent_pages += pages;
	else if ((pagemap->flags & RT_ENTRY_LAZY) && !(pagemap->flags & RT_ENTRY_PRESENT))
		memory->lazy_pages += pages;
	else
		memory->pages += pages;
	return NULL;
}

static struct rt_error *add_memory(struct tree *tree, uint32_t pid, json_t *process)
{
	struct memory memory = { 0 };
	struct rt_error *err;
	char name[48];

	snprintf(name, sizeof(name), "pagemap-%u.img", pid);
	err = rt_image_each(tree->inspection->dir_fd, name, RT_IMAGE_PAGEMAP, count_pages, &memory);
	if (err)
		return err;
	tree->pages += memory.pages;
	tree->parent_pages += memory.parent_pages;
	tree->lazy_pages += memory.lazy_pages;
	return rt_inspect_put(process, "memory",
			      json_pack("{s:I,s:I,s:I}", "pages", (json_int_t)memory.pages, "parent_pages",
					(json_int_t)memory.parent_pages, "lazy_pages", (json_int_t)memory.lazy_pages));
}

static const char *task_state(uint32_t state)
{
	switch (state) {
	case 1:
		return "running";
	case 2:
		return "dead";
	case 3:
		return "stopped";
	case 6:
		return "zombie";
	default:
		return "unknown";
	}
}

static struct rt_error *add_core(struct tree *tree, uint32_t pid, json_t *process, uint32_t *files_id)
{
	_cleanup_unpacked_ ProtobufCMessage *message = NULL;
	static const char *const modes[] = { "none", "strict", "filter" };
	const Img__Credentials *creds;
	const Img__Core *core;
	struct rt_error *err;
	char name[32];

	snprintf(name, sizeof(name), "core-%u.img", pid);
	err = rt_image_read_one(tree->inspection->dir_fd, name, RT_IMAGE_CORE, &message);
	if (err || !message)
		return err;
	core = (const Img__Core *)message;
	creds = core->thread ? core->thread->creds : NULL;
	if (core->ids && core->ids->has_files_id)
		*files_id = core->ids->files_id;
	if (core->task)
		err = rt_inspect_put(process, "command", rt_json_visible_string(core->task->comm));
	if (!err && core->task)
		err = rt_inspect_put(process, "state", json_string(task_state(core->task->task_state)));
	if (!err && core->thread)
		err = rt_inspect_put(
			process, "seccomp",
			json_string(core->thread->seccomp_mode < 3 ? modes[core->thread->seccomp_mode] : "unknown"));
	if (!err && creds)
		err = rt_inspect_put(process, "uid", json_integer(creds->uid));
	if (!err && creds)
		err = rt_inspect_put(process, "gid", json_integer(creds->gid));
	if (!err && creds)
		err = rt_inspect_put(process, "noNewPrivileges", json_boolean(creds->no_new_privs));
	if (!err && creds && creds->lsm_profile && *creds->lsm_profile)
		err = rt_inspect_put(process, "label", rt_json_visible_string(creds->lsm_profile));
	return err;
}

static struct rt_error *find_files_id(struct tree *tree, uint32_t pid, uint32_t *ret)
{
	_cleanup_unpacked_ ProtobufCMessage *message = NULL;
	struct rt_error *err;
	char name[32];

	snprintf(name, sizeof(name), "ids-%u.img", pid);
	err = rt_image_read_one(tree->inspection->dir_fd, name, RT_IMAGE_IDS, &message);
	if (!err && message)
		*ret = ((const Img__KernelIds *)message)->files_id;
	return err;
}

static json_t *file_text(struct tree *tree, uint32_t file_id)
{
	char id[16];

	snprintf(id, sizeof(id), "%u", file_id);
	return json_object_get(tree->inspection->files, id);
}

struct descriptors {
	struct tree *tree;
	json_t *list;
};

static struct rt_error *add_descriptor(void *userdata, const ProtobufCMessage *entry)
{
	const Img__Descriptor *descriptor = (const Img__Descriptor *)entry;
	struct descriptors *descriptors = userdata;
	json_t *about = json_pack("{s:I}", "fd", (json_int_t)descriptor->fd);
	json_t *file = file_text(descriptors->tree, descriptor->id);

	if (about && file && json_object_update(about, file) < 0) {
		json_decref(about);
		about = NULL;
	}
	return rt_inspect_add(descriptors->list, about);
}

static struct rt_error *add_descriptors(struct tree *tree, uint32_t files_id, json_t *process)
{
	struct descriptors descriptors = { .tree = tree, .list = json_array() };
	struct rt_error *err = rt_inspect_put(process, "files", descriptors.list);
	char name[32];

	if (err || !files_id)
		return err;
	snprintf(name, sizeof(name), "fdinfo-%u.img", files_id);
	return rt_image_each(tree->inspection->dir_fd, name, RT_IMAGE_FDINFO, add_descriptor, &descriptors);
}

/* Its program and working directory, which are entries of files.img. */
static struct rt_error *add_places(struct tree *tree, uint32_t pid, json_t *process)
{
	_cleanup_unpacked_ ProtobufCMessage *mm = NULL, *fs = NULL;
	struct rt_error *err;
	json_t *file;
	char name[32];

	snprintf(name, sizeof(name), "mm-%u.img", pid);
	err = rt_image_read_one(tree->inspection->dir_fd, name, RT_IMAGE_MM, &mm);
	if (err)
		return err;
	snprintf(name, sizeof(name), "fs-%u.img", pid);
	err = rt_image_read_one(tree->inspection->dir_fd, name, RT_IMAGE_FS, &fs);
	if (err)
		return err;
	file = mm ? file_text(tree, ((const Img__AddressSpace *)mm)->exe_file_id) : NULL;
	if (file)
		err = rt_inspect_put(process, "program", json_incref(json_object_get(file, "text")));
	file = fs ? file_text(tree, ((const Img__Fs *)fs)->cwd_id) : NULL;
	if (!err && file)
		err = rt_inspect_put(process, "directory", json_incref(json_object_get(file, "text")));
	return err;
}

static struct rt_error *fill_process(struct tree *tree, const Img__Process *from, json_t *process)
{
	uint32_t files_id = 0;
	struct rt_error *err;

	err = add_core(tree, from->pid, process, &files_id);
	if (!err)
		err = find_files_id(tree, from->pid, &files_id);
	if (!err)
		err = add_places(tree, from->pid, process);
	if (!err)
		err = add_memory(tree, from->pid, process);
	if (!err)
		err = add_descriptors(tree, files_id, process);
	if (!err)
		err = rt_inspect_put(process, "children", json_array());
	return err;
}

/* Hangs a process below its parent. CRIU writes parents first; one whose parent has not come yet is a root of its own,
 * so that no file can make a circle. */
static struct rt_error *hang_in(struct tree *tree, const Img__Process *from, json_t *process)
{
	json_t *siblings = json_object_get(tree->inspection->document, "processes"), *parent;
	json_int_t depth = 0;
	struct rt_error *err;
	char pid[16];

	snprintf(pid, sizeof(pid), "%u", from->ppid);
	parent = from->ppid ? json_object_get(tree->by_pid, pid) : NULL;
	if (parent) {
		depth = json_integer_value(json_object_get(parent, "depth")) + 1;
		siblings = json_object_get(json_object_get(parent, "process"), "children");
	}
	if (depth > DEPTH_MAX)
		return rt_fail(RT_CONFIG, "the process tree is more than %d levels deep", DEPTH_MAX);
	err = rt_inspect_add(siblings, json_incref(process));
	snprintf(pid, sizeof(pid), "%u", from->pid);
	if (!err)
		err = rt_inspect_put(tree->by_pid, pid, json_pack("{s:O,s:I}", "process", process, "depth", depth));
	return err;
}

static struct rt_error *add_process(void *userdata, const ProtobufCMessage *entry)
{
	const Img__Process *from = (const Img__Process *)entry;
	struct tree *tree = userdata;
	_cleanup_json_ json_t *process = json_pack("{s:I,s:I,s:I,s:I,s:I}", "pid", (json_int_t)from->pid, "parent",
						   (json_int_t)from->ppid, "group", (json_int_t)from->pgid, "session",
						   (json_int_t)from->sid, "threads", (json_int_t)from->n_threads);
	char pid[16];
	struct rt_error *err;

	if (!process)
		return rt_error_oom();
	snprintf(pid, sizeof(pid), "%u", from->pid);
	if (json_object_get(tree->by_pid, pid))
		return rt_fail(RT_CONFIG, "image 'pstree.img' is damaged: process %s is there twice", pid);
	err = fill_process(tree, from, process);
	if (!err)
		err = hang_in(tree, from, process);
	tree->processes++;
	tree->threads += from->n_threads;
	return err;
}

struct rt_error *rt_inspect_processes(struct rt_inspection *inspection)
{
	_cleanup_json_ json_t *by_pid = json_object();
	struct tree tree = { .inspection = inspection, .by_pid = by_pid };
	struct rt_error *err;

	if (!by_pid)
		return rt_error_oom();
	err = rt_image_each(inspection->dir_fd, "pstree.img", RT_IMAGE_PSTREE, add_process, &tree);
	if (!err)
		err = rt_inspect_put(inspection->document, "memory",
				     json_pack("{s:I,s:I,s:I,s:I,s:I}", "processes", (json_int_t)tree.processes,
					       "threads", (json_int_t)tree.threads, "pages", (json_int_t)tree.pages,
					       "parent_pages", (json_int_t)tree.parent_pages, "lazy_pages",
					       (json_int_t)tree.lazy_pages));
	return err;
}
