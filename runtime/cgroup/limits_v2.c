/* linux.resources as the v2 controllers take them, converted where config.json speaks v1. What has no counterpart is an error,
 * as the specification demands, unless its value asks for nothing. */
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/convert.h"
#include "runtime/cgroup/private.h"

#include <inttypes.h>

#define FIELD(name) "linux.resources." name

/* The v2 place where v2 has the controller; NULL where v1 has it. */
static struct rt_cgroup_place *place_of(const struct rt_cgroup *cgroup, const char *controller)
{
	return rt_cgroup_place(cgroup, controller) ? NULL : rt_cgroup_v2_place(cgroup);
}

static struct rt_error *no_counterpart(const char *field)
{
	return rt_fail(RT_SYSTEM, "'%s': cgroup v2 has nothing like it", field);
}

static struct rt_error *check_usage(const struct rt_cgroup_place *place, int64_t limit)
{
	uint64_t usage = 0;
	struct rt_error *err = rt_place_read_u64(place, "memory.current", &usage, NULL);

	if (!err && limit >= 0 && usage > (uint64_t)limit)
		return rt_fail(RT_SYSTEM, "'" FIELD("memory.limit") "': %" PRId64 " bytes are less than the %" PRIu64 " in use",
			       limit, usage);
	return err;
}

/* The sum of the config, less the limit, which may have been set before now. */
static struct rt_error *add_swap(struct rt_batch *batch, const struct rt_spec_memory *m)
{
	uint64_t now = UINT64_MAX;
	struct rt_error *err = NULL;
	int64_t swap, limit;

	if (m->limit && *m->limit) {
		limit = *m->limit;
	} else {
		err = rt_place_read_u64(batch->place, "memory.max", &now, NULL);
		limit = now > INT64_MAX ? -1 : (int64_t)now;
		if (!err && limit < 0 && *m->swap > 0)
			err = rt_fail(RT_CONFIG, "'" FIELD("memory.swap") "' counts memory and swap and needs a memory limit");
	}
	if (!err)
		err = rt_convert_swap(*m->swap, limit, &swap);
	if (err)
		return err;
	/* Without swap accounting there is nothing to limit, and that is what these two values ask for. */
	if (swap <= 0 && !rt_place_has(batch->place, "memory.swap.max"))
		return NULL;
	rt_batch_add_i64(batch, "memory.swap.max", FIELD("memory.swap"), swap);
	return NULL;
}

static struct rt_error *unconvertible_memory(const struct rt_spec_memory *m)
{
	if (m->swappiness)
		return no_counterpart(FIELD("memory.swappiness"));
	if (m->disable_oom_killer && *m->disable_oom_killer)
		return no_counterpart(FIELD("memory.disableOOMKiller"));
	if (m->kernel && *m->kernel > 0)
		return no_counterpart(FIELD("memory.kernel"));
	if (m->kernel_tcp && *m->kernel_tcp > 0)
		return no_counterpart(FIELD("memory.kernelTCP"));
	if (m->use_hierarchy && !*m->use_hierarchy)
		rt_warn("'" FIELD("memory.useHierarchy") "' can't be false with cgroup v2, ignoring");
	return NULL;
}

static struct rt_error *set_memory(const struct rt_cgroup *cgroup, const struct rt_spec_memory *m)
{
	struct rt_batch batch = { .place = place_of(cgroup, "memory") };
	struct rt_error *err;

	if (!batch.place)
		return NULL;
	err = unconvertible_memory(m);
	if (!err && m->limit && m->check_before_update)
		err = check_usage(batch.place, *m->limit);
	if (!err && m->swap && *m->swap != 0)
		err = add_swap(&batch, m);
	else if (!err && m->limit && *m->limit < 0 && !batch.place->fresh && rt_place_has(batch.place, "memory.swap.max"))
		rt_batch_add_i64(&batch, "memory.swap.max", FIELD("memory.limit"), -1);
	if (err)
		return err;
	if (m->limit && *m->limit != 0)
		rt_batch_add_i64(&batch, "memory.max", FIELD("memory.limit"), *m->limit);
	if (m->reservation && *m->reservation != 0)
		rt_batch_add_i64(&batch, "memory.low", FIELD("memory.reservation"), *m->reservation);
	return rt_batch_write(&batch);
}

/* cpu.max has both in one file; "$QUOTA" alone keeps the period, but a period alone needs the quota that holds. */
static struct rt_error *add_cpu_max(struct rt_batch *batch, const struct rt_spec_cpu *c)
{
	_cleanup_free_ char *now = NULL;
	char quota[24] = "max";
	struct rt_batch_entry *entry;
	struct rt_error *err;

	if (c->quota && *c->quota) {
		rt_batch_add_i64(batch, "cpu.max", FIELD("cpu.quota"), *c->quota);
		entry = &batch->entries[batch->count - 1];
		if (c->period && *c->period)
			snprintf(entry->value + strlen(entry->value), 24, " %" PRIu64, *c->period);
		return NULL;
	}
	if (!c->period || !*c->period)
		return NULL;
	if (!batch->place->fresh) {
		err = rt_place_read(batch->place, "cpu.max", &now);
		if (err)
			return err;
		if (now)
			snprintf(quota, sizeof(quota), "%.*s", (int)strcspn(now, " "), now);
	}
	rt_batch_add_i64(batch, "cpu.max", FIELD("cpu.period"), 0);
	entry = &batch->entries[batch->count - 1];
	snprintf(entry->value, sizeof(entry->value), "%s %" PRIu64, quota, *c->period);
	return NULL;
}

static struct rt_error *set_cpu(const struct rt_cgroup *cgroup, const struct rt_spec_cpu *c)
{
	struct rt_batch batch = { .place = place_of(cgroup, "cpu") };
	struct rt_error *err;

	if (!batch.place)
		return NULL;
	if (c->realtime_period && *c->realtime_period)
		return no_counterpart(FIELD("cpu.realtimePeriod"));
	if (c->realtime_runtime && *c->realtime_runtime)
		return no_counterpart(FIELD("cpu.realtimeRuntime"));
	if (c->shares && *c->shares)
		rt_batch_add_u64(&batch, "cpu.weight", FIELD("cpu.shares"), rt_convert_shares(*c->shares));
	err = add_cpu_max(&batch, c);
	if (err)
		return err;
	if (c->burst)
		rt_batch_add_u64(&batch, "cpu.max.burst", FIELD("cpu.burst"), *c->burst);
	if (c->idle)
		rt_batch_add_i64(&batch, "cpu.idle", FIELD("cpu.idle"), *c->idle);
	return rt_batch_write(&batch);
}

static struct rt_error *set_cpuset(const struct rt_cgroup *cgroup, const struct rt_spec_cpu *c)
{
	const struct rt_cgroup_place *place = place_of(cgroup, "cpuset");
	struct rt_error *err = NULL;

	if (place && c->cpus)
		err = rt_place_set(place, FIELD("cpu.cpus"), "cpuset.cpus", c->cpus);
	if (!err && place && c->mems)
		err = rt_place_set(place, FIELD("cpu.mems"), "cpuset.mems", c->mems);
	return err;
}

static struct rt_error *set_pids(const struct rt_cgroup *cgroup, const int64_t *limit)
{
	struct rt_batch batch = { .place = place_of(cgroup, "pids") };

	if (!batch.place || !limit || *limit == 0)
		return NULL;
	rt_batch_add_i64(&batch, "pids.max", FIELD("pids.limit"), *limit);
	return rt_batch_write(&batch);
}

/* BFQ takes the weights of the config as they are; io.weight, of the cost model, has its own scale. */
static struct rt_error *set_weights(const struct rt_cgroup_place *place, const struct rt_spec_block_io *io)
{
	bool bfq = rt_place_has(place, "io.bfq.weight");
	const char *file = bfq ? "io.bfq.weight" : "io.weight";
	struct rt_error *err = NULL;
	char text[64];

	if (io->leaf_weight && *io->leaf_weight)
		return no_counterpart(FIELD("blockIO.leafWeight"));
	if (io->weight && *io->weight) {
		snprintf(text, sizeof(text), "%" PRIu64, bfq ? *io->weight : rt_convert_io_weight(*io->weight));
		err = rt_place_set(place, FIELD("blockIO.weight"), file, text);
	}
	for (size_t i = 0; !err && i < io->weight_device_count; i++) {
		const struct rt_spec_weight_device *d = &io->weight_devices[i];

		if (d->leaf_weight && *d->leaf_weight)
			return no_counterpart(FIELD("blockIO.weightDevice"));
		if (!d->weight)
			continue;
		snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, d->major, d->minor,
			 bfq ? *d->weight : rt_convert_io_weight(*d->weight));
		err = rt_place_set(place, FIELD("blockIO.weightDevice"), file, text);
	}
	return err;
}

static struct rt_error *set_block_io(const struct rt_cgroup *cgroup, const struct rt_spec_block_io *io)
{
	const struct {
		const struct rt_spec_throttle *throttle;
		const char *field, *key;
	} throttles[] = {
		{ &io->read_bps, FIELD("blockIO.throttleReadBpsDevice"), "rbps" },
		{ &io->write_bps, FIELD("blockIO.throttleWriteBpsDevice"), "wbps" },
		{ &io->read_iops, FIELD("blockIO.throttleReadIOPSDevice"), "riops" },
		{ &io->write_iops, FIELD("blockIO.throttleWriteIOPSDevice"), "wiops" },
	};
	const struct rt_cgroup_place *place = place_of(cgroup, "blkio");
	struct rt_error *err = NULL;
	char text[96];

	if (!place)
		return NULL;
	if (io->weight || io->leaf_weight || io->weight_device_count)
		err = set_weights(place, io);
	for (size_t i = 0; i < RT_ARRAY_SIZE(throttles); i++) {
		for (size_t j = 0; !err && j < throttles[i].throttle->count; j++) {
			const struct rt_spec_throttle_device *d = &throttles[i].throttle->entries[j];

			/* v1 says "no limit" with a rate of 0. */
			if (d->rate)
				snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=%" PRIu64, d->major, d->minor,
					 throttles[i].key, d->rate);
			else
				snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=max", d->major, d->minor, throttles[i].key);
			err = rt_place_set(place, throttles[i].field, "io.max", text);
		}
	}
	return err;
}

static struct rt_error *set_hugepages(const struct rt_cgroup *cgroup, const struct rt_spec_resources *r)
{
	const struct rt_cgroup_place *place = place_of(cgroup, "hugetlb");
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && place && i < r->hugepage_limit_count; i++) {
		char file[64], reserved[64], text[24];

		snprintf(file, sizeof(file), "hugetlb.%.16s.max", r->hugepage_limits[i].page_size);
		snprintf(reserved, sizeof(reserved), "hugetlb.%.16s.rsvd.max", r->hugepage_limits[i].page_size);
		snprintf(text, sizeof(text), "%" PRIu64, r->hugepage_limits[i].limit);
		err = rt_place_set(place, FIELD("hugepageLimits"), file, text);
		if (!err && rt_place_has(place, reserved))
			err = rt_place_set(place, FIELD("hugepageLimits"), reserved, text);
	}
	return err;
}

static struct rt_error *set_rdma(const struct rt_cgroup *cgroup, const struct rt_spec_resources *r)
{
	const struct rt_cgroup_place *place = place_of(cgroup, "rdma");
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && place && i < r->rdma_count; i++) {
		char text[256];
		size_t used = (size_t)snprintf(text, sizeof(text), "%.128s", r->rdma[i].device);

		if (r->rdma[i].handles)
			used += (size_t)snprintf(text + used, sizeof(text) - used, " hca_handle=%u", *r->rdma[i].handles);
		if (r->rdma[i].objects)
			snprintf(text + used, sizeof(text) - used, " hca_object=%u", *r->rdma[i].objects);
		err = rt_place_set(place, FIELD("rdma"), "rdma.max", text);
	}
	return err;
}

/* Written as they stand, one line at a time, since some files (io.max) take only one. */
static struct rt_error *set_unified(const struct rt_cgroup_place *place, const struct rt_spec_key_value *entry)
{
	_cleanup_free_ char *copy = strdup(entry->value), *field = NULL;
	struct rt_error *err = rt_format(&field, FIELD("unified") "['%s']", entry->key);
	char *save = NULL;

	if (err)
		return err;
	if (!copy)
		return rt_error_oom();
	if (!*entry->key || strchr(entry->key, '/') || rt_str_equal(entry->key, ".") || rt_str_equal(entry->key, ".."))
		return rt_fail(RT_CONFIG, "'" FIELD("unified") "': '%s' is not the name of a cgroup file", entry->key);
	for (char *line = strtok_r(copy, "\n", &save); !err && line; line = strtok_r(NULL, "\n", &save))
		err = rt_place_set(place, field, entry->key, line);
	return err;
}

struct rt_error *rt_limits_apply_v2(const struct rt_cgroup *cgroup, const struct rt_spec_resources *r)
{
	const struct rt_cgroup_place *place = rt_cgroup_v2_place(cgroup);
	struct rt_error *err;

	if (!place)
		return NULL;
	err = set_memory(cgroup, &r->memory);
	if (!err)
		err = set_cpu(cgroup, &r->cpu);
	if (!err)
		err = set_cpuset(cgroup, &r->cpu);
	if (!err)
		err = set_pids(cgroup, r->pids_limit);
	if (!err)
		err = set_block_io(cgroup, &r->block_io);
	if (!err)
		err = set_hugepages(cgroup, r);
	if (!err)
		err = set_rdma(cgroup, r);
	for (size_t i = 0; !err && i < r->unified_count; i++)
		err = set_unified(place, &r->unified[i]);
	return err;
}
