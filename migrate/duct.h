/* A pipe between two threads: who writes blocks when it is full, who reads when it is empty, and each learns when the other has given up. */
#pragma once

#include "runtime/base/error.h"

struct rt_duct;
struct rt_error *rt_duct_new(size_t room, struct rt_duct **ret) _must_check_;
void rt_duct_free(struct rt_duct *duct);

/* An rt_tree_write_fn. Fails when the reader has gone. */
struct rt_error *rt_duct_write(void *duct, const void *bytes, size_t size) _must_check_;
/* The end, or an error (taken over) in its place. */
void rt_duct_end(struct rt_duct *duct, struct rt_error *err);

/* An rt_http_pull_fn. 0 bytes at the end; fails with the writer's error. */
struct rt_error *rt_duct_read(void *duct, void *buffer, size_t room, size_t *ret_size) _must_check_;
/* No more is read. */
void rt_duct_hang_up(struct rt_duct *duct);
