/* Bytes and descriptors in and out of file descriptors, whole or not at all. Retries EINTR. */
#pragma once

#include "runtime/base/error.h"

#include <stddef.h>
#include <sys/types.h>

struct rt_error *rt_write_all(int fd, const void *bytes, size_t size) _must_check_;
/* The same, where whoever reads may have ended: that is an error (EPIPE), and no signal. */
struct rt_error *rt_write_pipe(int fd, const void *bytes, size_t size) _must_check_;

/* The same with pwrite(): the descriptor's own position is neither used nor moved. */
struct rt_error *rt_write_all_at(int fd, const void *bytes, size_t size, off_t offset) _must_check_;

/* Fails with RT_SYSTEM and no errno when the end comes before `size` bytes. */
struct rt_error *rt_read_exact(int fd, void *bytes, size_t size) _must_check_;

/* Reads to the end; fails with EFBIG over `limit` bytes. *ret is NUL-terminated and the caller's to free;
 * ret_size may be NULL. */
struct rt_error *rt_read_all(int fd, size_t limit, char **ret, size_t *ret_size) _must_check_;
struct rt_error *rt_read_file_at(int dir_fd, const char *path, size_t limit, char **ret, size_t *ret_size) _must_check_;

/* One open (O_WRONLY, no O_CREAT), one write: the way cgroup, proc and sysfs files want it. */
struct rt_error *rt_write_file_at(int dir_fd, const char *path, const char *text) _must_check_;

/* Sends `size` > 0 bytes as one message with up to RT_MAX_FDS descriptors. The descriptors stay the caller's. */
#define RT_MAX_FDS 16
struct rt_error *rt_send_message(int socket, const void *bytes, size_t size, const int *fds, size_t fd_count) _must_check_;

/* Receives one message. *ret_size is 0 at the end of the stream. Descriptors arrive close-on-exec and are the
 * caller's; more than `fd_room`, or a truncated message, is an error and closes them all. fds may be NULL with
 * fd_room 0. */
struct rt_error *rt_receive_message(int socket, void *bytes, size_t room, size_t *ret_size, int *fds, size_t fd_room,
				    size_t *ret_fd_count) _must_check_;

/* Moves a descriptor to 3 or above where it is 0, 1 or 2, so that stdio setup cannot trample on it. */
struct rt_error *rt_fd_above_stdio(int *fd) _must_check_;
