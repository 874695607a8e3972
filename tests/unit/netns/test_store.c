#include "runtime/netns/store.h"

#include "tests/unit/netns/expect.h"

#include <sys/stat.h>
#include <sys/wait.h>

static char base[] = "/tmp/rt-test-store-XXXXXX";
static char path[64];

static struct rt_record record_of(const char *id)
{
	struct rt_record record = { .phase = RT_RECORD_UP, .network = { .bridge = "rt0", .ifname = "eth0", .mac = { { 2, 0, 0, 0, 0, 1 } } } };

	snprintf(record.id, sizeof(record.id), "%s", id);
	return record;
}

static void what_is_saved_is_listed_and_the_last_removes_the_directory(void **state)
{
	struct rt_record b = record_of("b"), a = record_of("a"), read;
	struct rt_store store = RT_STORE_NULL;
	struct rt_record *list;
	bool found;
	size_t count;

	assert_null(rt_store_open(path, &store));
	assert_null(rt_store_save(&store, &b));
	assert_null(rt_store_save(&store, &a));
	assert_null(rt_store_list(&store, &list, &count));
	assert_int_equal(count, 2);
	assert_string_equal(list[0].id, "a");
	assert_string_equal(list[1].id, "b");
	free(list);
	assert_null(rt_store_load(&store, "c", &read, &found));
	assert_false(found);
	assert_null(rt_store_remove(&store, "a"));
	rt_store_close(&store);
	assert_int_equal(access(path, F_OK), 0);
	assert_null(rt_store_open(path, &store));
	assert_null(rt_store_remove(&store, "b"));
	rt_store_close(&store);
	assert_int_equal(access(path, F_OK), -1);
}

static void a_missing_directory_reads_as_an_empty_one(void **state)
{
	struct rt_store store = RT_STORE_NULL;
	struct rt_record *list, read;
	bool found = true;
	size_t count = 7;

	assert_null(rt_store_look(path, &store));
	assert_null(rt_store_list(&store, &list, &count));
	assert_int_equal(count, 0);
	assert_null(rt_store_load(&store, "a", &read, &found));
	assert_false(found);
	rt_store_close(&store);
	assert_int_equal(access(path, F_OK), -1);
}

static void a_note_on_a_bridge_lasts_until_it_is_forgotten(void **state)
{
	struct rt_store store = RT_STORE_NULL;
	bool ours = true;

	assert_null(rt_store_open(path, &store));
	assert_null(rt_store_is_noted(&store, "rt0", RT_NOTE_MADE, &ours));
	assert_false(ours);
	assert_null(rt_store_note(&store, "rt0", RT_NOTE_MADE));
	assert_null(rt_store_is_noted(&store, "rt0", RT_NOTE_MADE, &ours));
	assert_true(ours);
	assert_null(rt_store_forget(&store, "rt0", RT_NOTE_MADE));
	assert_null(rt_store_is_noted(&store, "rt0", RT_NOTE_MADE, &ours));
	assert_false(ours);
	rt_store_close(&store);
}

static void a_half_written_file_of_a_crash_is_no_record(void **state)
{
	struct rt_store store = RT_STORE_NULL;
	struct rt_record *list;
	char name[96];
	size_t count;

	assert_null(rt_store_open(path, &store));
	snprintf(name, sizeof(name), "%s/web.json.new", path);
	fclose(fopen(name, "w"));
	assert_null(rt_store_list(&store, &list, &count));
	assert_int_equal(count, 0);
	rt_store_close(&store);
	assert_int_equal(access(path, F_OK), -1);
}

/* Eight processes at once, each of which may find the directory that another one is just removing. */
static void many_come_and_go_and_nobody_is_lost(void **state)
{
	enum { PROCESSES = 8, ROUNDS = 100 };
	int status;

	for (int i = 0; i < PROCESSES; i++) {
		if (fork() != 0)
			continue;
		for (int round = 0; round < ROUNDS; round++) {
			struct rt_store store = RT_STORE_NULL;
			struct rt_record record, read;
			bool found = false;
			char id[16];

			snprintf(id, sizeof(id), "p%d", i);
			record = record_of(id);
			if (rt_store_open(path, &store) || rt_store_save(&store, &record))
				_exit(1);
			if (rt_store_load(&store, id, &read, &found) || !found || rt_store_remove(&store, id))
				_exit(2);
			rt_store_close(&store);
		}
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(access(path, F_OK), -1);
}

static int make_base(void **state)
{
	if (!mkdtemp(base))
		return -1;
	snprintf(path, sizeof(path), "%s/net", base);
	return 0;
}

static int remove_base(void **state)
{
	return rmdir(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_saved_is_listed_and_the_last_removes_the_directory),
		cmocka_unit_test(a_missing_directory_reads_as_an_empty_one),
		cmocka_unit_test(a_note_on_a_bridge_lasts_until_it_is_forgotten),
		cmocka_unit_test(a_half_written_file_of_a_crash_is_no_record),
		cmocka_unit_test(many_come_and_go_and_nobody_is_lost),
	};

	return cmocka_run_group_tests(tests, make_base, remove_base);
}
