#include "runtime/cmd/output.h"

struct rt_error *rt_output_json(const json_t *json, size_t flags)
{
	if (json_dumpf(json, stdout, flags | JSON_ENCODE_ANY) < 0)
		return rt_fail_errno("cannot write JSON to standard output");
	putchar('\n');
	return rt_output_finish();
}

struct rt_error *rt_output_finish(void)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return rt_fail_errno("cannot write to standard output");
	return NULL;
}
