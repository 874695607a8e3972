/* What both sides write down before they act on it, so that after any crash it is known what was decided.
 *
 * Source: `migration.json` in the container's directory, from before the commit is sent until it is known what became of it. Target: `journal.json` in the
 * migration's directory. JSON, written whole, flushed to disk. Holds no secret: of tokens and keys the names of their files. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>

#define RT_JOURNAL_SOURCE "migration.json"
#define RT_JOURNAL_TARGET "journal.json"

struct rt_error *rt_journal_store(int dir_fd, const char *name, const json_t *journal) _must_check_;
/* *ret is NULL where there is none. */
struct rt_error *rt_journal_load(int dir_fd, const char *name, json_t **ret) _must_check_;
struct rt_error *rt_journal_remove(int dir_fd, const char *name) _must_check_;
