#include "migrate/http_request.h"

#include "migrate/http_parse.h"
#include "runtime/base/str.h"

#include <sys/socket.h>

#define HEAD_SIZE_MAX (64u << 10)
/* Of an answer that tells what went wrong. */
#define SENTENCE_MAX (64u << 10)
#define POLL_MS 100

static void note_activity(struct rt_http_connection *connection)
{
	connection->last_ns = rt_http_client_now_ns();
}

/* Keeps the first reason: what comes after it follows from it. */
static void end_with(struct rt_http_connection *connection, struct rt_error *err)
{
	if (connection->err)
		rt_error_free(err);
	else
		connection->err = err;
}

static size_t pull_body(char *buffer, size_t one, size_t room, void *userdata)
{
	struct rt_http_connection *connection = userdata;
	const struct rt_http_request *request = connection->request;
	struct rt_error *err;
	size_t size = 0;

	room = rt_http_client_allow(connection, room);
	if (room == 0)
		return CURL_READFUNC_ABORT;
	err = request->pull(request->pull_userdata, buffer, room, &size);
	/* The time it took was ours, not the peer's. */
	note_activity(connection);
	if (err) {
		end_with(connection, err);
		return CURL_READFUNC_ABORT;
	}
	rt_http_client_charge(connection->client, size);
	return size;
}

static unsigned status_of(struct rt_http_connection *connection)
{
	long status = 0;

	curl_easy_getinfo(connection->easy, CURLINFO_RESPONSE_CODE, &status);
	return (unsigned)status;
}

static bool status_is_fine(unsigned status)
{
	return status >= 200 && status < 300;
}

/* Appends; with room for a 0. */
static struct rt_error *collect(struct rt_http_connection *connection, const char *bytes, size_t size, size_t limit)
{
	size_t needed = connection->size + size + 1;

	if (needed > limit + 1)
		return rt_fail(RT_PEER, "the answer is larger than %zu bytes", limit);
	if (needed > connection->room) {
		size_t room = needed > 2 * connection->room ? needed : 2 * connection->room;
		char *larger = realloc(connection->body, room);

		if (!larger)
			return rt_error_oom();
		connection->body = larger;
		connection->room = room;
	}
	memcpy(connection->body + connection->size, bytes, size);
	connection->size += size;
	connection->body[connection->size] = 0;
	return NULL;
}

static size_t take_body(char *bytes, size_t one, size_t size, void *userdata)
{
	struct rt_http_connection *connection = userdata;
	const struct rt_http_request *request = connection->request;
	unsigned status = status_of(connection);
	struct rt_error *err = NULL;

	if (status_is_fine(status) && request->push) {
		err = request->push(request->push_userdata, bytes, size, &connection->enough);
	} else if (status_is_fine(status) || status == connection->accept) {
		err = collect(connection, bytes, size, request->answer_max ? request->answer_max : RT_HTTP_ANSWER_MAX);
	} else {
		/* More than a sentence is not wanted, and no reason to fail for another reason. */
		err = collect(connection, bytes, size, SENTENCE_MAX);
		if (err && err->code == RT_PEER)
			err = rt_error_free(err), connection->enough = true;
	}
	note_activity(connection);
	if (err)
		end_with(connection, err);
	/* Any other number than `size` ends it. */
	return err || connection->enough ? (size == 0 ? 1 : 0) : size;
}

static size_t take_head(char *bytes, size_t one, size_t size, void *userdata)
{
	struct rt_http_connection *connection = userdata;

	note_activity(connection);
	connection->head_size += size;
	if (connection->head_size <= HEAD_SIZE_MAX)
		return size;
	end_with(connection, rt_fail(RT_PEER, "the head of the answer is larger than %u bytes", HEAD_SIZE_MAX));
	return 0;
}

/* Any number but 0 ends the request. libcurl 8.14 calls it only when there is something to do: silence is for perform() to hear. */
static int progress(void *userdata, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	const struct rt_http_connection *connection = userdata;

	return atomic_load(&connection->cancelled);
}

static bool is_over(struct rt_http_connection *connection)
{
	int64_t limit = (int64_t)connection->client->stall_timeout_ms * 1000000;
	curl_off_t down = 0, up = 0;

	if (atomic_load(&connection->cancelled))
		return true;
	curl_easy_getinfo(connection->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(connection->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	if (down + up != connection->last_bytes) {
		connection->last_bytes = down + up;
		note_activity(connection);
	}
	connection->stalled = !connection->request->may_stall && rt_http_client_now_ns() - connection->last_ns > limit;
	return connection->stalled;
}

static bool may_repeat(const struct rt_http_request *request)
{
	return request->repeatable || rt_str_equal(request->method, "GET") || rt_str_equal(request->method, "HEAD");
}

/* libcurl repeats a request on a new connection where a kept one turns out to be closed. The peer may have carried it out all the same: only what
 * changes nothing may be repeated. */
static curl_socket_t open_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct rt_http_connection *connection = userdata;
	long sent = 0;
	size_t i;
	int fd;

	curl_easy_getinfo(connection->easy, CURLINFO_REQUEST_SIZE, &sent);
	if (sent > 0 && !may_repeat(connection->request)) {
		connection->repeated = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	rt_http_client_tune(connection, fd);
	for (i = 0; i < RT_HTTP_SOCKETS_MAX && connection->sockets[i] >= 0; i++)
		;
	if (i < RT_HTTP_SOCKETS_MAX)
		connection->sockets[i] = fd;
	return fd;
}

static int close_socket(void *userdata, curl_socket_t fd)
{
	struct rt_http_connection *connection = userdata;
	size_t i;

	for (i = 0; i < RT_HTTP_SOCKETS_MAX; i++) {
		if (connection->sockets[i] == fd)
			connection->sockets[i] = -1;
	}
	return close(fd);
}

void rt_http_request_callbacks(struct rt_http_connection *connection)
{
	CURL *easy = connection->easy;

	curl_easy_setopt(easy, CURLOPT_READFUNCTION, pull_body);
	curl_easy_setopt(easy, CURLOPT_READDATA, connection);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, connection);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, connection);
	curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, progress);
	curl_easy_setopt(easy, CURLOPT_XFERINFODATA, connection);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, connection);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, connection);
}

static bool append(struct curl_slist **list, const char *header)
{
	struct curl_slist *longer = curl_slist_append(*list, header);

	if (longer)
		*list = longer;
	return longer;
}

static struct rt_error *make_headers(const struct rt_http_connection *connection, struct curl_slist **ret)
{
	const struct rt_http_request *request = connection->request;
	const char *const *header = request->headers;
	_cleanup_free_ char *type = NULL;
	struct rt_error *err;
	bool fine;

	err = rt_format(&type, "Content-Type: %s", request->content_type ? request->content_type : "application/octet-stream");
	if (err)
		return err;
	fine = append(ret, "Expect:") && append(ret, "Accept:");
	if (request->body || request->pull)
		fine = fine && append(ret, type);
	if (request->pull)
		fine = fine && append(ret, "Transfer-Encoding: chunked");
	while (fine && header && *header)
		fine = append(ret, *header++);
	if (connection->client->authorization)
		fine = fine && append(ret, connection->client->authorization);
	return fine ? NULL : rt_error_oom();
}

/* curl_slist copies the token: wiped with the rest. */
static void free_headers(struct curl_slist *headers)
{
	struct curl_slist *entry;

	for (entry = headers; entry; entry = entry->next)
		explicit_bzero(entry->data, strlen(entry->data));
	curl_slist_free_all(headers);
}

static struct rt_error *set_request(struct rt_http_connection *connection, struct curl_slist *headers)
{
	const struct rt_http_request *request = connection->request;
	_cleanup_free_ char *url = NULL;
	CURL *easy = connection->easy;
	struct rt_error *err = rt_format(&url, "%s%s", connection->client->base, request->path);
	CURLcode code;

	if (err)
		return err;
	code = curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
	if (rt_str_equal(request->method, "GET")) {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	} else if (rt_str_equal(request->method, "HEAD")) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->pull ? NULL : request->body ? request->body : "");
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, request->pull ? (curl_off_t)-1 : (curl_off_t)request->body_size);
		if (!rt_str_equal(request->method, "POST"))
			curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	}
	return code == CURLE_OK ? NULL : rt_error_oom();
}

/* curl_easy_perform() would look at our flag once a second; here rt_http_cancel() wakes the poll. */
static CURLcode perform(struct rt_http_connection *connection)
{
	CURLcode result = CURLE_FAILED_INIT;
	int running = 1, left;
	CURLMsg *message;

	if (curl_multi_add_handle(connection->multi, connection->easy) != CURLM_OK)
		return result;
	while (running) {
		if (curl_multi_perform(connection->multi, &running) != CURLM_OK)
			break;
		if (running && is_over(connection))
			break;
		if (running && curl_multi_poll(connection->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
			break;
	}
	while ((message = curl_multi_info_read(connection->multi, &left))) {
		if (message->msg == CURLMSG_DONE)
			result = message->data.result;
	}
	curl_multi_remove_handle(connection->multi, connection->easy);
	return result;
}

const char *rt_http_header(const struct rt_http_connection *connection, const char *name, size_t number)
{
	struct curl_header *header;

	return curl_easy_header(connection->easy, name, number, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : NULL;
}

bool rt_http_was_sent(const struct rt_http_connection *connection)
{
	return connection->sent;
}

static struct rt_error *refused(struct rt_http_connection *connection, unsigned status)
{
	char sentence[1024];

	rt_http_sentence(connection->body ? connection->body : "", connection->size, sentence, sizeof(sentence));
	return rt_fail(RT_PEER, "host '%s': %s%s(status %u of %s %.*s)", connection->client->host, sentence, *sentence ? " " : "",
		       status, connection->request->method, rt_http_path_shown(connection->request->path), connection->request->path);
}

/* The reason of a callback, then what the peer said, then what libcurl says. */
static struct rt_error *judge(struct rt_http_connection *connection, CURLcode code)
{
	const char *host = connection->client->host, *method = connection->request->method, *path = connection->request->path;
	unsigned status = status_of(connection);
	int shown = rt_http_path_shown(path);

	if (connection->err)
		return rt_while(rt_take_ptr(connection->err), "host '%s': %s %.*s", host, method, shown, path);
	if (atomic_load(&connection->cancelled))
		return rt_fail(RT_PEER, "host '%s': %s %.*s was cancelled", host, method, shown, path);
	if (status >= 300 && status != connection->accept && connection->accept != RT_HTTP_ANY_STATUS)
		return refused(connection, status);
	if (code == CURLE_OK || connection->enough)
		return NULL;
	if (connection->stalled)
		return rt_fail(RT_PEER, "host '%s': %s %.*s: nothing came or went for %u ms", host, method, shown, path,
			       connection->client->stall_timeout_ms);
	if (connection->repeated)
		return rt_fail(RT_PEER, "host '%s': %s %.*s: the connection was closed before an answer came", host, method, shown, path);
	return rt_fail(RT_PEER, "host '%s': %s %.*s: %s", host, method, shown, path,
		       connection->message[0] ? connection->message : curl_easy_strerror(code));
}

static void begin(struct rt_http_connection *connection, const struct rt_http_request *request, unsigned accept)
{
	size_t i;

	connection->request = request;
	connection->accept = accept;
	connection->enough = connection->stalled = connection->repeated = false;
	connection->message[0] = 0;
	connection->last_bytes = 0;
	connection->head_size = connection->size = connection->room = 0;
	note_activity(connection);
	for (i = 0; i < RT_HTTP_SOCKETS_MAX; i++) {
		if (connection->sockets[i] >= 0)
			rt_http_client_tune(connection, connection->sockets[i]);
	}
}

struct rt_error *rt_http_ask(struct rt_http_connection *connection, const struct rt_http_request *request, unsigned accept,
			     struct rt_http_answer *ret)
{
	struct curl_slist *headers = NULL;
	struct rt_error *err;

	begin(connection, request, accept);
	connection->sent = false;
	err = make_headers(connection, &headers);
	if (!err)
		err = set_request(connection, headers);
	if (!err) {
		rt_http_client_charge(connection->client, request->pull ? 0 : request->body_size);
		CURLcode code = perform(connection);
		long sent = 0;

		/* Where libcurl can't tell, it may have. */
		connection->sent = curl_easy_getinfo(connection->easy, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK || sent > 0;
		err = judge(connection, code);
	}
	curl_easy_setopt(connection->easy, CURLOPT_HTTPHEADER, NULL);
	free_headers(headers);
	if (!err && ret) {
		/* A body of no bytes is one, too. */
		char *body = connection->body ? connection->body : calloc(1, 1);

		if (body)
			*ret = (struct rt_http_answer){ .status = status_of(connection), .body = body, .size = connection->size };
		else
			err = rt_error_oom();
		connection->body = NULL;
	}
	free(rt_take_ptr(connection->body));
	connection->request = NULL;
	return err;
}
