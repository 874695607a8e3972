/* The journal of a shift. Text first, so that a person can see what it is; then records, in this machine's byte order: nobody
 * carries a half-shifted tree elsewhere. */
#include "runtime/bundle/shift_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

#define MAGIC "rt-shift 1\n"
#define HEAD_MAX ((size_t)1 << 20)
#define ATTRIBUTE_MAX 65536
#define FIRST_ROOM 1024

struct stored {
	uint32_t size; /* of all of it */
	uint32_t check; /* of what follows */
	uint64_t inode;
	int64_t born_s;
	uint32_t born_ns, uid, gid, mode;
	uint32_t caps_size, access_size, standard_size, unused;
};

/* ---- sets of inodes ---- */

static struct rt_shift_inode *find_slot(const struct rt_shift_inodes *set, uint64_t inode)
{
	size_t at = (size_t)(inode * 0x9e3779b97f4a7c15u >> 20) & (set->room - 1);

	while (set->slots[at].inode && set->slots[at].inode != inode)
		at = (at + 1) & (set->room - 1);
	return &set->slots[at];
}

struct rt_error *rt_shift_inodes_put(struct rt_shift_inodes *set, uint64_t inode, uint64_t value)
{
	struct rt_shift_inode *slot;

	if (set->count * 2 >= set->room) {
		struct rt_shift_inodes grown = { .room = set->room ? set->room * 2 : FIRST_ROOM, .count = set->count };

		grown.slots = calloc(grown.room, sizeof(*grown.slots));
		if (!grown.slots)
			return rt_error_oom();
		for (size_t i = 0; i < set->room; i++)
			if (set->slots[i].inode)
				*find_slot(&grown, set->slots[i].inode) = set->slots[i];
		free(set->slots);
		*set = grown;
	}
	slot = find_slot(set, inode);
	if (!slot->inode)
		set->count++;
	*slot = (struct rt_shift_inode){ inode, value };
	return NULL;
}

bool rt_shift_inodes_get(const struct rt_shift_inodes *set, uint64_t inode, uint64_t *ret)
{
	const struct rt_shift_inode *slot = set->room ? find_slot(set, inode) : NULL;

	if (!slot || !slot->inode)
		return false;
	*ret = slot->value;
	return true;
}

/* ---- reading ---- */

void rt_shift_journal_deinit(struct rt_shift_journal *journal)
{
	rt_closep(&journal->fd);
	free(journal->name);
	free(journal->known.slots);
	json_decref(journal->head);
	free(journal->batch);
}

static uint32_t check_of(const struct stored *stored, const void *rest, size_t size)
{
	const uint8_t *at = (const uint8_t *)stored + offsetof(struct stored, inode);
	uint32_t hash = 0x811c9dc5;

	for (size_t i = 0; i < sizeof(*stored) - offsetof(struct stored, inode); i++)
		hash = (hash ^ at[i]) * 0x01000193;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const uint8_t *)rest)[i]) * 0x01000193;
	return hash;
}

/* One record at an offset; *ret_size 0: there is none, or not a whole one. `rest` has room for all attributes. */
static void read_record(int fd, uint64_t at, struct stored *stored, uint8_t *rest, uint32_t *ret_size)
{
	size_t more;

	*ret_size = 0;
	if (pread(fd, stored, sizeof(*stored), (off_t)at) != sizeof(*stored) || stored->caps_size > RT_CAPS_ROOM ||
	    stored->access_size > ATTRIBUTE_MAX || stored->standard_size > ATTRIBUTE_MAX)
		return;
	more = stored->caps_size + stored->access_size + stored->standard_size;
	if (stored->size != sizeof(*stored) + more || pread(fd, rest, more, (off_t)(at + sizeof(*stored))) != (ssize_t)more ||
	    stored->check != check_of(stored, rest, more) || stored->inode == 0)
		return;
	*ret_size = stored->size;
}

static struct rt_error *read_head(struct rt_shift_journal *journal, uint64_t *ret_end, bool *ret_empty)
{
	_cleanup_free_ char *text = calloc(1, HEAD_MAX + 1);
	struct rt_error *err;
	ssize_t size;
	char *end;

	if (!text)
		return rt_error_oom();
	size = pread(journal->fd, text, HEAD_MAX, 0);
	if (size < 0)
		return rt_fail_errno("cannot read '%s'", journal->name);
	*ret_empty = size == 0; /* its first bytes never reached the disk, so nothing was touched */
	if (size == 0)
		return NULL;
	end = memchr(text + strlen(MAGIC), '\n', (size_t)size > strlen(MAGIC) ? (size_t)size - strlen(MAGIC) : 0);
	if (!rt_str_starts(text, MAGIC) || !end)
		return rt_fail(RT_CONFIG, "'%s' is not the journal of a shift", journal->name);
	err = rt_json_parse(text + strlen(MAGIC), (size_t)(end - text) - strlen(MAGIC), journal->name, &journal->head);
	*ret_end = (uint64_t)(end + 1 - text);
	return err;
}

struct rt_error *rt_shift_journal_load(struct rt_shift_journal *journal, bool *ret_found)
{
	_cleanup_free_ uint8_t *rest = malloc(RT_CAPS_ROOM + 2 * ATTRIBUTE_MAX);
	struct rt_error *err;
	struct stored stored;
	uint64_t at = 0;
	uint32_t size;
	bool empty;

	*ret_found = false;
	if (!rest)
		return rt_error_oom();
	journal->fd = openat(journal->dir_fd, journal->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (journal->fd < 0)
		return errno == ENOENT ? NULL : rt_fail_errno("cannot open '%s'", journal->name);
	err = read_head(journal, &at, &empty);
	if (err || empty) {
		rt_closep(&journal->fd);
		journal->fd = -1;
		return err;
	}
	for (;;) {
		read_record(journal->fd, at, &stored, rest, &size);
		if (size == 0)
			break;
		err = rt_shift_inodes_put(&journal->known, stored.inode, at);
		if (err)
			return err;
		at += size;
	}
	if (ftruncate(journal->fd, (off_t)at) < 0 || lseek(journal->fd, (off_t)at, SEEK_SET) < 0)
		return rt_fail_errno("cannot cut '%s'", journal->name);
	*ret_found = true;
	return NULL;
}

static struct rt_error *copy_acl(struct rt_shift_acl *acl, const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return NULL;
	acl->bytes = malloc(size);
	if (!acl->bytes)
		return rt_error_oom();
	memcpy(acl->bytes, bytes, size);
	acl->size = size;
	return NULL;
}

struct rt_error *rt_shift_journal_find(struct rt_shift_journal *journal, const struct rt_shift_file *now, struct rt_shift_file *ret,
				       bool *ret_found)
{
	_cleanup_free_ uint8_t *rest = NULL;
	struct rt_error *err;
	struct stored stored;
	uint32_t size;
	uint64_t at;

	*ret_found = false;
	if (!rt_shift_inodes_get(&journal->known, now->inode, &at))
		return NULL;
	rest = malloc(RT_CAPS_ROOM + 2 * ATTRIBUTE_MAX);
	if (!rest)
		return rt_error_oom();
	read_record(journal->fd, at, &stored, rest, &size);
	if (size == 0)
		return rt_fail(RT_SYSTEM, "'%s' changed while it was read", journal->name);
	/* The inode's number was given to a new file meanwhile. */
	if (stored.born_s != now->born_s || stored.born_ns != now->born_ns || (stored.mode & S_IFMT) != (now->mode & S_IFMT))
		return NULL;
	*ret = (struct rt_shift_file){ .inode = stored.inode, .born_s = stored.born_s, .born_ns = stored.born_ns, .uid = stored.uid,
				       .gid = stored.gid, .mode = stored.mode, .caps_size = stored.caps_size };
	memcpy(ret->caps, rest, stored.caps_size);
	err = copy_acl(&ret->access, rest + stored.caps_size, stored.access_size);
	if (!err)
		err = copy_acl(&ret->standard, rest + stored.caps_size + stored.access_size, stored.standard_size);
	*ret_found = !err;
	return err;
}

/* ---- writing ---- */

struct rt_error *rt_shift_journal_begin(struct rt_shift_journal *journal, json_t *head)
{
	_cleanup_free_ char *line = json_dumps(head, JSON_COMPACT), *text = NULL;
	struct rt_error *err = line ? rt_format(&text, MAGIC "%s\n", line) : rt_error_oom();

	if (!err)
		err = rt_replace_file_at(journal->dir_fd, journal->name, text, strlen(text), 0600);
	if (err)
		return err;
	journal->fd = openat(journal->dir_fd, journal->name, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (journal->fd < 0)
		return rt_fail_errno("cannot open '%s'", journal->name);
	if (fsync(journal->fd) < 0 || fsync(journal->dir_fd) < 0)
		return rt_fail_errno("cannot write '%s' to the disk", journal->name);
	return NULL;
}

struct rt_error *rt_shift_journal_add(struct rt_shift_journal *journal, const struct rt_shift_file *file)
{
	struct stored stored = { .inode = file->inode,
				 .born_s = file->born_s,
				 .born_ns = file->born_ns,
				 .uid = file->uid,
				 .gid = file->gid,
				 .mode = file->mode,
				 .caps_size = (uint32_t)file->caps_size,
				 .access_size = (uint32_t)file->access.size,
				 .standard_size = (uint32_t)file->standard.size };
	size_t more = file->caps_size + file->access.size + file->standard.size;
	char *at;

	stored.size = (uint32_t)(sizeof(stored) + more);
	if (journal->batch_size + stored.size > journal->batch_room) {
		size_t room = (journal->batch_room + stored.size) * 2;
		char *grown = realloc(journal->batch, room);

		if (!grown)
			return rt_error_oom();
		journal->batch = grown;
		journal->batch_room = room;
	}
	at = journal->batch + journal->batch_size;
	memcpy(at + sizeof(stored), file->caps, file->caps_size);
	if (file->access.size)
		memcpy(at + sizeof(stored) + file->caps_size, file->access.bytes, file->access.size);
	if (file->standard.size)
		memcpy(at + sizeof(stored) + file->caps_size + file->access.size, file->standard.bytes, file->standard.size);
	stored.check = check_of(&stored, at + sizeof(stored), more);
	memcpy(at, &stored, sizeof(stored));
	journal->batch_size += stored.size;
	return NULL;
}

struct rt_error *rt_shift_journal_sync(struct rt_shift_journal *journal)
{
	struct rt_error *err = rt_write_all(journal->fd, journal->batch, journal->batch_size);

	if (err)
		return rt_while(err, "writing '%s'", journal->name);
	if (fdatasync(journal->fd) < 0)
		return rt_fail_errno("cannot write '%s' to the disk", journal->name);
	journal->batch_size = 0;
	return NULL;
}

struct rt_error *rt_shift_journal_end(struct rt_shift_journal *journal)
{
	if (unlinkat(journal->dir_fd, journal->name, 0) < 0 && errno != ENOENT)
		return rt_fail_errno("cannot remove '%s'", journal->name);
	return NULL;
}
