/* What a checkpoint directory holds, from its manifest and CRIU's images: for `rt checkpoint inspect`.
 *
 * One JSON document is the model; the text is made of it. Never needs CRIU, nor root beyond reading the files. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>
#include <stdio.h>

/* The document: {"checkpoint", "container", "processes": [tree], "memory", "sockets", "files", "mounts", "namespaces", "cgroups", "network",
 * "timings", "images"}. docs/checkpoint-format.md has the fields. An image that is broken fails the whole. The caller decrefs. */
struct rt_error *rt_inspect(int dir_fd, json_t **ret) _must_check_;

/* The document as a tree for people. */
struct rt_error *rt_inspect_print(FILE *stream, const json_t *document) _must_check_;
