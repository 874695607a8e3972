#include "checkpoint/snapshot_cipher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE 40

static const uint8_t key[RT_KEY_SIZE] = "0123456789abcdef0123456789abcde", other[RT_KEY_SIZE] = "0123456789abcdef0123456789abcdf";

static void seal(const uint8_t with[RT_KEY_SIZE], enum rt_cipher_use use, const char *beside, const char *text, uint8_t ret[SIZE])
{
	struct rt_cipher cipher;

	rt_cipher_init(&cipher, with);
	rt_cipher_seal(&cipher, use, beside, strlen(beside), text, strlen(text), ret);
	rt_cipher_deinit(&cipher);
}

static bool opens(const uint8_t with[RT_KEY_SIZE], enum rt_cipher_use use, const char *beside, const uint8_t *sealed, size_t size)
{
	struct rt_cipher cipher;
	uint8_t text[SIZE];
	struct rt_error *err;
	bool fine;

	rt_cipher_init(&cipher, with);
	err = rt_cipher_open(&cipher, use, beside, strlen(beside), sealed, size, text);
	fine = !err;
	if (err)
		assert_int_equal(err->code, RT_CONFIG);
	else
		assert_memory_equal(text, "hello", size - RT_CIPHER_TAG);
	rt_error_free(err);
	return fine;
}

/* So that chunks are shared, and only by who has the key. */
static void what_is_the_same_is_sealed_the_same_under_one_key_alone(void **state)
{
	uint8_t one[SIZE], two[SIZE], elsewhere[SIZE], index[SIZE];

	seal(key, RT_CIPHER_CHUNK, "", "hello", one);
	seal(key, RT_CIPHER_CHUNK, "", "hello", two);
	seal(other, RT_CIPHER_CHUNK, "", "hello", elsewhere);
	seal(key, RT_CIPHER_INDEX, "", "hello", index);
	assert_memory_equal(one, two, 5 + RT_CIPHER_TAG);
	assert_memory_not_equal(one, elsewhere, 5 + RT_CIPHER_TAG);
	assert_memory_not_equal(one, index, 5 + RT_CIPHER_TAG);
	seal(key, RT_CIPHER_CHUNK, "", "hellp", two);
	assert_memory_not_equal(one + RT_CIPHER_TAG, two + RT_CIPHER_TAG, 4); /* not even the letters they have in common */
}

/* Other versions of rt must be able to read it. The bytes were made by another library (RFC 5297 with the components "" and "c", key by RFC 5869). */
static void what_is_sealed_does_not_change_with_versions(void **state)
{
	static const uint8_t known[5 + RT_CIPHER_TAG] = {
		0x2d, 0xe3, 0x0f, 0x13, 0x9a, 0x33, 0x9f, 0x5c, 0x76, 0xc6, 0x03, 0x0d, 0x13, 0x1f, 0xc5, 0xc9,
		0x76, 0x62, 0x9e, 0xda, 0x51,
	};
	uint8_t sealed[SIZE];

	seal(key, RT_CIPHER_CHUNK, "", "hello", sealed);
	assert_memory_equal(sealed, known, sizeof(known));
}

static void any_change_is_found(void **state)
{
	uint8_t sealed[SIZE];

	seal(key, RT_CIPHER_INDEX, "beside", "hello", sealed);
	for (size_t bit = 0; bit < 8 * (5 + RT_CIPHER_TAG); bit++) {
		sealed[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_false(opens(key, RT_CIPHER_INDEX, "beside", sealed, 5 + RT_CIPHER_TAG));
		sealed[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (size_t size = 0; size < 5 + RT_CIPHER_TAG; size++)
		assert_false(opens(key, RT_CIPHER_INDEX, "beside", sealed, size));
	assert_false(opens(other, RT_CIPHER_INDEX, "beside", sealed, 5 + RT_CIPHER_TAG));
	assert_false(opens(key, RT_CIPHER_CHUNK, "beside", sealed, 5 + RT_CIPHER_TAG));
	assert_false(opens(key, RT_CIPHER_INDEX, "besidf", sealed, 5 + RT_CIPHER_TAG));
	assert_false(opens(key, RT_CIPHER_INDEX, "", sealed, 5 + RT_CIPHER_TAG));
	assert_true(opens(key, RT_CIPHER_INDEX, "beside", sealed, 5 + RT_CIPHER_TAG));
}

static void a_key_file_is_32_bytes_for_its_owner_alone(void **state)
{
	char path[] = "/tmp/rt-test-XXXXXX";
	int fd = mkstemp(path);
	uint8_t read[RT_KEY_SIZE];
	struct rt_error *err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, key, 31), 31);
	err = rt_key_read(path, read);
	assert_non_null(strstr(err->message, "must be a file of 32 bytes"));
	rt_error_free(err);
	assert_int_equal(write(fd, "", 1), 1);
	assert_null(rt_key_read(path, read));
	assert_memory_equal(read, key, RT_KEY_SIZE);
	assert_int_equal(fchmod(fd, 0640), 0);
	err = rt_key_read(path, read);
	assert_non_null(strstr(err->message, "open to others"));
	rt_error_free(err);
	close(fd);
	unlink(path);
	err = rt_key_read(path, read);
	assert_int_equal(err->errnum, ENOENT);
	rt_error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_the_same_is_sealed_the_same_under_one_key_alone),
		cmocka_unit_test(what_is_sealed_does_not_change_with_versions),
		cmocka_unit_test(any_change_is_found),
		cmocka_unit_test(a_key_file_is_32_bytes_for_its_owner_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
