#include "runtime/container/host_audit_private.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/security/security.h"
#include "runtime/sys/cred.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

void rt_host_tell(const struct rt_host *host, const char *path, const char *what, ...)
{
	struct rt_spec_finding finding = { .severity = RT_SPEC_VIOLATION, .path = path, .section = "this machine" };
	char text[768];
	va_list args;
	int used = snprintf(text, sizeof(text), "'%s' ", path);

	va_start(args, what);
	vsnprintf(text + used, sizeof(text) - (size_t)used, what, args);
	va_end(args);
	finding.message = text;
	host->visitor->found(host->visitor->userdata, &finding);
}

const char *rt_host_reason(int errnum)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s", strerror(errnum));
	/* "No such file", but "RPC failed". */
	if (text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z')
		text[0] |= 0x20;
	return text;
}

bool rt_host_file_has(const char *path, const char *word)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL);
	size_t length = strlen(word);

	rt_error_free(err);
	for (const char *at = text; at && (at = strstr(at, word)); at += length)
		if ((at == text || strchr(" \t\n", at[-1])) && (!at[length] || strchr(" \t\n", at[length])))
			return true;
	return false;
}

/* ---- namespaces and users ---- */

static void audit_namespaces(const struct rt_host *host)
{
	for (int kind = 0; kind < RT_NS_KINDS; kind++) {
		const struct rt_spec_namespace *wanted = &host->spec->namespaces[kind];
		const char *name = rt_namespace_name((enum rt_namespace_kind)kind);
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/ns/%s", rt_namespace_file((enum rt_namespace_kind)kind));
		if (wanted->wanted && access(path, F_OK) < 0)
			rt_host_tell(host, "linux.namespaces", "has '%s', which this kernel doesn't know", name);
		else if (wanted->path && access(wanted->path, F_OK) < 0)
			rt_host_tell(host, "linux.namespaces", "joins '%s' as its %s namespace: %s", wanted->path, name, rt_host_reason(errno));
	}
	if (host->own_users && rt_host_file_has("/proc/sys/user/max_user_namespaces", "0"))
		rt_host_tell(host, "linux.namespaces", "has 'user', but 'user.max_user_namespaces' is 0 here");
}

/* Whether the files of delegated ids have the user, by name or number. */
static bool has_delegation(const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL);
	const char *name = getenv("USER");
	char number[24];

	rt_error_free(err);
	snprintf(number, sizeof(number), "%u:", geteuid());
	for (const char *line = text; line && *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (rt_str_starts(line, number))
			return true;
		if (name && rt_str_starts(line, name) && line[strlen(name)] == ':')
			return true;
	}
	return false;
}

static void audit_maps(const struct rt_host *host)
{
	static const char *const files[] = { "/etc/subuid", "/etc/subgid" };
	static const char *const fields[] = { "linux.uidMappings", "linux.gidMappings" };
	const struct rt_id_maps *maps[] = { &host->spec->uid_mappings, &host->spec->gid_mappings };
	const uint32_t own[] = { geteuid(), getegid() };

	for (size_t i = 0; i < RT_ARRAY_SIZE(maps) && !host->all_powerful; i++) {
		bool single = maps[i]->count == 1 && maps[i]->entries[0].size == 1 && maps[i]->entries[0].host_id == own[i];

		if (maps[i]->count > 0 && !single && !has_delegation(files[i]))
			rt_host_tell(host, fields[i], "maps ids that '%s' doesn't give to this user", files[i]);
	}
	if (!host->all_powerful && !host->own_users)
		rt_host_tell(host, "linux.namespaces", "has no user namespace, without which only root can start containers");
}

/* ---- what the process may ---- */

static void audit_caps(const struct rt_host *host)
{
	const struct rt_spec_caps *caps = &host->spec->process.capabilities;
	const uint64_t wanted[] = { caps->bounding, caps->effective, caps->permitted, caps->inheritable, caps->ambient };
	static const char *const names[] = { "bounding", "effective", "permitted", "inheritable", "ambient" };
	uint64_t known = 0;

	rt_error_free(rt_caps_known(&known));
	for (size_t i = 0; i < RT_ARRAY_SIZE(wanted); i++) {
		for (int cap = 0; rt_cap_name(cap); cap++) {
			char path[64];

			snprintf(path, sizeof(path), "process.capabilities.%s", names[i]);
			if (!(wanted[i] >> cap & 1))
				continue;
			if (known && !(known >> cap & 1))
				rt_host_tell(host, path, "has %s, which this kernel doesn't know", rt_cap_name(cap));
			else if (!host->own_users && !(host->caps >> cap & 1))
				rt_host_tell(host, path, "has %s, which whoever runs this doesn't have", rt_cap_name(cap));
		}
	}
}

static void audit_limits(const struct rt_host *host)
{
	const struct rt_spec_process *process = &host->spec->process;
	_cleanup_free_ char *score = NULL;
	int64_t own = 0;

	if (host->caps >> CAP_SYS_RESOURCE & 1)
		return;
	for (size_t i = 0; i < process->rlimit_count; i++) {
		struct rlimit now;

		if (process->rlimits[i].name && getrlimit((__rlimit_resource_t)process->rlimits[i].resource, &now) == 0 &&
		    process->rlimits[i].hard > now.rlim_max)
			rt_host_tell(host, "process.rlimits", "raises %s above %llu, for which CAP_SYS_RESOURCE is missing",
				     process->rlimits[i].name, (unsigned long long)now.rlim_max);
	}
	rt_error_free(rt_read_file_at(AT_FDCWD, "/proc/self/oom_score_adj", 64, &score, NULL));
	if (score)
		score[strcspn(score, "\n")] = '\0';
	if (process->oom_score_adj && score && rt_str_to_i64(score, &own) && *process->oom_score_adj < own)
		rt_host_tell(host, "process.oomScoreAdj", "is below %lld, for which CAP_SYS_RESOURCE is missing", (long long)own);
}

/* ---- security modules and filters ---- */

/* Of the words of config.json, as the kernel lists them; NULL: every kernel with seccomp has it. */
static const char *kernel_action(enum rt_seccomp_action action)
{
	switch (action) {
	case RT_SECCOMP_KILL_PROCESS:
		return "kill_process";
	case RT_SECCOMP_LOG:
		return "log";
	case RT_SECCOMP_NOTIFY:
		return "user_notif";
	case RT_SECCOMP_KILL_THREAD:
	case RT_SECCOMP_TRAP:
	case RT_SECCOMP_ERRNO:
	case RT_SECCOMP_TRACE:
	case RT_SECCOMP_ALLOW:
		return NULL;
	}
	return NULL;
}

static void audit_action(const struct rt_host *host, const char *path, enum rt_seccomp_action action)
{
	const char *name = kernel_action(action);

	if (name && !rt_host_file_has("/proc/sys/kernel/seccomp/actions_avail", name))
		rt_host_tell(host, path, "is an action that this kernel doesn't have ('%s')", name);
}

static void audit_seccomp(const struct rt_host *host)
{
	const struct rt_spec_seccomp *seccomp = &host->spec->seccomp;
	char path[64];

	if (!seccomp->present)
		return;
	if (access("/proc/sys/kernel/seccomp/actions_avail", F_OK) < 0) {
		rt_host_tell(host, "linux.seccomp", "wants a filter, but this kernel has no seccomp");
		return;
	}
	audit_action(host, "linux.seccomp.defaultAction", seccomp->default_action);
	for (size_t i = 0; i < seccomp->rule_count; i++) {
		snprintf(path, sizeof(path), "linux.seccomp.syscalls[%zu].action", i);
		audit_action(host, path, seccomp->rules[i].action);
	}
	for (size_t i = 0; i < seccomp->architecture_count; i++) {
		static const char prefix[] = "SCMP_ARCH_";
		char lower[40];
		size_t length = 0;

		/* What is none at all has been told. */
		if (!rt_str_starts(seccomp->architectures[i], prefix))
			continue;
		for (const char *at = seccomp->architectures[i] + strlen(prefix); *at && length < sizeof(lower) - 1; at++)
			lower[length++] = (char)(*at >= 'A' && *at <= 'Z' ? *at | 0x20 : *at);
		lower[length] = '\0';
		if (seccomp_arch_resolve_name(lower) == 0)
			rt_host_tell(host, "linux.seccomp.architectures", "has %s, which the libseccomp at hand doesn't know",
				     seccomp->architectures[i]);
	}
	if (seccomp->listener_path && access(seccomp->listener_path, F_OK) < 0)
		rt_host_tell(host, "linux.seccomp.listenerPath", "is '%s': %s", seccomp->listener_path, rt_host_reason(errno));
}

static bool has_apparmor_profile(const char *name)
{
	static const char path[] = "/sys/kernel/security/apparmor/profiles";

	return rt_str_equal(name, "unconfined") || access(path, R_OK) < 0 || rt_host_file_has(path, name);
}

static void audit_modules(const struct rt_host *host)
{
	const struct rt_spec *spec = host->spec;
	const char *profile = spec->process.apparmor_profile;

	if (profile && !rt_lsm_apparmor_enabled())
		rt_host_tell(host, "process.apparmorProfile", "is '%s', but the kernel doesn't run AppArmor", profile);
	else if (profile && !has_apparmor_profile(profile))
		rt_host_tell(host, "process.apparmorProfile", "is '%s', which isn't loaded", profile);
	if (spec->process.selinux_label && !rt_lsm_selinux_enabled())
		rt_host_tell(host, "process.selinuxLabel", "is '%s', but the kernel doesn't run SELinux", spec->process.selinux_label);
	if (spec->mount_label && !rt_lsm_selinux_enabled())
		rt_host_tell(host, "linux.mountLabel", "is '%s', but the kernel doesn't run SELinux", spec->mount_label);
	if (spec->intel_rdt.present && access("/sys/fs/resctrl/schemata", F_OK) < 0)
		rt_host_tell(host, "linux.intelRdt", "wants resctrl, which isn't mounted at '/sys/fs/resctrl'");
}

/* ---- the whole ---- */

struct rt_error *rt_host_audit(const struct rt_spec *spec, const char *bundle, const struct rt_spec_visitor *visitor)
{
	const struct rt_spec_namespace *users = &spec->namespaces[RT_NS_USER];
	struct rt_host host = { .spec = spec, .bundle = bundle, .visitor = visitor, .own_users = users->wanted };
	struct rt_sys_caps caps = { .permitted = 0 };
	struct rt_error *err = rt_sys_get_caps(&caps);

	if (err)
		return err;
	host.all_powerful = geteuid() == 0;
	host.caps = caps.permitted;
	audit_namespaces(&host);
	audit_maps(&host);
	audit_caps(&host);
	audit_limits(&host);
	audit_seccomp(&host);
	audit_modules(&host);
	rt_host_audit_files(&host);
	return rt_host_audit_cgroup(&host);
}
