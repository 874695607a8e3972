#include "migrate/target_private.h"

#include "checkpoint/cpu.h"
#include "checkpoint/manifest.h"
#include "checkpoint/unpack.h"
#include "migrate/journal.h"
#include "migrate/lazy.h"
#include "migrate/network.h"
#include "migrate/policy.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

/* Of the memory that is available now, what one migration may take at most: its pages are here twice for a moment. */
#define MEMORY_SHARE 2
#define CONFIG_LIMIT (16u << 20)

/* ---- judging ---- */

static struct rt_error *refuse(Rt__Answer *answer, const char *format, ...) __attribute__((format(printf, 2, 3)));
static struct rt_error *refuse(Rt__Answer *answer, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return rt_manifest_append_string(&answer->reasons, &answer->n_reasons, text);
}

static struct rt_error *refuse_for(Rt__Answer *answer, struct rt_error *why)
{
	_cleanup_free_ char *text = rt_error_text(why);
	struct rt_error *err = refuse(answer, "%s", text ? text : why->message);

	rt_error_free(why);
	return err;
}

static struct rt_error *judge_machine(const struct rt_target *target, const Rt__Offer *offer, Rt__Answer *answer)
{
	const Rt__Maker *here = target->self->maker, *there = offer->maker;
	_cleanup_free_ char *missing = NULL;
	struct rt_error *err = NULL;

	if (!rt_str_equal(there->architecture, here->architecture))
		return refuse(answer, "the source is %s, this host is %s", there->architecture, here->architecture);
	if (there->page_size != here->page_size)
		err = refuse(answer, "pages of the source have %u bytes, here %u", there->page_size, here->page_size);
	/* What a criu writes is read by later ones; 4.1 fails in the middle of 4.2's pages. The third number changes nothing of the format. */
	if (!err && there->criu_version / 100 > here->criu_version / 100)
		err = refuse(answer, "the source has criu %u.%u, whose images criu %u.%u here may not read", there->criu_version / 10000,
			     there->criu_version / 100 % 100, here->criu_version / 10000, here->criu_version / 100 % 100);
	if (!err)
		err = rt_cpu_missing(offer->cpu, target->self->cpu, &missing);
	if (!err && missing)
		err = refuse(answer, "the processor here lacks what the source's has: %s", missing);
	return err;
}

/* Bytes available, as /proc/meminfo has it. */
static uint64_t available_memory(void)
{
	_cleanup_free_ char *text = NULL;
	const char *line;

	rt_error_free(rt_read_file_at(AT_FDCWD, "/proc/meminfo", 64u << 10, &text, NULL));
	line = text ? strstr(text, "MemAvailable:") : NULL;
	return line ? strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024 : 0;
}

static uint64_t free_space(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) < 0 ? 0 : (uint64_t)fs.f_bavail * fs.f_frsize;
}

static uint64_t memory_limit(const struct rt_target *target)
{
	uint64_t available = available_memory() / MEMORY_SHARE;

	return target->max_memory && target->max_memory < available ? target->max_memory : available;
}

static struct rt_error *judge_room(const struct rt_target *target, const Rt__Offer *offer, Rt__Answer *answer)
{
	uint64_t limit = memory_limit(target), room = free_space(target->bundles);
	struct rt_error *err = NULL;

	if (offer->memory > limit)
		err = refuse(answer, "it has %llu MiB of memory, this host takes %llu MiB", (unsigned long long)offer->memory >> 20, (unsigned long long)limit >> 20);
	if (!err && target->max_rootfs && target->max_rootfs < room)
		room = target->max_rootfs;
	if (!err && offer->rootfs_bytes > room)
		err = refuse(answer, "its root filesystem has %llu MiB, there is room for %llu MiB", (unsigned long long)offer->rootfs_bytes >> 20,
			     (unsigned long long)room >> 20);
	return err;
}

static bool container_exists(const struct rt_target *target, const char *id)
{
	_cleanup_free_ char *path = NULL;

	if (rt_format(&path, "%s/%s", target->context->root, id))
		return true;
	return access(path, F_OK) == 0;
}

static struct rt_error *judge_id(const struct rt_target *target, const Rt__Offer *offer, Rt__Answer *answer)
{
	if (!rt_policy_allows_id(target->values, offer->id))
		return refuse(answer, "no --allow-id of this host covers '%s'", offer->id);
	if (container_exists(target, offer->id))
		return refuse(answer, "there is a container '%s' on this host already", offer->id);
	return NULL;
}

/* ---- the bundle ---- */

struct plan {
	char *bundle, *rootfs;
	bool has_directory, has_bundle, has_rootfs; /* are there; `bundle`: its config.json */
	char *config; /* to be used; NULL: refused */
	size_t config_size;
	struct rt_spec *spec;
};

static void plan_deinit(struct plan *plan)
{
	free(plan->bundle);
	free(plan->rootfs);
	free(plan->config);
	rt_spec_free(plan->spec);
}

/* Our own bundle's configuration counts; the source's only where there is none, and as far as it is allowed. */
static struct rt_error *plan_config(const struct rt_target *target, const Rt__Offer *offer, struct plan *plan, Rt__Answer *answer)
{
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = rt_format(&path, "%s/config.json", plan->bundle);

	if (err)
		return err;
	plan->has_directory = access(plan->bundle, F_OK) == 0;
	plan->has_bundle = access(path, F_OK) == 0;
	if (plan->has_bundle)
		err = rt_read_file_at(AT_FDCWD, path, CONFIG_LIMIT, &plan->config, &plan->config_size);
	else if (!target->values->allow_config)
		return refuse(answer, "there is no bundle '%s' here, and without --allow-config none is taken from a source", plan->bundle);
	else if (rt_format(&plan->config, "%.*s", (int)offer->config.len, (const char *)offer->config.data))
		return rt_error_oom();
	else
		plan->config_size = strlen(plan->config);
	if (!err)
		err = rt_spec_load_text(plan->config, plan->config_size, "config.json", &plan->spec);
	if (!err && !plan->has_bundle)
		err = rt_policy_check(target->values, plan->spec);
	if (!err && *offer->network)
		err = rt_network_put_into(offer->network, &plan->config, &plan->config_size);
	return err ? refuse_for(answer, err) : NULL;
}

static struct rt_error *plan_bundle(const struct rt_target *target, const Rt__Offer *offer, struct plan *plan, Rt__Answer *answer)
{
	struct rt_error *err = rt_format(&plan->bundle, "%s/%s", target->bundles, offer->id);
	bool sent = offer->rootfs == RT__MOVE_ROOTFS__ROOTFS_COPY || offer->rootfs == RT__MOVE_ROOTFS__ROOTFS_DIFF;

	if (!err)
		err = plan_config(target, offer, plan, answer);
	if (err || answer->n_reasons > 0)
		return err;
	if (*plan->spec->root_path == '/')
		err = rt_format(&plan->rootfs, "%s", plan->spec->root_path);
	else
		err = rt_format(&plan->rootfs, "%s/%s", plan->bundle, plan->spec->root_path);
	if (err)
		return err;
	plan->has_rootfs = access(plan->rootfs, F_OK) == 0;
	if (!sent && !plan->has_rootfs)
		return refuse(answer, "its root filesystem '%s' is not on this host: put it there, or use --rootfs copy", plan->rootfs);
	if (offer->rootfs == RT__MOVE_ROOTFS__ROOTFS_DIFF) {
		err = rt_target_judge_base(plan->bundle, plan->rootfs);
		if (err)
			return refuse_for(answer, err);
	}
	/* The source has asked its own kernel; ours may be set otherwise. */
	if (offer->lazy && plan->spec->namespaces[RT_NS_USER].wanted && !rt_lazy_is_for_all())
		return refuse(answer, "its memory would be put in place while it runs, which a container with its own user namespace can't have here while "
			      "vm.unprivileged_userfaultfd is 0");
	if (offer->rootfs == RT__MOVE_ROOTFS__ROOTFS_COPY && plan->has_rootfs)
		return refuse(answer, "'%s' is on this host already, and --rootfs copy would mix it up: use --rootfs none, or remove it", plan->rootfs);
	if (sent && !plan->has_bundle && !rt_str_equal(plan->spec->root_path, "rootfs"))
		return refuse(answer, "its root filesystem is '%s', and only 'rootfs' in its bundle is made for a source", plan->spec->root_path);
	return NULL;
}

/* ---- making it ready ---- */

static struct rt_error *write_files(const struct plan *plan, const Rt__Offer *offer, const char *directory)
{
	_cleanup_json_ json_t *journal = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b}", "migration", offer->migration, "id", offer->id, "bundle",
						   plan->bundle, "rootfs", plan->rootfs, "state", "receiving", "lazy", offer->lazy, "postCopy", offer->post_copy,
						   "madeBundle", !plan->has_directory, "madeConfig", !plan->has_bundle, "madeRootfs", !plan->has_rootfs);
	_cleanup_close_ int dir_fd = -1;
	struct rt_error *err;

	if (!journal)
		return rt_error_oom();
	if (mkdir(directory, 0700) < 0)
		return errno == EEXIST ? rt_fail(RT_EXISTS, "the migration '%s' is known already", offer->migration) : rt_fail_errno("cannot make '%s'", directory);
	dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || mkdirat(dir_fd, "images", 0700) < 0)
		return rt_fail_errno("cannot make '%s/images'", directory);
	err = rt_replace_file_at(dir_fd, "config.json", plan->config, plan->config_size, 0600);
	return err ? err : rt_journal_store(dir_fd, RT_JOURNAL_TARGET, journal);
}

/* So that it is a bundle again when it stays: `rt delete`, `rt run`, the way back. */
static struct rt_error *make_bundle(const struct plan *plan, const Rt__Offer *offer, struct rt_move *move)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (!plan->has_bundle) {
		err = rt_make_dirs(plan->bundle, 0711);
		if (err)
			return err;
		move->made_bundle = !plan->has_directory;
		move->made_config = true;
		fd = open(plan->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return rt_fail_errno("cannot open '%s'", plan->bundle);
		err = rt_replace_file_at(fd, "config.json", offer->config.data, offer->config.len, 0600);
		if (err)
			return err;
	}
	if (plan->has_rootfs)
		return NULL;
	if (mkdir(plan->rootfs, 0755) < 0)
		return rt_fail_errno("cannot make '%s'", plan->rootfs);
	move->made_rootfs = true;
	return NULL;
}

static struct rt_error *accept_it(struct rt_target *target, Rt__Offer *offer, const struct plan *plan)
{
	bool sent = offer->rootfs == RT__MOVE_ROOTFS__ROOTFS_COPY || offer->rootfs == RT__MOVE_ROOTFS__ROOTFS_DIFF;
	_cleanup_free_ char *directory = NULL;
	struct rt_move *move = NULL;
	struct rt_error *err = rt_format(&directory, "%s/%s", target->state_dir, offer->migration);

	if (!err)
		err = write_files(plan, offer, directory);
	if (err) {
		if (directory && err->code != RT_EXISTS)
			rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, directory)); /* a full disk */
		rt_unpack_free(&offer->base);
		return err;
	}
	err = rt_move_new(target->context, offer, directory, plan->bundle, memory_limit(target), &move);
	if (err) {
		rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, directory));
		return err;
	}
	err = rt_target_add(target, move);
	if (err) {
		rt_warn_ignored(rt_remove_tree_at(AT_FDCWD, directory));
		rt_move_free(move);
		return err;
	}
	free(move->rootfs);
	move->rootfs = NULL;
	err = rt_format(&move->rootfs, "%s", plan->rootfs);
	if (!err)
		err = make_bundle(plan, offer, move);
	if (!err && !sent)
		err = rt_move_start_worker(move);
	if (err) {
		_cleanup_free_ char *text = rt_error_text(err);

		rt_move_abort(move, text);
	}
	return err;
}

struct rt_error *rt_target_take_offer(struct rt_target *target, Rt__Offer *offer, Rt__Answer *answer)
{
	_cleanup_(plan_deinit) struct plan plan = { .bundle = NULL };
	bool dry = offer->dry_run;
	struct rt_error *err = judge_machine(target, offer, answer);

	if (!err)
		err = judge_room(target, offer, answer);
	if (!err)
		err = judge_id(target, offer, answer);
	if (!err && answer->n_reasons == 0)
		err = plan_bundle(target, offer, &plan, answer);
	if (err || answer->n_reasons > 0 || dry) {
		rt_unpack_free(&offer->base);
		answer->accepted = !err && answer->n_reasons == 0;
		return err;
	}
	err = accept_it(target, offer, &plan);
	if (err)
		return refuse_for(answer, err);
	answer->accepted = true;
	return NULL;
}
