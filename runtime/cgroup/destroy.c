#include "runtime/base/log.h"
#include "runtime/cgroup/private.h"
#include "runtime/cgroup/systemd.h"

#include <limits.h>
#include <string.h>
#include <time.h>

/* A process that was killed leaves its cgroups a moment after its parent was told. */
#define PATIENCE_MS 5000
/* In a cgroup that was only planned, nothing of ours lives for long: its child ends with the runtime that made it. */
#define PLANNED_PATIENCE_MS 500

static void pause_ms(unsigned ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

/* Deepest first, so what can't be removed now is reported by the one above it. */
static struct rt_error *remove_one(int dir_fd, const char *path, void *userdata)
{
	if (rmdir(path) < 0 && errno != ENOENT && errno != EBUSY && errno != ENOTEMPTY)
		return rt_fail_errno("cannot remove cgroup '%s'", path);
	return NULL;
}

static struct rt_error *remove_place(const struct rt_cgroup_place *place, unsigned patience, unsigned *waited)
{
	for (unsigned wait = 1;; wait = wait < 64 ? 2 * wait : 64) {
		struct rt_error *err;

		if (rmdir(place->directory) == 0 || errno == ENOENT)
			return NULL;
		if (errno != EBUSY && errno != ENOTEMPTY)
			return rt_fail_errno("cannot remove cgroup '%s'", place->directory);
		err = rt_place_walk(place, remove_one, NULL);
		if (err)
			return err;
		if (access(place->directory, F_OK) < 0 && errno == ENOENT)
			return NULL;
		if (*waited >= patience)
			return rt_fail_with(EBUSY, "cannot remove cgroup '%s'", place->directory);
		pause_ms(wait);
		*waited += wait;
	}
}

/* Directories above that we had to make, and that nobody else has come to use. */
static void remove_parents(const struct rt_cgroup_place *place)
{
	char dir[PATH_MAX];

	if (place->made < 2 || snprintf(dir, sizeof(dir), "%s", place->directory) >= (int)sizeof(dir))
		return;
	for (unsigned i = 1; i < place->made; i++) {
		*strrchr(dir, '/') = '\0';
		if (rmdir(dir) < 0)
			return;
	}
}

/* A runtime that was killed while it made the cgroup may have found somebody else's there: empty ones go, others stay. */
static void remove_planned(const struct rt_cgroup *cgroup)
{
	unsigned waited = 0;

	for (size_t i = 0; i < cgroup->count; i++)
		rt_warn_ignored(remove_place(&cgroup->places[i], PLANNED_PATIENCE_MS, &waited));
}

struct rt_error *rt_cgroup_destroy(struct rt_cgroup *cgroup)
{
	struct rt_error *first = NULL;
	unsigned waited = 0;

	/* systemd itself lets go of a scope that has lost its last process. */
	if (!cgroup->created) {
		remove_planned(cgroup);
		return NULL;
	}
	if (cgroup->unit)
		first = rt_systemd_stop(cgroup);
	/* One hierarchy that fails doesn't keep the others from being cleaned. */
	for (size_t i = 0; i < cgroup->count; i++) {
		struct rt_error *err = remove_place(&cgroup->places[i], PATIENCE_MS, &waited);

		if (!err)
			remove_parents(&cgroup->places[i]);
		else if (!first)
			first = err;
		else
			rt_error_free(err);
	}
	return first;
}
