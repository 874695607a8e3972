#include "runtime/cgroup/systemd_properties.h"

#include "runtime/base/str.h"
#include "runtime/cgroup/convert.h"
#include "runtime/cgroup/devices.h"

#include <ctype.h>
#include <inttypes.h>

#define ANNOTATION "org.systemd.property."
#define LONGEST_NAME 64
/* A list adds to the one before, an empty one takes that away. */
#define EMPTY_DEVICE_LIST "DeviceAllow\ta(ss)\t0\t\n"

static void number(FILE *out, const char *name, unsigned version, uint64_t value)
{
	fprintf(out, "%s\tt\t%u\t%" PRIu64 "\n", name, version, value);
}

/* -1 is "infinity", which D-Bus writes as the largest number. */
static void amount(FILE *out, const char *name, int64_t value)
{
	number(out, name, 0, value < 0 ? UINT64_MAX : (uint64_t)value);
}

static struct rt_error *memory(FILE *out, const struct rt_spec_memory *m, bool v2)
{
	struct rt_error *err;
	int64_t swap;

	if (m->limit && *m->limit)
		amount(out, v2 ? "MemoryMax" : "MemoryLimit", *m->limit);
	if (!v2)
		return NULL;
	if (m->reservation && *m->reservation)
		amount(out, "MemoryLow", *m->reservation);
	/* Without a limit beside it the sum can't be taken apart here; the cgroup's own file gets it right. */
	if (m->swap && *m->swap && (*m->swap < 0 || (m->limit && *m->limit))) {
		err = rt_convert_swap(*m->swap, m->limit ? *m->limit : -1, &swap);
		if (err)
			return err;
		amount(out, "MemorySwapMax", swap);
	}
	return NULL;
}

/* systemd keeps the quota per second, in steps of 10 ms, and cuts what is between: round up, as runc does. */
static void quota(FILE *out, const struct rt_spec_cpu *c)
{
	uint64_t period = c->period && *c->period ? *c->period : 100000, per_second = UINT64_MAX;

	if (c->period && *c->period)
		number(out, "CPUQuotaPeriodUSec", 242, *c->period);
	if (!c->quota || *c->quota == 0)
		return;
	if (*c->quota > 0 && (uint64_t)*c->quota < UINT64_MAX / 1000000) {
		per_second = (uint64_t)*c->quota * 1000000 / period;
		per_second = (per_second + 9999) / 10000 * 10000;
	}
	number(out, "CPUQuotaPerSecUSec", 0, per_second);
}

/* "0-3,7" as the bytes of a bit mask, the lowest first, in hexadecimal. */
static struct rt_error *cpu_list(FILE *out, const char *name, const char *field, const char *list)
{
	unsigned char mask[1024] = { 0 };
	size_t bytes = 0;

	while (*list && !isspace((unsigned char)*list)) {
		unsigned long first, last;
		char *end;

		if (!isdigit((unsigned char)*list))
			return rt_fail(RT_CONFIG, "'%s' must be a list like 0-3,7", field);
		first = last = strtoul(list, &end, 10);
		if (*end == '-' && isdigit((unsigned char)end[1]))
			last = strtoul(end + 1, &end, 10);
		if (first > last || last >= sizeof(mask) * 8 || (*end && *end != ',' && !isspace((unsigned char)*end)))
			return rt_fail(RT_CONFIG, "'%s' must be a list like 0-3,7", field);
		for (unsigned long i = first; i <= last; i++)
			mask[i / 8] |= (unsigned char)(1U << i % 8);
		if (last / 8 + 1 > bytes)
			bytes = last / 8 + 1;
		list = end + (*end == ',');
	}
	if (!bytes)
		return NULL;
	fprintf(out, "%s\tay\t244\t", name);
	for (size_t i = 0; i < bytes; i++)
		fprintf(out, "%02x", mask[i]);
	fputc('\n', out);
	return NULL;
}

struct rt_error *rt_properties_limits(FILE *out, const struct rt_spec_resources *r, bool v2)
{
	struct rt_error *err = memory(out, &r->memory, v2);

	if (err)
		return err;
	if (r->cpu.shares && *r->cpu.shares && v2)
		number(out, "CPUWeight", 0, rt_convert_shares(*r->cpu.shares));
	else if (r->cpu.shares && *r->cpu.shares)
		number(out, "CPUShares", 0, *r->cpu.shares);
	quota(out, &r->cpu);
	if (r->block_io.weight && *r->block_io.weight && v2)
		number(out, "IOWeight", 0, rt_convert_io_weight(*r->block_io.weight));
	else if (r->block_io.weight && *r->block_io.weight)
		number(out, "BlockIOWeight", 0, *r->block_io.weight);
	if (r->pids_limit && *r->pids_limit != 0)
		amount(out, "TasksMax", *r->pids_limit);
	if (v2 && r->cpu.cpus)
		err = cpu_list(out, "AllowedCPUs", "linux.resources.cpu.cpus", r->cpu.cpus);
	if (v2 && !err && r->cpu.mems)
		err = cpu_list(out, "AllowedMemoryNodes", "linux.resources.cpu.mems", r->cpu.mems);
	return err;
}

/* The driver's name for a major number: systemd has no other way to say "every minor". False: no such driver now. */
static bool driver_name(char type, int64_t major, char name[64])
{
	_cleanup_fclose_ FILE *file = fopen("/proc/devices", "re");
	bool in_section = false;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		unsigned number;

		if (rt_str_starts(line, "Character devices:"))
			in_section = type == 'c';
		else if (rt_str_starts(line, "Block devices:"))
			in_section = type == 'b';
		else if (in_section && sscanf(line, "%u %63s", &number, name) == 2 && number == major)
			return true;
	}
	return false;
}

static void device(FILE *out, const struct rt_spec_device_rule *rule, bool *first)
{
	const char *kind = rule->type == 'b' ? "block" : "char";
	char what[128], driver[64];

	if (rule->major < 0)
		snprintf(what, sizeof(what), "%s-*", kind);
	else if (rule->minor >= 0)
		snprintf(what, sizeof(what), "/dev/%s/%" PRId64 ":%" PRId64, kind, rule->major, rule->minor);
	else if (driver_name(rule->type, rule->major, driver))
		snprintf(what, sizeof(what), "%s-%s", kind, driver);
	else
		return;
	fprintf(out, "%s%s%c%s%s%s", *first ? "" : "\x1f", what, RT_PROPERTY_SEPARATOR, rule->read ? "r" : "",
		rule->write ? "w" : "", rule->mknod ? "m" : "");
	*first = false;
}

struct rt_error *rt_properties_devices(FILE *out, const struct rt_spec_resources *resources)
{
	_cleanup_(rt_arena_deinit) struct rt_arena arena = RT_ARENA_NULL;
	struct rt_spec_device_rule *rules;
	struct rt_device_list list;
	bool first = true;
	struct rt_error *err;
	size_t count;

	err = rt_devices_all(resources, &arena, &rules, &count);
	if (err)
		return err;
	/* What a plain list can't say, our own program says alone: systemd's then has to let everything pass. */
	err = rt_devices_list(rules, count, &arena, &list);
	if (err || list.default_allow) {
		rt_error_free(err);
		fputs("DevicePolicy\ts\t0\tauto\n" EMPTY_DEVICE_LIST, out);
		return NULL;
	}
	fputs("DevicePolicy\ts\t0\tstrict\n" EMPTY_DEVICE_LIST "DeviceAllow\ta(ss)\t0\t", out);
	for (size_t i = 0; i < list.count; i++)
		device(out, &list.entries[i], &first);
	fputc('\n', out);
	return NULL;
}

static struct rt_error *bad(const struct rt_spec_key_value *annotation, const char *what)
{
	return rt_fail(RT_CONFIG, "annotation '%s': %s", annotation->key, what);
}

/* One quoted text; moves *at behind it. */
static bool quoted(const char **at, FILE *out)
{
	char quote = **at;

	if (quote != '\'' && quote != '"')
		return false;
	for (++*at; **at && **at != quote; ++*at) {
		if (**at == '\\' && (*at)[1])
			++*at;
		if ((unsigned char)**at < 0x20)
			return false;
		fputc(**at, out);
	}
	if (!**at)
		return false;
	++*at;
	return true;
}

static bool strings(const char *at, FILE *out)
{
	for (at += 1 + strspn(at + 1, " ");;) {
		if (!quoted(&at, out))
			return false;
		at += strspn(at, " ");
		if (*at == ']')
			return at[1] == '\0';
		if (*at != ',')
			return false;
		at += 1 + strspn(at + 1, " ");
		fputc(RT_PROPERTY_SEPARATOR, out);
	}
}

struct typed {
	const char *word;
	char signature;
	bool is_signed;
	int bits;
};

static bool in_range(const char *text, const struct typed *type)
{
	uint64_t magnitude;
	int64_t value;

	if (!type->is_signed)
		return rt_str_to_u64(text, &magnitude) && (type->bits == 64 || magnitude < 1ULL << type->bits);
	if (!rt_str_to_i64(text, &value))
		return false;
	return type->bits == 64 || (value >= -(1LL << (type->bits - 1)) && value < 1LL << (type->bits - 1));
}

/* "uint64 5", and a bare number, which is an int32 to GVariant. */
static const struct typed *number_type(const char *text, const char **ret_digits)
{
	static const struct typed types[] = {
		{ "byte ", 'y', false, 8 },	{ "int16 ", 'n', true, 16 },  { "uint16 ", 'q', false, 16 },
		{ "int32 ", 'i', true, 32 },	{ "uint32 ", 'u', false, 32 }, { "int64 ", 'x', true, 64 },
		{ "uint64 ", 't', false, 64 },	{ "", 'i', true, 32 },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(types); i++) {
		*ret_digits = text + strlen(types[i].word);
		if (rt_str_starts(text, types[i].word) && in_range(*ret_digits, &types[i]))
			return &types[i];
	}
	return NULL;
}

/* "TimeoutStopSec" is a setting of unit files; on the bus it is TimeoutStopUSec, in microseconds. */
static struct rt_error *seconds(FILE *out, const struct rt_spec_key_value *annotation, const char *name, const char *digits)
{
	uint64_t value;

	if (!rt_str_to_u64(digits, &value) || value > UINT64_MAX / 1000000)
		return bad(annotation, "must be a number of seconds");
	fprintf(out, "%.*sUSec\tt\t0\t%" PRIu64 "\n", (int)(strlen(name) - 3), name, value * 1000000);
	return NULL;
}

struct rt_error *rt_properties_annotation(FILE *out, const struct rt_spec_key_value *annotation)
{
	const char *name = annotation->key + strlen(ANNOTATION), *value = annotation->value, *digits;
	const struct typed *type;
	size_t length;
	bool fine;

	if (!rt_str_starts(annotation->key, ANNOTATION))
		return NULL;
	length = strlen(name);
	if (length < 2 || length > LONGEST_NAME || !isupper((unsigned char)name[0]))
		return bad(annotation, "is not the name of a property");
	for (size_t i = 0; i < length; i++)
		if (!isalpha((unsigned char)name[i]))
			return bad(annotation, "is not the name of a property");
	type = number_type(value, &digits);
	if (type && length > 3 && rt_str_equal(name + length - 3, "Sec") && (length < 4 || name[length - 4] != 'U'))
		return seconds(out, annotation, name, digits);
	if (type) {
		fprintf(out, "%s\t%c\t0\t%s\n", name, type->signature, digits);
		return NULL;
	}
	if (rt_str_equal(value, "true") || rt_str_equal(value, "false")) {
		fprintf(out, "%s\tb\t0\t%d\n", name, value[0] == 't');
		return NULL;
	}
	fprintf(out, "%s\t%s\t0\t", name, *value == '[' ? "as" : "s");
	if (*value == '[')
		fine = strings(value, out);
	else
		fine = quoted(&value, out) && *value == '\0';
	fputc('\n', out);
	return fine ? NULL : bad(annotation, "must be a GVariant text of a string, a number, a truth value or a list of strings");
}
