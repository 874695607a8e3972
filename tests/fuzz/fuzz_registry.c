/* What a registry may send, a person name, and a file with credentials hold: the first byte says which. Each is refused, or what comes out can be used. */
#include "migrate/registry_challenge.h"
#include "migrate/registry_credentials.h"
#include "migrate/registry_manifest.h"
#include "migrate/registry_reference.h"

#include "runtime/base/str.h"

#include <assert.h>
#include <string.h>

static void reference(const char *text)
{
	struct rt_registry_reference place;
	struct rt_error *err = rt_registry_parse_reference(text, &place);

	if (err) {
		assert(err->code == RT_USAGE && !strchr(err->message, '\n'));
		rt_error_free(err);
		return;
	}
	/* It becomes a part of paths. */
	assert(*place.host && *place.repository && *place.tag);
	assert(!strstr(place.repository, "..") && !strstr(place.repository, "//") && !strpbrk(place.repository, "?#%\\ \r\n"));
	assert(!strpbrk(place.tag, "/?#%\\ \r\n") && *place.tag != '.');
	assert(place.by_digest == rt_registry_digest_valid(place.tag));
	assert(!strpbrk(place.host, "/@?#%\\ \r\n"));
}

static void challenge(const char *text)
{
	struct rt_registry_challenge found;

	if (!rt_registry_parse_challenge(text, &found))
		return;
	assert(strlen(found.realm) < sizeof(found.realm) && strlen(found.service) < sizeof(found.service));
	assert(found.scheme == RT_REGISTRY_BASIC || *found.realm);
}

static void manifest(const char *text, size_t size)
{
	struct rt_registry_manifest found, again;
	_cleanup_free_ char *written = NULL;
	struct rt_error *err = rt_registry_manifest_read(text, size, &found);

	if (err) {
		assert(err->code == RT_CONFIG);
		rt_error_free(err);
		return;
	}
	assert(found.bits <= RT_BUNDLE_BITS_MAX && found.index.size <= RT_SNAPSHOT_INDEX_MAX && rt_registry_digest_valid(found.index.digest));
	for (size_t i = 0; i < found.count; i++)
		assert(found.bundles[i].size <= RT_BUNDLE_BYTES && rt_registry_digest_valid(found.bundles[i].digest));
	found.name = strdup("x");
	found.created = strdup("y");
	err = rt_registry_manifest_write(&found, &written);
	assert(!err);
	err = rt_registry_manifest_read(written, strlen(written), &again);
	assert(!err && again.count == found.count && again.bits == found.bits);
	rt_registry_manifest_deinit(&found);
	rt_registry_manifest_deinit(&again);
}

static void credentials(const char *text, size_t size)
{
	struct rt_registry_credentials found = { 0 };
	struct rt_error *err = rt_registry_read_credentials(text, size, "host.x", "team/web", &found);

	/* It becomes a header. */
	if (!err && found.basic)
		assert(!strpbrk(found.basic, " \r\n") && *found.basic);
	rt_error_free(err);
	rt_registry_credentials_deinit(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);

	if (!text || size == 0)
		return 0;
	memcpy(text, bytes + 1, size - 1);
	text[size - 1] = '\0';
	switch (bytes[0] % 4) {
	case 0: reference(text); break;
	case 1: challenge(text); break;
	case 2: manifest(text, size - 1); break;
	case 3: credentials(text, size - 1); break;
	}
	return 0;
}
