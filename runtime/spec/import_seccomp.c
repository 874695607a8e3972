/* Docker's form of a seccomp profile has conditions in it that an engine decides before a runtime sees them: rules for who has a
 * capability, for an architecture, for a kernel; and a map from the machine's architecture to those it runs besides. */
#include "runtime/spec/import_private.h"

#include <strings.h>
#include <sys/utsname.h>

/* As Docker names them, and as config.json does. */
static const char *const native_names[] = {
#if defined(__x86_64__)
	"amd64", "x32", "x86", "SCMP_ARCH_X86_64",
#elif defined(__aarch64__)
	"arm64", "arm", "arm64", "SCMP_ARCH_AARCH64",
#elif defined(__s390x__)
	"s390x", "s390", "s390x", "SCMP_ARCH_S390X",
#elif defined(__powerpc64__)
	"ppc64le", "ppc64le", "ppc64le", "SCMP_ARCH_PPC64LE",
#elif defined(__riscv)
	"riscv64", "riscv64", "riscv64", "SCMP_ARCH_RISCV64",
#else
	"", "", "", "",
#endif
};
enum { NATIVE_NAME, NATIVE_SCMP = 3 };

static bool native(const char *name)
{
	return rt_str_equal(name, native_names[NATIVE_NAME]);
}

/* True where one of the list applies here: `caps`, `arches`. */
static bool any_applies(struct rt_import *import, const struct rt_json *conditions, const char *key, bool *ret_given)
{
	struct rt_json list = rt_import_array(import, conditions, key);
	bool caps = rt_str_equal(key, "caps");

	*ret_given = rt_json_count(&list) > 0;
	for (size_t i = 0; i < rt_json_count(&list); i++) {
		const char *name = rt_import_element(import, &list, i);
		int cap;

		if (!name)
			continue;
		if (caps ? rt_cap_from_name(name, &cap) && import->bounding >> cap & 1 : native(name))
			return true;
	}
	return false;
}

/* "4.8" is not above the running kernel. */
static bool kernel_reached(const char *version)
{
	unsigned wanted[2] = { 0, 0 }, here[2] = { 0, 0 };
	struct utsname name;

	if (sscanf(version, "%u.%u", &wanted[0], &wanted[1]) < 1 || uname(&name) < 0 ||
	    sscanf(name.release, "%u.%u", &here[0], &here[1]) < 1)
		return false;
	return here[0] > wanted[0] || (here[0] == wanted[0] && here[1] >= wanted[1]);
}

static bool rule_applies(struct rt_import *import, const struct rt_json *rule)
{
	struct rt_json includes = rt_import_object(import, rule, "includes"), excludes = rt_import_object(import, rule, "excludes");
	const char *oldest = rt_import_text(import, &includes, "minKernel"), *first = rt_import_text(import, &excludes, "minKernel");
	static const char *const keys[] = { "caps", "arches" };

	if ((oldest && !kernel_reached(oldest)) || (first && kernel_reached(first)))
		return false;
	for (size_t i = 0; i < RT_ARRAY_SIZE(keys); i++) {
		bool given;

		if (any_applies(import, &excludes, keys[i], &given))
			return false;
		if (!any_applies(import, &includes, keys[i], &given) && given)
			return false;
	}
	return true;
}

/* All that config.json knows of a rule; what an engine keeps for itself ("comment", "errno" as text) goes. */
static json_t *plain_rule(struct rt_import *import, const struct rt_json *rule)
{
	static const char *const kept[] = { "names", "action", "errnoRet", "args" };
	const char *name = rt_import_text(import, rule, "name");
	json_t *plain = json_object();

	for (size_t i = 0; i < RT_ARRAY_SIZE(kept); i++) {
		struct rt_json field = rt_json_field(rule, kept[i]);

		if (field.value && !(json_is_array(field.value) && json_array_size(field.value) == 0))
			rt_import_put(import, plain, kept[i], json_incref(field.value));
	}
	if (name && !json_object_get(plain, "names"))
		rt_import_put(import, plain, "names", json_pack("[s]", name));
	return plain;
}

static void import_architectures(struct rt_import *import, const struct rt_json *profile)
{
	struct rt_json list = rt_json_field(profile, "architectures"), map = rt_import_array(import, profile, "archMap");

	if (json_is_array(list.value) && json_array_size(list.value) > 0)
		rt_import_set(import, "linux.seccomp.architectures", json_incref(list.value));
	for (size_t i = 0; i < rt_json_count(&map) && json_array_size(list.value) == 0; i++) {
		struct rt_json entry = rt_json_element(&map, i), others = rt_import_array(import, &entry, "subArchitectures");
		const char *name = rt_import_text(import, &entry, "architecture");

		if (!name || !rt_str_equal(name, native_names[NATIVE_SCMP]))
			continue;
		rt_edit_add_word(&import->edit, "linux.seccomp.architectures", name);
		for (size_t k = 0; k < rt_json_count(&others); k++) {
			const char *other = rt_import_element(import, &others, k);

			if (other)
				rt_edit_add_word(&import->edit, "linux.seccomp.architectures", other);
		}
	}
}

void rt_import_seccomp(struct rt_import *import, const char *text, const char *name)
{
	static const char *const kept[] = { "defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata" };
	_cleanup_json_ json_t *document = NULL;
	struct rt_error *err = rt_json_parse(text, strlen(text), name, &document);
	struct rt_json profile = rt_json_root(document), rules;
	char path[64];

	if (err) {
		rt_edit_reject(&import->edit, err);
		return;
	}
	if (!json_is_object(document)) {
		rt_edit_fail(&import->edit, RT_CONFIG, "the seccomp profile '%s' must be a JSON object", name);
		return;
	}
	rt_edit_set(&import->edit, "linux.seccomp", json_object());
	for (size_t i = 0; i < RT_ARRAY_SIZE(kept); i++) {
		struct rt_json field = rt_json_field(&profile, kept[i]);

		snprintf(path, sizeof(path), "linux.seccomp.%s", kept[i]);
		if (field.value)
			rt_import_set(import, path, json_incref(field.value));
	}
	import_architectures(import, &profile);
	rules = rt_import_array(import, &profile, "syscalls");
	for (size_t i = 0; i < rt_json_count(&rules) && !import->edit.err; i++) {
		struct rt_json rule = rt_json_element(&rules, i);

		if (rule_applies(import, &rule))
			rt_edit_append(&import->edit, "linux.seccomp.syscalls", plain_rule(import, &rule));
	}
}
