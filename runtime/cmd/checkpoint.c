#include "checkpoint/cpu.h"
#include "checkpoint/exchange.h"
#include "checkpoint/inspect.h"
#include "checkpoint/manifest.h"
#include "runtime/base/str.h"
#include "runtime/cmd/options_criu.h"

#include <fcntl.h>
#include <sys/stat.h>

struct values {
	struct rt_criu_settings criu; /* first: RT_CRIU_OPTIONS(0) */
	bool check;
	const char *format;
};

/* What a checkpoint made now would ask of the host of a restore. */
static struct rt_error *print_processor(void)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	_cleanup_free_ char *features = NULL;
	struct rt_error *err = rt_manifest_new(0, &manifest);

	if (!err)
		err = rt_cpu_features(manifest->cpu, &features);
	if (!err && features)
		printf("note: a restore wants a processor that has what this one (%s) has: %s\n", manifest->cpu->model, features);
	return err;
}

/* One line an obstacle; the exit status tells whether there are any. */
static struct rt_error *check(const struct rt_invocation *invocation, const struct values *values, int *ret_status)
{
	_cleanup_(rt_preflight_deinit) struct rt_preflight report = RT_PREFLIGHT_NULL;
	struct rt_error *err;

	err = rt_container_check(invocation->context, invocation->operands[0], &values->criu, &report);
	if (err)
		return err;
	for (size_t i = 0; i < report.count; i++)
		printf("%s\n", report.obstacles[i]);
	if (report.note)
		printf("note: %s\n", report.note);
	if (report.count == 0)
		printf("nothing stands in the way of a checkpoint of '%s'\n", invocation->operands[0]);
	*ret_status = report.count > 0;
	return report.count == 0 ? print_processor() : NULL;
}

/* What an archive says of itself is unpacked beside, without the memory. */
static struct rt_error *open_subject(const char *path, struct rt_exchange *exchange, int *ret)
{
	struct rt_error *err;
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		err = rt_exchange_look_into(exchange, path);
		if (err)
			return err;
		path = exchange->images;
	}
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? rt_fail_errno("cannot open '%s'", path) : NULL;
}

static struct rt_error *inspect(const char *path, const char *format)
{
	_cleanup_(rt_exchange_deinit) struct rt_exchange exchange = RT_EXCHANGE_NULL;
	_cleanup_json_ json_t *document = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (format && !rt_str_equal(format, "text") && !rt_str_equal(format, "json"))
		return rt_fail(RT_USAGE, "invalid value '%s' for --format: it must be 'text' or 'json'", format);
	err = open_subject(path, &exchange, &fd);
	if (!err)
		err = rt_inspect(fd, &document);
	if (err)
		return rt_while(err, "cannot inspect '%s'", path);
	if (format && rt_str_equal(format, "json"))
		return json_dumpf(document, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF ? rt_fail_errno("cannot write") : NULL;
	return rt_inspect_print(stdout, document);
}

static struct rt_error *run_checkpoint(const struct rt_invocation *invocation, int *ret_status)
{
	const struct values *values = invocation->values;

	if (invocation->operand_count == 2) {
		if (!rt_str_equal(invocation->operands[0], "inspect"))
			return rt_fail(RT_USAGE, "'%s' is one operand too many for 'rt checkpoint'", invocation->operands[1]);
		return inspect(invocation->operands[1], values->format);
	}
	if (values->check)
		return check(invocation, values, ret_status);
	return rt_container_checkpoint(invocation->context, invocation->operands[0], &values->criu);
}

static const struct rt_option options[] = {
	RT_CRIU_OPTIONS(0),
	{ "check", 0, RT_OPTION_FLAG, .offset = offsetof(struct values, check),
	  .help = "only say what would make it fail; the container is not touched" },
	{ "cpu-cap", 0, RT_OPTION_STRING, .argument = "CAPS", .offset = offsetof(struct rt_criu_settings, cpu_cap),
	  .help = "what to note of the processor: 'all', 'none', 'cpu', 'fpu' or 'ins'" },
	{ "export", 'e', RT_OPTION_STRING, .argument = "FILE", .offset = offsetof(struct rt_criu_settings, export_file),
	  .help = "also write an archive (.tar, .tar.gz, .tar.zst) with the root filesystem's changes" },
	{ "format", 0, RT_OPTION_STRING, .argument = "FORMAT", .offset = offsetof(struct values, format),
	  .help = "of inspect: 'text' (the default) or 'json'" },
	{ "ghost-limit", 0, RT_OPTION_UNSIGNED, .argument = "BYTES", .offset = offsetof(struct rt_criu_settings, ghost_limit),
	  .help = "largest removed file to take along (default: 1048576)" },
	{ "leave-running", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_criu_settings, leave_running),
	  .help = "let the container run on afterwards" },
	{ "page-server", 0, RT_OPTION_STRING, .argument = "ADDRESS:PORT", .offset = offsetof(struct rt_criu_settings, page_server),
	  .help = "send memory to a page server in place of the image directory" },
	{ "parent-path", 0, RT_OPTION_STRING, .argument = "DIR", .offset = offsetof(struct rt_criu_settings, parent_path),
	  .help = "images of an earlier pre-dump, relative to the image directory" },
	{ "pre-dump", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_criu_settings, pre_dump),
	  .help = "copy memory only, and let the container run on" },
	{ "status-fd", 0, RT_OPTION_UNSIGNED, .argument = "FD", .offset = offsetof(struct rt_criu_settings, status_fd),
	  .given = offsetof(struct rt_criu_settings, has_status_fd),
	  .help = "descriptor that gets a NUL byte once lazy pages are served" },
	{ "timeout", 0, RT_OPTION_UNSIGNED, .argument = "SECONDS", .offset = offsetof(struct rt_criu_settings, timeout),
	  .help = "how long freezing may take (default: 10)" },
	{ NULL },
};

const struct rt_command rt_cmd_checkpoint = {
	.name = "checkpoint",
	.operands = "<container-id> | inspect <directory|archive>",
	.min_operands = 1,
	.max_operands = 2,
	.summary = "write a running container to disk",
	.description =
		"Writes memory, processes, files and connections of a container to a directory, from which\n"
		"'rt restore' makes it run again. The container is gone afterwards, unless --leave-running is\n"
		"given. When the checkpoint fails, the container runs on as it did.\n"
		"\n"
		"    rt checkpoint --image-path /var/tmp/web web1\n"
		"    rt restore --bundle web --image-path /var/tmp/web web1\n"
		"\n"
		"'rt checkpoint --check' only says what would make a checkpoint fail. 'rt checkpoint inspect'\n"
		"shows what a checkpoint holds: processes, memory, sockets, mounts, files.",
	.options = options,
	.values_size = sizeof(struct values),
	.run = run_checkpoint,
};
