/* JSON documents that commands read and write: files that a person names. "-" is standard input, and no name standard output. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>

/* The whole of a file, NUL-terminated; the caller frees it. `ret_size` may be NULL. */
struct rt_error *rt_document_read_file(const char *path, char **ret, size_t *ret_size) _must_check_;

/* An object; the caller decrefs it. */
struct rt_error *rt_document_read(const char *path, json_t **ret) _must_check_;

/* Readers see the old file or the new one. `path` NULL: standard output. `document` NULL: null. */
struct rt_error *rt_document_write(const json_t *document, const char *path) _must_check_;

/* A config.json as the loader takes it; what isn't valid is never written. */
struct rt_error *rt_document_check(const json_t *config) _must_check_;
