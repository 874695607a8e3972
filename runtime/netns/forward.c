#include "runtime/netns/forward.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/netns/nftables.h"

#include <fcntl.h>
#include <linux/netfilter.h>

#define TIMEOUT_MS 10000
#define CHAIN "DOCKER-USER"

static const struct {
	const char *program;
	uint8_t family; /* of the table "filter" that iptables has in nftables, where it is made of that */
	const char *old_tables; /* names of iptables' own tables, where it is not */
} families[] = {
	{ "iptables", NFPROTO_IPV4, "/proc/net/ip_tables_names" },
	{ "ip6tables", NFPROTO_IPV6, "/proc/net/ip6_tables_names" },
};

static const char *const directions[] = { "-i", "-o" };

/* direction NULL: the verb is for the chain itself. */
static struct rt_error *run(const char *program, const char *verb, const char *direction, const char *bridge)
{
	const char *const argv[] = { program, "-w", "5", verb, CHAIN, direction, bridge, "-j", "ACCEPT", NULL };

	return rt_run_program(&(struct rt_run_options){
		.path = program, .argv = argv, .envp = (const char *const *)environ, .timeout_ms = TIMEOUT_MS });
}

static bool succeeds(struct rt_error *err)
{
	rt_error_free(err);
	return !err;
}

static bool has_chain(size_t family)
{
	_cleanup_free_ char *names = NULL;

	if (rt_nftables_has_chain(families[family].family, "filter", CHAIN))
		return true;
	/* Asked for its tables, iptables would load them: only where somebody uses them. */
	return succeeds(rt_read_file_at(AT_FDCWD, families[family].old_tables, 4096, &names, NULL)) && *names &&
	       succeeds(run(families[family].program, "-S", NULL, NULL));
}

static struct rt_error *let_direction(const struct rt_store *store, const char *program, const char *direction, const char *bridge)
{
	struct rt_error *err;

	if (succeeds(run(program, "-C", direction, bridge)))
		return NULL;
	err = rt_store_note(store, bridge, RT_NOTE_LET_THROUGH);
	return err ? err : run(program, "-I", direction, bridge);
}

struct rt_error *rt_forward_let(const struct rt_store *store, const char *bridge)
{
	struct rt_error *err = NULL;

	for (size_t family = 0; family < RT_ARRAY_SIZE(families) && !err; family++) {
		if (!has_chain(family))
			continue;
		for (size_t i = 0; i < RT_ARRAY_SIZE(directions) && !err; i++)
			err = let_direction(store, families[family].program, directions[i], bridge);
	}
	return err ? rt_while(err, "letting bridge '%s' through the chain DOCKER-USER", bridge) : NULL;
}

struct rt_error *rt_forward_stop(const struct rt_store *store, const char *bridge)
{
	struct rt_error *err;
	bool noted = false;

	err = rt_store_is_noted(store, bridge, RT_NOTE_LET_THROUGH, &noted);
	if (err || !noted)
		return err;
	for (size_t family = 0; family < RT_ARRAY_SIZE(families); family++)
		for (size_t i = 0; i < RT_ARRAY_SIZE(directions) && has_chain(family); i++)
			rt_error_free(run(families[family].program, "-D", directions[i], bridge)); /* Docker may have taken it along */
	return rt_store_forget(store, bridge, RT_NOTE_LET_THROUGH);
}
