#include "checkpoint/snapshot_private.h"

#include "checkpoint/manifest.h"
#include "checkpoint/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "images_made.h"

#define CHUNK RT_SNAPSHOT_CHUNK

struct fixture {
	struct made made;
	struct rt_store store;
};

static struct fixture begin(void)
{
	struct fixture fixture = { .made = make_directory() };
	char path[64];

	snprintf(path, sizeof(path), "%s/store", fixture.made.path);
	assert_null(rt_store_open(path, &fixture.store));
	return fixture;
}

static void end(struct fixture *fixture)
{
	rt_store_deinit(&fixture->store);
	remove_directory(&fixture->made);
}

/* A chunk for each letter, full of it ('0': of zeros), and `rest` bytes. */
static void write_chunks(const struct fixture *fixture, const char *name, const char *kinds, size_t rest)
{
	_cleanup_free_ uint8_t *bytes = calloc(strlen(kinds) + 1, CHUNK);

	for (size_t i = 0; kinds[i]; i++)
		memset(bytes + i * CHUNK, kinds[i] == '0' ? 0 : kinds[i], CHUNK);
	memset(bytes + strlen(kinds) * CHUNK, 'r', rest);
	write_file(&fixture->made, name, bytes, strlen(kinds) * CHUNK + rest);
}

static struct rt_store_addition *add(const struct fixture *fixture, const char *name, const char *kinds, size_t rest)
{
	struct rt_store_addition *addition = NULL;
	Rt__Snapshot *snapshot;
	Rt__StoredFile *file;
	_cleanup_close_ int fd = -1;

	assert_null(rt_store_add(&fixture->store, name, &addition));
	snapshot = rt_store_addition_snapshot(addition);
	assert_null(rt_manifest_set(&snapshot->id, "0123456789abcdef0123456789abcdef"));
	assert_null(rt_manifest_set(&snapshot->created, "2026-11-26T20:00:00.123456789Z"));
	write_chunks(fixture, "source", kinds, rest);
	fd = openat(fixture->made.fd, "source", O_RDONLY | O_CLOEXEC);
	assert_null(rt_manifest_append(&snapshot->images, &snapshot->n_images, &rt__stored_file__descriptor, &file));
	assert_null(rt_store_addition_file(addition, fd, "pages-1.img", file));
	return addition;
}

static void add_whole(const struct fixture *fixture, const char *name, const char *kinds, size_t rest)
{
	struct rt_store_addition *addition = add(fixture, name, kinds, rest);

	assert_null(rt_store_addition_publish(addition));
	rt_store_addition_free(addition);
}

static void count_fault(void *userdata, const char *sentence)
{
	*(size_t *)userdata += 1;
}

static size_t faults(const struct fixture *fixture, const char *name)
{
	struct rt_store_verdict verdict;
	size_t told = 0;

	assert_null(rt_store_verify(&fixture->store, name, count_fault, &told, &verdict));
	assert_int_equal(told, verdict.faults);
	return told;
}

static void refused(struct rt_error *err, enum rt_code code)
{
	assert_non_null(err);
	assert_int_equal(err->code, code);
	rt_error_free(err);
}

static void what_is_added_can_be_read(void **state)
{
	struct fixture fixture = begin();
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	struct rt_store_reader reader;
	char buffer[8];

	add_whole(&fixture, "one", "ab0c", 5);
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	assert_int_equal(snapshot->images[0]->size, 4 * CHUNK + 5);
	assert_null(rt_store_reader_init(&reader, &fixture.store, snapshot, snapshot->images[0]));
	assert_null(rt_store_read(&reader, CHUNK - 4, buffer, 8));
	assert_memory_equal(buffer, "aaaabbbb", 8);
	assert_null(rt_store_read(&reader, 3 * CHUNK - 4, buffer, 8));
	assert_memory_equal(buffer, "\0\0\0\0cccc", 8);
	assert_null(rt_store_read(&reader, 4 * CHUNK + 1, buffer, 4));
	assert_memory_equal(buffer, "rrrr", 4);
	refused(rt_store_read(&reader, 4 * CHUNK + 1, buffer, 5), RT_CONFIG);
	rt_store_reader_deinit(&reader);
	end(&fixture);
}

static void a_file_comes_out_whole_with_holes_for_zeros(void **state)
{
	struct fixture fixture = begin();
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	_cleanup_close_ int fd = openat(fixture.made.fd, "out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char command[160];
	struct stat st;

	add_whole(&fixture, "one", "a00000000b", 17);
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	assert_null(rt_store_extract(&fixture.store, snapshot, snapshot->images[0], fd));
	snprintf(command, sizeof(command), "cmp -s %s/source %s/out", fixture.made.path, fixture.made.path);
	assert_int_equal(system(command), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 < 4 * CHUNK);
	end(&fixture);
}

static void chunks_are_shared_and_zeros_are_not_stored(void **state)
{
	struct fixture fixture = begin();
	struct rt_snapshot_usage usage;
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	struct rt_store_addition *addition;

	add_whole(&fixture, "one", "ab00", 0);
	addition = add(&fixture, "two", "bbac0", 0);
	assert_int_equal(rt_store_addition_new_bytes(addition), CHUNK);
	assert_null(rt_store_addition_publish(addition));
	rt_store_addition_free(addition);
	assert_null(rt_snapshot_load(&fixture.store, "two", &snapshot));
	assert_null(rt_snapshot_usage(&fixture.store, snapshot, &usage));
	assert_int_equal(usage.size, 5 * CHUNK);
	assert_int_equal(usage.stored, 3 * CHUNK);
	assert_int_equal(usage.shared, 2 * CHUNK);
	end(&fixture);
}

static void nothing_is_there_before_it_is_published(void **state)
{
	struct fixture fixture = begin();
	struct rt_store_addition *addition = add(&fixture, "one", "ab", 0);
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	struct rt_store_collected collected;

	refused(rt_snapshot_load(&fixture.store, "one", &snapshot), RT_NOT_FOUND);
	assert_int_equal(faults(&fixture, NULL), 0);
	rt_store_addition_free(addition);
	assert_null(rt_store_collect(&fixture.store, &collected));
	assert_int_equal(collected.kept + collected.freed, 0);
	end(&fixture);
}

static void a_name_is_taken_once(void **state)
{
	struct fixture fixture = begin();
	struct rt_store_addition *first = add(&fixture, "one", "a", 0), *second = add(&fixture, "one", "b", 0), *third = NULL;
	static const char *const bad[] = { "", ".x", "a/b", "..", "a b" };

	assert_null(rt_store_addition_publish(first));
	refused(rt_store_addition_publish(second), RT_EXISTS);
	refused(rt_store_add(&fixture.store, "one", &third), RT_EXISTS);
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		refused(rt_store_add(&fixture.store, bad[i], &third), RT_USAGE);
	rt_store_addition_free(first);
	rt_store_addition_free(second);
	assert_int_equal(faults(&fixture, NULL), 0);
	end(&fixture);
}

/* Killed with a directory full of chunks; kills later on are for tests/e2e. */
static void who_dies_in_the_middle_leaves_what_gc_takes(void **state)
{
	struct fixture fixture = begin();
	struct rt_store_collected collected;
	int status;
	pid_t pid;

	add_whole(&fixture, "one", "ab", 0);
	pid = fork();
	if (pid == 0) {
		(void)add(&fixture, "two", "acdef", 9);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(faults(&fixture, NULL), 0);
	assert_null(rt_store_collect(&fixture.store, &collected));
	assert_int_equal(collected.kept, 2);
	assert_int_equal(faults(&fixture, NULL), 0);
	assert_int_equal(unlinkat(fixture.store.dir_fd, "tmp", AT_REMOVEDIR), 0); /* empty */
	end(&fixture);
}

static void what_is_removed_is_freed_and_the_rest_is_kept(void **state)
{
	struct fixture fixture = begin();
	struct rt_store_collected collected;

	add_whole(&fixture, "one", "ab", 0);
	add_whole(&fixture, "two", "bc", 3);
	assert_null(rt_store_remove(&fixture.store, "one"));
	refused(rt_store_remove(&fixture.store, "one"), RT_NOT_FOUND);
	assert_null(rt_store_collect(&fixture.store, &collected));
	assert_int_equal(collected.kept, 3);
	assert_int_equal(collected.freed, 1);
	assert_int_equal(collected.freed_bytes, CHUNK);
	assert_int_equal(faults(&fixture, "two"), 0);
	end(&fixture);
}

/* One bit of a file, there and back. */
static void flip(int dir_fd, const char *path, off_t at, unsigned bit)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= (uint8_t)(1u << bit);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void any_flipped_bit_of_an_index_is_found(void **state)
{
	struct fixture fixture = begin();
	struct rt_store_collected collected;
	struct stat st;

	add_whole(&fixture, "one", "ab", 1);
	assert_int_equal(fstatat(fixture.store.index_fd, "one", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	for (off_t at = 0; at < st.st_size; at++) {
		flip(fixture.store.index_fd, "one", at, (unsigned)at % 8);
		assert_int_equal(faults(&fixture, NULL), 1);
		refused(rt_store_collect(&fixture.store, &collected), RT_CONFIG);
		flip(fixture.store.index_fd, "one", at, (unsigned)at % 8);
	}
	assert_int_equal(faults(&fixture, NULL), 0);
	end(&fixture);
}

static void any_flipped_bit_of_a_chunk_is_found(void **state)
{
	struct fixture fixture = begin();
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	char path[RT_CHUNK_PATH_ROOM];
	struct stat st;

	add_whole(&fixture, "one", "a", 100);
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	rt_chunk_path(rt_chunk_digest(snapshot->images[0], 1), path);
	assert_int_equal(fstatat(fixture.store.chunks_fd, path, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	for (unsigned bit = 0; bit < 800; bit++) {
		flip(fixture.store.chunks_fd, path, bit / 8, bit % 8);
		assert_int_equal(faults(&fixture, "one"), 1);
		flip(fixture.store.chunks_fd, path, bit / 8, bit % 8);
	}
	assert_int_equal(faults(&fixture, NULL), 0);
	/* Shorter, and missing. */
	assert_int_equal(unlinkat(fixture.store.chunks_fd, path, 0), 0);
	assert_int_equal(faults(&fixture, "one"), 1);
	assert_int_equal(faults(&fixture, NULL), 1);
	end(&fixture);
}

static void an_index_that_lies_is_refused(void **state)
{
	struct fixture fixture = begin();
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL, *loaded = NULL;
	_cleanup_free_ void *bytes = NULL;
	_cleanup_close_ int fd = -1;
	size_t size;

	add_whole(&fixture, "one", "ab", 1);
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	snapshot->images[0]->size += CHUNK; /* more than there are chunks for */
	assert_null(rt_snapshot_pack(snapshot, &bytes, &size));
	fd = openat(fixture.store.index_fd, "one", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_null(rt_write_all(fd, bytes, size));
	refused(rt_snapshot_load(&fixture.store, "one", &loaded), RT_CONFIG);
	assert_int_equal(renameat(fixture.store.index_fd, "one", fixture.store.index_fd, "two"), 0);
	refused(rt_snapshot_load(&fixture.store, "two", &loaded), RT_CONFIG);
	end(&fixture);
}

static void what_a_stranger_wrote_is_text_that_can_be_shown(void **state)
{
	static const char *const fine[] = { "2026-11-26T20:00:00Z", "2026-11-26T20:00:00.5+01:00", "2026-11-26T20:00:00-05:30" };
	static const char *const bad[] = { "", "yesterday", "2026-11-26", "2026-11-26T20:00:00", "2026-11-26T20:00:00.Z", "2026-11-26T20:00:00Z\033[2J",
					   "\033[2J6-11-26T20:00:00Z", "2026-11-26T20:00:00+1:00", "2026-11-26T20:00:00.0000000000Z" };
	struct fixture fixture = begin();
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;

	add_whole(&fixture, "one", "a", 1);
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	for (size_t i = 0; i < RT_ARRAY_SIZE(fine) + RT_ARRAY_SIZE(bad); i++) {
		_cleanup_snapshot_ Rt__Snapshot *parsed = NULL;
		_cleanup_free_ void *bytes = NULL;
		size_t size;

		assert_null(rt_manifest_set(&snapshot->created, i < RT_ARRAY_SIZE(fine) ? fine[i] : bad[i - RT_ARRAY_SIZE(fine)]));
		assert_null(rt_snapshot_pack(snapshot, &bytes, &size));
		if (i < RT_ARRAY_SIZE(fine))
			assert_null(rt_snapshot_parse(bytes, size, NULL, &parsed));
		else
			refused(rt_snapshot_parse(bytes, size, NULL, &parsed), RT_CONFIG);
	}
	assert_null(rt_manifest_set(&snapshot->created, fine[0]));
	for (int i = 0; i < 2; i++) {
		_cleanup_snapshot_ Rt__Snapshot *parsed = NULL;
		_cleanup_free_ void *bytes = NULL;
		size_t size;

		assert_null(rt_manifest_set(i == 0 ? &snapshot->images[0]->name : &snapshot->name, "pages\033[2J"));
		assert_null(rt_snapshot_pack(snapshot, &bytes, &size));
		refused(rt_snapshot_parse(bytes, size, NULL, &parsed), RT_CONFIG);
		assert_null(rt_manifest_set(&snapshot->images[0]->name, "pages-1.img"));
	}
	end(&fixture);
}

/* An index from elsewhere; `id` NULL: with no manifest. */
static struct rt_error *add_stranger(const struct fixture *fixture, const char *id, const char *kernel, struct rt_store_addition **ret)
{
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	_cleanup_free_ void *bytes = NULL, *packed = NULL;
	size_t size;

	assert_null(rt_snapshot_load(&fixture->store, "one", &snapshot));
	assert_null(rt_manifest_new(0, &manifest));
	assert_null(rt_manifest_set(&manifest->id, id));
	assert_null(rt_manifest_set(&manifest->maker->kernel_release, kernel));
	assert_null(rt_pack(&manifest->base, &packed, &size));
	if (id)
		assert_null(rt_manifest_set_bytes(&snapshot->manifest, packed, size));
	assert_null(rt_snapshot_pack(snapshot, &bytes, &size));
	return rt_store_add_index(&fixture->store, "two", bytes, size, ret);
}

static void an_index_from_elsewhere_has_the_manifest_of_its_snapshot(void **state)
{
	struct rt_store_addition *addition = NULL;
	struct fixture fixture = begin();

	add_whole(&fixture, "one", "ab", 1);
	refused(add_stranger(&fixture, NULL, "6.1", &addition), RT_CONFIG);
	refused(add_stranger(&fixture, "1123456789abcdef0123456789abcdef", "6.1", &addition), RT_CONFIG);
	refused(add_stranger(&fixture, "0123456789abcdef0123456789abcdef", "6\033[2J", &addition), RT_CONFIG);
	assert_null(add_stranger(&fixture, "0123456789abcdef0123456789abcdef", "6.1", &addition));
	assert_string_equal(rt_store_addition_snapshot(addition)->name, "two");
	assert_null(rt_store_addition_publish(addition));
	rt_store_addition_free(addition);
	assert_int_equal(faults(&fixture, NULL), 0);
	end(&fixture);
}

#define MANY 200000u

/* With a function that a stranger knows these would be 20,000,000,000 comparisons. */
static void digests_that_are_alike_are_listed_as_quickly(void **state)
{
	_cleanup_free_ uint8_t *digests = calloc(MANY, RT_DIGEST);
	Rt__StoredFile file = RT__STORED_FILE__INIT, *files[] = { &file };
	Rt__Snapshot snapshot = RT__SNAPSHOT__INIT;
	clock_t before = clock();

	file.name = (char *)"pages-1.img";
	file.size = (uint64_t)MANY * 4096;
	file.digests = (ProtobufCBinaryData){ .data = digests, .len = (size_t)MANY * RT_DIGEST };
	snapshot.chunk_size = 4096;
	snapshot.images = files;
	snapshot.n_images = 1;
	for (size_t at = 0; at < RT_DIGEST; at += 8) {
		struct rt_chunk_list list = { 0 };

		/* The same everywhere, but for one word. */
		memset(digests, 0x5a, (size_t)MANY * RT_DIGEST);
		for (uint32_t i = 0; i < MANY; i++)
			memcpy(digests + (size_t)i * RT_DIGEST + at, &i, sizeof(i));
		assert_null(rt_snapshot_chunks(&snapshot, &list));
		assert_int_equal(list.count, MANY);
		rt_chunk_list_deinit(&list);
	}
	assert_true(clock() - before < 20 * CLOCKS_PER_SEC);
}

static void a_huge_file_is_no_chunk(void **state)
{
	struct fixture fixture = begin();
	_cleanup_close_ int fd = -1;

	add_whole(&fixture, "one", "a", 1);
	fd = openat(fixture.store.chunks_fd, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, UINT32_MAX), 0);
	/* It is never read: that would take as much memory, twice. */
	assert_int_equal(faults(&fixture, NULL), 1);
	assert_int_equal(ftruncate(fd, RT_SNAPSHOT_CHUNK_MAX + RT_CIPHER_TAG + 1), 0);
	assert_int_equal(faults(&fixture, NULL), 1);
	end(&fixture);
}

static void give_key(struct fixture *fixture, const char *key)
{
	char path[96];

	write_file(&fixture->made, "key", key, RT_KEY_SIZE);
	assert_int_equal(fchmodat(fixture->made.fd, "key", 0600, 0), 0);
	snprintf(path, sizeof(path), "%s/key", fixture->made.path);
	assert_null(rt_store_use_key(&fixture->store, path));
}

#define KEY "0123456789abcdef0123456789abcdef"

static void add_sealed(const struct fixture *fixture, const char *name, const char *kinds)
{
	struct rt_store_addition *addition = add(fixture, name, kinds, 7);
	Rt__Snapshot *snapshot = rt_store_addition_snapshot(addition);

	assert_null(rt_manifest_set_bytes(&snapshot->manifest, "manifest", 8));
	assert_null(rt_manifest_append_string(&snapshot->rootfs, &snapshot->n_rootfs, "/lower"));
	assert_null(rt_store_addition_publish(addition));
	rt_store_addition_free(addition);
}

static void what_is_encrypted_is_read_with_its_key_alone(void **state)
{
	struct fixture fixture = begin();
	Rt__Snapshot *snapshot = NULL;
	struct rt_store_collected collected;
	struct rt_store_reader reader;
	char buffer[8];

	give_key(&fixture, KEY);
	add_sealed(&fixture, "one", "ab0a");
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	assert_memory_equal(snapshot->manifest.data, "manifest", 8);
	assert_string_equal(snapshot->rootfs[0], "/lower");
	assert_null(rt_store_reader_init(&reader, &fixture.store, snapshot, snapshot->images[0]));
	assert_null(rt_store_read(&reader, CHUNK - 4, buffer, 8));
	assert_memory_equal(buffer, "aaaabbbb", 8);
	assert_null(rt_store_read(&reader, 3 * CHUNK - 4, buffer, 8));
	assert_memory_equal(buffer, "\0\0\0\0aaaa", 8);
	assert_null(rt_store_read(&reader, 4 * CHUNK + 3, buffer, 4));
	assert_memory_equal(buffer, "rrrr", 4);
	rt_store_reader_deinit(&reader);
	assert_int_equal(faults(&fixture, "one"), 0);
	rt_snapshot_free(snapshot);

	rt_store_forget_key(&fixture.store);
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	assert_true(rt_snapshot_is_sealed(snapshot) && snapshot->manifest.len == 0 && snapshot->n_rootfs == 0);
	refused(rt_store_reader_init(&reader, &fixture.store, snapshot, snapshot->images[0]), RT_CONFIG);
	rt_store_reader_deinit(&reader);
	assert_int_equal(faults(&fixture, "one"), 0);
	assert_int_equal(faults(&fixture, NULL), 0);
	assert_null(rt_store_collect(&fixture.store, &collected));
	assert_int_equal(collected.kept, 3);
	assert_int_equal(collected.freed, 0);
	rt_snapshot_free(snapshot);

	give_key(&fixture, "x123456789abcdef0123456789abcdef");
	refused(rt_snapshot_load(&fixture.store, "one", &snapshot), RT_CONFIG);
	assert_int_equal(faults(&fixture, "one"), 1);
	end(&fixture);
}

static void keys_share_nothing(void **state)
{
	struct fixture fixture = begin();
	struct rt_snapshot_usage usage;
	Rt__Snapshot *snapshot = NULL;

	add_whole(&fixture, "plain", "abc", 7);
	give_key(&fixture, "x123456789abcdef0123456789abcdef");
	add_sealed(&fixture, "other", "abc");
	rt_store_forget_key(&fixture.store);
	give_key(&fixture, KEY);
	add_sealed(&fixture, "one", "abc");
	assert_null(rt_snapshot_load(&fixture.store, "one", &snapshot));
	assert_null(rt_snapshot_usage(&fixture.store, snapshot, &usage));
	assert_int_equal(usage.shared, 0);
	assert_int_equal(usage.stored, 3 * CHUNK + 7 + 4 * RT_CIPHER_TAG);
	rt_snapshot_free(snapshot);
	add_sealed(&fixture, "two", "bca");
	assert_null(rt_snapshot_load(&fixture.store, "two", &snapshot));
	assert_null(rt_snapshot_usage(&fixture.store, snapshot, &usage));
	assert_int_equal(usage.shared, usage.stored);
	rt_snapshot_free(snapshot);
	end(&fixture);
}

/* So that what is pushed is what would have been stored. */
static void encrypting_later_makes_the_same(void **state)
{
	struct fixture fixture = begin();
	struct rt_chunk_list stored = { 0 }, sealed = { 0 }, wanted = { 0 };
	_cleanup_snapshot_ Rt__Snapshot *plain = NULL, *whole = NULL;
	_cleanup_free_ uint8_t *bytes = malloc(CHUNK + RT_CIPHER_TAG), *same = malloc(CHUNK + RT_CIPHER_TAG);

	add_whole(&fixture, "plain", "ab0ca", 7);
	assert_null(rt_snapshot_load(&fixture.store, "plain", &plain));
	give_key(&fixture, KEY);
	add_sealed(&fixture, "whole", "ab0ca");
	assert_null(rt_snapshot_load(&fixture.store, "whole", &whole));
	assert_null(rt_snapshot_chunks(whole, &wanted));
	assert_null(rt_snapshot_chunks(plain, &stored));
	assert_null(rt_snapshot_encrypt(&fixture.store, plain, &stored, &sealed));
	assert_true(rt_snapshot_is_sealed(plain) && plain->manifest.len == 0);
	assert_int_equal(sealed.count, 4);
	assert_int_equal(wanted.count, 4);
	assert_memory_equal(sealed.chunks, wanted.chunks, 4 * sizeof(*sealed.chunks));
	assert_memory_equal(plain->images[0]->digests.data, whole->images[0]->digests.data, whole->images[0]->digests.len);
	for (size_t i = 0; i < 4; i++) {
		assert_null(rt_chunk_load_sealed(&fixture.store, stored.chunks[i].digest, stored.chunks[i].size, bytes));
		assert_null(rt_chunk_load(&fixture.store, wanted.chunks[i].digest, same, wanted.chunks[i].size));
		assert_memory_equal(bytes, same, wanted.chunks[i].size);
	}
	rt_chunk_list_deinit(&stored);
	rt_chunk_list_deinit(&sealed);
	rt_chunk_list_deinit(&wanted);
	end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_added_can_be_read),
		cmocka_unit_test(a_file_comes_out_whole_with_holes_for_zeros),
		cmocka_unit_test(chunks_are_shared_and_zeros_are_not_stored),
		cmocka_unit_test(nothing_is_there_before_it_is_published),
		cmocka_unit_test(a_name_is_taken_once),
		cmocka_unit_test(who_dies_in_the_middle_leaves_what_gc_takes),
		cmocka_unit_test(what_is_removed_is_freed_and_the_rest_is_kept),
		cmocka_unit_test(any_flipped_bit_of_an_index_is_found),
		cmocka_unit_test(any_flipped_bit_of_a_chunk_is_found),
		cmocka_unit_test(an_index_that_lies_is_refused),
		cmocka_unit_test(what_a_stranger_wrote_is_text_that_can_be_shown),
		cmocka_unit_test(an_index_from_elsewhere_has_the_manifest_of_its_snapshot),
		cmocka_unit_test(digests_that_are_alike_are_listed_as_quickly),
		cmocka_unit_test(a_huge_file_is_no_chunk),
		cmocka_unit_test(what_is_encrypted_is_read_with_its_key_alone),
		cmocka_unit_test(keys_share_nothing),
		cmocka_unit_test(encrypting_later_makes_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
