/* Looking into another process: its memory, its descriptors, and whether two share what they have. Calls return -errno where they fail. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* process_vm_readv(2) of up to IOV_MAX pieces into one buffer; the number of bytes, short where a page can't be read. */
ssize_t rt_sys_peek(pid_t pid, const struct iovec *pieces, size_t count, void *buffer, size_t size);

/* A copy (close-on-exec) of descriptor `fd` of a thread; by `leader` where the kernel knows pidfds of leaders only. */
int rt_sys_peek_fd(pid_t tid, pid_t leader, int fd);

/* 1: one address space, 0: two. */
int rt_sys_peek_same_memory(pid_t a, pid_t b);

/* 1: descriptor `fd` of the process is the same open file as `own` of this one. */
int rt_sys_peek_same_file(pid_t pid, int fd, int own);
