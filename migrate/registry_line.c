/* A request to the registry and its answer: authorization, redirects, and what it says when it refuses. */
#include "migrate/registry_private.h"

#include "migrate/http_parse.h"
#include "migrate/http_secret.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"

#include <time.h>

#define REDIRECTS_MAX 5
#define PAUSES_MAX 3

struct rt_error *rt_registry_line_open(struct rt_registry *registry, struct rt_registry_line **ret)
{
	struct rt_registry_line *line = calloc(1, sizeof(*line));
	struct rt_error *err;

	if (!line)
		return rt_error_oom();
	line->registry = registry;
	err = rt_http_connect(registry->client, &line->connection);
	if (err) {
		rt_registry_line_close(line);
		return err;
	}
	*ret = line;
	return NULL;
}

static void close_other(struct rt_registry_line *line)
{
	rt_http_disconnect(line->other);
	rt_http_client_free(line->other_client);
	line->other = NULL;
	line->other_client = NULL;
	*line->elsewhere = '\0';
}

void rt_registry_line_close(struct rt_registry_line *line)
{
	if (!line)
		return;
	close_other(line);
	rt_http_disconnect(line->connection);
	free(line);
}

/* ---- refusals ---- */

/* {"errors": [{"code": "DENIED", "message": "..."}]} */
static bool error_of_json(const struct rt_http_answer *answer, char *ret, size_t room)
{
	_cleanup_json_ json_t *json = json_loadb(answer->body, answer->size, 0, NULL);
	const json_t *first = json_array_get(json_object_get(json, "errors"), 0);
	const char *code = json_string_value(json_object_get(first, "code")), *message = json_string_value(json_object_get(first, "message"));
	char text[1024];

	if (!code && !message)
		return false;
	snprintf(text, sizeof(text), "%.200s%s%.500s", code ? code : "", code && message ? ": " : "", message ? message : "");
	rt_http_sentence(text, strlen(text), ret, room);
	return true;
}

struct rt_error *rt_registry_refused(const struct rt_registry *registry, const struct rt_http_request *request, const struct rt_http_answer *answer)
{
	_cleanup_free_ char *known = NULL;
	char sentence[1024] = "";
	struct rt_error *err;

	if (answer->body && !error_of_json(answer, sentence, sizeof(sentence)))
		rt_http_sentence(answer->body, answer->size < 200 ? answer->size : 200, sentence, sizeof(sentence));
	if (answer->status == 401 || answer->status == 403) {
		const char *where = registry->credentials.where;

		err = where ? rt_format(&known, ", with the credentials in '%s'", where) : rt_format(&known, ", without credentials");
		if (err)
			return err;
	}
	return rt_fail(RT_PEER, "registry '%s': %s%s(status %u of %s %.*s%s)", registry->reference->host, sentence, *sentence ? " " : "", answer->status,
		       request->method, rt_http_path_shown(request->path), request->path, known ? known : "");
}

/* ---- asking ---- */

#define HEADERS_MAX 4

static struct rt_error *ask_on(struct rt_registry_line *line, struct rt_http_connection *connection, const struct rt_http_request *request,
			       struct rt_http_answer *ret)
{
	struct rt_error *err;

	line->answered = connection;
	err = rt_http_ask(connection, request, RT_HTTP_ANY_STATUS, ret);
	line->broken = err != NULL;
	return err;
}

/* `request` with one header more. */
static struct rt_error *ask_as(struct rt_registry_line *line, const struct rt_http_request *request, const char *authorization, struct rt_http_answer *ret)
{
	const char *headers[HEADERS_MAX + 1] = { NULL };
	struct rt_http_request with = *request;
	size_t count = 0;

	while (request->headers && request->headers[count] && count < HEADERS_MAX - 1) {
		headers[count] = request->headers[count];
		count++;
	}
	headers[count] = authorization;
	with.headers = headers;
	return ask_on(line, line->connection, &with, ret);
}

/* The header as it is now; another thread may renew it. */
static struct rt_error *borrow_authorization(struct rt_registry *registry, char **ret, unsigned *ret_generation)
{
	struct rt_error *err = NULL;

	pthread_mutex_lock(&registry->lock);
	*ret_generation = registry->generation;
	*ret = registry->authorization ? strdup(registry->authorization) : NULL;
	if (registry->authorization && !*ret)
		err = rt_error_oom();
	pthread_mutex_unlock(&registry->lock);
	return err;
}

/* Large registries say so now and then, to who asks much. */
static bool is_busy(unsigned status)
{
	return status == 429 || status == 502 || status == 503 || status == 504;
}

void rt_registry_wait(unsigned number)
{
	long ms = 200;

	while (number-- > 0)
		ms *= 3;
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

struct rt_error *rt_registry_ask(struct rt_registry_line *line, struct rt_http_request *request, struct rt_http_answer *ret)
{
	struct rt_registry *registry = line->registry;
	unsigned pauses = 0;
	bool again = false;

	for (;;) {
		_cleanup_(rt_secret_freep) char *authorization = NULL;
		struct rt_http_answer answer = { 0 };
		unsigned generation;
		struct rt_error *err = borrow_authorization(registry, &authorization, &generation);

		if (!err)
			err = ask_as(line, request, authorization, &answer);
		if (err)
			return err;
		if (answer.status != 401 && !(is_busy(answer.status) && pauses < PAUSES_MAX)) {
			*ret = answer;
			return NULL;
		}
		if (answer.status != 401) {
			free(answer.body);
			rt_registry_wait(pauses++);
			continue;
		}
		if (again)
			err = rt_registry_refused(registry, request, &answer);
		else
			err = rt_registry_authorize(registry, line->connection, generation);
		again = true;
		free(answer.body);
		if (err)
			return err;
	}
}

/* ---- redirects ---- */

static bool is_redirect(unsigned status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static struct rt_error *connect_elsewhere(struct rt_registry_line *line, const struct rt_registry_url *url)
{
	struct rt_http_client_options options = {
		.url = url->origin, .ca_file = line->registry->options.ca_file, .insecure = line->registry->options.plain_http,
	};
	struct rt_error *err;

	if (line->other && rt_str_equal(line->elsewhere, url->origin))
		return NULL;
	close_other(line);
	err = rt_http_client_new(&options, &line->other_client);
	if (!err)
		err = rt_http_connect(line->other_client, &line->other);
	if (!err)
		strcpy(line->elsewhere, url->origin);
	return err;
}

static struct rt_error *where_to(const struct rt_registry_line *line, const char *origin, const char *target, struct rt_registry_url *ret)
{
	const char *location = rt_http_header(line->answered, "Location", 0);
	const struct rt_registry *registry = line->registry;

	if (!location || !rt_registry_resolve(origin, target, location, ret))
		return rt_fail(RT_PEER, "registry '%s': it sends us elsewhere, but not to a URL", registry->reference->host);
	if (registry->https && !ret->https)
		return rt_fail(RT_PEER, "registry '%s': it sends us from https to '%s'", registry->reference->host, ret->origin);
	return NULL;
}

/* To another origin goes nothing of who we are. */
static struct rt_error *follow(struct rt_registry_line *line, const struct rt_http_request *request, const struct rt_registry_url *url,
			       struct rt_http_answer *ret)
{
	struct rt_http_request there = *request;
	struct rt_error *err;

	there.path = url->target;
	if (rt_str_equal(url->origin, line->registry->origin))
		return rt_registry_ask(line, &there, ret);
	err = connect_elsewhere(line, url);
	if (err)
		return rt_while(err, "registry '%s': it sends us to another host", line->registry->reference->host);
	return ask_on(line, line->other, &there, ret);
}

struct rt_error *rt_registry_fetch(struct rt_registry_line *line, struct rt_http_request *request, struct rt_http_answer *ret)
{
	struct rt_registry_url at, next;
	struct rt_http_answer answer = { 0 };
	struct rt_error *err = rt_registry_ask(line, request, &answer);

	if (!err && !rt_registry_resolve(line->registry->origin, "/", request->path, &at))
		err = rt_fail(RT_USAGE, "'%.*s' is no path", rt_http_path_shown(request->path), request->path);
	for (int i = 0; !err && is_redirect(answer.status); i++) {
		free(rt_take_ptr(answer.body));
		if (i == REDIRECTS_MAX)
			return rt_fail(RT_PEER, "registry '%s': it sends us elsewhere again and again", line->registry->reference->host);
		err = where_to(line, at.origin, at.target, &next);
		if (!err)
			err = follow(line, request, &next, &answer);
		at = next;
	}
	if (err)
		free(answer.body);
	else
		*ret = answer;
	return err;
}
