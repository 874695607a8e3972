/* userfaultfd(2) in its one use for dirty tracking: asynchronous write-protection (Linux 6.7), where no fault ever waits for us.
 *
 * The calls take a descriptor made in this or another process; they work on the address space it was made in. They return 0 or
 * more, or -errno: what the kernel refuses is an answer (ENOMEM and ESRCH: that address space is gone; EBUSY: another descriptor has the range). */
#pragma once

#include <stdint.h>

/* userfaultfd(2), with flags that the kernel grants everybody; and the same flags, for those who make another task call it. */
int rt_sys_uffd_open(void);
long rt_sys_uffd_flags(void);

/* The handshake; -EINVAL where the kernel lacks asynchronous write-protection, -ENOTTY where the descriptor is something else. */
int rt_sys_uffd_enable(int fd);

/* Begins watching; protects nothing yet. */
int rt_sys_uffd_watch(int fd, uint64_t start, uint64_t end);
int rt_sys_uffd_unwatch(int fd, uint64_t start, uint64_t end);

/* Makes all pages of a watched range count as written, whatever an earlier descriptor left in the page tables. */
int rt_sys_uffd_unprotect(int fd, uint64_t start, uint64_t end);
