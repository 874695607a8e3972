/* What the files of a worker share: worker_task.c is how it comes to be and is found again, worker.c what it does. */
#pragma once

#include "migrate/worker.h"

#include <jansson.h>
#include <sys/un.h>

#define RT_WORKER_LOG_FD 4 /* the daemon's standard error */

/* The first message on `fd`. The task's strings are those of *ret_words, the caller's to free. */
struct rt_error *rt_worker_take_task(int fd, const struct rt_context *context, json_t **ret_words, struct rt_worker_task *ret) _must_check_;
/* Held until the process ends. */
struct rt_error *rt_worker_take_lock(int dir_fd) _must_check_;
/* Where a worker listens for the next daemon: valid as long as `dir_fd`. */
struct sockaddr_un rt_worker_address(int dir_fd);
