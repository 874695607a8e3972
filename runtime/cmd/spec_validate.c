#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/document.h"
#include "runtime/cmd/output.h"
#include "runtime/container/host_audit.h"

#include <sys/stat.h>

struct values {
	bool host;
};

struct report {
	const char *bundle; /* NULL: nobody asked what the machine can do */
	struct rt_spec_visitor visitor;
	size_t violations;
	struct rt_error *err; /* owned: what kept the machine from being asked */
};

static void print_finding(void *userdata, const struct rt_spec_finding *finding)
{
	struct report *report = userdata;

	if (finding->severity == RT_SPEC_VIOLATION)
		report->violations++;
	printf("%s%s (%s)\n", finding->severity == RT_SPEC_WARNING ? "warning: " : "", finding->message, finding->section);
}

static void ask_machine(void *userdata, const struct rt_spec *spec)
{
	struct report *report = userdata;

	if (report->bundle)
		report->err = rt_host_audit(spec, report->bundle, &report->visitor);
}

/* The config.json of a bundle, or a file of any name in one. */
static struct rt_error *find_config(const char *path, char **ret_file, char **ret_bundle)
{
	const char *slash = strrchr(path, '/');
	struct rt_error *err;
	struct stat st;

	if (stat(path, &st) < 0)
		return rt_fail_errno("cannot open '%s'", path);
	if (S_ISDIR(st.st_mode)) {
		err = rt_format(ret_file, "%s/config.json", path);
		return err ? err : rt_format(ret_bundle, "%s", path);
	}
	err = rt_format(ret_file, "%s", path);
	return err ? err : rt_format(ret_bundle, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
}

static struct rt_error *run_spec_validate(const struct rt_invocation *invocation, int *ret_status)
{
	const struct values *values = invocation->values;
	const char *path = invocation->operand_count > 0 ? invocation->operands[0] : ".";
	_cleanup_free_ char *text = NULL, *file = NULL, *bundle = NULL;
	struct report report = { .visitor = { .found = print_finding, .read = ask_machine } };
	size_t size = 0;
	struct rt_error *err = rt_str_equal(path, "-") ? rt_format(&file, "-") : find_config(path, &file, &bundle);

	report.visitor.userdata = &report;
	if (!err)
		err = rt_document_read_file(file, &text, &size);
	if (values->host)
		report.bundle = bundle ? bundle : ".";
	if (!err)
		err = rt_spec_audit(text, size, file, &report.visitor);
	if (!err)
		err = report.err;
	if (err)
		return err;
	*ret_status = report.violations > 0;
	return rt_output_finish();
}

static const struct rt_option options[] = {
	{ "host", 0, RT_OPTION_FLAG, .offset = offsetof(struct values, host),
	  .help = "also tell what this machine and its kernel can't do" },
	{ NULL },
};

const struct rt_command rt_cmd_spec_validate = {
	.name = "spec validate",
	.operands = "[bundle|file|-]",
	.max_operands = 1,
	.summary = "tell everything that is wrong with a config.json",
	.description =
		"One line each: what is wrong, with its place in the file, and which section of the OCI runtime\n"
		"specification says so. Exits with 1 where anything but warnings was found. It is the code that\n"
		"'rt create' reads configurations with, which stops at the first.\n"
		"\n"
		"    rt spec validate --host web",
	.options = options,
	.values_size = sizeof(struct values),
	.run = run_spec_validate,
};
