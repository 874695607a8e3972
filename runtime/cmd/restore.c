#include "runtime/cmd/options_create.h"
#include "runtime/cmd/options_criu.h"

#define CREATE_OPTION(field) (offsetof(struct rt_restore_options, create) + offsetof(struct rt_create_options, field))
#define CRIU_OPTION(field) (offsetof(struct rt_restore_options, criu) + offsetof(struct rt_criu_settings, field))

static struct rt_error *run_restore(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_container_restore(invocation->context, invocation->operands[0], invocation->values, ret_status);
}

static const struct rt_option options[] = {
	RT_CREATE_OPTIONS_AT(offsetof(struct rt_restore_options, create)),
	RT_CRIU_OPTIONS(offsetof(struct rt_restore_options, criu)),
	{ "cpu-cap", 0, RT_OPTION_STRING, .argument = "CAPS", .offset = CRIU_OPTION(cpu_cap),
	  .help = "what to compare of the processors: 'none', or what the checkpoint noted" },
	{ "detach", 'd', RT_OPTION_FLAG, .offset = CREATE_OPTION(detach),
	  .help = "do not wait for the container's end" },
	{ "import", 'i', RT_OPTION_STRING, .argument = "FILE", .offset = CRIU_OPTION(import_file),
	  .help = "take the images, and changes of the root filesystem, from an archive" },
	{ "keep", 0, RT_OPTION_FLAG, .offset = CREATE_OPTION(keep),
	  .help = "do not delete the container when it has ended" },
	{ "lsm-mount-context", 0, RT_OPTION_STRING, .argument = "CONTEXT", .offset = CRIU_OPTION(lsm_mount_context),
	  .help = "SELinux context of the mounts" },
	{ "lsm-profile", 0, RT_OPTION_STRING, .argument = "TYPE:NAME", .offset = CRIU_OPTION(lsm_profile),
	  .help = "profile of the processes, 'apparmor:NAME' or 'selinux:LABEL'" },
	{ "no-subreaper", 0, RT_OPTION_FLAG, .offset = CREATE_OPTION(no_subreaper),
	  .help = "do not become the parent of the container's orphans" },
	{ NULL },
};

const struct rt_command rt_cmd_restore = {
	.name = "restore",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "make a container run again from what 'rt checkpoint' wrote",
	.description =
		"Makes a new container whose processes go on where those of the checkpoint stood. The id, the\n"
		"cgroup, and with another --bundle the root filesystem and the sources of mounts, may differ\n"
		"from those at the checkpoint. One that was paused runs: engines pause before a checkpoint.\n"
		"\n"
		"    rt restore --detach --bundle web --image-path /var/tmp/web web1",
	.options = options,
	.values_size = sizeof(struct rt_restore_options),
	.flags = RT_CMD_ENTERS_CONTAINER | RT_CMD_NAMES_NEW,
	.run = run_restore,
};
