/* Any bytes at all, taken for the output of inspect, for /etc/passwd and for a seccomp profile, give a configuration or one sentence.
 *
 * The same bytes, where they are JSON, are also a template for the flags of `rt spec generate`: whatever kinds its fields are of,
 * nothing breaks. */
#include "runtime/base/log.h"
#include "runtime/spec/generate.h"
#include "runtime/spec/import_private.h"

#include <assert.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct rt_log_options quiet = {.path = "/dev/null"};

	rt_error_free(rt_log_open(&quiet));
	return 0;
}

static const char *profile; /* of the input at hand */

static struct rt_error *read_file(void *userdata, const char *path, char **ret)
{
	*ret = strdup(profile);
	return *ret ? NULL : rt_error_oom();
}

static struct rt_error *find_devices(void *userdata, const char *path,
				     void (*visit)(void *visitor, const struct rt_import_device *device), void *visitor)
{
	const struct rt_import_device device = {path, 'c', 1, 3, 0666, 0, 0};

	visit(visitor, &device);
	return NULL;
}

/* What comes out is a document that the loader can read, if only to refuse it. */
static void check(json_t *config)
{
	char *text = rt_json_dump(config, 0);
	struct rt_spec *spec = NULL;
	struct rt_error *err;

	assert(text);
	err = rt_spec_load_text(text, strlen(text), "fuzz", &spec);
	assert(!err || err->code == RT_CONFIG);
	rt_error_free(err);
	rt_spec_free(spec);
	free(text);
}

static void import(json_t *document, const char *text, bool shift)
{
	const char *const hooks[] = {"poststop:/a:b", NULL};
	const struct rt_import_options options = {
		.rootfs = "rootfs",
		.passwd = text,
		.group = text,
		.shift_ids = shift,
		.id_root = 100000,
		.id_length = 4,
		.hooks = hooks,
		.netns_hook = shift ? "/netns" : NULL,
		.engine_files = shift,
		.host = {.read_file = read_file, .find_devices = find_devices},
	};
	json_t *config = NULL;
	struct rt_error *err = rt_spec_import(document, &options, &config);

	assert((err == NULL) == (config != NULL));
	assert(!err || err->code == RT_CONFIG || err->code == RT_USAGE);
	rt_spec_import_missing(document, &options);
	if (config)
		check(config);
	rt_error_free(err);
	json_decref(config);
}

static void find_users(const char *text)
{
	static const char *const users[] = {"root", "web:club", "0", "7:7", ":x", ""};

	for (size_t i = 0; i < RT_ARRAY_SIZE(users); i++) {
		struct rt_import_user user = {.uid = 0};
		struct rt_error *err = rt_import_find_user(users[i], text, text, &user);

		assert(err || (user.uid != UINT32_MAX && user.group_count <= RT_ARRAY_SIZE(user.groups)));
		rt_error_free(err);
	}
	/* And the text as the name. */
	struct rt_import_user user;

	rt_error_free(rt_import_find_user(text, "web:x:1:2::/:\n", "club:x:3:web\n", &user));
}

static void generate(json_t *template)
{
	static const char *const arguments[] = {
#define FLAG(stage, kind, name, argument, function, data, help) argument,
#include "runtime/spec/generate_flags.h"
	};
	/* Something that most of the forms take, and something for each kind of part. */
	static const char *const tries[] = {"a:1:2", "c:1:2:/a", "A=1", "true", "5", "{\"path\":\"/a\",\"destination\":\"/a\"}", "read,write"};

	for (size_t flag = 0; flag < RT_ARRAY_SIZE(arguments); flag++) {
		for (size_t i = 0; i < (arguments[flag] ? RT_ARRAY_SIZE(tries) : 1); i++) {
			const struct rt_generate_flag given = {flag, arguments[flag] ? tries[i] : "true"};
			struct rt_error *err = rt_generate(template, false, &given, 1);

			assert(!err || err->code == RT_CONFIG || err->code == RT_USAGE);
			rt_error_free(err);
		}
	}
	check(template);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	json_t *document = NULL;

	assert(text);
	profile = text;
	find_users(text);
	rt_error_free(rt_json_parse((const char *)data, size, "fuzz", &document));
	if (document) {
		import(document, text, false);
		import(document, text, true);
	}
	if (json_is_object(document))
		generate(document);
	json_decref(document);
	free(text);
	return 0;
}
