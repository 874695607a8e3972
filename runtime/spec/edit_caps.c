#include "runtime/spec/edit.h"

#include "runtime/spec/seccomp_default.h"
#include "runtime/spec/spec.h"

static const char *set_path(char path[static 64], const char *set)
{
	snprintf(path, 64, "process.capabilities.%s", set);
	return path;
}

uint64_t rt_edit_caps(const struct rt_edit *edit, const char *set)
{
	char path[64];
	json_t *list = rt_edit_peek(edit, set_path(path, set));
	uint64_t caps = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		int cap;

		if (name && rt_cap_from_name(name, &cap))
			caps |= UINT64_C(1) << cap;
	}
	return caps;
}

void rt_edit_set_caps(struct rt_edit *edit, const char *set, uint64_t caps)
{
	char path[64];

	rt_edit_set(edit, set_path(path, set), json_array());
	for (int cap = 0; rt_cap_name(cap); cap++)
		if (caps >> cap & 1)
			rt_edit_add_word(edit, path, rt_cap_name(cap));
}

void rt_edit_default_seccomp(struct rt_edit *edit)
{
	json_t *profile;
	struct rt_error *err = rt_seccomp_default(rt_edit_caps(edit, "bounding"), &profile);

	if (err)
		rt_edit_reject(edit, err);
	else
		rt_edit_set(edit, "linux.seccomp", profile);
}
