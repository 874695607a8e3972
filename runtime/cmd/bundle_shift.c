#include "runtime/base/str.h"
#include "runtime/bundle/bundle.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/output.h"

/* As many as a user namespace takes. */
#define RANGES_MAX 340

struct bundle_shift_values {
	const char *const *from, *const *to, *const *gid_from, *const *gid_to;
	bool check, undo, keep_others, config, idmap;
};

/* Pairs of --from and --to, in their order. */
struct ranges {
	struct rt_id_map list[RANGES_MAX];
	struct rt_id_maps maps;
};

static size_t count_of(const char *const *list)
{
	size_t count = 0;

	while (list && list[count])
		count++;
	return count;
}

static struct rt_error *parse_ranges(const char *const *from, const char *const *to, const char *what, struct ranges *ret)
{
	size_t count = count_of(from);

	if (count != count_of(to) || count > RANGES_MAX)
		return rt_fail(RT_USAGE, "each --%sfrom needs its --%sto, in the same order, up to %d", what, what, RANGES_MAX);
	ret->maps = (struct rt_id_maps){ ret->list, count };
	for (size_t i = 0; i < count; i++) {
		struct rt_id_map *map = &ret->list[i];
		uint32_t length;

		if (!rt_id_range_parse(from[i], &map->container_id, &map->size))
			return rt_fail(RT_USAGE, "--%sfrom takes BASE:LENGTH, such as 0:65536, not '%s'", what, from[i]);
		if (!rt_id_range_parse(to[i], &map->host_id, &length))
			return rt_fail(RT_USAGE, "--%sto takes BASE:LENGTH, such as 100000:65536, not '%s'", what, to[i]);
		if (length != map->size)
			return rt_fail(RT_USAGE, "'%s' and '%s' are not of one length", from[i], to[i]);
	}
	if (rt_id_maps_overlap(&ret->maps))
		return rt_fail(RT_USAGE, "two ranges of --%sfrom, or of --%sto, share ids", what, what);
	return NULL;
}

static struct rt_error *parse_shift(const struct bundle_shift_values *values, struct ranges *uids, struct ranges *gids,
				    struct rt_id_shift *ret)
{
	bool own_gids = values->gid_from || values->gid_to;
	struct rt_error *err = parse_ranges(values->from, values->to, "", uids);

	if (!err)
		err = own_gids ? parse_ranges(values->gid_from, values->gid_to, "gid-", gids)
			       : parse_ranges(values->from, values->to, "", gids);
	*ret = (struct rt_id_shift){ .uids = uids->maps, .gids = gids->maps, .keep_others = values->keep_others };
	return err;
}

static void print_change(void *userdata, const struct rt_shift_change *change)
{
	if (change->outside)
		printf("%s: %s %u is in no range\n", change->path, change->outside_what, change->outside_id);
	else if (change->uid != change->new_uid || change->gid != change->new_gid || change->attributes)
		printf("%s: %u:%u -> %u:%u%s\n", change->path, change->uid, change->gid, change->new_uid, change->new_gid,
		       change->attributes ? ", and its ACL or capabilities" : "");
}

static struct rt_error *run_bundle_shift(const struct rt_invocation *invocation, int *ret_status)
{
	const struct bundle_shift_values *values = invocation->values;
	struct rt_bundle_shift options = { .directory = invocation->operands[0], .undo = values->undo, .config = values->config, .idmap = values->idmap };
	struct rt_shift_result result = { 0 };
	struct ranges uids, gids;
	struct rt_error *err = parse_shift(values, &uids, &gids, &options.shift);

	if (err)
		return err;
	if (values->undo ? count_of(values->from) || count_of(values->gid_from) || values->keep_others : !count_of(values->from))
		return values->undo ? rt_fail(RT_USAGE, "--undo knows what was done, and takes no ranges")
				    : rt_fail(RT_USAGE, "--from and --to say which ids become which; --undo takes the last shift back");
	if (values->undo && values->idmap)
		return rt_fail(RT_USAGE, "--undo takes back what was done last, of whichever kind: without --idmap");
	if (values->check)
		options.check = print_change;
	err = rt_bundle_shift(&options, &result);
	if (err)
		return err;
	if (result.already)
		printf("these ids were %s before\n", result.mapped ? "mapped" : "shifted");
	else if (result.mapped && values->undo)
		printf("the files %s mounted as they are again\n", values->check ? "would be" : "are");
	else if (result.mapped)
		printf("%llu files, %llu %s with other ids, none changed, %llu outside of the ranges\n", (unsigned long long)result.files,
		       (unsigned long long)result.changed, values->check ? "to be mounted" : "mounted", (unsigned long long)result.outside);
	else
		printf("%llu files, %llu %s, %llu outside of the ranges\n", (unsigned long long)result.files,
		       (unsigned long long)result.changed, values->check ? "to change" : "changed", (unsigned long long)result.outside);
	*ret_status = result.outside > 0;
	return rt_output_finish();
}

#define VALUE(field) offsetof(struct bundle_shift_values, field)

static const struct rt_option options[] = {
	{ "check", 0, RT_OPTION_FLAG, .offset = VALUE(check), .help = "tell what would change, and change nothing" },
	{ "config", 0, RT_OPTION_FLAG, .offset = VALUE(config),
	  .help = "give config.json a user namespace with these ids, too; with --undo, take it away" },
	{ "from", 0, RT_OPTION_LIST, .argument = "BASE:LENGTH", .offset = VALUE(from),
	  .help = "ids that files have now, as the container will see them" },
	{ "gid-from", 0, RT_OPTION_LIST, .argument = "BASE:LENGTH", .offset = VALUE(gid_from),
	  .help = "the same for groups alone (default: as --from)" },
	{ "gid-to", 0, RT_OPTION_LIST, .argument = "BASE:LENGTH", .offset = VALUE(gid_to), .help = "the same for groups alone" },
	{ "idmap", 0, RT_OPTION_FLAG, .offset = VALUE(idmap),
	  .help = "change no file: have config.json mount them with these ids" },
	{ "keep-others", 0, RT_OPTION_FLAG, .offset = VALUE(keep_others),
	  .help = "leave ids that are in no range as they are (default: give up)" },
	{ "to", 0, RT_OPTION_LIST, .argument = "BASE:LENGTH", .offset = VALUE(to),
	  .help = "ids of the host that they become, one range for each --from" },
	{ "undo", 0, RT_OPTION_FLAG, .offset = VALUE(undo), .help = "take the last shift back, or one that was interrupted" },
	{ NULL },
};

const struct rt_command rt_cmd_bundle_shift = {
	.name = "bundle shift",
	.operands = "<directory>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "give the files of a bundle to other ids",
	.description =
		"The id BASE of the n-th --from becomes the BASE of the n-th --to, the next one the\n"
		"next, and so on: owners, groups, the ids in POSIX ACLs, and the root that file\n"
		"capabilities are for. Set-user-id bits and capabilities, which the kernel drops with\n"
		"a change of owner, are put back. Symlinks are not followed, a file with several names\n"
		"is shifted once, and what is mounted in the tree is left alone. The directory is a\n"
		"bundle, or any tree without a config.json.\n"
		"\n"
		"Should it be interrupted, even by SIGKILL or a power cut, the same command once more\n"
		"finishes it, and --undo takes it back: what each file was is in a journal beside the\n"
		"tree, ROOTFS.rt-shift.journal, before it is touched. ROOTFS.rt-shift keeps what was\n"
		"done: the same shift is not done twice, even where the ranges overlap. The tree must\n"
		"not be in use meanwhile.\n"
		"\n"
		"A bundle that is closed to other users (0700) gets the group of the container's root,\n"
		"which may pass through it and no more, as it could not reach its files otherwise.\n"
		"\n"
		"    rt bundle shift --from 0:65536 --to 100000:65536 --config web\n"
		"\n"
		"With --idmap no file is changed. config.json gets the user namespace, and as its first\n"
		"mount the root filesystem itself, at '/', with the option idmap: the kernel shows the\n"
		"files with the other ids wherever the container is run, and what it writes has the ids\n"
		"of --from on the disk. The file system must be able to (ext4, xfs, btrfs, tmpfs since\n"
		"6.3; not overlayfs), and whoever runs it must be the host's root.\n"
		"\n"
		"    rt bundle shift --from 0:65536 --to 100000:65536 --idmap web",
	.options = options,
	.values_size = sizeof(struct bundle_shift_values),
	.run = run_bundle_shift,
};
