/* Which of the images of an index. */
#include "runtime/bundle/image.h"

#include "runtime/base/str.h"

#define LIST_ROOM 400

struct rt_image_platform rt_image_platform_of(const char *machine)
{
	/* uname(2)'s words and Go's, which image indexes use */
	static const struct {
		const char *machine;
		struct rt_image_platform platform;
	} names[] = {
		{ "x86_64", { "linux", "amd64", NULL } },	 { "aarch64", { "linux", "arm64", "v8" } },
		{ "armv7l", { "linux", "arm", "v7" } },		 { "armv6l", { "linux", "arm", "v6" } },
		{ "i686", { "linux", "386", NULL } },		 { "i386", { "linux", "386", NULL } },
		{ "ppc64le", { "linux", "ppc64le", NULL } },	 { "s390x", { "linux", "s390x", NULL } },
		{ "riscv64", { "linux", "riscv64", NULL } },	 { "loongarch64", { "linux", "loong64", NULL } },
		{ "mips64", { "linux", "mips64le", NULL } },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		if (rt_str_equal(names[i].machine, machine))
			return names[i].platform;
	return (struct rt_image_platform){ .os = "linux", .architecture = machine };
}

struct rt_error *rt_image_platform_parse(const char *text, struct rt_arena *arena, struct rt_image_platform *ret)
{
	char *copy = rt_arena_printf(arena, "%s", text), *save = NULL;

	if (!copy)
		return rt_error_oom();
	*ret = (struct rt_image_platform){ .os = strtok_r(copy, "/", &save) };
	ret->architecture = strtok_r(NULL, "/", &save);
	ret->variant = strtok_r(NULL, "/", &save);
	if (!ret->os || !ret->architecture || strtok_r(NULL, "/", &save))
		return rt_fail(RT_USAGE, "'%s' is no platform: write OS/ARCHITECTURE[/VARIANT], such as linux/arm64", text);
	return NULL;
}

/* Of arm: v7 runs what was built for v6 and v5, too. */
static int variant_number(const char *variant)
{
	return variant && variant[0] == 'v' && variant[1] >= '1' && variant[1] <= '9' ? variant[1] - '0' : 0;
}

bool rt_image_platform_fits(const struct rt_image_platform *wanted, const struct rt_image_platform *has, int *ret_score)
{
	int most = variant_number(wanted->variant), here = variant_number(has->variant);

	*ret_score = 0;
	if (has->os && wanted->os && !rt_str_equal(has->os, wanted->os))
		return false;
	if (has->architecture && wanted->architecture && !rt_str_equal(has->architecture, wanted->architecture))
		return false;
	if (!has->os || !has->architecture)
		return true; /* says nothing: better than none */
	*ret_score = 10 + here;
	if (!has->variant || !wanted->variant)
		return true;
	if (rt_str_equal(has->variant, wanted->variant)) {
		*ret_score = 100;
		return true;
	}
	return rt_str_equal(has->architecture, "arm") && here && here <= most;
}

static bool is_candidate(const struct rt_image_descriptor *entry, const char *tag)
{
	if (entry->kind != RT_IMAGE_MANIFEST && entry->kind != RT_IMAGE_INDEX)
		return false;
	/* Attestations stand among the images like one of an unknown machine. */
	if (entry->platform.architecture && rt_str_equal(entry->platform.architecture, "unknown"))
		return false;
	return !tag || (entry->name && rt_str_equal(entry->name, tag));
}

/* "a, b, c": what could be asked for. */
static void list_tags(const struct rt_image_index *index, char text[LIST_ROOM])
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < index->count; i++) {
		const char *name = index->entries[i].name;
		int length = name ? snprintf(text + used, LIST_ROOM - used, "%s%s", used ? ", " : "", name) : 0;

		if (length < 0 || (size_t)length >= LIST_ROOM - used)
			break;
		used += (size_t)length;
	}
}

static void list_platforms(const struct rt_image_index *index, const char *tag, char text[LIST_ROOM])
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < index->count; i++) {
		const struct rt_image_platform *has = &index->entries[i].platform;
		int length;

		if (!is_candidate(&index->entries[i], tag) || !has->architecture)
			continue;
		length = snprintf(text + used, LIST_ROOM - used, "%s%s/%s%s%s", used ? ", " : "", has->os ? has->os : "",
				  has->architecture, has->variant ? "/" : "", has->variant ? has->variant : "");
		if (length < 0 || (size_t)length >= LIST_ROOM - used)
			break;
		used += (size_t)length;
	}
}

/* Two names for two images, and nobody said which. */
static bool names_differ(const struct rt_image_descriptor *a, const struct rt_image_descriptor *b)
{
	return a->name && b->name && !rt_str_equal(a->name, b->name) && !rt_str_equal(a->hex, b->hex);
}

struct rt_error *rt_image_choose(const struct rt_image_index *index, const char *tag, const struct rt_image_platform *platform,
				 const struct rt_image_descriptor **ret)
{
	const struct rt_image_descriptor *only = NULL, *best = NULL;
	size_t candidates = 0;
	int best_score = -1;
	char list[LIST_ROOM];

	for (size_t i = 0; i < index->count; i++) {
		const struct rt_image_descriptor *entry = &index->entries[i];
		int score;

		if (!is_candidate(entry, tag))
			continue;
		if (candidates++ == 0)
			only = entry;
		if (!tag && names_differ(only, entry)) {
			list_tags(index, list);
			return rt_fail(RT_USAGE, "there are several images in it: name one behind a colon, of %s", list);
		}
		if (rt_image_platform_fits(platform, &entry->platform, &score) && score > best_score) {
			best = entry;
			best_score = score;
		}
	}
	if (candidates == 1 || best) {
		*ret = candidates == 1 ? only : best;
		return NULL;
	}
	if (candidates == 0 && tag) {
		list_tags(index, list);
		return rt_fail(RT_NOT_FOUND, "there is no image with the tag '%s' in it, only %s", tag, *list ? list : "some without a tag");
	}
	if (candidates == 0)
		return rt_fail(RT_NOT_FOUND, "there is no image in it");
	list_platforms(index, tag, list);
	return rt_fail(RT_NOT_FOUND, "there is no image for %s/%s in it, only for %s", platform->os, platform->architecture, list);
}
