/* What the processor can do, for the manifest: a checkpoint that needs an instruction this host lacks must be refused in words,
 * not end in SIGILL. */
#pragma once

#include "runtime/base/error.h"
#include "proto/manifest.pb-c.h"

/* Fills an empty message from /proc/cpuinfo and, on x86, cpuid. */
struct rt_error *rt_cpu_describe(Rt__Cpu *cpu) _must_check_;

/* Flags `needs` has and `has` lacks, of those that user-space instructions go by, as "avx512f, avx512bw"; *ret is NULL where none
 * is missing. The caller frees it. Another vendor or architecture is for the caller to judge. */
struct rt_error *rt_cpu_missing(const Rt__Cpu *needs, const Rt__Cpu *has, char **ret) _must_check_;

/* What a restore on another processor goes by, as in rt_cpu_missing(): of this one, "sse2, avx". The caller frees it. */
struct rt_error *rt_cpu_features(const Rt__Cpu *cpu, char **ret) _must_check_;

/* RT_CONFIG where this host is of another architecture than a checkpoint, or its processor lacks what that had. Either may be NULL: not known, which
 * is no reason. */
struct rt_error *rt_cpu_require(const Rt__Maker *maker, const Rt__Cpu *needs) _must_check_;
