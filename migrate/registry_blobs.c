/* What is asked of a registry (the OCI distribution specification): is a blob there, put it there, get it, and the same for the manifest. */
#include "migrate/registry_private.h"

#include "migrate/http_parse.h"
#include "migrate/registry_manifest.h"
#include "runtime/base/str.h"

/* A blob may take as long as this rate makes of it. */
#define SLOWEST_BYTES_PER_MS 16u
#define TIMEOUT_MS 60000u
#define MANIFEST_TIMEOUT_MS 600000u
#define LINES 8
#define TRIES 3

static unsigned timeout_for(uint64_t size)
{
	return TIMEOUT_MS + (unsigned)(size / SLOWEST_BYTES_PER_MS);
}

static struct rt_error *path_of(const struct rt_registry_line *line, const char *kind, const char *name, char **ret)
{
	return rt_format(ret, "/v2/%s/%s/%s", line->registry->reference->repository, kind, name);
}

/* ---- blobs ---- */

struct rt_error *rt_registry_has_blob(struct rt_registry_line *line, const char *digest, uint64_t size, bool *ret)
{
	struct rt_http_request request = { .method = "HEAD", .timeout_ms = TIMEOUT_MS };
	struct rt_http_answer answer = { 0 };
	_cleanup_free_ char *path = NULL;
	const char *length;
	struct rt_error *err = path_of(line, "blobs", digest, &path);
	uint64_t told;

	if (err)
		return err;
	request.path = path;
	err = rt_registry_fetch(line, &request, &answer);
	if (err)
		return err;
	length = rt_http_header(line->answered, "Content-Length", 0);
	if (answer.status == 404)
		*ret = false;
	else if (answer.status != 200)
		err = rt_registry_refused(line->registry, &request, &answer);
	else if (length && rt_str_to_u64(length, &told) && told != size)
		err = rt_fail(RT_PEER, "registry '%s': its blob '%s' has %s bytes, and not %llu", line->registry->reference->host, digest, length,
			      (unsigned long long)size);
	else
		*ret = true;
	free(answer.body);
	return err;
}

/* Where the bytes are to go: a path of the registry's, with the digest appended. What a container held in its memory is sent to nobody else. */
static struct rt_error *begin_upload(struct rt_registry_line *line, const char *digest, char **ret)
{
	const struct rt_registry *registry = line->registry;
	struct rt_http_request request = { .method = "POST", .timeout_ms = TIMEOUT_MS, .repeatable = true };
	struct rt_http_answer answer = { 0 };
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = path_of(line, "blobs", "uploads/", &path);
	struct rt_registry_url url;
	const char *location;

	request.path = path;
	if (!err)
		err = rt_registry_ask(line, &request, &answer);
	if (err)
		return err;
	location = rt_http_header(line->connection, "Location", 0);
	if (answer.status != 202)
		err = rt_registry_refused(registry, &request, &answer);
	else if (!location || !rt_registry_resolve(registry->origin, path, location, &url))
		err = rt_fail(RT_PEER, "registry '%s': it doesn't say where to put a blob", registry->reference->host);
	else if (!rt_str_equal(url.origin, registry->origin))
		err = rt_fail(RT_PEER, "registry '%s': it wants a blob put to another host, '%s'", registry->reference->host, url.origin);
	else
		err = rt_format(ret, "%s%cdigest=sha256%%3A%s", url.target, strchr(url.target, '?') ? '&' : '?', digest + strlen("sha256:"));
	free(answer.body);
	return err;
}

/* Where the connection broke, or a proxy of the registry's answered in its place, the bytes were sent again, to an upload that the first time may have ended. */
static struct rt_error *look_after(struct rt_registry_line *line, const char *digest, size_t size, struct rt_error *refusal)
{
	bool there = false;

	rt_error_free(rt_registry_has_blob(line, digest, size, &there));
	return there ? rt_error_free(refusal) : refusal;
}

struct rt_error *rt_registry_put_blob(struct rt_registry_line *line, const char *digest, const void *bytes, size_t size)
{
	struct rt_http_request request = { .method = "PUT", .body = bytes, .body_size = size, .repeatable = true, .timeout_ms = timeout_for(size) };
	struct rt_http_answer answer = { 0 };
	_cleanup_free_ char *target = NULL;
	struct rt_error *err = begin_upload(line, digest, &target);

	request.path = target;
	if (!err)
		err = rt_registry_ask(line, &request, &answer);
	if (!err && answer.status != 201)
		err = rt_registry_refused(line->registry, &request, &answer);
	if (err && answer.status == 404)
		err = look_after(line, digest, size, err);
	free(answer.body);
	return err;
}

struct receipt {
	const char *host, *digest;
	uint8_t *bytes;
	size_t size, got, room;
	bool too_much;
};

/* Grows with what comes: the size is only what somebody says it is. */
static struct rt_error *receive(void *userdata, const void *bytes, size_t size, bool *ret_enough)
{
	struct receipt *receipt = userdata;

	receipt->too_much = size > receipt->size - receipt->got;
	if (receipt->too_much)
		return rt_fail(RT_PEER, "it sends more than %zu bytes", receipt->size);
	if (receipt->got + size > receipt->room) {
		size_t room = 2 * (receipt->got + size);
		uint8_t *more = realloc(receipt->bytes, room < receipt->size ? room : receipt->size);

		if (!more)
			return rt_error_oom();
		receipt->bytes = more;
		receipt->room = room < receipt->size ? room : receipt->size;
	}
	memcpy(receipt->bytes + receipt->got, bytes, size);
	receipt->got += size;
	return NULL;
}

static struct rt_error *check_receipt(const struct receipt *receipt)
{
	char own[80];

	if (receipt->got != receipt->size)
		return rt_fail(RT_PEER, "registry '%s': blob '%s' has %zu bytes, and not %zu", receipt->host, receipt->digest, receipt->got, receipt->size);
	rt_registry_digest_bytes(receipt->bytes, receipt->got, own);
	if (!rt_str_equal(own, receipt->digest))
		return rt_fail(RT_PEER, "registry '%s': blob '%s' is something else: its digest is '%s'", receipt->host, receipt->digest, own);
	return NULL;
}

/* A pull of hours shall not end with one connection. What came whole, but is wrong, is no better the next time. */
static struct rt_error *fetch_blob(struct rt_registry_line *line, const struct rt_http_request *request, struct receipt *receipt, struct rt_http_answer *answer)
{
	struct rt_error *err = NULL;

	for (unsigned i = 0; i < TRIES; i++) {
		struct rt_http_request once = *request;

		rt_error_free(err);
		receipt->got = 0;
		line->broken = false;
		err = rt_registry_fetch(line, &once, answer);
		if (!err || !line->broken || receipt->too_much)
			break;
		if (i + 1 < TRIES)
			rt_registry_wait(i);
	}
	return err;
}

struct rt_error *rt_registry_get_blob(struct rt_registry_line *line, const char *digest, size_t size, uint8_t **ret)
{
	struct receipt receipt = { .host = line->registry->reference->host, .digest = digest, .size = size };
	struct rt_http_request request = { .method = "GET", .push = receive, .push_userdata = &receipt, .timeout_ms = timeout_for(size) };
	struct rt_http_answer answer = { 0 };
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = path_of(line, "blobs", digest, &path);

	request.path = path;
	if (!err)
		err = fetch_blob(line, &request, &receipt, &answer);
	if (!err && answer.status != 200)
		err = rt_registry_refused(line->registry, &request, &answer);
	if (!err)
		err = check_receipt(&receipt);
	free(answer.body);
	if (err)
		free(receipt.bytes);
	else
		*ret = receipt.bytes;
	return err;
}

/* ---- the manifest ---- */

/* Some registries look at each of its blobs before they answer, and they may be thousands. */
struct rt_error *rt_registry_put_manifest(struct rt_registry_line *line, const char *type, const void *bytes, size_t size)
{
	struct rt_http_request request = {
		.method = "PUT", .body = bytes, .body_size = size, .content_type = type, .repeatable = true, .may_stall = true, .timeout_ms = MANIFEST_TIMEOUT_MS,
	};
	struct rt_http_answer answer = { 0 };
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = path_of(line, "manifests", line->registry->reference->tag, &path);

	request.path = path;
	if (!err)
		err = rt_registry_ask(line, &request, &answer);
	if (!err && answer.status != 201)
		err = rt_registry_refused(line->registry, &request, &answer);
	free(answer.body);
	return err;
}

/* "application/x; charset=utf-8" is of the type "application/x". */
static bool is_type(const char *header, const char *type)
{
	size_t length = header ? strcspn(header, "; \t") : 0;

	return length == strlen(type) && strncmp(header, type, length) == 0;
}

static struct rt_error *check_manifest(const struct rt_registry_line *line, const char *type, const struct rt_http_answer *answer)
{
	const struct rt_registry_reference *reference = line->registry->reference;
	const char *told = rt_http_header(line->answered, "Docker-Content-Digest", 0), *header = rt_http_header(line->answered, "Content-Type", 0);
	char own[80], shown[128] = "none";

	if (header)
		rt_http_sentence(header, strlen(header), shown, sizeof(shown));
	if (!is_type(header, type))
		return rt_fail(RT_PEER, "registry '%s': what '%s' names is no snapshot: its media type is '%s'", reference->host, reference->tag, shown);
	rt_registry_digest_bytes(answer->body, answer->size, own);
	if (told && rt_registry_digest_valid(told) && !rt_str_equal(told, own))
		return rt_fail(RT_PEER, "registry '%s': the manifest is something else than it says: its digest is '%s'", reference->host, own);
	if (reference->by_digest && !rt_str_equal(reference->tag, own))
		return rt_fail(RT_PEER, "registry '%s': the manifest is something else than was asked for: its digest is '%s'", reference->host, own);
	return NULL;
}

struct rt_error *rt_registry_get_manifest(struct rt_registry_line *line, const char *type, size_t limit, char **ret, size_t *ret_size)
{
	_cleanup_free_ char *path = NULL, *accept = NULL;
	const char *headers[] = { NULL, NULL };
	struct rt_http_request request = { .method = "GET", .headers = headers, .answer_max = limit, .timeout_ms = timeout_for(limit) };
	struct rt_http_answer answer = { 0 };
	struct rt_error *err = path_of(line, "manifests", line->registry->reference->tag, &path);

	if (!err)
		err = rt_format(&accept, "Accept: %s", type);
	request.path = path;
	headers[0] = accept;
	if (!err)
		err = rt_registry_fetch(line, &request, &answer);
	if (!err && answer.status != 200)
		err = rt_registry_refused(line->registry, &request, &answer);
	if (!err)
		err = check_manifest(line, type, &answer);
	if (err) {
		free(answer.body);
		return err;
	}
	*ret = answer.body;
	*ret_size = answer.size;
	return NULL;
}

/* ---- many at once ---- */

struct crew {
	struct rt_registry *registry;
	rt_registry_each_fn each;
	void *userdata;
	size_t count;
	pthread_mutex_t lock; /* of what follows */
	size_t next;
	struct rt_error *err; /* the first */
};

static bool take_number(struct crew *crew, struct rt_error *err, size_t *ret)
{
	bool more;

	pthread_mutex_lock(&crew->lock);
	if (err && !crew->err)
		crew->err = rt_take_ptr(err);
	more = !crew->err && crew->next < crew->count;
	if (more)
		*ret = crew->next++;
	pthread_mutex_unlock(&crew->lock);
	rt_error_free(err);
	return more;
}

static void *work(void *userdata)
{
	struct crew *crew = userdata;
	_cleanup_(rt_registry_line_closep) struct rt_registry_line *line = NULL;
	struct rt_error *err = rt_registry_line_open(crew->registry, &line);
	size_t number;

	while (take_number(crew, err, &number))
		err = crew->each(crew->userdata, line, number);
	return NULL;
}

struct rt_error *rt_registry_each(struct rt_registry *registry, size_t count, rt_registry_each_fn each, void *userdata)
{
	struct crew crew = { .registry = registry, .each = each, .userdata = userdata, .count = count };
	pthread_t threads[LINES];
	size_t started = 0;

	pthread_mutex_init(&crew.lock, NULL);
	/* This one works as well, so that it goes on where no thread can be made. */
	while (started < LINES - 1 && started + 1 < count && pthread_create(&threads[started], NULL, work, &crew) == 0)
		started++;
	work(&crew);
	while (started > 0)
		pthread_join(threads[--started], NULL);
	pthread_mutex_destroy(&crew.lock);
	return crew.err;
}
