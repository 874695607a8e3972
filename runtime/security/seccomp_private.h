/* Shared by the seccomp*.c files only. */
#pragma once

#include "runtime/security/security.h"

/* Adds to flags what the profile asks for; an unknown flag is an error. */
struct rt_error *rt_seccomp_flags(const struct rt_spec_seccomp *spec, bool has_listener, unsigned *ret) _must_check_;

/* By libseccomp, with the stub for unknown syscalls before it. *ret is the caller's to free. */
struct rt_error *rt_seccomp_build(const struct rt_spec_seccomp *spec, struct sock_filter **ret,
				  uint16_t *ret_length) _must_check_;

/* Instructions to put before a program: syscalls newer than all that the profile names give ENOSYS instead of its
 * default action, so that a libc which tries a new syscall first falls back to an older one. *ret is the caller's to
 * free; NULL: none needed. */
struct rt_error *rt_seccomp_stub(const struct rt_spec_seccomp *spec, struct sock_filter **ret,
				 size_t *ret_length) _must_check_;

/* "SCMP_ARCH_X86_64" to libseccomp's number; 0: unknown. */
uint32_t rt_seccomp_arch(const char *name);

/* The key of a program: digest of all that it depends on. */
#define RT_SECCOMP_KEY_ROOM 65
struct rt_error *rt_seccomp_cache_key(const struct rt_spec_seccomp *spec, char key[RT_SECCOMP_KEY_ROOM]) _must_check_;

/* *ret stays NULL where there is none, or a damaged one (which is removed). */
struct rt_error *rt_seccomp_cache_load(int dir_fd, const char *key, struct sock_filter **ret,
				       uint16_t *ret_length) _must_check_;
struct rt_error *rt_seccomp_cache_store(int dir_fd, const char *key, const struct sock_filter *program,
					uint16_t length) _must_check_;
