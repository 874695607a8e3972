/* Values of the v1 interface, in which config.json speaks, as v2 takes them. Pure. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

/* cpu.shares 2..262144 to cpu.weight 1..10000, with 1024 becoming 100 as systemd and runc 1.4 have it; 0 stays 0, "unset". */
uint64_t rt_convert_shares(uint64_t shares);

/* blkio.weight 10..1000 to io.weight 1..10000; 0 stays 0. */
uint64_t rt_convert_io_weight(uint16_t weight);

/* memory+swap to swap alone; `limit` and both values -1: unlimited. *ret -1: unlimited. */
struct rt_error *rt_convert_swap(int64_t swap, int64_t limit, int64_t *ret) _must_check_;
