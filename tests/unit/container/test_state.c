#include "runtime/container/state.h"

#include "runtime/base/fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct place {
	char path[32];
	int fd;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->path, "/tmp/rt-state-XXXXXX");
	if (!mkdtemp(place->path))
		return -1;
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = place;
	return place->fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	rt_error_free(rt_remove_tree_at(AT_FDCWD, place->path));
	close(place->fd);
	free(place);
	return 0;
}

static void write_state(const struct place *place, const char *text, size_t size)
{
	_cleanup_error_ struct rt_error *err = rt_replace_file_at(place->fd, "state.json", text, size, 0600);

	assert_null(err);
}

static void what_is_stored_is_loaded_again(void **state)
{
	const struct place *place = *state;
	_cleanup_json_ json_t *extra = json_pack("{s:{s:i}}", "checkpoint", "number", 7);
	_cleanup_json_ json_t *cgroup = json_pack("{s:s}", "unit", "x.scope");
	const struct rt_state stored = {
		.id = (char *)"web", .bundle = (char *)"/a \"quoted\" path", .rootfs = (char *)"/r\xc3\xb6\xc3\xb6t",
		.created = (char *)"2026-01-02T03:04:05.123456789Z", .owner = (char *)"root", .pid = 4194304,
		.start_time = INT64_MAX, .restored = true, .systemd_cgroup = true, .cgroup = cgroup, .extra = extra,
		.hold = { .pid = 7, .start_time = 8, .counter = 0x7fffdeadbeef },
	};
	_cleanup_(rt_state_deinit) struct rt_state loaded = RT_STATE_NULL;
	_cleanup_error_ struct rt_error *err = rt_state_store(place->fd, &stored);
	bool found = false;

	assert_null(err);
	err = rt_state_load(place->fd, &loaded, &found);
	assert_null(err);
	assert_true(found);
	assert_string_equal(loaded.id, stored.id);
	assert_string_equal(loaded.bundle, stored.bundle);
	assert_string_equal(loaded.rootfs, stored.rootfs);
	assert_string_equal(loaded.created, stored.created);
	assert_string_equal(loaded.owner, stored.owner);
	assert_int_equal(loaded.pid, stored.pid);
	assert_true(loaded.start_time == stored.start_time);
	assert_true(loaded.restored && loaded.systemd_cgroup);
	assert_false(loaded.creating || loaded.rootless || loaded.rdt_created);
	assert_true(json_equal(loaded.cgroup, cgroup));
	assert_true(json_equal(loaded.extra, extra));
	assert_int_equal(loaded.hold.pid, 7);
	assert_int_equal(loaded.hold.start_time, 8);
	assert_true(loaded.hold.counter == 0x7fffdeadbeef);
}

static void a_state_that_is_not_there_is_an_answer(void **state)
{
	const struct place *place = *state;
	_cleanup_(rt_state_deinit) struct rt_state loaded = RT_STATE_NULL;
	bool found = true;
	_cleanup_error_ struct rt_error *err = rt_state_load(place->fd, &loaded, &found);

	assert_null(err);
	assert_false(found);
}

static void a_later_state_replaces_the_earlier_one(void **state)
{
	const struct place *place = *state;
	struct rt_state stored = { .id = (char *)"web", .bundle = (char *)"/", .created = (char *)"", .owner = (char *)"root",
				   .rootfs = (char *)"/", .creating = true };
	_cleanup_(rt_state_deinit) struct rt_state loaded = RT_STATE_NULL;
	_cleanup_error_ struct rt_error *err = rt_state_store(place->fd, &stored);
	bool found;

	assert_null(err);
	stored.creating = false;
	stored.pid = 5;
	err = rt_state_store(place->fd, &stored);
	assert_null(err);
	err = rt_state_load(place->fd, &loaded, &found);
	assert_null(err);
	assert_false(loaded.creating);
	assert_int_equal(loaded.pid, 5);
	assert_int_equal(loaded.hold.pid, 0);
}

/* A container's own root can't write there, but a full disk or a person can leave anything. */
static void a_state_that_is_none_is_an_error_that_names_the_file(void **state)
{
	static const char *const texts[] = {
		"", " ", "{", "[]", "null", "\"web\"", "{\"pid\":\"5\"}", "{\"pid\":99999999999}", "{\"pid\":1.5}", "{\"id\":5}",
		"{\"bundle\":[]}", "{\"startTime\":-1}", "{\"startTime\":\"now\"}", "{\"creating\":1}", "{\"rootless\":\"no\"}",
		"{\"id\":\"a\",\"id\":\"b\"}", "{\"id\":\"\xff\"}", "{\"id\":\"a\\u0000b\"}", "{}x", "{\"hold\":5}", "{\"hold\":{\"pid\":\"7\"}}",
	};
	const struct place *place = *state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		_cleanup_(rt_state_deinit) struct rt_state loaded = RT_STATE_NULL;
		_cleanup_error_ struct rt_error *err = NULL;
		_cleanup_free_ char *text = NULL;
		bool found = false;

		write_state(place, texts[i], strlen(texts[i]));
		err = rt_state_load(place->fd, &loaded, &found);
		if (!err)
			fail_msg("taken for a state: %s", texts[i]);
		text = rt_error_text(err);
		assert_non_null(strstr(text, "state.json"));
		assert_null(loaded.id);
	}
}

static void a_state_without_end_is_refused(void **state)
{
	const struct place *place = *state;
	_cleanup_(rt_state_deinit) struct rt_state loaded = RT_STATE_NULL;
	_cleanup_free_ char *text = malloc(5 << 20);
	_cleanup_error_ struct rt_error *err = NULL;
	bool found;

	memset(text, ' ', 5 << 20);
	write_state(place, text, 5 << 20);
	err = rt_state_load(place->fd, &loaded, &found);
	assert_non_null(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_stored_is_loaded_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_state_that_is_not_there_is_an_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_later_state_replaces_the_earlier_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_state_that_is_none_is_an_error_that_names_the_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_state_without_end_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
