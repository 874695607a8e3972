#include "runtime/cgroup/stats.h"

#include "runtime/base/str.h"

json_t *rt_stats_object(json_t *parent, const char *key)
{
	json_t *object = json_object_get(parent, key);

	if (object)
		return object;
	object = json_object();
	return object && json_object_set_new(parent, key, object) == 0 ? object : NULL;
}

struct rt_error *rt_stats_add(json_t *object, const char *key, uint64_t value)
{
	json_t *number = value > INT64_MAX ? json_real((double)value) : json_integer((json_int_t)value);

	if (!number || json_object_set_new(object, key, number) < 0)
		return rt_error_oom();
	return NULL;
}

struct rt_error *rt_stats_add_file(json_t *object, const char *key, const struct rt_cgroup_place *place, const char *file)
{
	uint64_t value = 0;
	bool found;
	struct rt_error *err = rt_place_read_u64(place, file, &value, &found);

	if (err || !found)
		return err;
	return rt_stats_add(object, key, value);
}

struct rt_error *rt_stats_add_lines(json_t *object, const char *text)
{
	while (text && *text) {
		size_t length = strcspn(text, "\n"), key = strcspn(text, " \n");
		char name[64];

		if (key < length && key < sizeof(name)) {
			struct rt_error *err;

			snprintf(name, sizeof(name), "%.*s", (int)key, text);
			err = rt_stats_add(object, name, strtoull(text + key + 1, NULL, 10));
			if (err)
				return err;
		}
		text += length + (text[length] == '\n');
	}
	return NULL;
}

struct rt_error *rt_stats_add_list(json_t *object, const char *key, const char *list)
{
	json_t *array = json_array();

	if (!array || json_object_set_new(object, key, array) < 0)
		return rt_error_oom();
	while (*list >= '0' && *list <= '9') {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < 65536; first++)
			if (json_array_append_new(array, json_integer((json_int_t)first)) < 0)
				return rt_error_oom();
		list = end + (*end == ',');
	}
	return NULL;
}

static struct rt_error *add_page_size(const struct rt_cgroup_place *place, const char *size, const char *usage, const char *max,
				      const char *failures, json_t *stats)
{
	json_t *all = rt_stats_object(stats, "hugetlb"), *one = all ? rt_stats_object(all, size) : NULL;
	char file[128];
	struct rt_error *err;

	if (!one)
		return rt_error_oom();
	snprintf(file, sizeof(file), "hugetlb.%s.%s", size, usage);
	err = rt_stats_add_file(one, "usage", place, file);
	if (!err && max) {
		snprintf(file, sizeof(file), "hugetlb.%s.%s", size, max);
		err = rt_stats_add_file(one, "max", place, file);
	}
	if (!err && failures) {
		snprintf(file, sizeof(file), "hugetlb.%s.%s", size, failures);
		err = rt_stats_add_file(one, "failcnt", place, file);
	}
	return err;
}

struct rt_error *rt_stats_add_hugepages(const struct rt_cgroup_place *place, const char *usage, const char *max,
					const char *failures, json_t *stats)
{
	_cleanup_closedir_ DIR *dir = opendir(place->directory);
	struct rt_error *err = NULL;
	struct dirent *entry;

	while (!err && dir && (entry = readdir(dir))) {
		const char *size = entry->d_name + strlen("hugetlb."), *dot;
		char text[32];

		if (!rt_str_starts(entry->d_name, "hugetlb."))
			continue;
		dot = strchr(size, '.');
		if (!dot || !rt_str_equal(dot + 1, usage) || (size_t)(dot - size) >= sizeof(text))
			continue;
		snprintf(text, sizeof(text), "%.*s", (int)(dot - size), size);
		err = add_page_size(place, text, usage, max, failures, stats);
	}
	return err;
}

struct rt_error *rt_stats_add_io(json_t *object, const char *key, unsigned major, unsigned minor, const char *op, uint64_t value)
{
	json_t *array = json_object_get(object, key);

	if (!array) {
		array = json_array();
		if (!array || json_object_set_new(object, key, array) < 0)
			return rt_error_oom();
	}
	if (json_array_append_new(array, json_pack("{s:I, s:I, s:s, s:I}", "major", (json_int_t)major, "minor", (json_int_t)minor,
						   "op", op, "value", (json_int_t)(value > INT64_MAX ? INT64_MAX : value))) < 0)
		return rt_error_oom();
	return NULL;
}
