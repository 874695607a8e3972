#include "runtime/base/str.h"
#include "runtime/bundle/bundle.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/resources.h"

#define USUAL_LENGTH 65536

struct bundle_create_values {
	const char *platform, *max_size;
	unsigned idroot, idlen;
	bool idroot_given, idlen_given;
	bool rootless, terminal;
};

static struct rt_error *set_ids(const struct bundle_create_values *values, struct rt_id_map *map, struct rt_bundle_create *options)
{
	if (!values->idroot_given) {
		if (values->idlen_given)
			return rt_fail(RT_USAGE, "--idlen needs --idroot");
		return NULL;
	}
	if (values->rootless)
		return rt_fail(RT_USAGE, "--rootless leaves all owners to the user, and --idroot shifts them: take one");
	map->host_id = values->idroot;
	map->size = values->idlen_given ? values->idlen : USUAL_LENGTH;
	if (map->size == 0 || map->host_id >= UINT32_MAX || map->size > UINT32_MAX - map->host_id)
		return rt_fail(RT_USAGE, "there are no %u ids from %u on", map->size, map->host_id);
	options->ids = map;
	return NULL;
}

static struct rt_error *run_bundle_create(const struct rt_invocation *invocation, int *ret_status)
{
	const struct bundle_create_values *values = invocation->values;
	struct rt_bundle_create options = { .image = invocation->operands[0],
					    .directory = invocation->operands[1],
					    .platform = values->platform,
					    .rootless = values->rootless,
					    .terminal = values->terminal };
	struct rt_id_map map = { 0 };
	struct rt_error *err = set_ids(values, &map, &options);
	int64_t size = 0;

	if (err)
		return err;
	if (values->max_size && (!rt_size_parse(values->max_size, &size) || size <= 0))
		return rt_fail(RT_USAGE, "--max-size takes bytes, or a number with k, m, g or t, not '%s'", values->max_size);
	options.max_size = (uint64_t)size;
	if (!*options.image || !*options.directory)
		return rt_fail(RT_USAGE, "an empty name names nothing");
	if (!values->rootless && geteuid() != 0)
		return rt_fail(RT_USAGE, "only root can give files to others: --rootless keeps them yours");
	return rt_bundle_create(&options);
}

#define VALUE(field) offsetof(struct bundle_create_values, field)

static const struct rt_option options[] = {
	{ "idlen", 0, RT_OPTION_UNSIGNED, .argument = "COUNT", .offset = VALUE(idlen), .given = VALUE(idlen_given),
	  .help = "how many ids the container has (default: 65536)" },
	{ "idroot", 0, RT_OPTION_UNSIGNED, .argument = "ID", .offset = VALUE(idroot), .given = VALUE(idroot_given),
	  .help = "a user namespace whose root is this user of the host; shifts all owners" },
	{ "max-size", 0, RT_OPTION_STRING, .argument = "BYTES", .offset = VALUE(max_size),
	  .help = "most that the files may hold (default: what is free, and no bomb)" },
	{ "platform", 0, RT_OPTION_STRING, .argument = "OS/ARCH[/VARIANT]", .offset = VALUE(platform),
	  .help = "which image of several to take (default: the one for this machine)" },
	{ "rootless", 0, RT_OPTION_FLAG, .offset = VALUE(rootless),
	  .help = "do it as an ordinary user, for a container of that user" },
	{ "terminal", 't', RT_OPTION_FLAG, .offset = VALUE(terminal), .help = "give the process a terminal" },
	{ NULL },
};

const struct rt_command rt_cmd_bundle_create = {
	.name = "bundle create",
	.operands = "<image> <directory>",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "make a bundle of an image or of a root filesystem",
	.description =
		"The image is one of\n"
		"\n"
		"    DIR[:TAG]   an OCI image layout\n"
		"    FILE[:TAG]  a tar of one, or an archive of docker save or podman save\n"
		"    FILE, DIR   a tar, or a directory, that is a root filesystem\n"
		"\n"
		"Which of them it is can be seen; 'oci:', 'oci-archive:', 'docker-archive:' or 'rootfs:'\n"
		"before it insists. Tars may be compressed with gzip, zstd, xz or bzip2. Whatever the\n"
		"image says its parts are (SHA-256) is checked as they are unpacked. The directory must\n"
		"not exist, or be empty; a create that fails leaves nothing in its place. The parts are\n"
		"put together in DIRECTORY.partial beside it.\n"
		"\n"
		"config.json is that of 'rt spec', with the image's arguments, environment, user (looked\n"
		"up in its own /etc/passwd), working directory, volumes (as tmpfs) and labels (as\n"
		"annotations), a root that can be written to, and the capabilities that engines give.\n"
		"\n"
		"With --rootless all files belong to the user, set-user-id bits and user.* attributes\n"
		"stay, capabilities of files and device nodes don't.\n"
		"\n"
		"    podman save --format oci-archive -o nginx.tar nginx\n"
		"    rt bundle create --idroot 100000 nginx.tar nginx\n"
		"    rt run --bundle nginx web1",
	.options = options,
	.values_size = sizeof(struct bundle_create_values),
	.run = run_bundle_create,
};
