/* rt-snapshot: what `rt snapshot` becomes. It needs libarchive, which `rt` itself does not carry. */
#include "migrate/clone_cache.h"
#include "migrate/clone_rootfs.h"
#include "migrate/snapshot.h"
#include "runtime/base/str.h"
#include "runtime/cmd/dispatch.h"
#include "runtime/cmd/output.h"

#include <sys/stat.h>

static struct rt_error *run_create(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_snapshot_create(invocation->context, invocation->operands[0], invocation->operands[1], invocation->values);
}

static struct rt_error *run_ls(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_snapshot_list(invocation->values);
}

static struct rt_error *run_inspect(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_snapshot_inspect(invocation->operands[0], invocation->values);
}

static struct rt_error *run_export(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_snapshot_export(invocation->operands[0], invocation->operands[1], invocation->values);
}

static struct rt_error *run_import(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_snapshot_import(invocation->operands[0], invocation->operand_count > 1 ? invocation->operands[1] : NULL, invocation->values);
}

static struct rt_error *run_rm(const struct rt_invocation *invocation, int *ret_status)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	const struct rt_snapshot_values *values = invocation->values;
	struct rt_error *err = rt_store_open(values->store, &store);

	for (size_t i = 0; i < invocation->operand_count && !err; i++)
		err = rt_store_remove(&store, invocation->operands[i]);
	return err;
}

static void print_fault(void *userdata, const char *sentence)
{
	printf("%s\n", sentence);
}

static struct rt_error *run_verify(const struct rt_invocation *invocation, int *ret_status)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	const struct rt_snapshot_values *values = invocation->values;
	struct rt_store_verdict verdict = { 0 };
	struct rt_error *err = values->key && invocation->operand_count == 0 ? rt_fail(RT_USAGE, "'--key' needs the name of a snapshot") : NULL;

	if (!err)
		err = rt_store_open(values->store, &store);
	if (!err && values->key)
		err = rt_store_use_key(&store, values->key);
	if (!err)
		err = rt_store_verify(&store, invocation->operand_count > 0 ? invocation->operands[0] : NULL, print_fault, NULL, &verdict);
	if (err)
		return err;
	printf("snapshots: %zu, chunks: %zu, faults: %zu\n", verdict.snapshots, verdict.chunks, verdict.faults);
	*ret_status = verdict.faults > 0;
	return rt_output_finish();
}

static struct rt_error *run_gc(const struct rt_invocation *invocation, int *ret_status)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	const struct rt_snapshot_values *values = invocation->values;
	struct rt_store_collected collected;
	struct rt_error *err = rt_store_open(values->store, &store);

	if (!err)
		err = rt_store_collect(&store, &collected);
	if (!err)
		err = rt_clone_rootfs_trim(invocation->context);
	if (!err)
		err = rt_clone_cache_trim(invocation->context, &store);
	if (err)
		return err;
	printf("freed %zu chunks (%.1f MiB), kept %zu\n", collected.freed, (double)collected.freed_bytes / (1 << 20), collected.kept);
	return rt_output_finish();
}

int main(int argc, char **argv)
{
	static const struct rt_command_override overrides[] = {
		{ "snapshot create", run_create },
		{ "snapshot export", run_export },
		{ "snapshot gc", run_gc },
		{ "snapshot import", run_import },
		{ "snapshot inspect", run_inspect },
		{ "snapshot ls", run_ls },
		{ "snapshot rm", run_rm },
		{ "snapshot verify", run_verify },
		{ NULL, NULL },
	};

	umask(022);
	return rt_dispatch(argc, argv, overrides);
}
