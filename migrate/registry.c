/* Finding the registry, and who we are to it: Basic, or a token from where its challenge says (the Docker token protocol that the distribution specification
 * leaves to its implementations). */
#include "migrate/registry_private.h"

#include "migrate/http_parse.h"
#include "migrate/http_secret.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <ctype.h>
#include <curl/curl.h>

#define TOKEN_MAX (32u << 10)
#define TIMEOUT_MS 60000

static void free_curl(char **text)
{
	curl_free(*text);
}
#define _cleanup_curl_ _cleanup_(free_curl)

static void free_url(CURLU **url)
{
	curl_url_cleanup(*url);
}

static char *part(CURLU *url, CURLUPart what)
{
	char *text = NULL;

	return curl_url_get(url, what, &text, what == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) == CURLUE_OK ? text : NULL;
}

bool rt_registry_resolve(const char *origin, const char *target, const char *reference, struct rt_registry_url *ret)
{
	_cleanup_(free_url) CURLU *url = curl_url();
	_cleanup_curl_ char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *query = NULL, *user = NULL;
	_cleanup_free_ char *base = NULL, *told = strdup(reference);
	struct rt_error *err = rt_format(&base, "%s%s", origin, target);
	int length;

	if (err || !url || !told) {
		rt_error_free(err);
		return false;
	}
	/* A fragment is not sent; a relative reference would take it along. */
	told[strcspn(told, "#")] = '\0';
	if (curl_url_set(url, CURLUPART_URL, base, 0) != CURLUE_OK || curl_url_set(url, CURLUPART_URL, told, 0) != CURLUE_OK)
		return false;
	scheme = part(url, CURLUPART_SCHEME);
	host = part(url, CURLUPART_HOST);
	port = part(url, CURLUPART_PORT);
	path = part(url, CURLUPART_PATH);
	query = part(url, CURLUPART_QUERY);
	user = part(url, CURLUPART_USER);
	if (!scheme || !host || !port || user || (!rt_str_equal(scheme, "https") && !rt_str_equal(scheme, "http")))
		return false;
	for (char *at = host; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	ret->https = rt_str_equal(scheme, "https");
	length = snprintf(ret->origin, sizeof(ret->origin), "%s://%s:%s", scheme, host, port);
	if (length < 0 || (size_t)length >= sizeof(ret->origin))
		return false;
	length = snprintf(ret->target, sizeof(ret->target), "%s%s%s", path && *path ? path : "/", query ? "?" : "", query ? query : "");
	return length > 0 && (size_t)length < sizeof(ret->target);
}

/* ---- who we are ---- */

static struct rt_error *refuse_us(const struct rt_registry *registry, const char *why)
{
	const struct rt_registry_credentials *known = &registry->credentials;

	if (known->helper)
		return rt_fail(RT_PEER, "registry '%s': %s: '%s' leaves the password to 'docker-credential-%.64s', which is not asked: "
					"log in with a file", registry->reference->host, why, known->where, known->helper);
	if (!known->basic && !known->identity)
		return rt_fail(RT_PEER, "registry '%s': %s, and no credentials for it were found ('--authfile')", registry->reference->host, why);
	return rt_fail(RT_PEER, "registry '%s': %s with the credentials in '%s'", registry->reference->host, why, known->where);
}

/* Printable and without blanks: no header of its own can hide in it. */
static bool token_valid(const char *token)
{
	size_t length = strlen(token);

	for (size_t i = 0; i < length; i++)
		if (token[i] <= ' ' || token[i] > '~')
			return false;
	return length > 0 && length <= TOKEN_MAX;
}

static struct rt_error *read_token(const struct rt_registry *registry, const struct rt_http_answer *answer, char **ret)
{
	_cleanup_json_ json_t *json = json_loadb(answer->body, answer->size, JSON_REJECT_DUPLICATES, NULL);
	struct rt_json root = rt_json_root(json_is_object(json) ? json : NULL);
	const char *token = NULL;
	struct rt_error *err = rt_json_get_string(&root, "token", &token);

	if (!err && !token)
		err = rt_json_get_string(&root, "access_token", &token);
	if (!err && (!token || !token_valid(token)))
		err = rt_fail(RT_PEER, "there is none in the answer");
	if (!err)
		err = rt_format(ret, "Authorization: Bearer %s", token);
	return err ? rt_while(err, "registry '%s': the token", registry->reference->host) : NULL;
}

static void wipe_curl(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	curl_free(*text);
}

/* name=value, escaped. Both may be secrets. */
static struct rt_error *append_field(char **text, char separator, const char *name, const char *value)
{
	_cleanup_(wipe_curl) char *escaped = curl_easy_escape(NULL, value, 0);
	_cleanup_(rt_secret_freep) char *before = *text;

	*text = NULL;
	return escaped ? rt_format(text, "%s%c%s=%s", before, separator, name, escaped) : rt_error_oom();
}

/* What we need, not what a challenge names: that of /v2/ may name a repository of nobody's, that of a HEAD only the right to read. */
static struct rt_error *make_scope(const struct rt_registry *registry, char **ret)
{
	return rt_format(ret, "repository:%s:%s", registry->reference->repository, registry->options.push ? "pull,push" : "pull");
}

/* With a password: GET, the parameters in the query. With an identity token: POST, the token in the body (OAuth 2). */
static struct rt_error *make_token_request(const struct rt_registry *registry, const struct rt_registry_challenge *challenge, char **target, char **form)
{
	const char *identity = registry->credentials.identity;
	_cleanup_free_ char *scope = NULL;
	struct rt_error *err = make_scope(registry, &scope);
	char **to = identity ? form : target;

	if (!err && identity)
		err = rt_format(form, "grant_type=refresh_token&client_id=rt");
	if (!err && *challenge->service)
		err = append_field(to, identity || strchr(*to, '?') ? '&' : '?', "service", challenge->service);
	if (!err)
		err = append_field(to, identity || strchr(*to, '?') ? '&' : '?', "scope", scope);
	if (!err && identity)
		err = append_field(to, '&', "refresh_token", identity);
	return err;
}

static struct rt_error *ask_for_token(struct rt_registry *registry, const struct rt_registry_challenge *challenge, const struct rt_registry_url *realm,
				      struct rt_http_connection *connection, char **ret)
{
	_cleanup_(rt_secret_freep) char *basic = NULL, *form = NULL;
	_cleanup_free_ char *target = strdup(realm->target);
	struct rt_http_answer answer = { 0 };
	struct rt_error *err = target ? make_token_request(registry, challenge, &target, &form) : rt_error_oom();

	if (!err && registry->credentials.basic && !form)
		err = rt_format(&basic, "Authorization: Basic %s", registry->credentials.basic);
	if (!err) {
		const char *const headers[] = { basic, NULL };
		const struct rt_http_request request = {
			.method = form ? "POST" : "GET", .path = target, .headers = headers, .repeatable = true, .timeout_ms = TIMEOUT_MS,
			.body = form, .body_size = form ? strlen(form) : 0, .content_type = "application/x-www-form-urlencoded",
			.answer_max = 2 * TOKEN_MAX,
		};

		err = rt_http_ask(connection, &request, RT_HTTP_ANY_STATUS, &answer);
		if (!err && (answer.status == 401 || answer.status == 403))
			err = refuse_us(registry, "its token service refused us");
		else if (!err && (answer.status < 200 || answer.status > 299))
			err = rt_registry_refused(registry, &request, &answer);
	}
	if (!err)
		err = read_token(registry, &answer, ret);
	if (answer.body)
		explicit_bzero(answer.body, answer.size);
	free(answer.body);
	return err;
}

/* The token's host may be another, that is how large registries do it; but it must be no less guarded than the registry. */
static struct rt_error *get_token(struct rt_registry *registry, const struct rt_registry_challenge *challenge, char **ret)
{
	struct rt_http_client_options options = { .ca_file = registry->options.ca_file, .insecure = registry->options.plain_http };
	struct rt_http_connection *connection = NULL;
	struct rt_http_client *client = NULL;
	struct rt_registry_url realm;
	struct rt_error *err;

	if (!rt_str_starts(challenge->realm, "http") || !rt_registry_resolve(registry->origin, "/", challenge->realm, &realm))
		return rt_fail(RT_PEER, "registry '%s': its token service is no URL", registry->reference->host);
	if (registry->https && !realm.https)
		return rt_fail(RT_PEER, "registry '%s': its token service '%s' is not to be had by https", registry->reference->host, realm.origin);
	options.url = realm.origin;
	err = rt_http_client_new(&options, &client);
	if (!err)
		err = rt_http_connect(client, &connection);
	if (!err)
		err = ask_for_token(registry, challenge, &realm, connection, ret);
	rt_http_disconnect(connection);
	rt_http_client_free(client);
	return err;
}

/* Some registries (Harbor) answer a token that has expired with a challenge for Basic alone: where they gave tokens before, the next one is to be had there. */
static struct rt_error *make_authorization(struct rt_registry *registry, const struct rt_http_connection *connection, char **ret)
{
	struct rt_registry_challenge challenge;
	bool basic = false, bearer = false;
	const char *header;

	for (size_t i = 0; !bearer && (header = rt_http_header(connection, "WWW-Authenticate", i)); i++) {
		if (!rt_registry_parse_challenge(header, &challenge))
			continue;
		basic = true;
		bearer = challenge.scheme == RT_REGISTRY_BEARER;
	}
	if (bearer) {
		registry->bearer = challenge;
		registry->has_bearer = true;
	}
	if (registry->has_bearer)
		return get_token(registry, &registry->bearer, ret);
	if (!basic)
		return rt_fail(RT_PEER, "registry '%s': it refused us, and asks for neither a password nor a token", registry->reference->host);
	if (!registry->credentials.basic || registry->authorization)
		return refuse_us(registry, "it refused us");
	return rt_format(ret, "Authorization: Basic %s", registry->credentials.basic);
}

struct rt_error *rt_registry_authorize(struct rt_registry *registry, const struct rt_http_connection *connection, unsigned generation)
{
	_cleanup_(rt_secret_freep) char *fresh = NULL;
	struct rt_error *err = NULL;

	pthread_mutex_lock(&registry->lock);
	if (registry->generation == generation) {
		err = make_authorization(registry, connection, &fresh);
		if (!err) {
			rt_secret_free(registry->authorization);
			registry->authorization = rt_take_ptr(fresh);
			registry->generation++;
		}
	}
	pthread_mutex_unlock(&registry->lock);
	return err;
}

/* ---- where it is ---- */

/* "[::1]:5000" is, "localhost:5000" is. */
static bool is_loopback(const char *host)
{
	bool bracketed = host[0] == '[';
	char bare[262];

	snprintf(bare, sizeof(bare), "%s", host + bracketed);
	bare[strcspn(bare, bracketed ? "]" : ":")] = '\0';
	return rt_http_host_is_loopback(bare);
}

/* *ret_status: of its answer to who has not said who they are. */
static struct rt_error *knock(struct rt_registry *registry, bool https, unsigned *ret_status)
{
	const struct rt_http_client_options options = {
		.ca_file = registry->options.ca_file, .insecure = registry->options.plain_http, .url = registry->origin,
	};
	const struct rt_http_request request = { .method = "GET", .path = "/v2/", .answer_max = 64u << 10, .timeout_ms = TIMEOUT_MS };
	_cleanup_(rt_registry_line_closep) struct rt_registry_line *line = NULL;
	struct rt_http_answer answer = { 0 };
	_cleanup_free_ char *given = NULL;
	struct rt_registry_url url;
	struct rt_error *err = rt_format(&given, "%s://%s", https ? "https" : "http", registry->reference->host);

	if (err)
		return err;
	if (!rt_registry_resolve(given, "/", "/", &url))
		return rt_fail(RT_USAGE, "'%s' is no host", registry->reference->host);
	strcpy(registry->origin, url.origin);
	registry->https = https;
	rt_http_client_free(rt_take_ptr(registry->client));
	err = rt_http_client_new(&options, &registry->client);
	if (!err)
		err = rt_registry_line_open(registry, &line);
	if (!err)
		err = rt_http_ask(line->connection, &request, RT_HTTP_ANY_STATUS, &answer);
	*ret_status = answer.status;
	free(answer.body);
	return err;
}

/* What goes to this host itself is not read on the way, and registries there rarely have a certificate. Where neither works the first error is the one that tells:
 * the second is mostly of plain http to a port that wants TLS, which answers 400 to it, if at all. */
static struct rt_error *find(struct rt_registry *registry)
{
	unsigned status = 0;
	struct rt_error *err, *plain;

	if (registry->options.plain_http)
		return knock(registry, false, &status);
	err = knock(registry, true, &status);
	if (!err || !is_loopback(registry->reference->host) || registry->options.ca_file)
		return err;
	plain = knock(registry, false, &status);
	if (!plain && status != 400)
		return rt_error_free(err);
	rt_error_free(plain);
	return err;
}

/* Before anything is read or sent, so that a wrong password is told at once. Without one there is nothing to find out: many registries answer 401 here to whoever
 * has none, and have public repositories all the same. */
static struct rt_error *sign_in(struct rt_registry *registry)
{
	struct rt_http_request request = { .method = "GET", .path = "/v2/", .answer_max = 64u << 10, .timeout_ms = TIMEOUT_MS };
	_cleanup_(rt_registry_line_closep) struct rt_registry_line *line = NULL;
	struct rt_http_answer answer = { 0 };
	struct rt_error *err = rt_registry_line_open(registry, &line);

	if (!err)
		err = rt_registry_ask(line, &request, &answer);
	if (!err && answer.status != 200)
		err = rt_registry_refused(registry, &request, &answer);
	free(answer.body);
	return err;
}

struct rt_error *rt_registry_open(const struct rt_registry_reference *reference, const struct rt_registry_options *options, struct rt_registry **ret)
{
	struct rt_registry *registry = calloc(1, sizeof(*registry));
	struct rt_error *err;

	if (!registry)
		return rt_error_oom();
	*registry = (struct rt_registry){ .reference = reference, .options = *options };
	pthread_mutex_init(&registry->lock, NULL);
	err = rt_registry_find_credentials(options->authfile, reference->host, reference->repository, &registry->credentials);
	if (!err)
		err = find(registry);
	if (!err && (registry->credentials.basic || registry->credentials.identity))
		err = sign_in(registry);
	if (err) {
		rt_registry_close(registry);
		return err;
	}
	rt_debug("registry: %s, credentials from %s", registry->origin, registry->credentials.where ? registry->credentials.where : "nowhere");
	*ret = registry;
	return NULL;
}

void rt_registry_close(struct rt_registry *registry)
{
	if (!registry)
		return;
	rt_http_client_free(registry->client);
	rt_registry_credentials_deinit(&registry->credentials);
	rt_secret_free(registry->authorization);
	pthread_mutex_destroy(&registry->lock);
	free(registry);
}
