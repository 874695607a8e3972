#include "runtime/security/seccomp_private.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>

#define X32_BIT 0x40000000u /* in the number of a syscall: x32 instead of x86-64 */
#define ENOSYS_ANSWER (SECCOMP_RET_ERRNO | ENOSYS)

/* What the kernel calls one architecture; x32 shares it with x86-64. */
struct abi {
	uint32_t audit_arch;
	uint32_t newest, newest_x32; /* largest number that the profile names; 0: none */
	bool splits_numbers;	     /* multiplexes through number 0: s390 */
};

#define MAX_ABIS 32
/* Each at most a test of the architecture, a load, a split and twice a test, an answer and a jump. */
#define STUB_ROOM (1 + MAX_ABIS * 11)

struct stub {
	struct sock_filter program[STUB_ROOM];
	size_t length;
};

static void emit(struct stub *stub, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t value)
{
	stub->program[stub->length++] = (struct sock_filter){code, if_true, if_false, value};
}

static uint32_t find_newest(const struct rt_spec_seccomp *spec, uint32_t arch)
{
	uint32_t newest = 0;

	for (size_t i = 0; i < spec->rule_count; i++) {
		for (size_t k = 0; k < spec->rules[i].name_count; k++) {
			int number = seccomp_syscall_resolve_name_arch(arch, spec->rules[i].names[k]);

			/* libseccomp gives syscalls that the architecture lacks numbers below 0. */
			if (number > 0 && (uint32_t)number > newest)
				newest = (uint32_t)number;
		}
	}
	return newest;
}

static void add_abi(const struct rt_spec_seccomp *spec, uint32_t arch, struct abi *abis, size_t *count)
{
	uint32_t audit_arch = arch == SCMP_ARCH_X32 ? AUDIT_ARCH_X86_64 : arch;
	size_t i = 0;

	while (i < *count && abis[i].audit_arch != audit_arch)
		i++;
	if (i == MAX_ABIS)
		return;
	if (i == *count) {
		abis[i] = (struct abi){.audit_arch = audit_arch};
		abis[i].splits_numbers = arch == SCMP_ARCH_S390 || arch == SCMP_ARCH_S390X;
		*count = i + 1;
	}
	if (arch == SCMP_ARCH_X32)
		abis[i].newest_x32 = find_newest(spec, arch);
	else
		abis[i].newest = find_newest(spec, arch);
}

/* Newer: ENOSYS. Else: to the program, a jump whose distance link_jumps() fills in. */
static void emit_test(struct stub *stub, uint32_t newest)
{
	if (newest) {
		emit(stub, BPF_JMP | BPF_JGT | BPF_K, 0, 1, newest);
		emit(stub, BPF_RET | BPF_K, 0, 0, ENOSYS_ANSWER);
	}
	emit(stub, BPF_JMP | BPF_JA, 0, 0, 0);
}

static void emit_abi(struct stub *stub, const struct abi *abi)
{
	size_t test = stub->length;

	emit(stub, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, abi->audit_arch);
	emit(stub, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	/* The kernel leaves number 0 where it doesn't know the real one; nobody calls setup(2), whose number it is. */
	if (abi->splits_numbers) {
		emit(stub, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
		emit(stub, BPF_RET | BPF_K, 0, 0, ENOSYS_ANSWER);
	}
	if (abi->audit_arch == AUDIT_ARCH_X86_64) {
		size_t split = stub->length;

		emit(stub, BPF_JMP | BPF_JSET | BPF_K, 0, 0, X32_BIT);
		emit_test(stub, abi->newest);
		stub->program[split].jt = (uint8_t)(stub->length - split - 1);
		emit_test(stub, abi->newest_x32);
	} else {
		emit_test(stub, abi->newest);
	}
	stub->program[test].jf = (uint8_t)(stub->length - test - 1);
}

static void link_jumps(struct stub *stub)
{
	for (size_t i = 0; i < stub->length; i++)
		if (stub->program[i].code == (BPF_JMP | BPF_JA))
			stub->program[i].k = (uint32_t)(stub->length - i - 1);
}

/* A profile that lets unknown calls through needs no stub; a tracer answers them itself. */
static bool wants_stub(const struct rt_spec_seccomp *spec)
{
	switch (spec->default_action) {
	case RT_SECCOMP_ALLOW:
	case RT_SECCOMP_LOG:
	case RT_SECCOMP_TRACE:
		return false;
	case RT_SECCOMP_ERRNO:
		return !spec->has_default_errno || spec->default_errno != ENOSYS;
	case RT_SECCOMP_KILL_THREAD:
	case RT_SECCOMP_KILL_PROCESS:
	case RT_SECCOMP_TRAP:
	case RT_SECCOMP_NOTIFY:
		return true;
	}
	return true;
}

struct rt_error *rt_seccomp_stub(const struct rt_spec_seccomp *spec, struct sock_filter **ret, size_t *ret_length)
{
	_cleanup_free_ struct stub *stub = NULL;
	struct abi abis[MAX_ABIS];
	size_t count = 0;

	if (!wants_stub(spec))
		return NULL;
	stub = calloc(1, sizeof(*stub));
	if (!stub)
		return rt_error_oom();
	add_abi(spec, seccomp_arch_native(), abis, &count);
	for (size_t i = 0; i < spec->architecture_count; i++)
		add_abi(spec, rt_seccomp_arch(spec->architectures[i]), abis, &count);
	emit(stub, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < count; i++)
		if (abis[i].newest || abis[i].newest_x32)
			emit_abi(stub, &abis[i]);
	if (stub->length == 1)
		return NULL;
	link_jumps(stub);
	*ret = calloc(stub->length, sizeof(**ret));
	if (!*ret)
		return rt_error_oom();
	memcpy(*ret, stub->program, stub->length * sizeof(**ret));
	*ret_length = stub->length;
	return NULL;
}
