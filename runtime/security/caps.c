#include "runtime/security/security.h"

#include "runtime/base/log.h"
#include "runtime/sys/cred.h"

static bool has(uint64_t set, int cap)
{
	return set >> cap & 1;
}

/* Asked of the bounding set, by halves: the kernel answers EINVAL beyond the last one. Six calls, and no /proc. */
static struct rt_error *find_last(int *ret)
{
	int known = 0, unknown = 64;

	while (unknown - known > 1) {
		int middle = (known + unknown) / 2;
		struct rt_error *err;
		bool there, is_known;

		err = rt_sys_bounding_has(middle, &there, &is_known);
		if (err)
			return err;
		if (is_known)
			known = middle;
		else
			unknown = middle;
	}
	*ret = known;
	return NULL;
}

struct rt_error *rt_caps_known(uint64_t *ret)
{
	struct rt_error *err;
	int last;

	err = find_last(&last);
	if (err)
		return err;
	*ret = last >= 63 ? UINT64_MAX : (UINT64_C(1) << (last + 1)) - 1;
	return NULL;
}

/* "CAP_CHOWN CAP_KILL" for messages, cut where it gets too long. */
#define CAP_NAMES_ROOM 256
static const char *names_of(uint64_t set, char text[CAP_NAMES_ROOM])
{
	size_t used = 0;

	text[0] = '\0';
	for (int cap = 0; cap < 64 && used < CAP_NAMES_ROOM; cap++) {
		const char *name = rt_cap_name(cap);

		if (!has(set, cap))
			continue;
		if (name)
			used += (size_t)snprintf(text + used, CAP_NAMES_ROOM - used, "%s%s", used ? " " : "", name);
		else
			used += (size_t)snprintf(text + used, CAP_NAMES_ROOM - used, "%s%d", used ? " " : "", cap);
	}
	return text;
}

static void warn_of(uint64_t set, const char *why)
{
	char names[CAP_NAMES_ROOM];

	if (set)
		rt_warn("capabilities %s %s, ignoring", names_of(set, names), why);
}

struct rt_error *rt_caps_plan(const struct rt_spec_caps *spec, struct rt_spec_caps *ret)
{
	struct rt_spec_caps caps = *spec;
	char names[CAP_NAMES_ROOM];
	struct rt_error *err;
	uint64_t known, all;

	/* A process without the field gets no capability at all, as in runc and crun. */
	if (!spec->present) {
		*ret = (struct rt_spec_caps){.present = true};
		return NULL;
	}
	err = rt_caps_known(&known);
	if (err)
		return err;
	all = caps.bounding | caps.effective | caps.inheritable | caps.permitted | caps.ambient;
	warn_of(all & ~known, "are unknown to the kernel");
	caps.bounding &= known;
	caps.effective &= known;
	caps.inheritable &= known;
	caps.permitted &= known;
	caps.ambient &= known;
	if (caps.effective & ~caps.permitted)
		return rt_fail(RT_CONFIG, "'process.capabilities.effective' has %s, which 'permitted' lacks",
			       names_of(caps.effective & ~caps.permitted, names));
	warn_of(caps.ambient & ~(caps.permitted & caps.inheritable),
		"can't be ambient: they are not permitted and inheritable");
	caps.ambient &= caps.permitted & caps.inheritable;
	*ret = caps;
	return NULL;
}

struct rt_error *rt_caps_bound(const struct rt_spec_caps *caps)
{
	if (!caps->present)
		return NULL;
	for (int cap = 0; cap < 64; cap++) {
		struct rt_error *err;
		bool there, known;

		if (has(caps->bounding, cap))
			continue;
		/* Asked first: dropping takes a right that a process without it may not need. */
		err = rt_sys_bounding_has(cap, &there, &known);
		if (!err && !known)
			return NULL;
		if (!err && there)
			err = rt_sys_bounding_drop(cap);
		if (err)
			return rt_while(err, "setting 'process.capabilities.bounding'");
	}
	return NULL;
}

/* The kernel only says EPERM; the sets tell which capability it was about. */
static struct rt_error *explain(struct rt_error *err, const struct rt_sys_caps *old, const struct rt_spec_caps *wanted)
{
	uint64_t missing = wanted->permitted & ~old->permitted;
	uint64_t unbound = wanted->inheritable & ~(old->inheritable | wanted->bounding);
	char names[CAP_NAMES_ROOM];

	if (missing)
		return rt_while(err, "setting 'process.capabilities.permitted': the runtime itself lacks %s",
				names_of(missing, names));
	if (unbound)
		return rt_while(err, "setting 'process.capabilities.inheritable': 'bounding' lacks %s",
				names_of(unbound, names));
	return rt_while(err, "setting 'process.capabilities'");
}

static struct rt_error *set_ambient(uint64_t ambient)
{
	struct rt_error *err = rt_sys_ambient_clear();

	for (int cap = 0; cap < 64 && !err; cap++)
		if (has(ambient, cap))
			err = rt_sys_ambient_raise(cap);
	return err;
}

struct rt_error *rt_caps_set(const struct rt_spec_caps *caps, uint64_t extra)
{
	struct rt_sys_caps old, wanted;
	struct rt_error *err;

	if (!caps->present)
		return NULL;
	err = rt_sys_get_caps(&old);
	if (err)
		return err;
	wanted = (struct rt_sys_caps){
		.effective = caps->effective | extra,
		.permitted = caps->permitted | extra,
		.inheritable = caps->inheritable,
	};
	err = rt_sys_set_caps(&wanted);
	if (err)
		return explain(err, &old, caps);
	return set_ambient(caps->ambient);
}
