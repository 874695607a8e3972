#include "migrate/journal.h"
#include "tree_made.h"

static void what_is_stored_is_loaded(void **state)
{
	struct made made = make_both();
	_cleanup_json_ json_t *journal = json_pack("{s:s}", "state", "committed"), *loaded = NULL;
	struct stat st;

	assert_works(rt_journal_store(made.to_fd, RT_JOURNAL_TARGET, journal));
	assert_works(rt_journal_load(made.to_fd, RT_JOURNAL_TARGET, &loaded));
	assert_true(json_equal(journal, loaded));
	assert_return_code(fstatat(made.to_fd, RT_JOURNAL_TARGET, &st, 0), errno);
	assert_int_equal(st.st_mode & 0777, 0600);
	remove_both(&made);
}

static void it_is_replaced_whole(void **state)
{
	struct made made = make_both();
	_cleanup_json_ json_t *first = json_pack("{s:s, s:s}", "state", "receiving", "more", "of it"), *second = json_pack("{s:s}", "state", "x"), *loaded = NULL;

	assert_works(rt_journal_store(made.to_fd, "j", first));
	assert_works(rt_journal_store(made.to_fd, "j", second));
	assert_works(rt_journal_load(made.to_fd, "j", &loaded));
	assert_true(json_equal(second, loaded));
	remove_both(&made);
}

static void none_is_an_answer_and_garbage_an_error(void **state)
{
	struct made made = make_both();
	json_t *loaded = json_null();

	assert_works(rt_journal_load(made.to_fd, "j", &loaded));
	assert_null(loaded);
	put_text(made.to_fd, "j", "{\"state\": ");
	assert_says(rt_journal_load(made.to_fd, "j", &loaded), "'j' is no JSON");
	put_text(made.to_fd, "j", "");
	assert_says(rt_journal_load(made.to_fd, "j", &loaded), "'j' is no JSON");
	remove_both(&made);
}

static void removing_it_twice_is_fine(void **state)
{
	struct made made = make_both();

	put_text(made.to_fd, "j", "{}");
	assert_works(rt_journal_remove(made.to_fd, "j"));
	assert_works(rt_journal_remove(made.to_fd, "j"));
	remove_both(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_stored_is_loaded),
		cmocka_unit_test(it_is_replaced_whole),
		cmocka_unit_test(none_is_an_answer_and_garbage_an_error),
		cmocka_unit_test(removing_it_twice_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
