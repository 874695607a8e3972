#include "runtime/base/io.h"
#include "runtime/cmd/command.h"

#include <fcntl.h>
#include <string.h>

struct spec_values {
	const char *bundle;
	bool rootless;
};

static struct rt_error *write_config(int dir_fd, const char *text)
{
	/* O_EXCL: what somebody has edited is never lost. */
	_cleanup_close_ int fd = openat(dir_fd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	struct rt_error *err;

	if (fd < 0 && errno == EEXIST)
		return rt_fail(RT_EXISTS, "File config.json exists. Remove it first");
	if (fd < 0)
		return rt_fail_errno("cannot create 'config.json'");
	err = rt_write_all(fd, text, strlen(text));
	if (!err)
		err = rt_write_all(fd, "\n", 1);
	if (!err)
		return NULL;
	unlinkat(dir_fd, "config.json", 0);
	return rt_while(err, "writing 'config.json'");
}

static struct rt_error *run_spec(const struct rt_invocation *invocation, int *ret_status)
{
	const struct spec_values *values = invocation->values;
	const char *bundle = values->bundle ? values->bundle : ".";
	_cleanup_close_ int dir_fd = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_json_ json_t *config = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	if (dir_fd < 0)
		return rt_fail_errno("cannot open bundle '%s'", bundle);
	err = rt_spec_template(values->rootless, geteuid(), getegid(), &config);
	if (err)
		return err;
	text = json_dumps(config, JSON_INDENT(4));
	if (!text)
		return rt_error_oom();
	return write_config(dir_fd, text);
}

static const struct rt_option options[] = {
	{ "bundle", 'b', RT_OPTION_STRING, .argument = "DIR", .offset = offsetof(struct spec_values, bundle),
	  .help = "directory to write config.json to (default: the current directory)" },
	{ "rootless", 0, RT_OPTION_FLAG, .offset = offsetof(struct spec_values, rootless),
	  .help = "a configuration that an ordinary user can run" },
	{ NULL },
};

const struct rt_command rt_cmd_spec = {
	.name = "spec",
	.operands = "",
	.summary = "write a config.json to start from",
	.description =
		"The configuration runs 'sh' on a terminal, in namespaces of its own, on the root\n"
		"filesystem in 'rootfs' beside it. An existing config.json is never overwritten.\n"
		"\n"
		"    mkdir -p hello/rootfs && cp -a busybox-rootfs/. hello/rootfs\n"
		"    rt spec --bundle hello\n"
		"    rt run --bundle hello hello1",
	.options = options,
	.values_size = sizeof(struct spec_values),
	.run = run_spec,
};
