#include "runtime/bundle/shift_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Files between two writes of the journal to the disk; each holds a descriptor. */
#define BATCH 256

struct run {
	const struct rt_bundle_shift *options;
	struct rt_shift_result *result;
	int dir_fd; /* where the tree is */
	int tree_fd;
	char *record_name; /* owned, as is the journal's */
	json_t *record;
	struct rt_shift_journal journal;
	bool resumed; /* the journal is an earlier run's */
	bool roll_back; /* what an earlier run did is taken back */
	bool inverse; /* this is an undo: the record loses an entry */
	bool mapping; /* not the files, but their mount: made, or undone */
	struct rt_id_shift shift; /* as it is done now; owned */
	struct rt_shift_inodes seen; /* with more than one name */
	struct pending {
		int fd;
		struct rt_shift_file file; /* as it shall be */
		char *path;
	} batch[BATCH];
	size_t batch_count;
};

static void drop_batch(struct run *run)
{
	for (size_t i = 0; i < run->batch_count; i++) {
		rt_closep(&run->batch[i].fd);
		rt_shift_file_deinit(&run->batch[i].file);
		free(run->batch[i].path);
	}
	run->batch_count = 0;
}

static void run_deinit(struct run *run)
{
	drop_batch(run);
	rt_shift_journal_deinit(&run->journal);
	rt_shift_ranges_free(&run->shift);
	json_decref(run->record);
	free(run->record_name);
	free(run->seen.slots);
	rt_closep(&run->dir_fd);
	rt_closep(&run->tree_fd);
}

/* ---- which tree ---- */

/* The root of a bundle, or the directory itself where it is none. */
static struct rt_error *find_tree(const struct rt_bundle_shift *options, char **ret)
{
	const char *directory = options->directory;
	_cleanup_json_ json_t *config = NULL;
	_cleanup_free_ char *path = NULL;
	struct rt_json root, object;
	const char *inner = "rootfs";
	struct rt_error *err = rt_shift_config_load(directory, &config);

	if (err)
		return err;
	if (!config)
		return options->idmap ? rt_shift_no_config(directory) : rt_real_path(directory, ret);
	root = rt_json_root(config);
	err = rt_json_get_object(&root, "root", &object);
	if (!err)
		err = rt_json_get_string(&object, "path", &inner);
	if (!err)
		err = *inner == '/' ? rt_format(&path, "%s", inner) : rt_format(&path, "%s/%s", directory, inner);
	return err ? err : rt_real_path(path, ret);
}

static struct rt_error *open_tree(struct run *run)
{
	_cleanup_free_ char *tree = NULL;
	struct rt_error *err = find_tree(run->options, &tree);
	char *slash;

	if (err)
		return err;
	slash = strrchr(tree, '/');
	if (rt_str_equal(tree, "/"))
		return rt_fail(RT_USAGE, "'/' is the host's own root");
	err = rt_format(&run->record_name, "%s.rt-shift", slash + 1);
	if (!err)
		err = rt_format(&run->journal.name, "%s.rt-shift.journal", slash + 1);
	if (err)
		return err;
	run->tree_fd = open(tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (run->tree_fd < 0)
		return rt_fail_errno("cannot open '%s'", tree);
	if (flock(run->tree_fd, LOCK_EX | LOCK_NB) < 0)
		return rt_fail(RT_WRONG_STATE, "'%s' is being shifted by somebody else", tree);
	slash[slash == tree] = '\0';
	run->dir_fd = run->journal.dir_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return run->dir_fd < 0 ? rt_fail_errno("cannot open '%s'", tree) : NULL;
}

/* ---- the files ---- */

static struct rt_error *look_only(void *userdata, int *fd, const char *path)
{
	struct rt_shift_change change = { .path = path };
	struct run *run = userdata;
	struct rt_shift_file file;
	uint64_t before;
	nlink_t links;
	struct rt_error *err = rt_shift_file_look(*fd, &file, &links);

	if (!err && links > 1 && !S_ISDIR(file.mode)) {
		if (rt_shift_inodes_get(&run->seen, file.inode, &before)) {
			rt_shift_file_deinit(&file);
			return NULL;
		}
		err = rt_shift_inodes_put(&run->seen, file.inode, 0);
	}
	if (!err)
		err = rt_shift_file_shift(&file, &run->shift, &change);
	rt_shift_file_deinit(&file);
	if (err)
		return err;
	run->result->files++;
	if (change.outside) {
		/* The first is the one to name. */
		if (run->result->outside++ == 0 && !run->options->check)
			return rt_fail(RT_CONFIG, "its %s %u is in none of the ranges; nothing was changed", change.outside_what,
				       change.outside_id);
	} else if (change.uid != change.new_uid || change.gid != change.new_gid || change.attributes) {
		run->result->changed++;
	}
	if (run->options->check)
		run->options->check(run->options->userdata, &change);
	return NULL;
}

static struct rt_error *flush(struct run *run)
{
	struct rt_error *err = run->batch_count ? rt_shift_journal_sync(&run->journal) : NULL;

	for (size_t i = 0; !err && i < run->batch_count; i++) {
		err = rt_shift_file_apply(run->batch[i].fd, &run->batch[i].file);
		if (err)
			err = rt_while(err, "'%s'", run->batch[i].path);
	}
	drop_batch(run);
	return err;
}

/* What an earlier run began: the journal says what the file was, whatever it is by now. */
static struct rt_error *finish_earlier(struct run *run, int fd, struct rt_shift_file *was)
{
	struct rt_shift_change change;
	struct rt_error *err = run->roll_back ? NULL : rt_shift_file_shift(was, &run->shift, &change);

	run->result->changed++;
	return err ? err : rt_shift_file_apply(fd, was);
}

static struct rt_error *queue(struct run *run, int *fd, const char *path, struct rt_shift_file *file)
{
	struct rt_shift_change change = { .path = path };
	struct rt_error *err;
	struct rt_shift_file now = *file;

	/* Into the journal goes what it is; the copy's attributes are the same bytes until they are shifted, so first this. */
	err = rt_shift_journal_add(&run->journal, &now);
	if (!err)
		err = rt_shift_file_shift(file, &run->shift, &change);
	if (!err && change.outside)
		err = rt_fail(RT_CONFIG, "its %s %u is in none of the ranges, since a moment ago", change.outside_what, change.outside_id);
	if (err)
		return err;
	run->batch[run->batch_count] = (struct pending){ .fd = rt_take_fd(*fd), .file = *file, .path = strdup(path) };
	*file = (struct rt_shift_file){ 0 };
	run->result->changed++;
	if (!run->batch[run->batch_count++].path)
		return rt_error_oom();
	return run->batch_count == BATCH ? flush(run) : NULL;
}

/* Whether anything of the file may change: what stays needs no record. */
static bool needs_change(const struct run *run, const struct rt_shift_file *file)
{
	uint32_t uid = 0, gid = 0;
	bool known = rt_id_shift_uid(&run->shift, file->uid, &uid) && rt_id_shift_gid(&run->shift, file->gid, &gid);

	return !known || uid != file->uid || gid != file->gid || file->caps_size || file->access.size || file->standard.size;
}

static struct rt_error *handle(struct run *run, int *fd, const char *path, struct rt_shift_file *file, nlink_t links)
{
	struct rt_shift_file was = { 0 };
	struct rt_error *err;
	uint64_t before;
	bool found;

	if (links > 1 && !S_ISDIR(file->mode)) {
		if (rt_shift_inodes_get(&run->seen, file->inode, &before))
			return NULL;
		err = rt_shift_inodes_put(&run->seen, file->inode, 0);
		if (err)
			return err;
	}
	run->result->files++;
	err = rt_shift_journal_find(&run->journal, file, &was, &found);
	if (!err && found)
		err = finish_earlier(run, *fd, &was);
	rt_shift_file_deinit(&was);
	if (err || found || run->roll_back)
		return err;
	return needs_change(run, file) ? queue(run, fd, path, file) : NULL;
}

static struct rt_error *shift_one(void *userdata, int *fd, const char *path)
{
	struct run *run = userdata;
	struct rt_shift_file file;
	nlink_t links;
	struct rt_error *err = rt_shift_file_look(*fd, &file, &links);

	if (!err)
		err = handle(run, fd, path, &file, links);
	rt_shift_file_deinit(&file);
	return err;
}

/* ---- which shift ---- */

static struct rt_error *copy_maps(const struct rt_id_maps *maps, bool inverse, struct rt_id_maps *ret)
{
	struct rt_id_map *list = calloc(maps->count + 1, sizeof(*list));

	if (!list)
		return rt_error_oom();
	*ret = (struct rt_id_maps){ list, maps->count };
	if (inverse)
		rt_id_maps_invert(maps, list);
	else
		memcpy(list, maps->entries, maps->count * sizeof(*list));
	return NULL;
}

static struct rt_error *set_shift(struct run *run, const struct rt_id_shift *shift, bool inverse)
{
	struct rt_error *err = copy_maps(&shift->uids, inverse, &run->shift.uids);

	run->shift.keep_others = shift->keep_others;
	return err ? err : copy_maps(&shift->gids, inverse, &run->shift.gids);
}

/* A crash between the record and the end of the journal: all was done. */
static bool was_finished(const struct run *run, bool undo, size_t depth)
{
	size_t now = json_array_size(run->record);

	return undo ? now + 1 == depth : now == depth + 1;
}

/* An earlier run was interrupted: this one must be the same, or its undoing. */
static struct rt_error *resume(struct run *run)
{
	json_t *entry = json_object_get(run->journal.head, "shift");
	bool undo = json_is_true(json_object_get(run->journal.head, "undo"));
	_cleanup_json_ json_t *wanted = NULL;
	struct rt_id_shift shift = { 0 };
	struct rt_error *err;

	run->resumed = true;
	if (run->options->idmap)
		return rt_fail(RT_WRONG_STATE, "a shift was interrupted here: finish it with its ranges, or take it back with --undo, as '%s' says",
			       run->journal.name);
	if (run->options->undo) {
		run->roll_back = !undo;
		run->inverse = undo;
	} else {
		wanted = rt_shift_record_entry(&run->options->shift);
		if (!wanted)
			return rt_error_oom();
		if (undo || !json_equal(wanted, entry))
			return rt_fail(RT_WRONG_STATE, "another shift was interrupted here: %s, as '%s' says",
				       undo ? "finish its undoing with --undo" : "finish it with its ranges, or take it back with --undo",
				       run->journal.name);
	}
	err = rt_shift_record_ranges(entry, &shift);
	if (!err)
		err = set_shift(run, &shift, undo);
	rt_shift_ranges_free(&shift);
	return err;
}

static struct rt_error *begin_undo(struct run *run)
{
	size_t depth = json_array_size(run->record);
	struct rt_id_shift last = { 0 };
	struct rt_error *err;

	if (depth == 0)
		return rt_fail(RT_WRONG_STATE, "no shift of it is known that could be undone ('%s' is missing)", run->record_name);
	run->mapping = rt_shift_is_mapping(json_array_get(run->record, depth - 1));
	err = rt_shift_record_ranges(json_array_get(run->record, depth - 1), &last);
	if (!err)
		err = set_shift(run, &last, true);
	rt_shift_ranges_free(&last);
	run->inverse = true;
	return err;
}

static struct rt_error *begin_shift(struct run *run)
{
	bool idmap = run->options->idmap;
	_cleanup_json_ json_t *wanted = idmap ? rt_shift_mapping_entry(&run->options->shift) : rt_shift_record_entry(&run->options->shift);
	size_t depth = json_array_size(run->record);
	const json_t *last = json_array_get(run->record, depth - 1);

	if (!wanted)
		return rt_error_oom();
	run->mapping = idmap;
	if (depth > 0 && rt_shift_same(wanted, last))
		run->result->already = true;
	else if (depth > 0 && rt_shift_is_mapping(last))
		return rt_fail(RT_WRONG_STATE, "its files are mounted with other ids already: take that back with --undo first");
	else if (depth > 0 && idmap)
		return rt_fail(RT_WRONG_STATE, "its files have other ids already: take that back with --undo first");
	return set_shift(run, &run->options->shift, false);
}

static struct rt_error *choose_shift(struct run *run)
{
	struct rt_error *err = rt_shift_record_load(run->dir_fd, run->record_name, &run->record);
	bool found = false, undo;
	json_int_t depth;

	if (!err)
		err = rt_shift_journal_load(&run->journal, &found);
	if (err)
		return err;
	undo = json_is_true(json_object_get(run->journal.head, "undo"));
	depth = json_integer_value(json_object_get(run->journal.head, "depth"));
	if (found && was_finished(run, undo, (size_t)depth)) {
		err = rt_shift_journal_end(&run->journal);
		if (err)
			return err;
		rt_closep(&run->journal.fd);
		run->journal.fd = -1;
		free(run->journal.known.slots);
		run->journal.known = (struct rt_shift_inodes){ 0 };
		json_decref(rt_take_ptr(run->journal.head));
		found = false;
	}
	if (found)
		return resume(run);
	return run->options->undo ? begin_undo(run) : begin_shift(run);
}

/* ---- the whole ---- */

static struct rt_error *begin_journal(struct run *run)
{
	json_t *last = json_array_get(run->record, json_array_size(run->record) - 1);
	_cleanup_json_ json_t *entry = run->inverse ? json_incref(last) : rt_shift_record_entry(&run->shift), *head = NULL;

	if (entry)
		head = json_pack("{s:b,s:I,s:O}", "undo", run->inverse, "depth", (json_int_t)json_array_size(run->record), "shift", entry);
	return head ? rt_shift_journal_begin(&run->journal, head) : rt_error_oom();
}

/* The bundle's directory first: killed in between, the undoing goes on where it was. */
static struct rt_error *drop_entry(struct run *run)
{
	size_t last = json_array_size(run->record) - 1;
	struct rt_error *err = rt_shift_shut(run->options->directory, json_array_get(run->record, last));

	if (err)
		return err;
	json_array_remove(run->record, last);
	return rt_shift_record_store(run->dir_fd, run->record_name, run->record);
}

static struct rt_error *add_entry(struct run *run)
{
	json_t *entry = run->mapping ? rt_shift_mapping_entry(&run->shift) : rt_shift_record_entry(&run->shift);

	if (json_array_append_new(run->record, entry) < 0)
		return rt_error_oom();
	return rt_shift_record_store(run->dir_fd, run->record_name, run->record);
}

static struct rt_error *finish(struct run *run)
{
	struct rt_error *err;

	if (!run->roll_back) {
		err = run->inverse ? drop_entry(run) : add_entry(run);
		if (err)
			return err;
	}
	return rt_shift_journal_end(&run->journal);
}

static struct rt_error *look(struct run *run)
{
	const struct rt_shift_walk walk = { look_only, run };
	struct rt_error *err = rt_shift_walk(run->tree_fd, &walk);

	free(run->seen.slots);
	run->seen = (struct rt_shift_inodes){ 0 };
	return err;
}

static struct rt_error *shift(struct run *run)
{
	const struct rt_shift_walk walk = { shift_one, run };
	struct rt_error *err = NULL;

	if (!run->resumed) {
		err = look(run);
		if (!err)
			err = begin_journal(run);
	}
	if (err)
		return err;
	*run->result = (struct rt_shift_result){ 0 };
	err = rt_shift_walk(run->tree_fd, &walk);
	if (!err)
		err = flush(run);
	return err ? err : finish(run);
}

/* The files stay as they are; the record says how they are to be seen. */
static struct rt_error *map_or_unmap(struct run *run)
{
	struct rt_error *err;

	run->result->mapped = true;
	if (run->inverse) {
		if (run->options->check)
			return NULL;
		err = rt_shift_config(run->options->directory, NULL, true);
		return err ? err : drop_entry(run);
	}
	if (!run->result->already) {
		err = rt_shift_probe(run->tree_fd, &run->shift);
		if (!err)
			err = look(run);
		if (!err && !run->options->check)
			err = add_entry(run);
		if (err)
			return err;
	}
	return run->options->check ? NULL : rt_shift_config(run->options->directory, &run->shift, true);
}

/* Whoever gave the files to a container wants it to reach them. */
static struct rt_error *open_the_way(struct run *run)
{
	json_t *last = json_array_get(run->record, json_array_size(run->record) - 1);
	struct rt_error *err;
	bool noted;

	if (run->options->check || run->options->undo || !last)
		return NULL;
	err = rt_shift_note_bundle(run->options->directory, &run->shift, last, &noted);
	if (!err && noted)
		err = rt_shift_record_store(run->dir_fd, run->record_name, run->record);
	return err ? err : rt_shift_let_in(run->options->directory, &run->shift);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	/* A level of directories takes one, and a batch its own. Where it can't be raised, there will be an error. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

struct rt_error *rt_bundle_shift(const struct rt_bundle_shift *options, struct rt_shift_result *ret)
{
	struct run *run = calloc(1, sizeof(*run));
	struct rt_error *err;

	if (!run)
		return rt_error_oom();
	*ret = (struct rt_shift_result){ 0 };
	*run = (struct run){ .options = options, .result = ret, .dir_fd = -1, .tree_fd = -1, .journal = { .fd = -1 } };
	raise_descriptor_limit();
	err = open_tree(run);
	if (!err)
		err = choose_shift(run);
	if (!err && run->mapping)
		err = map_or_unmap(run);
	else if (!err && !ret->already)
		err = options->check ? look(run) : shift(run);
	if (!err && options->config && !options->check && !run->mapping)
		err = rt_shift_config(options->directory, options->undo ? NULL : &options->shift, false);
	if (!err)
		err = open_the_way(run);
	run_deinit(run);
	free(run);
	return err ? rt_while(err, "shifting '%s'", options->directory) : NULL;
}
