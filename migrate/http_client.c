#include "migrate/http_request.h"

#include "migrate/http_parse.h"
#include "migrate/http_secret.h"
#include "runtime/base/str.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#define DEFAULT_CONNECT_MS 5000
#define DEFAULT_STALL_MS 30000
/* How long a peer may be silent, on the level of TCP, while a long poll waits. */
#define DEAD_PEER_MS 10000
/* Bytes that may wait in a socket before the link takes them: what is in more of a hurry goes over another connection, and waits for these, too. Decided late is also
 * whether to compress. */
#define WAITING_MAX (128 << 10)
/* What may go out at once when nothing went for a while: little, so that a limited link's queues stay short. */
#define BURST_NS 20000000ll
#define SLEEP_NS 10000000ll
#define SECOND_NS 1000000000ll

int64_t rt_http_client_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

static struct rt_error *bad_url(const char *url, const char *why)
{
	char shown[128];

	rt_http_sentence(url, strlen(url), shown, sizeof(shown));
	return rt_fail(RT_USAGE, "'%s' is not the URL of a host: %s", shown, why);
}

static char *url_part(CURLU *parsed, CURLUPart part, unsigned flags)
{
	char *text = NULL;

	return curl_url_get(parsed, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static void free_curl(char **text)
{
	curl_free(*text);
}
#define _cleanup_curl_ _cleanup_(free_curl)

/* A URL as it stands on a command line may hold a password: one that is refused for that is not repeated. */
static struct rt_error *read_url(struct rt_http_client *client, const struct rt_http_client_options *options, CURLU *parsed)
{
	_cleanup_curl_ char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *user = NULL, *query = NULL, *fragment = NULL;
	_cleanup_free_ char *bare = NULL;
	struct rt_error *err;

	if (curl_url_set(parsed, CURLUPART_URL, options->url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		return bad_url(options->url, "it must be https://HOST:PORT");
	scheme = url_part(parsed, CURLUPART_SCHEME, 0);
	host = url_part(parsed, CURLUPART_HOST, 0);
	port = url_part(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	path = url_part(parsed, CURLUPART_PATH, 0);
	user = url_part(parsed, CURLUPART_USER, 0);
	query = url_part(parsed, CURLUPART_QUERY, 0);
	fragment = url_part(parsed, CURLUPART_FRAGMENT, 0);
	if (user)
		return rt_fail(RT_USAGE, "the URL of a host must not hold a user or password: there are token files for that");
	if (!scheme || (!rt_str_equal(scheme, "https") && !rt_str_equal(scheme, "http")))
		return bad_url(options->url, "it must begin with https:// or http://");
	if (!host || !*host || !port)
		return bad_url(options->url, "there is no host in it");
	if ((path && *path && !rt_str_equal(path, "/")) || query || fragment)
		return bad_url(options->url, "there must be nothing behind the port");
	/* [::1] without its brackets. */
	bare = host[0] == '[' ? strndup(host + 1, strlen(host) - 2) : strdup(host);
	if (!bare)
		return rt_error_oom();
	if (rt_str_equal(scheme, "http") && !options->insecure && !rt_http_host_is_loopback(bare))
		return rt_fail(RT_USAGE, "refusing to speak plain http to host '%s': what is sent could be read and changed on the way", host);
	err = rt_format(&client->host, "%s:%s", host, port);
	return err ? err : rt_format(&client->base, "%s://%s:%s", scheme, host, port);
}

static struct rt_error *copy_path(const char *what, const char *path, char **ret)
{
	if (!path)
		return NULL;
	if (access(path, R_OK) < 0)
		return rt_fail(RT_USAGE, "cannot read the %s '%s': %s", what, path, strerror(errno));
	*ret = strdup(path);
	return *ret ? NULL : rt_error_oom();
}

static struct rt_error *read_files(struct rt_http_client *client, const struct rt_http_client_options *options)
{
	_cleanup_(rt_secret_freep) char *token = NULL, *key = NULL;
	struct rt_error *err;

	if (!options->cert_file != !options->key_file)
		return rt_fail(RT_USAGE, "a client certificate needs a key and a key needs a certificate: one of the two is missing");
	err = copy_path("CA", options->ca_file, &client->ca_file);
	if (!err)
		err = copy_path("client certificate", options->cert_file, &client->cert_file);
	if (!err)
		err = copy_path("key", options->key_file, &client->key_file);
	/* Only its mode matters here, libcurl reads it again. */
	if (!err && options->key_file)
		err = rt_secret_load_key(options->key_file, &key);
	if (!err && options->token_file)
		err = rt_secret_load_token(options->token_file, &token);
	if (!err && token)
		err = rt_format(&client->authorization, "Authorization: Bearer %s", token);
	return err;
}

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct rt_error *rt_http_client_new(const struct rt_http_client_options *options, struct rt_http_client **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct rt_http_client *client;
	struct rt_error *err;
	CURLU *parsed;

	pthread_once(&once, init_curl);
	client = calloc(1, sizeof(*client));
	parsed = curl_url();
	if (!client || !parsed) {
		free(client);
		curl_url_cleanup(parsed);
		return rt_error_oom();
	}
	pthread_mutex_init(&client->lock, NULL);
	client->connect_timeout_ms = options->connect_timeout_ms ? options->connect_timeout_ms : DEFAULT_CONNECT_MS;
	client->stall_timeout_ms = options->stall_timeout_ms ? options->stall_timeout_ms : DEFAULT_STALL_MS;
	client->bandwidth = options->bandwidth;
	err = read_url(client, options, parsed);
	curl_url_cleanup(parsed);
	if (!err)
		err = read_files(client, options);
	if (err) {
		rt_http_client_free(client);
		return err;
	}
	*ret = client;
	return NULL;
}

void rt_http_client_free(struct rt_http_client *client)
{
	if (!client)
		return;
	rt_secret_free(client->authorization);
	free(client->base);
	free(client->host);
	free(client->ca_file);
	free(client->cert_file);
	free(client->key_file);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

size_t rt_http_client_allow(struct rt_http_connection *connection, size_t room)
{
	struct rt_http_client *client = connection->client;
	uint64_t slice = client->bandwidth / 50;

	if (client->bandwidth == 0)
		return room;
	/* Small pieces, so that the rate is even and the connections take turns. */
	if (slice < 1024)
		slice = 1024;
	while (!atomic_load(&connection->cancelled)) {
		struct timespec pause = { 0 };
		int64_t now, wait;

		pthread_mutex_lock(&client->lock);
		now = rt_http_client_now_ns();
		wait = client->paid_ns - now;
		pthread_mutex_unlock(&client->lock);
		if (wait <= 0)
			return room < slice ? room : (size_t)slice;
		pause.tv_nsec = wait < SLEEP_NS ? wait : SLEEP_NS;
		nanosleep(&pause, NULL);
	}
	return 0;
}

void rt_http_client_charge(struct rt_http_client *client, size_t size)
{
	int64_t now;

	if (client->bandwidth == 0)
		return;
	pthread_mutex_lock(&client->lock);
	now = rt_http_client_now_ns();
	if (client->paid_ns < now - BURST_NS)
		client->paid_ns = now - BURST_NS;
	client->paid_ns += (int64_t)((double)size * SECOND_NS / (double)client->bandwidth);
	pthread_mutex_unlock(&client->lock);
}

void rt_http_client_tune(struct rt_http_connection *connection, int fd)
{
	const struct rt_http_request *request = connection->request;
	bool poll = request && request->may_stall;
	unsigned stall = connection->client->stall_timeout_ms, timeout = stall;
	int on = 1, waiting = WAITING_MAX, idle = poll ? 4 : 10, interval = 2, count = 3;

	/* It also ends a connection whose peer takes nothing for so long, though it answers: fine for a long poll, which sends nothing, but a
	 * streamed body may have to wait. */
	if (poll)
		timeout = !request->pull || stall < DEAD_PEER_MS ? DEAD_PEER_MS : stall;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &waiting, sizeof(waiting));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

/* What holds for all requests. TLS 1.2 at least, certificate and host name verified, and nothing from the environment. */
static CURLcode set_options(struct rt_http_connection *connection)
{
	struct rt_http_client *client = connection->client;
	CURL *easy = connection->easy;
	CURLcode code = CURLE_OK;

#define SET(option, value)                                               \
	do {                                                             \
		if (code == CURLE_OK)                                    \
			code = curl_easy_setopt(easy, option, value);    \
	} while (0)
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_ERRORBUFFER, connection->message);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_SSLVERSION, (long)(CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_DEFAULT));
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (client->ca_file) {
		/* This CA, and not the system's next to it. */
		SET(CURLOPT_CAPATH, NULL);
		SET(CURLOPT_CAINFO, client->ca_file);
	}
	if (client->cert_file) {
		SET(CURLOPT_SSLCERT, client->cert_file);
		SET(CURLOPT_SSLKEY, client->key_file);
	}
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, 2L << 20);
	SET(CURLOPT_BUFFERSIZE, 512L << 10);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_NOPROGRESS, 0L);
#undef SET
	return code;
}

struct rt_error *rt_http_connect(struct rt_http_client *client, struct rt_http_connection **ret)
{
	struct rt_http_connection *connection = calloc(1, sizeof(*connection));
	size_t i;

	if (!connection)
		return rt_error_oom();
	connection->client = client;
	for (i = 0; i < RT_HTTP_SOCKETS_MAX; i++)
		connection->sockets[i] = -1;
	connection->easy = curl_easy_init();
	connection->multi = curl_multi_init();
	if (!connection->easy || !connection->multi || set_options(connection) != CURLE_OK) {
		rt_http_disconnect(connection);
		return rt_fail(RT_SYSTEM, "cannot set libcurl up for host '%s'", client->host);
	}
	rt_http_request_callbacks(connection);
	*ret = connection;
	return NULL;
}

void rt_http_disconnect(struct rt_http_connection *connection)
{
	if (!connection)
		return;
	if (connection->multi && connection->easy)
		curl_multi_remove_handle(connection->multi, connection->easy);
	/* The multi handle closes the sockets, through callbacks that know the connection. */
	if (connection->multi)
		curl_multi_cleanup(connection->multi);
	if (connection->easy)
		curl_easy_cleanup(connection->easy);
	free(connection);
}

void rt_http_cancel(struct rt_http_connection *connection)
{
	atomic_store(&connection->cancelled, true);
	curl_multi_wakeup(connection->multi);
}
