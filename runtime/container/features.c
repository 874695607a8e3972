/* `rt features`: what each layer can do, in the form of features.md. Nothing here depends on the machine but
 * linux.seccomp.supportedFlags, which by its definition does. */
#include "rt-config.h"
#include "runtime/base/str.h"
#include "runtime/rootfs/options.h"
#include "runtime/spec/spec.h"
#include "runtime/sys/seal.h"

#include <linux/seccomp.h>
#include <seccomp.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define MOST_OPTIONS 256

/* The kernel looks at the flags before it looks at the program, so one that can't be read tells whether it knows them.
 */
static bool kernel_knows(unsigned flags)
{
	const struct sock_filter *unreadable = (const struct sock_filter *)UINTPTR_MAX;
	int unused = -1;
	struct rt_error *err = rt_sys_load_filter(unreadable, 1, flags, &unused);
	bool known = err && (err->errnum == EFAULT || err->errnum == EACCES);

	rt_error_free(err);
	return known;
}

static json_t *supported_flags(void)
{
	static const struct {
		const char *name;
		unsigned flags; /* the last one is only for a filter with a listener */
	} all[] = {
		{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
		{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
		{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
		 SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | SECCOMP_FILTER_FLAG_NEW_LISTENER},
	};
	json_t *list = json_array();

	for (size_t i = 0; i < RT_ARRAY_SIZE(all); i++)
		if (kernel_knows(all[i].flags) && json_array_append_new(list, json_string(all[i].name)) < 0)
			break;
	return list;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *mount_options(void)
{
	const char *names[MOST_OPTIONS];
	size_t count = rt_mount_option_names(names, RT_ARRAY_SIZE(names));
	json_t *list = json_array();

	if (count > RT_ARRAY_SIZE(names))
		count = RT_ARRAY_SIZE(names);
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(list, json_string(names[i])) < 0)
			break;
	return list;
}

static json_t *annotations(void)
{
	const struct scmp_version *library = seccomp_version();
	char version[64] = "";

	if (library)
		snprintf(version, sizeof(version), "%u.%u.%u", library->major, library->minor, library->micro);
	/* The one annotation of runc's own that callers ask for. */
	return json_pack("{s:s,s:s,s:s,s:s}", "io.github.seccomp.libseccomp.version", version,
			 "org.opencontainers.runc.checkpoint.enabled", "true", "rt.commit", RT_COMMIT, "rt.version", RT_VERSION);
}

struct rt_error *rt_spec_features(json_t **ret)
{
	_cleanup_json_ json_t *features = NULL;
	struct rt_error *err = rt_spec_vocabulary(&features);
	json_t *linux_object = json_object_get(features, "linux");
	int failed = 0;

	if (err)
		return err;
	failed |= json_object_set_new(features, "mountOptions", mount_options());
	failed |= json_object_set_new(json_object_get(linux_object, "seccomp"), "supportedFlags", supported_flags());
	failed |= json_object_set_new(
		linux_object, "cgroup",
		json_pack("{s:b,s:b,s:b,s:b,s:b}", "v1", 1, "v2", 1, "systemd", 1, "systemdUser", 1, "rdma", 1));
	failed |= json_object_set_new(linux_object, "apparmor", json_pack("{s:b}", "enabled", 1));
	failed |= json_object_set_new(linux_object, "selinux", json_pack("{s:b}", "enabled", 1));
	failed |= json_object_set_new(linux_object, "intelRdt",
				      json_pack("{s:b,s:b,s:b}", "enabled", 1, "schemata", 1, "monitoring", 1));
	failed |= json_object_set_new(linux_object, "mountExtensions", json_pack("{s:{s:b}}", "idmap", "enabled", 1));
	failed |= json_object_set_new(linux_object, "netDevices", json_pack("{s:b}", "enabled", 1));
	failed |= json_object_set_new(features, "annotations", annotations());
	/* Those that make us do something on the host; one that ends in a dot is a prefix. */
	failed |= json_object_set_new(features, "potentiallyUnsafeConfigAnnotations",
				      json_pack("[s,s]", "org.criu.config", "org.systemd.property."));
	if (failed)
		return rt_error_oom();
	*ret = rt_take_ptr(features);
	return NULL;
}
