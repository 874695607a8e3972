#include "checkpoint/archive_helper.h"

#include "checkpoint/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "images_made.h"

struct entry {
	const char *name;
	mode_t type;
	const char *content; /* or the target of a link */
	bool hardlink;
	size_t size; /* of a content that is no text; 0: that of the text */
};

static void write_tar(const struct made *made, const char *name, const struct entry *entries, size_t count)
{
	struct archive *archive = archive_write_new();
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", made->path, name);
	archive_write_set_format_pax_restricted(archive);
	assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
	for (size_t i = 0; i < count; i++) {
		struct archive_entry *entry = archive_entry_new();
		size_t size = entries[i].size;

		if (!size && entries[i].type == AE_IFREG && !entries[i].hardlink)
			size = strlen(entries[i].content);

		archive_entry_set_pathname(entry, entries[i].name);
		archive_entry_set_filetype(entry, entries[i].type);
		archive_entry_set_perm(entry, 0700);
		archive_entry_set_uid(entry, getuid());
		archive_entry_set_gid(entry, getgid());
		archive_entry_set_size(entry, (la_int64_t)size);
		if (entries[i].hardlink)
			archive_entry_set_hardlink(entry, entries[i].content);
		else if (entries[i].type == AE_IFLNK)
			archive_entry_set_symlink(entry, entries[i].content);
		assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
		if (size)
			assert_int_equal(archive_write_data(archive, entries[i].content, size), size);
		archive_entry_free(entry);
	}
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
}

/* Imports an archive of these entries into <made>/out, where a file beside it must stay as it is. */
static struct rt_error *import(const struct made *made, const struct entry *entries, size_t count, uint64_t limit)
{
	char file[64], directory[64];
	const struct rt_archive_import options = { .file = file, .directory = directory, .size_limit = limit };

	snprintf(file, sizeof(file), "%s/a.tar", made->path);
	snprintf(directory, sizeof(directory), "%s/out", made->path);
	mkdirat(made->fd, "out", 0700);
	write_file(made, "victim", "safe", 4);
	write_tar(made, "a.tar", entries, count);
	return rt_archive_do_import(&options);
}

static void assert_victim_safe(const struct made *made)
{
	_cleanup_free_ char *text = NULL;

	assert_null(rt_read_file_at(made->fd, "victim", 100, &text, NULL));
	assert_string_equal(text, "safe");
}

static void paths_that_lead_outside_are_refused(void **state)
{
	static const char *const names[] = { "../victim", "/tmp/x", "checkpoint/../../victim", "checkpoint/../x", "a//../../victim" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++) {
		struct made made = make_directory();
		const struct entry entries[] = { { names[i], AE_IFREG, "evil" } };

		assert_fails(import(&made, entries, 1, 0), "lies outside");
		assert_victim_safe(&made);
		remove_directory(&made);
	}
}

static void links_and_devices_in_place_of_files_are_refused(void **state)
{
	static const struct entry cases[][2] = {
		{ { "checkpoint/pages-1.img", AE_IFLNK, "../../victim" }, { "checkpoint/pages-1.img", AE_IFREG, "evil" } },
		{ { "config.dump", AE_IFLNK, "../victim" }, { "config.dump", AE_IFREG, "evil" } },
		{ { "checkpoint/a.img", AE_IFREG, "../victim", true }, { "x", AE_IFREG, "" } },
		{ { "checkpoint/a.img", AE_IFIFO, "" }, { "x", AE_IFREG, "" } },
		{ { "checkpoint/parent", AE_IFLNK, "../../elsewhere" }, { "x", AE_IFREG, "" } },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct made made = make_directory();

		assert_fails(import(&made, cases[i], 2, 0), "is no regular file");
		assert_victim_safe(&made);
		remove_directory(&made);
	}
}

static void a_link_for_the_directory_of_images_is_not_followed(void **state)
{
	struct made made = make_directory();
	const struct entry entries[] = { { "checkpoint", AE_IFLNK, ".." }, { "checkpoint/victim", AE_IFREG, "evil" } };

	assert_null(import(&made, entries, 2, 0));
	assert_victim_safe(&made);
	remove_directory(&made);
}

static void a_file_that_is_there_twice_is_refused(void **state)
{
	struct made made = make_directory();
	const struct entry entries[] = { { "spec.dump", AE_IFREG, "{}" }, { "./spec.dump", AE_IFREG, "[]" } };

	assert_fails(import(&made, entries, 2, 0), "there twice");
	remove_directory(&made);
}

static void names_outside_the_layout_are_left_alone(void **state)
{
	struct made made = make_directory();
	const struct entry entries[] = { { "checkpoint/a.img", AE_IFREG, "x" },
					 { "volumes/v.tar", AE_IFREG, "x" },
					 { "checkpoint/a/b", AE_IFREG, "x" },
					 { "other", AE_IFLNK, "/" } };

	assert_null(import(&made, entries, 4, 0));
	assert_int_equal(faccessat(made.fd, "out/checkpoint/a.img", F_OK, 0), 0);
	assert_int_equal(faccessat(made.fd, "out/volumes", F_OK, 0), -1);
	assert_int_equal(faccessat(made.fd, "out/other", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	remove_directory(&made);
}

static void more_than_is_allowed_is_not_unpacked(void **state)
{
	struct made made = make_directory();
	const struct entry entries[] = { { "checkpoint/a.img", AE_IFREG, "12345" }, { "checkpoint/b.img", AE_IFREG, "12345" } };

	assert_fails(import(&made, entries, 2, 9), "more than 9 bytes");
	assert_int_equal(faccessat(made.fd, "out/checkpoint/b.img", F_OK, 0), -1);
	remove_directory(&made);
}

static void what_is_no_archive_is_one_error(void **state)
{
	struct made made = make_directory();
	char file[64];
	const struct rt_archive_import options = { .file = file, .directory = made.path };

	snprintf(file, sizeof(file), "%s/a.tar", made.path);
	write_file(&made, "a.tar", "this is no archive at all", 25);
	assert_fails(rt_archive_do_import(&options), "archive");
	remove_directory(&made);
}

/* ---- round trip ---- */

static void export_of(const struct made *made, const char *config)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct made images = { .fd = made->fd };
	char file[64];
	const struct rt_archive_export options = { .file = file, .images = made->path };

	snprintf(file, sizeof(file), "%s/a.tar.gz", made->path);
	write_inventory(&images, 2);
	write_file(&images, "core-1.img", "core", 4);
	assert_null(rt_manifest_new(40101, &manifest));
	assert_null(rt_manifest_set(&manifest->container->id, "web"));
	assert_null(rt_manifest_set_bytes(&manifest->container->config, config, strlen(config)));
	assert_null(rt_manifest_digest(made->fd, manifest, 0));
	assert_null(rt_manifest_store(made->fd, manifest));
	assert_null(rt_archive_do_export(&options));
}

static void export(const struct made *made)
{
	export_of(made, "{}");
}

static void what_is_exported_comes_in_again(void **state)
{
	struct made made = make_directory(), out = make_directory();
	_cleanup_free_ char *spec = NULL, *core = NULL;
	char file[64];
	const struct rt_archive_import options = { .file = file, .directory = out.path };

	export(&made);
	snprintf(file, sizeof(file), "%s/a.tar.gz", made.path);
	assert_null(rt_archive_do_import(&options));
	assert_null(rt_read_file_at(out.fd, "spec.dump", 100, &spec, NULL));
	assert_string_equal(spec, "{}");
	assert_null(rt_read_file_at(out.fd, "checkpoint/core-1.img", 100, &core, NULL));
	assert_string_equal(core, "core");
	remove_directory(&made);
	remove_directory(&out);
}

#define IMAGE_ID "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* podman takes an archive only with both, and CRI-O may give a reference for the id, which podman could not find. */
static void the_image_is_named_by_annotations(void **state)
{
	static const struct {
		const char *annotations, *name, *id;
	} cases[] = {
		{ "", "", NULL },
		{ "\"io.kubernetes.cri.image-name\": \"web:1\"", "web:1", NULL },
		{ "\"io.kubernetes.cri-o.ImageName\": \"web:1\", \"io.kubernetes.cri-o.ImageRef\": \"" IMAGE_ID "\"", "web:1", IMAGE_ID },
		{ "\"io.kubernetes.cri-o.ImageRef\": \"sha256:" IMAGE_ID "\"", "", IMAGE_ID },
		{ "\"io.kubernetes.cri-o.ImageRef\": \"web@sha256:" IMAGE_ID "\"", "", NULL },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct made made = make_directory(), out = make_directory();
		_cleanup_free_ char *text = NULL;
		_cleanup_json_ json_t *dump = NULL;
		char file[64], config[512];
		const struct rt_archive_import options = { .file = file, .directory = out.path };

		snprintf(config, sizeof(config), "{\"annotations\": {%s}}", cases[i].annotations);
		export_of(&made, config);
		snprintf(file, sizeof(file), "%s/a.tar.gz", made.path);
		assert_null(rt_archive_do_import(&options));
		assert_null(rt_read_file_at(out.fd, "config.dump", 4096, &text, NULL));
		dump = json_loads(text, 0, NULL);
		assert_non_null(dump);
		assert_string_equal(json_string_value(json_object_get(dump, "rootfsImageName")), cases[i].name);
		if (cases[i].id)
			assert_string_equal(json_string_value(json_object_get(dump, "rootfsImageID")), cases[i].id);
		else
			assert_null(json_object_get(dump, "rootfsImageID"));
		remove_directory(&made);
		remove_directory(&out);
	}
}

static void a_wrong_digest_is_found_on_the_way_in(void **state)
{
	struct made made = make_directory(), images = make_directory();
	_cleanup_free_ char *manifest = NULL, *inventory = NULL;
	struct entry entries[] = { { "checkpoint/core-1.img", AE_IFREG, "core" },
				   { "checkpoint/inventory.img", AE_IFREG, NULL },
				   { "checkpoint/manifest", AE_IFREG, NULL } };

	export(&images);
	assert_null(rt_read_file_at(images.fd, "inventory.img", 1 << 20, &inventory, &entries[1].size));
	assert_null(rt_read_file_at(images.fd, "manifest", 1 << 20, &manifest, &entries[2].size));
	entries[1].content = inventory;
	entries[2].content = manifest;
	assert_null(import(&made, entries, 3, 0));
	remove_directory(&made);

	made = make_directory();
	entries[0].content = "cord";
	assert_fails(import(&made, entries, 3, 0), "image 'core-1.img' is damaged");
	remove_directory(&made);

	made = make_directory();
	entries[0].name = "checkpoint/other.img";
	assert_fails(import(&made, entries, 3, 0), "image 'core-1.img' is missing");
	remove_directory(&made);
	remove_directory(&images);
}

/* ---- root filesystems ---- */

static struct rt_error *apply(const struct made *made, const struct entry *entries, size_t count, const char *deleted)
{
	_cleanup_close_ int tar_fd = -1, deleted_fd = -1;
	char root[64];

	snprintf(root, sizeof(root), "%s/root", made->path);
	write_file(made, "victim", "safe", 4);
	write_tar(made, "d.tar", entries, count);
	write_file(made, "deleted", deleted, strlen(deleted));
	tar_fd = openat(made->fd, "d.tar", O_RDONLY | O_CLOEXEC);
	deleted_fd = openat(made->fd, "deleted", O_RDONLY | O_CLOEXEC);
	return rt_archive_apply(root, tar_fd, deleted_fd);
}

static struct made make_root(void)
{
	struct made made = make_directory();

	assert_int_equal(mkdirat(made.fd, "root", 0755), 0);
	assert_int_equal(mkdirat(made.fd, "root/etc", 0755), 0);
	write_file(&made, "root/etc/old", "old", 3);
	assert_int_equal(symlinkat("..", made.fd, "root/out"), 0);
	assert_int_equal(symlinkat("../victim", made.fd, "root/link"), 0);
	return made;
}

static void changes_are_applied_and_deletions_done(void **state)
{
	struct made made = make_root();
	_cleanup_free_ char *linked = NULL, *new = NULL;
	const struct entry entries[] = { { "etc/new", AE_IFREG, "new" },     { "./a/b/c", AE_IFREG, "deep" },
					 { "hard", AE_IFREG, "etc/new", true }, { "link", AE_IFREG, "a file now" },
					 { "etc/fifo", AE_IFIFO, "" },       { "soft", AE_IFLNK, "/etc" } };

	assert_null(apply(&made, entries, RT_ARRAY_SIZE(entries), "[\"/etc/old\", \"/not/there\"]"));
	assert_null(rt_read_file_at(made.fd, "root/hard", 100, &new, NULL));
	assert_string_equal(new, "new");
	assert_null(rt_read_file_at(made.fd, "root/link", 100, &linked, NULL));
	assert_string_equal(linked, "a file now");
	assert_int_equal(faccessat(made.fd, "root/etc/old", F_OK, 0), -1);
	assert_int_equal(faccessat(made.fd, "root/a/b/c", F_OK, 0), 0);
	assert_victim_safe(&made);
	remove_directory(&made);
}

static void changes_do_not_leave_the_root(void **state)
{
	static const struct {
		struct entry entries[2];
		const char *deleted, *part;
	} cases[] = {
		{ { { "../victim", AE_IFREG, "evil" } }, "[]", "lies outside" },
		{ { { "/victim", AE_IFREG, "evil" } }, "[]", "lies outside" },
		{ { { "out/victim", AE_IFREG, "evil" } }, "[]", "cannot enter 'out'" },
		{ { { "s", AE_IFLNK, ".." }, { "s/victim", AE_IFREG, "evil" } }, "[]", "cannot enter 's'" },
		{ { { "h", AE_IFREG, "../victim", true } }, "[]", "lies outside" },
		{ { { "h", AE_IFREG, "out/victim", true } }, "[]", "cannot enter 'out'" },
		{ { { "etc/x", AE_IFREG, "" } }, "[\"/out/victim\"]", "cannot enter 'out'" },
		{ { { "etc/x", AE_IFREG, "" } }, "[\"/../victim\"]", "lies outside" },
		{ { { "etc/x", AE_IFREG, "" } }, "[\"/\"]", "lies outside" },
		{ { { "etc/x", AE_IFREG, "" } }, "{}", "no JSON array" },
		{ { { "etc/dev", AE_IFCHR, "" } }, "[]", "device" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct made made = make_root();

		assert_fails(apply(&made, cases[i].entries, cases[i].entries[1].name ? 2 : 1, cases[i].deleted), cases[i].part);
		assert_victim_safe(&made);
		remove_directory(&made);
	}
}

static void clean_paths_are_told_from_others(void **state)
{
	char clean[64];

	assert_true(rt_unpack_clean_path("./a/b/", 0, clean, sizeof(clean)));
	assert_string_equal(clean, "a/b");
	assert_true(rt_unpack_clean_path("./", 0, clean, sizeof(clean)));
	assert_string_equal(clean, "");
	assert_false(rt_unpack_clean_path("a/./b", 0, clean, sizeof(clean)));
	assert_false(rt_unpack_clean_path("a/..", 0, clean, sizeof(clean)));
	assert_false(rt_unpack_clean_path("..", 0, clean, sizeof(clean)));
	assert_false(rt_unpack_clean_path("/", 0, clean, sizeof(clean)));
	assert_false(rt_unpack_clean_path("aaaaaaaaaa", 0, clean, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_that_lead_outside_are_refused),
		cmocka_unit_test(links_and_devices_in_place_of_files_are_refused),
		cmocka_unit_test(a_link_for_the_directory_of_images_is_not_followed),
		cmocka_unit_test(a_file_that_is_there_twice_is_refused),
		cmocka_unit_test(names_outside_the_layout_are_left_alone),
		cmocka_unit_test(more_than_is_allowed_is_not_unpacked),
		cmocka_unit_test(what_is_no_archive_is_one_error),
		cmocka_unit_test(what_is_exported_comes_in_again),
		cmocka_unit_test(the_image_is_named_by_annotations),
		cmocka_unit_test(a_wrong_digest_is_found_on_the_way_in),
		cmocka_unit_test(changes_are_applied_and_deletions_done),
		cmocka_unit_test(changes_do_not_leave_the_root),
		cmocka_unit_test(clean_paths_are_told_from_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
