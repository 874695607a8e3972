#include "runtime/spec/generate.h"

#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/document.h"

struct values {
	const struct rt_given_option *given; /* every flag of the generator, in the order of the command line */
	const char *output, *template;
	bool seccomp_only;
};

/* The generator's flags come first, so that an option's place in the table is its place in the generator's. */
enum { SET = RT_OPTION_FLAG, ONE = RT_OPTION_STRING, MANY = RT_OPTION_LIST };
static const struct rt_option options[] = {
#define FLAG(stage, kind, name, argument, function, data, help)                                                        \
	{ name, 0, (enum rt_option_kind)kind, RT_OPTION_ORDERED, argument, offsetof(struct values, given), 0, help },
#include "runtime/spec/generate_flags.h"
	{ "linux-seccomp-only", 0, RT_OPTION_FLAG, .offset = offsetof(struct values, seccomp_only),
	  .help = "write only the seccomp section" },
	{ "output", 'o', RT_OPTION_STRING, .argument = "FILE", .offset = offsetof(struct values, output),
	  .help = "write to FILE, in the place of what is there (default: standard output)" },
	{ "template", 0, RT_OPTION_STRING, .argument = "FILE", .offset = offsetof(struct values, template),
	  .help = "config.json to change; '-' is standard input" },
	{ NULL },
};

/* A file that a flag names is read, and is the caller's to free; any other argument is that of the command line. */
static struct rt_error *read_argument(const struct rt_given_option *given, const char **ret)
{
	char *text = NULL;
	struct rt_error *err;

	*ret = given->argument;
	if (!rt_str_equal(given->option->name, "env-file"))
		return NULL;
	err = rt_document_read_file(given->argument, &text, NULL);
	*ret = text;
	return err;
}

static struct rt_error *apply(json_t *config, const struct values *values)
{
	_cleanup_free_ struct rt_generate_flag *flags = NULL;
	struct rt_error *err = NULL;
	size_t count = 0, ready = 0;

	while (values->given && values->given[count].option)
		count++;
	flags = calloc(count + 1, sizeof(*flags));
	if (!flags)
		return rt_error_oom();
	for (; ready < count && !err; ready++) {
		flags[ready].flag = (size_t)(values->given[ready].option - options);
		err = read_argument(&values->given[ready], &flags[ready].argument);
	}
	if (!err)
		err = rt_generate(config, !values->template, flags, count);
	for (size_t i = 0; i < ready; i++)
		if (flags[i].argument != values->given[i].argument)
			free((char *)flags[i].argument);
	return err;
}

static struct rt_error *run_spec_generate(const struct rt_invocation *invocation, int *ret_status)
{
	const struct values *values = invocation->values;
	_cleanup_json_ json_t *config = NULL;
	struct rt_error *err;

	err = values->template ? rt_document_read(values->template, &config) : rt_generate_base(&config);
	if (!err)
		err = apply(config, values);
	if (!err)
		err = rt_document_check(config);
	if (err)
		return err;
	if (values->seccomp_only)
		return rt_document_write(json_object_get(json_object_get(config, "linux"), "seccomp"), values->output);
	return rt_document_write(config, values->output);
}

const struct rt_command rt_cmd_spec_generate = {
	.name = "spec generate",
	.operands = "",
	.summary = "make or change a config.json by options",
	.description =
		"Starts from a configuration for an ordinary program: new namespaces, the capabilities that\n"
		"engines leave to root, and a list of the system calls that programs need, which grows with the\n"
		"capabilities; or from a config.json, of which it keeps whatever no option speaks of. The result\n"
		"is checked, and written only where it is valid.\n"
		"\n"
		"    rt spec generate --args date --output hello/config.json\n"
		"    rt spec generate --template config.json --output config.json --linux-mem-limit 512m\n"
		"\n"
		"Options are those of runtime-tools' 'oci-runtime-tool generate'. They work in the order they are\n"
		"given, but for those that clear something ('...-all', --privileged, --linux-seccomp-default),\n"
		"which come first.",
	.options = options,
	.values_size = sizeof(struct values),
	.run = run_spec_generate,
};
