/* `rt spec import`: what `docker inspect` and `podman inspect` say of a container -> config.json.
 *
 * Pure: documents in, a document out. What only the host knows (the content of a seccomp profile that is named, the numbers of a
 * device) is asked through struct rt_import_host; the users of the container come from its own files, never from the host's. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>
#include <stdint.h>

struct rt_import_device {
	const char *path; /* on the host */
	char type; /* 'c' or 'b' */
	uint32_t major, minor;
	uint32_t mode; /* permission bits */
	uint32_t uid, gid;
};

struct rt_import_host {
	void *userdata;
	/* The content of a file; the caller frees *ret. */
	struct rt_error *(*read_file)(void *userdata, const char *path, char **ret);
	/* The device at a path, or every device below a directory. */
	struct rt_error *(*find_devices)(void *userdata, const char *path,
					 void (*visit)(void *visitor, const struct rt_import_device *device), void *visitor);
};

struct rt_import_options {
	const char *container; /* name or id where the document has several; NULL: the first */
	const char *rootfs; /* root.path */
	const char *passwd, *group; /* content of the container's /etc/passwd and /etc/group; NULL: it has none, or nobody looked */
	bool shift_ids; /* in a user namespace, with these ids */
	uint32_t id_root, id_length;
	const char *const *hooks; /* "KIND:PATH[:ARG...]", NULL-terminated; NULL: none */
	const char *netns_hook; /* program that gives the container a network; NULL: none */
	bool engine_files; /* with the engine's own resolv.conf, hosts and hostname */
	struct rt_import_host host;
};

/* `document` is an object of inspect, or an array of them: others than the container itself tell where the namespaces are that it
 * shares. *ret is the caller's; what can't be carried over is warned of. RT_CONFIG names the field of the document, RT_USAGE the
 * option; the result is not checked: rt_spec_load_text() does. */
struct rt_error *rt_spec_import(json_t *document, const struct rt_import_options *options, json_t **ret) _must_check_;

/* The id or name in "container:web" as modes of namespaces have it, of the container that `options` chooses; NULL: none of its
 * modes has one, or the document has that container too. Borrowed from the document. */
const char *rt_spec_import_missing(json_t *document, const struct rt_import_options *options);
