#include "runtime/rootfs/options.h"

#include "runtime/base/str.h"

#include <sys/mount.h>

enum option_kind {
	SET, /* an attribute of the mount */
	CLEAR,
	ATIME, /* one of the atime modes, which exclude each other */
	RECURSIVE_SET, /* the same three, for everything below as well */
	RECURSIVE_CLEAR,
	RECURSIVE_ATIME,
	DATA, /* of the file system, not of the mount: handed over under its own name */
	WISH, /* the same, where the file system knows it */
	PROPAGATION,
	RECURSIVE_PROPAGATION,
	BIND,
	RECURSIVE_BIND,
	REMOUNT,
	IDMAP,
	RECURSIVE_IDMAP,
	COPY_UP,
	COPY_SYMLINK,
	SOURCE_NOFOLLOW,
	DESTINATION_NOFOLLOW,
	NOTHING, /* asks for what is so anyway, or for what the kernel no longer has */
};

/* In the order of the table in config.md of the runtime specification, extensions last. */
static const struct option {
	const char *name;
	enum option_kind kind;
	uint64_t value;
} table[] = {
	{ "async", DATA, 0 },
	{ "atime", ATIME, MOUNT_ATTR_RELATIME },
	{ "bind", BIND, 0 },
	{ "defaults", NOTHING, 0 },
	{ "dev", CLEAR, MOUNT_ATTR_NODEV },
	{ "diratime", CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "dirsync", DATA, 0 },
	{ "exec", CLEAR, MOUNT_ATTR_NOEXEC },
	{ "iversion", WISH, 0 },
	{ "lazytime", DATA, 0 },
	{ "loud", NOTHING, 0 },
	{ "mand", DATA, 0 },
	{ "noatime", ATIME, MOUNT_ATTR_NOATIME },
	{ "nodev", SET, MOUNT_ATTR_NODEV },
	{ "nodiratime", SET, MOUNT_ATTR_NODIRATIME },
	{ "noexec", SET, MOUNT_ATTR_NOEXEC },
	{ "noiversion", WISH, 0 },
	{ "nolazytime", DATA, 0 },
	{ "nomand", DATA, 0 },
	{ "norelatime", ATIME, MOUNT_ATTR_RELATIME },
	{ "nostrictatime", ATIME, MOUNT_ATTR_RELATIME },
	{ "nosuid", SET, MOUNT_ATTR_NOSUID },
	{ "nosymfollow", SET, MOUNT_ATTR_NOSYMFOLLOW },
	{ "private", PROPAGATION, MS_PRIVATE },
	{ "ratime", RECURSIVE_ATIME, MOUNT_ATTR_RELATIME },
	{ "rbind", RECURSIVE_BIND, 0 },
	{ "rdev", RECURSIVE_CLEAR, MOUNT_ATTR_NODEV },
	{ "rdiratime", RECURSIVE_CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "relatime", ATIME, MOUNT_ATTR_RELATIME },
	{ "remount", REMOUNT, 0 },
	{ "rexec", RECURSIVE_CLEAR, MOUNT_ATTR_NOEXEC },
	{ "rnoatime", RECURSIVE_ATIME, MOUNT_ATTR_NOATIME },
	{ "rnodev", RECURSIVE_SET, MOUNT_ATTR_NODEV },
	{ "rnodiratime", RECURSIVE_SET, MOUNT_ATTR_NODIRATIME },
	{ "rnoexec", RECURSIVE_SET, MOUNT_ATTR_NOEXEC },
	{ "rnorelatime", RECURSIVE_ATIME, MOUNT_ATTR_RELATIME },
	{ "rnostrictatime", RECURSIVE_ATIME, MOUNT_ATTR_RELATIME },
	{ "rnosuid", RECURSIVE_SET, MOUNT_ATTR_NOSUID },
	{ "rnosymfollow", RECURSIVE_SET, MOUNT_ATTR_NOSYMFOLLOW },
	{ "ro", SET, MOUNT_ATTR_RDONLY },
	{ "rprivate", RECURSIVE_PROPAGATION, MS_PRIVATE },
	{ "rrelatime", RECURSIVE_ATIME, MOUNT_ATTR_RELATIME },
	{ "rro", RECURSIVE_SET, MOUNT_ATTR_RDONLY },
	{ "rrw", RECURSIVE_CLEAR, MOUNT_ATTR_RDONLY },
	{ "rshared", RECURSIVE_PROPAGATION, MS_SHARED },
	{ "rslave", RECURSIVE_PROPAGATION, MS_SLAVE },
	{ "rstrictatime", RECURSIVE_ATIME, MOUNT_ATTR_STRICTATIME },
	{ "rsuid", RECURSIVE_CLEAR, MOUNT_ATTR_NOSUID },
	{ "rsymfollow", RECURSIVE_CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "runbindable", RECURSIVE_PROPAGATION, MS_UNBINDABLE },
	{ "rw", CLEAR, MOUNT_ATTR_RDONLY },
	{ "shared", PROPAGATION, MS_SHARED },
	{ "silent", NOTHING, 0 },
	{ "slave", PROPAGATION, MS_SLAVE },
	{ "strictatime", ATIME, MOUNT_ATTR_STRICTATIME },
	{ "suid", CLEAR, MOUNT_ATTR_NOSUID },
	{ "symfollow", CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "sync", DATA, 0 },
	{ "tmpcopyup", COPY_UP, 0 },
	{ "unbindable", PROPAGATION, MS_UNBINDABLE },
	{ "idmap", IDMAP, 0 },
	{ "ridmap", RECURSIVE_IDMAP, 0 },
	{ "acl", WISH, 0 },
	{ "noacl", WISH, 0 },
	{ "copy-symlink", COPY_SYMLINK, 0 },
	{ "src-nofollow", SOURCE_NOFOLLOW, 0 },
	{ "dest-nofollow", DESTINATION_NOFOLLOW, 0 },
};

size_t rt_mount_option_names(const char **names, size_t room)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(table) && i < room; i++)
		names[i] = table[i].name;
	return RT_ARRAY_SIZE(table);
}

static const struct option *find(const char *word)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(table); i++)
		if (rt_str_equal(table[i].name, word))
			return &table[i];
	return NULL;
}

static void set_bits(uint64_t *set, uint64_t *clear, uint64_t bits)
{
	*set |= bits;
	*clear &= ~bits;
}

/* The kernel wants the whole field cleared where any mode of it is set. */
static void set_atime(uint64_t *set, uint64_t *clear, uint64_t mode)
{
	*set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | mode;
	*clear |= MOUNT_ATTR__ATIME;
}

static struct rt_error *add_propagation(struct rt_mount_options *options, uint64_t type, bool recursive)
{
	if (options->propagation_count == RT_MOST_PROPAGATIONS)
		return rt_fail(RT_CONFIG, "more than %d options of propagation", RT_MOST_PROPAGATIONS);
	options->propagations[options->propagation_count].type = type;
	options->propagations[options->propagation_count++].recursive = recursive;
	return NULL;
}

static struct rt_error *apply(const struct option *option, struct rt_mount_options *options)
{
	switch (option->kind) {
	case SET:
		set_bits(&options->set, &options->clear, option->value);
		break;
	case CLEAR:
		set_bits(&options->clear, &options->set, option->value);
		break;
	case ATIME:
		set_atime(&options->set, &options->clear, option->value);
		break;
	case RECURSIVE_SET:
		set_bits(&options->recursive_set, &options->recursive_clear, option->value);
		break;
	case RECURSIVE_CLEAR:
		set_bits(&options->recursive_clear, &options->recursive_set, option->value);
		break;
	case RECURSIVE_ATIME:
		set_atime(&options->recursive_set, &options->recursive_clear, option->value);
		break;
	case PROPAGATION:
		return add_propagation(options, option->value, false);
	case RECURSIVE_PROPAGATION:
		return add_propagation(options, option->value, true);
	case BIND:
		options->bind = true;
		break;
	case RECURSIVE_BIND:
		options->bind = options->recursive = true;
		break;
	case REMOUNT:
		options->remount = true;
		break;
	case IDMAP:
		options->idmap = true;
		break;
	case RECURSIVE_IDMAP:
		options->idmap = options->recursive_idmap = true;
		break;
	case COPY_UP:
		options->copy_up = true;
		break;
	case COPY_SYMLINK:
		options->copy_symlink = true;
		break;
	case SOURCE_NOFOLLOW:
		options->source_nofollow = true;
		break;
	case DESTINATION_NOFOLLOW:
		options->destination_nofollow = true;
		break;
	case DATA:
	case WISH:
	case NOTHING:
		break;
	}
	return NULL;
}

/* Engines may join several words of the file system with commas, as mount(8) does. A comma in quotes or behind a
 * backslash (a path of an overlay) belongs to the word. Returns the end of the word. */
static const char *word_end(const char *at)
{
	bool quoted = false;

	for (; *at; at++) {
		if (*at == '\\' && at[1])
			at++;
		else if (*at == '"')
			quoted = !quoted;
		else if (*at == ',' && !quoted)
			break;
	}
	return at;
}

static size_t count_commas(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += *text == ',';
	return count;
}

static struct rt_error *add_data(const char *word, struct rt_arena *arena, const char **data, size_t *used)
{
	while (*word) {
		const char *end = word_end(word);

		if (end > word) {
			data[*used] = *end ? rt_arena_printf(arena, "%.*s", (int)(end - word), word) : word;
			if (!data[*used])
				return rt_error_oom();
			(*used)++;
		}
		word = *end ? end + 1 : end;
	}
	return NULL;
}

static struct rt_error *check(const struct rt_mount_options *options)
{
	if (options->copy_up && options->bind)
		return rt_fail(RT_CONFIG, "'tmpcopyup' and 'bind' contradict each other");
	if (options->copy_symlink && !options->bind)
		return rt_fail(RT_CONFIG, "'copy-symlink' needs 'bind'");
	if (options->source_nofollow && !options->bind)
		return rt_fail(RT_CONFIG, "'src-nofollow' needs 'bind'");
	if (options->idmap && options->remount)
		return rt_fail(RT_CONFIG, "'idmap' and 'remount' contradict each other");
	return NULL;
}

/* Room for the words that are kept: those of the file system, and wishes. */
static struct rt_error *make_room(const char *const *words, size_t count, struct rt_arena *arena, const char ***ret_data,
				  const char ***ret_wishes)
{
	size_t room = 0;

	for (size_t i = 0; i < count; i++)
		room += count_commas(words[i]) + 1;
	if (room == 0)
		return NULL;
	*ret_data = rt_arena_calloc(arena, room, sizeof(**ret_data));
	*ret_wishes = rt_arena_calloc(arena, count, sizeof(**ret_wishes));
	return *ret_data && *ret_wishes ? NULL : rt_error_oom();
}

struct rt_error *rt_mount_options_parse(const char *const *words, size_t count, struct rt_arena *arena,
					struct rt_mount_options *ret)
{
	struct rt_mount_options options = { .set = 0 };
	const char **data = NULL, **wishes = NULL;
	struct rt_error *err = make_room(words, count, arena, &data, &wishes);

	for (size_t i = 0; !err && i < count; i++) {
		const struct option *option = find(words[i]);

		if (!option || option->kind == DATA)
			err = add_data(words[i], arena, data, &options.data_count);
		else if (option->kind == WISH)
			wishes[options.wish_count++] = words[i];
		else
			err = apply(option, &options);
	}
	if (!err)
		err = check(&options);
	if (err)
		return err;
	options.data = data;
	options.wishes = wishes;
	*ret = options;
	return NULL;
}
