#include "checkpoint/descriptors.h"

#include "checkpoint/manifest.h"
#include "runtime/base/fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
	static char path[32];

	strcpy(path, "/tmp/rt-test-XXXXXX");
	*state = mkdtemp(path);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	rt_error_free(rt_remove_tree_at(AT_FDCWD, *state));
	return 0;
}

/* What a file of this text, or none, gives; *ret_err is the caller's. */
static Rt__Container *load(const char *directory, const char *text, struct rt_error **ret_err)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	Rt__Container *container = calloc(1, sizeof(*container));

	rt__container__init(container);
	if (text)
		assert_null(rt_replace_file_at(fd, "descriptors.json", text, strlen(text), 0600));
	*ret_err = rt_descriptors_load(fd, container);
	close(fd);
	return container;
}

static void pipes_are_to_be_replaced_each_once(void **state)
{
	struct rt_error *err;
	Rt__Container *container = load(*state, "[\"/dev/null\",\"pipe:[17]\",\"pipe:[17]\"]", &err);

	assert_null(err);
	assert_int_equal(container->n_streams, 1);
	assert_int_equal(container->streams[0]->fd, 1);
	assert_string_equal(container->streams[0]->key, "pipe:[17]");
	rt__container__free_unpacked(container, NULL);
}

static void no_file_says_nothing(void **state)
{
	struct rt_error *err;
	Rt__Container *container = load(*state, NULL, &err);

	assert_null(err);
	assert_int_equal(container->n_streams, 0);
	rt__container__free_unpacked(container, NULL);
}

static void what_is_no_list_of_names_is_refused(void **state)
{
	static const char *const texts[] = { "[1]", "[\"pipe:[1]\"", "[{}]" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(texts); i++) {
		struct rt_error *err;
		Rt__Container *container = load(*state, texts[i], &err);

		assert_non_null(err);
		rt_error_free(err);
		rt__container__free_unpacked(container, NULL);
	}
}

static void what_is_stored_can_be_loaded(void **state)
{
	Rt__Container container = RT__CONTAINER__INIT;
	Rt__Stream stream = RT__STREAM__INIT, closed = RT__STREAM__INIT;
	Rt__Stream *streams[] = { &stream, &closed };
	int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct rt_error *err;
	Rt__Container *loaded;

	stream.path = (char *)"pipe:[5]";
	container.streams = streams;
	container.n_streams = 2;
	assert_null(rt_descriptors_store(fd, &container));
	close(fd);
	loaded = load(*state, NULL, &err);
	assert_null(err);
	assert_int_equal(loaded->n_streams, 1);
	assert_string_equal(loaded->streams[0]->key, "pipe:[5]");
	rt__container__free_unpacked(loaded, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pipes_are_to_be_replaced_each_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_file_says_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_list_of_names_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_stored_can_be_loaded, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
