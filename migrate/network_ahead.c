#include "migrate/network_ahead.h"

#include "checkpoint/inside.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/netns/defaults.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <string.h>

#define TIMEOUT_MS 10000
#define CONFIG_LIMIT (16u << 20)

static bool is_possible(const struct rt_network *network, const struct rt_spec *spec)
{
	const struct rt_spec_namespace *own = &spec->namespaces[RT_NS_NETWORK];

	/* A namespace belongs to the user namespace of whoever makes it. */
	return network->program && network->saved && own->wanted && !own->path && !spec->namespaces[RT_NS_USER].wanted && rt_inside_make_quick();
}

/* As a runtime would call it, but for where the namespace is. */
static struct rt_error *call_hook(const struct rt_network *network, const char *state, const char *netns)
{
	_cleanup_free_ const char **words = NULL;
	size_t count = 0;

	while (network->words[count])
		count++;
	words = calloc(count + 2, sizeof(*words));
	if (!words)
		return rt_error_oom();
	memcpy(words, network->words, count * sizeof(*words));
	words[count] = netns;
	return rt_run_program(&(struct rt_run_options){
		.path = network->program, .argv = words, .envp = rt_plain_environment, .input = state, .input_size = strlen(state), .timeout_ms = TIMEOUT_MS,
	});
}

static struct rt_error *describe(const struct rt_network *network, const char *id, const char *bundle, const char *status, char **ret)
{
	_cleanup_json_ json_t *state = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:s}}", "ociVersion", RT_SPEC_VERSION, "id", id, "status", status, "bundle", bundle,
						 "pid", getpid(), "annotations", RT_NETNS_ANNOTATION, network->saved);

	*ret = state ? json_dumps(state, JSON_COMPACT) : NULL;
	return *ret ? NULL : rt_error_oom();
}

struct rt_error *rt_network_read(const char *config, struct rt_network *ret, struct rt_spec **ret_spec)
{
	_cleanup_free_ char *text = NULL;
	struct rt_spec *spec = NULL;
	struct rt_error *err;
	size_t size;

	err = rt_read_file_at(AT_FDCWD, config, CONFIG_LIMIT, &text, &size);
	if (!err)
		err = rt_spec_load_text(text, size, config, &spec);
	if (!err)
		err = rt_network_find_moved(spec, ret);
	if (!err && ret_spec)
		*ret_spec = rt_take_ptr(spec);
	rt_spec_free(spec);
	return err;
}

struct rt_error *rt_network_ahead_make(const struct rt_network *network, const struct rt_spec *spec, const char *id, const char *bundle, int *ret)
{
	_cleanup_free_ char *state = NULL, *netns = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	*ret = -1;
	if (!is_possible(network, spec))
		return NULL;
	err = rt_sys_make_network_namespace(&fd);
	if (!err)
		err = rt_format(&netns, "--netns=/proc/%d/fd/%d", getpid(), fd);
	if (!err)
		err = describe(network, id, bundle, "creating", &state);
	if (!err)
		err = call_hook(network, state, netns);
	if (err)
		return rt_while(err, "making the network of '%s'", id);
	*ret = rt_take_fd(fd);
	return NULL;
}

struct rt_error *rt_network_ahead_undo(const struct rt_network *network, const char *id)
{
	_cleanup_free_ char *state = NULL;
	struct rt_error *err;

	if (!network->program || !network->saved)
		return NULL;
	err = describe(network, id, "/", "stopped", &state);
	return err ? err : call_hook(network, state, NULL);
}
