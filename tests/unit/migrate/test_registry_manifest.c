/* What is refused of others' manifests: tests/e2e/test_snapshot_registry.py has the list. */
#include "migrate/registry_manifest.h"

#include "migrate/registry_reference.h"
#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct rt_registry_manifest make(size_t count)
{
	struct rt_registry_manifest manifest = { .count = count, .bits = 3, .name = strdup("web"), .created = strdup("2026-01-02T03:04:05Z") };

	manifest.bundles = calloc(count + 1, sizeof(*manifest.bundles));
	rt_registry_digest_bytes("index", 5, manifest.index.digest);
	manifest.index.size = 5;
	for (size_t i = 0; i < count; i++) {
		rt_registry_digest_bytes(&i, sizeof(i), manifest.bundles[i].digest);
		manifest.bundles[i].size = 131072 + i % 7;
	}
	return manifest;
}

static void what_is_written_can_be_read(void **state)
{
	struct rt_registry_manifest manifest = make(100), read;
	_cleanup_free_ char *text = NULL, *again = NULL;

	assert_null(rt_registry_manifest_write(&manifest, &text));
	assert_null(rt_registry_manifest_write(&manifest, &again));
	assert_string_equal(text, again); /* the same snapshot has the same digest */
	assert_null(rt_registry_manifest_read(text, strlen(text), &read));
	assert_int_equal(read.count, 100);
	assert_int_equal(read.bits, 3);
	assert_string_equal(read.index.digest, manifest.index.digest);
	assert_true(rt_registry_digest_valid(read.index.digest));
	for (size_t i = 0; i < 100; i++) {
		assert_string_equal(read.bundles[i].digest, manifest.bundles[i].digest);
		assert_int_equal(read.bundles[i].size, manifest.bundles[i].size);
	}
	rt_registry_manifest_deinit(&manifest);
	rt_registry_manifest_deinit(&read);
}

static void it_never_grows_beyond_what_registries_take(void **state)
{
	struct rt_registry_manifest fits = make(2 * RT_BUNDLE_COUNT), large = make(30000);
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	assert_null(rt_registry_manifest_write(&fits, &text));
	err = rt_registry_manifest_write(&large, &text);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "registries take 4194304"));
	rt_error_free(err);
	rt_registry_manifest_deinit(&fits);
	rt_registry_manifest_deinit(&large);
}

/* Any cut of it is refused, none is read beyond. */
static void half_a_manifest_is_none(void **state)
{
	struct rt_registry_manifest manifest = make(3), read;
	_cleanup_free_ char *text = NULL;

	assert_null(rt_registry_manifest_write(&manifest, &text));
	for (size_t size = 0; size < strlen(text); size++) {
		_cleanup_free_ char *half = malloc(size + 1);
		struct rt_error *err;

		memcpy(half, text, size);
		err = rt_registry_manifest_read(half, size, &read);
		assert_non_null(err);
		rt_error_free(err);
	}
	rt_registry_manifest_deinit(&manifest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_can_be_read),
		cmocka_unit_test(it_never_grows_beyond_what_registries_take),
		cmocka_unit_test(half_a_manifest_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
