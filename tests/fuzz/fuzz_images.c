/* CRIU's images, whoever wrote them: the first byte chooses the kind, the rest is the file. Every entry must come out or fail with one error. */
#include "checkpoint/images.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_image_ struct rt_image *image = NULL;
	enum rt_image_kind kind;
	struct rt_error *err;

	if (size < 1)
		return 0;
	kind = (enum rt_image_kind)(bytes[0] % RT_IMAGE_KINDS);
	err = rt_image_from_bytes(bytes + 1, size - 1, "fuzz", kind, &image);
	while (!err) {
		_cleanup_unpacked_ ProtobufCMessage *entry = NULL;

		err = rt_image_next(image, &entry);
		if (!err && !entry)
			return 0;
	}
	rt_error_free(err);
	return 0;
}
