#include "migrate/registry_credentials.h"

#include "migrate/http_secret.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)
#define SECRET_MAX (64u << 10)

void rt_registry_credentials_deinit(struct rt_registry_credentials *credentials)
{
	rt_secret_free(credentials->basic);
	rt_secret_free(credentials->identity);
	free(credentials->where);
	free(credentials->helper);
	*credentials = (struct rt_registry_credentials){ 0 };
}

/* ---- one file ---- */

/* What a key says, without what some write around it: "https://HOST/v1/" is HOST. */
static size_t bare(const char **key)
{
	const char *text = *key, *scheme = strstr(text, "://");
	size_t length;

	if (!scheme) {
		length = strlen(text);
		return length > 0 && text[length - 1] == '/' ? length - 1 : length;
	}
	*key = scheme + 3;
	return strcspn(*key, "/");
}

/* How much of "HOST/REPOSITORY" the key is; 0: it is for something else. */
static size_t fits(const char *key, const char *place)
{
	size_t length = bare(&key);

	return strncmp(key, place, length) == 0 && (place[length] == '/' || !place[length]) ? length : 0;
}

static struct rt_json best_entry(const struct rt_json *object, const char *place)
{
	struct rt_json best = { .value = NULL };
	size_t length = 0;
	const char *key;
	json_t *value;

	json_object_foreach(object->value, key, value) {
		size_t fit = fits(key, place);

		if (fit <= length)
			continue;
		length = fit;
		best = rt_json_field(object, key);
	}
	return best;
}

/* "user:password" in base64, as it is sent: no line of a header of its own can hide in it. */
static bool basic_valid(const char *text)
{
	_cleanup_free_ uint8_t *decoded = NULL;
	size_t length = strlen(text), size;
	struct base64_decode_ctx context;
	bool fine;

	if (length == 0 || length > SECRET_MAX || strpbrk(text, " \t\r\n"))
		return false;
	size = BASE64_DECODE_LENGTH(length);
	decoded = malloc(size + 1);
	base64_decode_init(&context);
	fine = decoded && base64_decode_update(&context, &size, decoded, length, text) && base64_decode_final(&context) && memchr(decoded, ':', size);
	if (decoded)
		explicit_bzero(decoded, BASE64_DECODE_LENGTH(length) + 1);
	return fine;
}

static struct rt_error *take_entry(const struct rt_json *entry, struct rt_registry_credentials *ret)
{
	const char *basic = NULL, *identity = NULL;
	struct rt_error *err = rt_json_get_string(entry, "auth", &basic);

	if (!err)
		err = rt_json_get_string(entry, "identitytoken", &identity);
	if (err)
		return err;
	if (basic && *basic) {
		if (!basic_valid(basic))
			return rt_json_fail(entry, "auth", "must be USER:PASSWORD in base64");
		ret->basic = strdup(basic);
	}
	if (identity && *identity)
		ret->identity = strdup(identity);
	return (basic && *basic && !ret->basic) || (identity && *identity && !ret->identity) ? rt_error_oom() : NULL;
}

static struct rt_error *take_helper(const struct rt_json *root, const char *place, struct rt_registry_credentials *ret)
{
	struct rt_json helpers, best;
	const char *name = NULL;
	struct rt_error *err = rt_json_get_object(root, "credHelpers", &helpers);

	if (err)
		return err;
	best = best_entry(&helpers, place);
	if (best.value)
		err = rt_json_as_string(&best, &name);
	else
		err = rt_json_get_string(root, "credsStore", &name);
	if (err || !name || !*name)
		return err;
	ret->helper = strdup(name);
	return ret->helper ? NULL : rt_error_oom();
}

/* Strings of the document are secrets. */
static void wipe(json_t *value)
{
	const char *key;
	json_t *below;

	if (json_is_string(value))
		explicit_bzero((char *)json_string_value(value), json_string_length(value));
	json_object_foreach(value, key, below)
		wipe(below);
}

static struct rt_error *read_document(json_t *document, const char *place, struct rt_registry_credentials *ret)
{
	struct rt_json root = rt_json_root(document), auths, entry;
	struct rt_error *err = rt_json_get_object(&root, "auths", &auths);

	if (err)
		return err;
	entry = best_entry(&auths, place);
	if (entry.value && !json_is_object(entry.value))
		return rt_json_fail(&entry, NULL, "must be an object");
	if (entry.value)
		err = take_entry(&entry, ret);
	return err || ret->basic || ret->identity ? err : take_helper(&root, place, ret);
}

struct rt_error *rt_registry_read_credentials(const char *text, size_t size, const char *host, const char *repository,
					      struct rt_registry_credentials *ret)
{
	_cleanup_free_ char *place = NULL;
	json_error_t why;
	json_t *document;
	struct rt_error *err = rt_format(&place, "%s/%s", host, repository);

	if (err)
		return err;
	/* Not by rt_json_parse(), whose errors quote what stands near the place. */
	document = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(document))
		err = rt_fail(RT_CONFIG, "line %d: it is no JSON object", document ? 1 : why.line);
	else
		err = read_document(document, place, ret);
	wipe(document);
	json_decref(document);
	return err;
}

/* ---- which file ---- */

static struct rt_error *look_into(const char *path, bool named, const char *host, const char *repository, struct rt_registry_credentials *ret)
{
	_cleanup_(rt_secret_freep) char *text = NULL;
	size_t size;
	struct rt_error *err = rt_read_file_at(AT_FDCWD, path, FILE_MAX, &text, &size);

	if (err && !named && (err->errnum == ENOENT || err->errnum == ENOTDIR || err->errnum == EACCES))
		return rt_error_free(err);
	if (!err)
		err = rt_registry_read_credentials(text, size, host, repository, ret);
	if (!err && (ret->basic || ret->identity || ret->helper)) {
		ret->where = strdup(path);
		err = ret->where ? NULL : rt_error_oom();
	}
	return err ? rt_while(err, "the credentials in '%s'", path) : NULL;
}

struct candidate {
	const char *variable, *below; /* a directory of the environment, and the file in it */
};

static struct rt_error *search(const char *host, const char *repository, struct rt_registry_credentials *ret)
{
	static const struct candidate candidates[] = {
		{ "XDG_RUNTIME_DIR", "/containers/auth.json" }, { "", "" },
		{ "XDG_CONFIG_HOME", "/containers/auth.json" }, { "HOME", "/.config/containers/auth.json" },
		{ "DOCKER_CONFIG", "/config.json" },	       { "HOME", "/.docker/config.json" },
	};
	struct rt_error *err = NULL;

	for (size_t i = 0; i < sizeof(candidates) / sizeof(*candidates) && !err && !ret->where; i++) {
		const struct candidate *candidate = &candidates[i];
		const char *directory = *candidate->variable ? getenv(candidate->variable) : NULL;
		_cleanup_free_ char *path = NULL;

		if (*candidate->variable && (!directory || *directory != '/'))
			continue;
		err = directory ? rt_format(&path, "%s%s", directory, candidate->below) :
				  rt_format(&path, "/run/containers/%u/auth.json", (unsigned)getuid());
		if (!err)
			err = look_into(path, false, host, repository, ret);
	}
	return err;
}

struct rt_error *rt_registry_find_credentials(const char *authfile, const char *host, const char *repository, struct rt_registry_credentials *ret)
{
	struct rt_registry_credentials credentials = { 0 };
	const char *named = authfile ? authfile : getenv("REGISTRY_AUTH_FILE");
	struct rt_error *err;

	err = named && *named ? look_into(named, true, host, repository, &credentials) : search(host, repository, &credentials);
	if (err) {
		rt_registry_credentials_deinit(&credentials);
		return err;
	}
	*ret = credentials;
	return NULL;
}
