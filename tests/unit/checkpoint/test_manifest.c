#include "checkpoint/manifest.h"

#include "checkpoint/images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "images_made.h"

/* Two small images, one large. */
static struct made make_checkpoint(void)
{
	struct made made = make_directory();
	size_t size = RT_MANIFEST_SMALL + 5;
	_cleanup_free_ char *large = calloc(1, size);

	write_inventory(&made, 2);
	write_file(&made, "core-1.img", "core", 4);
	write_file(&made, "pages-1.img", large, size);
	write_file(&made, "dump.log", "log", 3);
	return made;
}

static Rt__Manifest *make_manifest(const struct made *made, unsigned flags)
{
	Rt__Manifest *manifest = NULL;
	Rt__Mount *mount;

	assert_null(rt_manifest_new(40101, &manifest));
	assert_null(rt_manifest_set(&manifest->container->id, "web"));
	assert_null(rt_manifest_append(&manifest->container->mounts, &manifest->container->n_mounts, &rt__mount__descriptor, &mount));
	assert_null(rt_manifest_set(&mount->destination, "/proc"));
	assert_null(rt_manifest_digest(made->fd, manifest, flags));
	return manifest;
}

static void what_is_stored_comes_back(void **state)
{
	struct made made = make_checkpoint();
	_cleanup_manifest_ Rt__Manifest *manifest = make_manifest(&made, 0), *loaded = NULL;

	assert_null(rt_manifest_store(made.fd, manifest));
	assert_null(rt_manifest_load(made.fd, &loaded));
	assert_string_equal(loaded->id, manifest->id);
	assert_int_equal(strlen(loaded->id), 32);
	assert_string_equal(loaded->container->id, "web");
	assert_string_equal(loaded->container->mounts[0]->destination, "/proc");
	assert_int_equal(loaded->maker->criu_version, 40101);
	assert_int_equal(loaded->n_files, 3);
	assert_string_equal(loaded->files[0]->name, "core-1.img");
	remove_directory(&made);
}

static void large_images_are_digested_only_when_asked(void **state)
{
	struct made made = make_checkpoint();
	_cleanup_manifest_ Rt__Manifest *manifest = make_manifest(&made, 0);

	assert_int_equal(manifest->files[0]->sha256.len, 32);
	assert_int_equal(manifest->files[2]->sha256.len, 0);
	assert_int_equal(manifest->files[2]->size, RT_MANIFEST_SMALL + 5);
	assert_null(rt_manifest_complete(made.fd, manifest));
	assert_int_equal(manifest->files[2]->sha256.len, 32);
	assert_null(rt_manifest_verify(made.fd, manifest, RT_DIGEST_ALL));
	remove_directory(&made);
}

static void a_changed_byte_is_found(void **state)
{
	struct made made = make_checkpoint();
	_cleanup_manifest_ Rt__Manifest *manifest = make_manifest(&made, RT_DIGEST_ALL);
	int fd;

	write_file(&made, "core-1.img", "cord", 4);
	assert_fails(rt_manifest_verify(made.fd, manifest, 0), "'core-1.img' is damaged: its digest");
	write_file(&made, "core-1.img", "core!", 5);
	assert_fails(rt_manifest_verify(made.fd, manifest, 0), "'core-1.img' is damaged: it has 5 bytes");
	write_file(&made, "core-1.img", "core", 4);
	fd = openat(made.fd, "pages-1.img", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 1000), 1);
	close(fd);
	assert_null(rt_manifest_verify(made.fd, manifest, 0));
	assert_fails(rt_manifest_verify(made.fd, manifest, RT_DIGEST_ALL), "'pages-1.img' is damaged");
	remove_directory(&made);
}

static void images_that_are_missing_added_or_no_files_are_found(void **state)
{
	struct made made = make_checkpoint();
	_cleanup_manifest_ Rt__Manifest *manifest = make_manifest(&made, 0);

	write_file(&made, "files.img", "x", 1);
	assert_fails(rt_manifest_verify(made.fd, manifest, 0), "'files.img' is no part of the checkpoint");
	unlinkat(made.fd, "files.img", 0);
	unlinkat(made.fd, "core-1.img", 0);
	assert_fails(rt_manifest_verify(made.fd, manifest, 0), "'core-1.img' is missing");
	assert_int_equal(symlinkat("/etc/passwd", made.fd, "core-1.img"), 0);
	assert_fails(rt_manifest_verify(made.fd, manifest, 0), "'core-1.img' is missing");
	unlinkat(made.fd, "core-1.img", 0);
	assert_int_equal(mkdirat(made.fd, "core-1.img", 0700), 0);
	assert_fails(rt_manifest_verify(made.fd, manifest, 0), "no regular file");
	remove_directory(&made);
}

static void a_directory_without_a_manifest_is_an_answer(void **state)
{
	struct made made = make_directory();
	Rt__Manifest *manifest = (void *)1;

	assert_null(rt_manifest_load(made.fd, &manifest));
	assert_null(manifest);
	remove_directory(&made);
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
	static const char *const names[] = { "../x.img", "/etc/x.img", ".img", "a/b.img", "manifest", "", ".x.img" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++) {
		_cleanup_manifest_ Rt__Manifest *manifest = NULL, *parsed = NULL;
		_cleanup_free_ void *bytes = NULL;
		Rt__File *file;
		size_t size;

		assert_null(rt_manifest_new(40101, &manifest));
		assert_null(rt_manifest_append(&manifest->files, &manifest->n_files, &rt__file__descriptor, &file));
		assert_null(rt_manifest_set(&file->name, names[i]));
		assert_null(rt_pack(&manifest->base, &bytes, &size));
		assert_fails(rt_manifest_parse(bytes, size, &parsed), "no image");
	}
}

static void another_format_and_broken_bytes_are_refused(void **state)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL, *parsed = NULL;
	_cleanup_free_ void *bytes = NULL;
	size_t size;

	assert_null(rt_manifest_new(40101, &manifest));
	manifest->format = 2;
	assert_null(rt_pack(&manifest->base, &bytes, &size));
	assert_fails(rt_manifest_parse(bytes, size, &parsed), "format 2");
	assert_fails(rt_manifest_parse(bytes, size - 1, &parsed), "the manifest is damaged");
	assert_fails(rt_manifest_parse("", 0, &parsed), "format 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_stored_comes_back),
		cmocka_unit_test(large_images_are_digested_only_when_asked),
		cmocka_unit_test(a_changed_byte_is_found),
		cmocka_unit_test(images_that_are_missing_added_or_no_files_are_found),
		cmocka_unit_test(a_directory_without_a_manifest_is_an_answer),
		cmocka_unit_test(names_that_lead_elsewhere_are_refused),
		cmocka_unit_test(another_format_and_broken_bytes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
