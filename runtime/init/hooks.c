#include "runtime/init/hooks.h"

#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

/* A hook without an environment gets ours, as in runc. */
static struct rt_error *run_one(const struct rt_spec_hook *hook, enum rt_hook_kind kind, const char *state)
{
	const char *const only_path[] = { hook->path, NULL };
	struct rt_error *err;

	err = rt_run_program(&(struct rt_run_options){
		.path = hook->path,
		.argv = hook->args ? hook->args : only_path,
		.envp = hook->env ? hook->env : (const char *const *)environ,
		.input = state,
		.input_size = strlen(state),
		.timeout_ms = hook->timeout_s * 1000,
	});
	if (err)
		return rt_while(err, "running %s hook", rt_hook_kind_name(kind));
	return NULL;
}

struct rt_error *rt_hooks_run(const struct rt_spec *spec, enum rt_hook_kind kind, json_t *state)
{
	const struct rt_spec_hooks *hooks = &spec->hooks[kind];
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = NULL;

	if (hooks->count == 0)
		return NULL;
	text = json_dumps(state, JSON_COMPACT);
	if (!text)
		return rt_error_oom();
	for (size_t i = 0; i < hooks->count && !err; i++)
		err = run_one(&hooks->entries[i], kind, text);
	return err;
}

void rt_hooks_run_tolerant(const struct rt_spec *spec, enum rt_hook_kind kind, json_t *state)
{
	const struct rt_spec_hooks *hooks = &spec->hooks[kind];
	_cleanup_free_ char *text = NULL;

	if (hooks->count == 0)
		return;
	text = json_dumps(state, JSON_COMPACT);
	for (size_t i = 0; i < hooks->count && text; i++)
		rt_warn_ignored(run_one(&hooks->entries[i], kind, text));
}
