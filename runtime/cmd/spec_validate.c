#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/output.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Far above any real one: what a mistaken path can make us read. */
#define MOST_BYTES (16 * 1024 * 1024)

struct report {
	size_t violations;
};

static void print_finding(void *userdata, const struct rt_spec_finding *finding)
{
	struct report *report = userdata;

	if (finding->severity == RT_SPEC_VIOLATION)
		report->violations++;
	printf("%s%s (%s)\n", finding->severity == RT_SPEC_WARNING ? "warning: " : "", finding->message, finding->section);
}

/* The config.json of a bundle, or a file of any name. */
static struct rt_error *read_config(const char *path, char **ret_text, size_t *ret_size)
{
	_cleanup_free_ char *file = NULL;
	struct rt_error *err;
	struct stat st;
	bool bundle;

	if (stat(path, &st) < 0)
		return rt_fail_errno("cannot open '%s'", path);
	bundle = S_ISDIR(st.st_mode);
	err = rt_format(&file, "%s%s", path, bundle ? "/config.json" : "");
	return err ? err : rt_read_file_at(AT_FDCWD, file, MOST_BYTES, ret_text, ret_size);
}

static struct rt_error *run_spec_validate(const struct rt_invocation *invocation, int *ret_status)
{
	const char *path = invocation->operand_count > 0 ? invocation->operands[0] : ".";
	struct report report = { .violations = 0 };
	struct rt_spec_visitor visitor = { .found = print_finding, .userdata = &report };
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	struct rt_error *err = read_config(path, &text, &size);

	if (!err)
		err = rt_spec_audit(text, size, path, &visitor);
	if (err)
		return err;
	*ret_status = report.violations > 0;
	return rt_output_finish();
}

const struct rt_command rt_cmd_spec_validate = {
	.name = "spec validate",
	.operands = "[bundle|file]",
	.max_operands = 1,
	.summary = "tell everything that is wrong with a config.json",
	.description =
		"One line each: what is wrong, with its place in the file, and which section of the OCI runtime\n"
		"specification says so. Exits with 1 where anything but warnings was found. It is the code that\n"
		"'rt create' reads configurations with, which stops at the first.",
	.run = run_spec_validate,
};
