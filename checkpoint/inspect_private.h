/* Parts of inspect.h's work that lie in different files. */
#pragma once

#include "checkpoint/images.h"
#include "checkpoint/inspect.h"
#include "runtime/base/json.h"


struct rt_inspection {
	int dir_fd;
	json_t *document;
	json_t *files; /* by id as text: {"kind", "text", ...}; from files.img */
};

/* Sets a key to a value it takes over; NULL is a lack of memory. */
struct rt_error *rt_inspect_put(json_t *object, const char *key, json_t *value) _must_check_;
struct rt_error *rt_inspect_add(json_t *array, json_t *value) _must_check_;

/* files.img -> files and document.sockets; remap-fpath.img. */
struct rt_error *rt_inspect_files(struct rt_inspection *inspection) _must_check_;
/* pstree.img and the images of each process -> document.processes and document.memory. */
struct rt_error *rt_inspect_processes(struct rt_inspection *inspection) _must_check_;
