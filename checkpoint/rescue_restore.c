#include "checkpoint/rescue.h"

#include "checkpoint/images.h"
#include "checkpoint/netlock.h"
#include "checkpoint/unpack.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <signal.h>

#define CHILDREN_LIMIT (1u << 20)

static struct rt_error *read_run_id(int image_fd, char **ret)
{
	Img__Inventory *inventory;
	struct rt_error *err = rt_images_inventory(image_fd, &inventory);

	if (err)
		return err;
	err = rt_format(ret, "%s", inventory->run_id ? inventory->run_id : "");
	rt_unpack_free(&inventory->base);
	return err;
}

struct rt_error *rt_restore_rescue_arm(struct rt_restore_rescue *rescue, const struct rt_spec *spec, int image_fd)
{
	const struct rt_spec_namespace *network = &spec->namespaces[RT_NS_NETWORK];
	struct rt_error *err;

	if (!network->wanted || !network->path)
		return NULL;
	err = read_run_id(image_fd, &rescue->run_id);
	if (!err)
		err = rt_sys_open_namespace(network->path, RT_NS_NETWORK, &rescue->network_fd);
	if (!err)
		err = rt_netlock_is_there(rescue->network_fd, rescue->run_id, &rescue->was_locked);
	return err;
}

/* With rst_sibling the restored tasks are our children, not CRIU's: nobody else kills what a dead CRIU leaves waiting for it. We have
 * no other children by now. They are not waited for: one in a frozen cgroup ends only when our caller has thawed that. */
static void end_children(void)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *at, *end;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	rt_error_free(rt_read_file_at(AT_FDCWD, path, CHILDREN_LIMIT, &text, NULL));
	for (at = text; at && *at; at = end) {
		pid_t pid = (pid_t)strtol(at, &end, 10);

		if (end == at)
			break;
		kill(pid, SIGKILL);
	}
}

void rt_restore_rescue_clean(struct rt_restore_rescue *rescue)
{
	end_children();
	if (rescue->network_fd >= 0 && !rescue->was_locked)
		rt_warn_ignored(rt_netlock_remove(rescue->network_fd, rescue->run_id));
}

void rt_restore_rescue_deinit(struct rt_restore_rescue *rescue)
{
	rt_closep(&rescue->network_fd);
	free(rescue->run_id);
	*rescue = RT_RESTORE_RESCUE_NULL;
}
