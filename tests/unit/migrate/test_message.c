#include "migrate/message.h"
#include "checkpoint/unpack.h"
#include "tree_made.h"

#define ID "0123456789abcdef0123456789abcdef"

struct parts {
	Rt__Offer offer;
	Rt__Maker maker;
	Rt__Cpu cpu;
};

static void fill(struct parts *parts)
{
	*parts = (struct parts){ .offer = RT__OFFER__INIT, .maker = RT__MAKER__INIT, .cpu = RT__CPU__INIT };
	parts->offer.protocol = RT_MIGRATE_PROTOCOL;
	parts->offer.migration = (char *)ID;
	parts->offer.id = (char *)"web";
	parts->offer.maker = &parts->maker;
	parts->offer.cpu = &parts->cpu;
}

static struct rt_error *there_and_back(const struct parts *parts, Rt__Offer **ret)
{
	_cleanup_free_ void *bytes = NULL;
	size_t size;

	assert_works(rt_pack(&parts->offer.base, &bytes, &size));
	return rt_message_offer(bytes, size, ret);
}

static void an_offer_comes_out_as_it_went_in(void **state)
{
	struct parts parts;
	Rt__Offer *offer;

	fill(&parts);
	parts.offer.memory = 1ull << 40;
	parts.offer.rootfs = RT__MOVE_ROOTFS__ROOTFS_DIFF;
	assert_works(there_and_back(&parts, &offer));
	assert_string_equal(offer->migration, ID);
	assert_string_equal(offer->id, "web");
	assert_int_equal(offer->memory, 1ull << 40);
	assert_int_equal(offer->rootfs, RT__MOVE_ROOTFS__ROOTFS_DIFF);
	rt_unpack_free(&offer->base);
}

static void another_protocol_is_refused_by_its_number(void **state)
{
	struct parts parts;
	Rt__Offer *offer = NULL;

	fill(&parts);
	parts.offer.protocol = 2;
	assert_says(there_and_back(&parts, &offer), "the source speaks protocol 2, this host speaks 1");
	assert_null(offer);
}

/* It becomes the name of a directory. */
static void a_migration_has_an_id_of_its_kind(void **state)
{
	static const char *const ids[] = { "", "0123", ID "0", "0123456789ABCDEF0123456789ABCDEF", "../../../../../../../../etc/abcd", "0123456789abcdef0123456789abcde/" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(ids); i++) {
		struct parts parts;
		Rt__Offer *offer;

		fill(&parts);
		parts.offer.migration = (char *)ids[i];
		assert_says(there_and_back(&parts, &offer), "no migration id of 32 hexadecimal digits");
	}
}

static void a_container_has_an_id_that_is_no_path(void **state)
{
	static const char *const ids[] = { "", "..", "a/b", "../web", "a b" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(ids); i++) {
		struct parts parts;
		Rt__Offer *offer;

		fill(&parts);
		parts.offer.id = (char *)ids[i];
		assert_says(there_and_back(&parts, &offer), "id");
	}
}

static void a_source_says_what_it_is(void **state)
{
	struct parts parts;
	Rt__Offer *offer;

	fill(&parts);
	parts.offer.cpu = NULL;
	assert_says(there_and_back(&parts, &offer), "does not say what the source is");
	fill(&parts);
	parts.offer.maker = NULL;
	assert_says(there_and_back(&parts, &offer), "does not say what the source is");
}

static void bytes_that_are_no_message_are_refused(void **state)
{
	Rt__Offer *offer;
	Rt__Answer *answer;
	Rt__Outcome *outcome;

	assert_says(rt_message_offer("\xff\xff\xff", 3, &offer), "the offer");
	assert_says(rt_message_answer("\xff\xff\xff", 3, &answer), "the target's answer");
	assert_says(rt_message_outcome("\x12\x7f", 2, &outcome), "the target's answer");
	/* An empty body would say "unknown", and the source would go on with its copy. */
	assert_says(rt_message_outcome("", 0, &outcome), "it was changed on the way");
	/* state 5, check ~5; then with a bit of the state turned */
	assert_works(rt_message_outcome("\x08\x05\x30\xfa\xff\xff\xff\x0f", 8, &outcome));
	assert_int_equal(outcome->state, RT__MOVE_STATE__MOVE_RUNNING);
	assert_says(rt_message_outcome("\x08\x07\x30\xfa\xff\xff\xff\x0f", 8, &(Rt__Outcome *){ NULL }), "it was changed on the way");
	rt_unpack_free(&outcome->base);
}

static void every_state_has_a_name(void **state)
{
	for (int i = RT__MOVE_STATE__MOVE_RECEIVING; i <= RT__MOVE_STATE__MOVE_ABORTED; i++)
		assert_string_not_equal(rt_move_state_name((Rt__MoveState)i), "unknown");
	assert_string_equal(rt_move_state_name((Rt__MoveState)99), "unknown");
}

static void ids_are_drawn_anew(void **state)
{
	char a[RT_MIGRATION_ID + 1], b[RT_MIGRATION_ID + 1];

	assert_works(rt_migration_id(a));
	assert_works(rt_migration_id(b));
	assert_int_equal(strlen(a), RT_MIGRATION_ID);
	assert_string_not_equal(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_offer_comes_out_as_it_went_in),
		cmocka_unit_test(another_protocol_is_refused_by_its_number),
		cmocka_unit_test(a_migration_has_an_id_of_its_kind),
		cmocka_unit_test(a_container_has_an_id_that_is_no_path),
		cmocka_unit_test(a_source_says_what_it_is),
		cmocka_unit_test(bytes_that_are_no_message_are_refused),
		cmocka_unit_test(every_state_has_a_name),
		cmocka_unit_test(ids_are_drawn_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
