/* Periodic timers (timerfd) that had expired and not been read when they were dumped: the kernel starts such a timer again when it is read, and
 * shows it as not running until then. CRIU (4.2) restores what it was shown, a timer that never rings again. */
#pragma once

#include "runtime/container/container.h"

/* Once everything is restored and nothing runs yet: starts them again, one interval from now, with their ticks kept. Looks at the processes only
 * where the images have such a timer. */
struct rt_error *rt_timers_start_again(int image_fd, const struct rt_container *container, pid_t init) _must_check_;
