#include "runtime/security/seccomp_private.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <ctype.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* From here on libseccomp's search tree pays; with an empty profile version 2.5.4 gets it wrong. As in runc. */
#define TREE_FROM 32

static void release(scmp_filter_ctx *context)
{
	if (*context)
		seccomp_release(*context);
}

void rt_filter_deinit(struct rt_filter *filter)
{
	free(filter->program);
	*filter = (struct rt_filter){.program = NULL};
}

uint32_t rt_seccomp_arch(const char *name)
{
	static const char prefix[] = "SCMP_ARCH_";
	char lower[32];
	size_t i = 0;

	if (!rt_str_starts(name, prefix))
		return 0;
	for (name += strlen(prefix); name[i] && i < sizeof(lower) - 1; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	lower[i] = '\0';
	return name[i] ? 0 : seccomp_arch_resolve_name(lower);
}

static uint32_t action_code(enum rt_seccomp_action action, bool has_errno, uint32_t errno_ret)
{
	uint32_t value = has_errno ? errno_ret : EPERM;

	switch (action) {
	case RT_SECCOMP_KILL_THREAD:
		return SCMP_ACT_KILL_THREAD;
	case RT_SECCOMP_KILL_PROCESS:
		return SCMP_ACT_KILL_PROCESS;
	case RT_SECCOMP_TRAP:
		return SCMP_ACT_TRAP;
	case RT_SECCOMP_ERRNO:
		return SCMP_ACT_ERRNO(value);
	case RT_SECCOMP_TRACE:
		return SCMP_ACT_TRACE(value);
	case RT_SECCOMP_LOG:
		return SCMP_ACT_LOG;
	case RT_SECCOMP_ALLOW:
		return SCMP_ACT_ALLOW;
	case RT_SECCOMP_NOTIFY:
		return SCMP_ACT_NOTIFY;
	}
	return SCMP_ACT_KILL_PROCESS;
}

static enum scmp_compare comparison(enum rt_seccomp_op op)
{
	switch (op) {
	case RT_SECCOMP_NE:
		return SCMP_CMP_NE;
	case RT_SECCOMP_LT:
		return SCMP_CMP_LT;
	case RT_SECCOMP_LE:
		return SCMP_CMP_LE;
	case RT_SECCOMP_EQ:
		return SCMP_CMP_EQ;
	case RT_SECCOMP_GE:
		return SCMP_CMP_GE;
	case RT_SECCOMP_GT:
		return SCMP_CMP_GT;
	case RT_SECCOMP_MASKED_EQ:
		return SCMP_CMP_MASKED_EQ;
	}
	return SCMP_CMP_EQ;
}

/* libseccomp joins the conditions of a rule by "and" and takes one for each argument. Several for the same argument
 * become rules of their own, joined by "or", as profiles written for runc expect. */
static int add_syscall(scmp_filter_ctx context, uint32_t action, int number, const struct rt_seccomp_rule *rule)
{
	struct scmp_arg_cmp conditions[6];
	unsigned seen = 0;
	bool apart = false;

	for (size_t i = 0; i < rule->arg_count; i++) {
		apart = apart || (seen >> rule->args[i].index & 1);
		seen |= 1u << rule->args[i].index;
	}
	for (size_t i = 0; i < rule->arg_count; i++) {
		const struct rt_seccomp_arg *arg = &rule->args[i];
		struct scmp_arg_cmp condition = {arg->index, comparison(arg->op), arg->value, arg->value_two};
		int result;

		if (!apart) {
			conditions[i] = condition; /* at most six: no index twice */
			continue;
		}
		result = seccomp_rule_add_array(context, action, number, 1, &condition);
		if (result < 0)
			return result;
	}
	return apart ? 0 : seccomp_rule_add_array(context, action, number, (unsigned)rule->arg_count, conditions);
}

static struct rt_error *add_rule(scmp_filter_ctx context, uint32_t default_action, const struct rt_seccomp_rule *rule)
{
	uint32_t action = action_code(rule->action, rule->has_errno, rule->errno_ret);

	/* libseccomp refuses a rule that says what would happen anyway. */
	if (action == default_action)
		return NULL;
	for (size_t i = 0; i < rule->name_count; i++) {
		int number = seccomp_syscall_resolve_name(rule->names[i]);
		int result;

		if (number == __NR_SCMP_ERROR) {
			rt_debug("seccomp: no syscall '%s' is known, skipped", rule->names[i]);
			continue;
		}
		result = add_syscall(context, action, number, rule);
		if (result < 0)
			return rt_fail_with(-result, "cannot add the rule for '%s' of 'linux.seccomp.syscalls'",
					    rule->names[i]);
	}
	return NULL;
}

static struct rt_error *add_architectures(scmp_filter_ctx context, const struct rt_spec_seccomp *spec)
{
	for (size_t i = 0; i < spec->architecture_count; i++) {
		uint32_t arch = rt_seccomp_arch(spec->architectures[i]);
		int result;

		if (arch == 0)
			return rt_fail(RT_CONFIG,
				       "'linux.seccomp.architectures' has '%s', which libseccomp %u.%u.%u doesn't know",
				       spec->architectures[i], seccomp_version()->major, seccomp_version()->minor,
				       seccomp_version()->micro);
		result = seccomp_arch_add(context, arch);
		if (result < 0 && result != -EEXIST)
			return rt_fail_with(-result, "cannot add '%s' of 'linux.seccomp.architectures'",
					    spec->architectures[i]);
	}
	return NULL;
}

/* libseccomp writes the program only to a file. */
static struct rt_error *export_program(scmp_filter_ctx context, struct sock_filter **ret, size_t *ret_length)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	_cleanup_free_ struct sock_filter *program = NULL;
	struct rt_error *err;
	struct stat st;
	int result;

	if (fd < 0)
		return rt_fail_errno("cannot create a file in memory");
	result = seccomp_export_bpf(context, fd);
	if (result < 0)
		return rt_fail_with(-result, "cannot compile 'linux.seccomp'");
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return rt_fail_errno("cannot read the compiled seccomp program");
	program = malloc((size_t)st.st_size);
	if (!program)
		return rt_error_oom();
	err = rt_read_exact(fd, program, (size_t)st.st_size);
	if (err)
		return rt_while(err, "reading the compiled seccomp program");
	*ret = rt_take_ptr(program);
	*ret_length = (size_t)st.st_size / sizeof(struct sock_filter);
	return NULL;
}

static struct rt_error *join(const struct rt_spec_seccomp *spec, const struct sock_filter *program, size_t length,
			     struct sock_filter **ret, uint16_t *ret_length)
{
	_cleanup_free_ struct sock_filter *stub = NULL;
	struct sock_filter *joined;
	size_t stub_length = 0;
	struct rt_error *err;

	err = rt_seccomp_stub(spec, &stub, &stub_length);
	if (err)
		return err;
	if (stub_length + length > BPF_MAXINSNS)
		return rt_fail(RT_CONFIG, "'linux.seccomp' makes a program of %zu instructions, the kernel takes %d",
			       stub_length + length, BPF_MAXINSNS);
	joined = calloc(stub_length + length, sizeof(*joined));
	if (!joined)
		return rt_error_oom();
	if (stub)
		memcpy(joined, stub, stub_length * sizeof(*joined));
	memcpy(joined + stub_length, program, length * sizeof(*joined));
	*ret = joined;
	*ret_length = (uint16_t)(stub_length + length);
	return NULL;
}

struct rt_error *rt_seccomp_build(const struct rt_spec_seccomp *spec, struct sock_filter **ret, uint16_t *ret_length)
{
	uint32_t default_action = action_code(spec->default_action, spec->has_default_errno, spec->default_errno);
	_cleanup_(release) scmp_filter_ctx context = seccomp_init(default_action);
	_cleanup_free_ struct sock_filter *program = NULL;
	size_t length = 0, names = 0;
	struct rt_error *err;

	if (!context)
		return rt_fail(RT_SYSTEM,
			       "cannot start a seccomp program with the action of 'linux.seccomp.defaultAction'");
	err = add_architectures(context, spec);
	for (size_t i = 0; i < spec->rule_count; i++)
		names += spec->rules[i].name_count;
	if (!err && names > TREE_FROM && seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
		rt_debug("seccomp: libseccomp makes no search trees");
	for (size_t i = 0; i < spec->rule_count && !err; i++)
		err = add_rule(context, default_action, &spec->rules[i]);
	if (!err)
		err = export_program(context, &program, &length);
	return err ? err : join(spec, program, length, ret, ret_length);
}

struct rt_error *rt_seccomp_flags(const struct rt_spec_seccomp *spec, bool has_listener, unsigned *ret)
{
	unsigned flags = has_listener ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;

	/* Absent altogether, which an empty list is not: what runc takes then. */
	if (spec->flag_count == 0 && !json_object_get(spec->json, "flags"))
		flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	for (size_t i = 0; i < spec->flag_count; i++) {
		const char *name = spec->flags[i];

		if (rt_str_equal(name, "SECCOMP_FILTER_FLAG_LOG"))
			flags |= SECCOMP_FILTER_FLAG_LOG;
		else if (rt_str_equal(name, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		else if (rt_str_equal(name, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") && has_listener)
			flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
		else if (rt_str_equal(name, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"))
			rt_warn("'linux.seccomp.flags' has '%s', but no rule notifies, ignoring", name);
		else if (!rt_str_equal(name,
				       "SECCOMP_FILTER_FLAG_TSYNC")) /* the process has one thread: nothing to do */
			return rt_fail(RT_CONFIG, "'linux.seccomp.flags' has '%s', which is unknown", name);
	}
	*ret = flags;
	return NULL;
}

/* The notice of a new listener goes through write(2): a filter that has it answered by the agent who waits for that
 * notice would hang for ever. */
static struct rt_error *check_notify(const struct rt_spec_seccomp *spec, bool *ret_has_listener)
{
	bool notifies = false;

	if (spec->default_action == RT_SECCOMP_NOTIFY)
		return rt_fail(RT_CONFIG, "'linux.seccomp.defaultAction' can't be SCMP_ACT_NOTIFY");
	for (size_t i = 0; i < spec->rule_count; i++) {
		if (spec->rules[i].action != RT_SECCOMP_NOTIFY)
			continue;
		notifies = true;
		for (size_t k = 0; k < spec->rules[i].name_count; k++)
			if (rt_str_equal(spec->rules[i].names[k], "write"))
				return rt_fail(
					RT_CONFIG,
					"'linux.seccomp.syscalls[%zu].action' can't be SCMP_ACT_NOTIFY for 'write'", i);
	}
	if (notifies && !spec->listener_path)
		return rt_fail(RT_CONFIG, "'linux.seccomp.listenerPath' must be there, as a rule has SCMP_ACT_NOTIFY");
	*ret_has_listener = notifies;
	return NULL;
}

static struct rt_error *build_and_cache(const struct rt_spec_seccomp *spec, int cache_dir_fd, const char *key,
					struct rt_filter *filter)
{
	struct rt_error *err = rt_seccomp_build(spec, &filter->program, &filter->length);

	if (err || cache_dir_fd < 0)
		return err;
	rt_warn_ignored(rt_seccomp_cache_store(cache_dir_fd, key, filter->program, filter->length));
	return NULL;
}

struct rt_error *rt_filter_compile(const struct rt_spec_seccomp *spec, int cache_dir_fd, struct rt_filter *ret)
{
	_cleanup_(rt_filter_deinit) struct rt_filter filter = {.program = NULL};
	char key[RT_SECCOMP_KEY_ROOM] = "";
	struct rt_error *err;

	err = check_notify(spec, &filter.has_listener);
	if (!err)
		err = rt_seccomp_flags(spec, filter.has_listener, &filter.flags);
	if (!err && cache_dir_fd >= 0)
		err = rt_seccomp_cache_key(spec, key);
	if (!err && cache_dir_fd >= 0)
		err = rt_seccomp_cache_load(cache_dir_fd, key, &filter.program, &filter.length);
	if (!err && !filter.program)
		err = build_and_cache(spec, cache_dir_fd, key, &filter);
	if (err)
		return err;
	*ret = filter;
	filter.program = NULL; /* handed over */
	return NULL;
}
