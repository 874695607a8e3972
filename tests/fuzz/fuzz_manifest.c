/* A manifest, whoever wrote it: it is refused with one error, or what comes out can be packed and read again. */
#include "checkpoint/manifest.h"
#include "checkpoint/unpack.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL, *again = NULL;
	_cleanup_free_ void *packed = NULL;
	struct rt_error *err;
	size_t packed_size;

	err = rt_manifest_parse(bytes, size, &manifest);
	if (err) {
		rt_error_free(err);
		return 0;
	}
	err = rt_pack(&manifest->base, &packed, &packed_size);
	if (!err)
		err = rt_manifest_parse(packed, packed_size, &again);
	assert(!err);
	return 0;
}
