#include "migrate/tree.h"

#include "checkpoint/overlay.h"
#include "runtime/base/fs.h"

struct rt_error *rt_tree_upper_of(const char *root, char **ret_upper)
{
	_cleanup_free_ char *real = NULL, *lowers = NULL;
	struct rt_error *err = rt_real_path(root, &real);

	return err ? err : rt_overlay_find(real, ret_upper, &lowers);
}
