/* What the files of `rt spec import` share. */
#pragma once

#include "runtime/spec/edit.h"
#include "runtime/spec/import.h"
#include "runtime/spec/spec.h"

struct rt_import {
	struct rt_edit edit; /* of the config that is made; holds the error */
	const struct rt_import_options *options;
	struct rt_json document, container, config, host; /* the whole, one container, its Config and HostConfig */
	bool podman; /* whose inspect it is */
	bool privileged;
	bool user_namespace; /* the container has one of its own */
	uint64_t bounding; /* capabilities */
};

/* Fields of the document; absent, null and empty ones are NULL or 0. */
const char *rt_import_text(struct rt_import *import, const struct rt_json *object, const char *key);
int64_t rt_import_number(struct rt_import *import, const struct rt_json *object, const char *key);
bool rt_import_flag(struct rt_import *import, const struct rt_json *object, const char *key);
struct rt_json rt_import_object(struct rt_import *import, const struct rt_json *object, const char *key);
struct rt_json rt_import_array(struct rt_import *import, const struct rt_json *object, const char *key);
/* A string in an array; NULL where it is none. */
const char *rt_import_element(struct rt_import *import, const struct rt_json *array, size_t index);

/* The value of the n-th "--option=value" or "--option value" of the command line that podman notes; NULL: there are no more. Some
 * options podman shows nowhere else. */
const char *rt_import_created_with(struct rt_import *import, const char *option, size_t n);

/* The container of an id, the beginning of one, or a name; NULL: the document has none. */
json_t *rt_import_find(const json_t *document, const char *wanted);
/* In a mode of a namespace: of which container. */
#define RT_IMPORT_CONTAINER "container:"

/* Stops where jansson has no memory; both take over `value`. */
void rt_import_set(struct rt_import *import, const char *path, json_t *value);
void rt_import_put(struct rt_import *import, json_t *object, const char *key, json_t *value);

void rt_import_process(struct rt_import *import);
void rt_import_security(struct rt_import *import); /* after the process: the profile depends on capabilities */
void rt_import_namespaces(struct rt_import *import);
void rt_import_mounts(struct rt_import *import); /* after the namespaces */
void rt_import_limits(struct rt_import *import);
void rt_import_devices(struct rt_import *import);

/* A profile in Docker's form (with conditions on capabilities and architectures) or in that of config.json -> linux.seccomp. */
void rt_import_seccomp(struct rt_import *import, const char *text, const char *name);

/* ---- users: pure text ---- */

struct rt_import_user {
	uint32_t uid, gid;
	uint32_t groups[64]; /* others than gid */
	size_t group_count;
};

/* "user", "uid", "user:group" ... as engines read it; NULL: root. `passwd` and `group` as in struct rt_import_options. */
struct rt_error *rt_import_find_user(const char *text, const char *passwd, const char *group, struct rt_import_user *ret)
	_must_check_;
/* A group by name or number. */
struct rt_error *rt_import_find_group(const char *text, const char *group, uint32_t *ret) _must_check_;
