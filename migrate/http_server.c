#include "migrate/http_peer.h"
#include "migrate/http_secret.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>

#define DEFAULT_CONNECTIONS 256
#define DEFAULT_IDLE_S 60
/* Connections beyond the limit that are told so; beyond these, nothing is accepted until others end. */
#define EXCESS_CONNECTIONS 16
/* Half of it is the buffer that bodies are read into. */
#define CONNECTION_MEMORY (512u << 10)
#define PEM_SIZE_MAX (1u << 20)
#define WATCH_MS 250

int64_t rt_http_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void rt_http_peer_wait(struct rt_http_peer *peer, enum rt_http_phase phase, int64_t extra_ms)
{
	atomic_store(&peer->deadline_ms, rt_http_now_ms() + peer->server->idle_ms + extra_ms);
	atomic_store(&peer->phase, phase);
}

/* libmicrohttpd's own timeout counts the time that our handlers take, and only tells a silent peer from one that drips. So connections are
 * watched here: a shut down socket makes their thread end them. */
static void *watch(void *userdata)
{
	struct rt_http_server *server = userdata;

	pthread_mutex_lock(&server->lock);
	while (!atomic_load(&server->stopping)) {
		int64_t now = rt_http_now_ms(), next = now + WATCH_MS;
		struct timespec until = { .tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000 };
		struct rt_http_peer *peer;

		for (peer = server->peers; peer; peer = peer->next) {
			if (atomic_load(&peer->phase) == RT_HTTP_HANDLER || now < atomic_load(&peer->deadline_ms))
				continue;
			rt_debug("http: %s: idle for too long", peer->name);
			shutdown(peer->fd, SHUT_RDWR);
		}
		pthread_cond_timedwait(&server->wake, &server->lock, &until);
	}
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

/* Ends every connection as well. */
static void stop_watch(struct rt_http_server *server)
{
	struct rt_http_peer *peer;

	pthread_mutex_lock(&server->lock);
	atomic_store(&server->stopping, true);
	for (peer = server->peers; peer; peer = peer->next)
		shutdown(peer->fd, SHUT_RDWR);
	pthread_cond_signal(&server->wake);
	pthread_mutex_unlock(&server->lock);
	pthread_join(server->watch, NULL);
}

static void name_address(const struct sockaddr *address, char *ret, size_t room)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

		inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		snprintf(ret, room, "%s:%u", text, ntohs(v4->sin_port));
	} else if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

		if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
			inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof(text));
			snprintf(ret, room, "%s:%u", text, ntohs(v6->sin6_port));
		} else {
			inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
			snprintf(ret, room, "[%s]:%u", text, ntohs(v6->sin6_port));
		}
	} else {
		snprintf(ret, room, "?");
	}
}

static bool address_is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
	return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* A peer whose host is gone is noticed: by probes where nothing is under way, by the user timeout where something is. */
static void notice_dead_peers(int fd, int64_t idle_ms)
{
	int on = 1, idle = 15, interval = 5, count = 4;
	unsigned timeout = (unsigned)idle_ms;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

static void connected(struct rt_http_server *server, struct MHD_Connection *connection, void **ret)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct rt_http_peer *peer = info ? calloc(1, sizeof(*peer)) : NULL;

	/* Without it, the first request fails. */
	if (!peer)
		return;
	peer->server = server;
	peer->fd = info->connect_fd;
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info && info->client_addr)
		name_address(info->client_addr, peer->name, sizeof(peer->name));
	notice_dead_peers(peer->fd, server->idle_ms);
	rt_http_peer_wait(peer, RT_HTTP_HEAD, 0);
	pthread_mutex_lock(&server->lock);
	peer->excess = ++server->count > server->max_connections;
	peer->next = server->peers;
	peer->link = &server->peers;
	if (peer->next)
		peer->next->link = &peer->next;
	server->peers = peer;
	/* One that slips in while the server stops would be missed by it. */
	if (atomic_load(&server->stopping))
		shutdown(peer->fd, SHUT_RDWR);
	pthread_mutex_unlock(&server->lock);
	*ret = peer;
}

/* The descriptor is still open: nobody can shut another connection down that got the same number. */
static void disconnected(struct rt_http_server *server, struct rt_http_peer *peer)
{
	if (!peer)
		return;
	pthread_mutex_lock(&server->lock);
	*peer->link = peer->next;
	if (peer->next)
		peer->next->link = peer->link;
	server->count--;
	pthread_mutex_unlock(&server->lock);
	free(peer);
}

static void notify(void *server, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		connected(server, connection, context);
	else
		disconnected(server, rt_take_ptr(*context));
}

/* Paths are compared as they come: what is escaped matches no route. */
static size_t keep_escaped(void *userdata, struct MHD_Connection *connection, char *text)
{
	return strlen(text);
}

static void log_daemon(void *userdata, const char *format, va_list args)
{
	char text[512], line[512];

	if (!rt_log_debug_enabled())
		return;
	vsnprintf(text, sizeof(text), format, args);
	rt_http_sentence(text, strlen(text), line, sizeof(line));
	rt_debug("http: %s", line);
}

static struct rt_error *check_options(const struct rt_http_server_options *options)
{
	bool tls = options->cert_file || options->key_file;

	if (tls && (!options->cert_file || !options->key_file))
		return rt_fail(RT_USAGE, "a certificate needs a key and a key needs a certificate: one of the two is missing");
	if (!tls && options->client_ca_file)
		return rt_fail(RT_USAGE, "client certificates need TLS: a certificate and a key of this host");
	if (tls && !options->client_ca_file && !options->token_file)
		return rt_fail(RT_USAGE, "with TLS a CA for client certificates or a token file is needed: everybody could connect otherwise");
	return NULL;
}

/* The first of the addresses that can be listened on. */
static struct rt_error *listen_on(const struct rt_http_server_options *options, int *ret)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	_cleanup_close_ int fd = -1;
	struct rt_http_listen listen_at;
	struct addrinfo *addresses;
	bool loopback;
	int on = 1, result;
	struct rt_error *err = rt_http_parse_listen(options->listen, &listen_at);

	if (err)
		return err;
	result = getaddrinfo(listen_at.host, listen_at.port, &hints, &addresses);
	if (result != 0)
		return rt_fail(RT_USAGE, "cannot listen on '%s': %s", options->listen, gai_strerror(result));
	loopback = address_is_loopback(addresses->ai_addr);
	fd = socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!loopback && !options->cert_file && !options->insecure)
		err = rt_fail(RT_USAGE, "refusing to listen on '%s' without TLS: it is no loopback address", options->listen);
	else if (fd < 0 || bind(fd, addresses->ai_addr, addresses->ai_addrlen) < 0 || listen(fd, 128) < 0)
		err = rt_fail_errno("cannot listen on '%s'", options->listen);
	freeaddrinfo(addresses);
	if (err)
		return err;
	*ret = rt_take_fd(fd);
	return NULL;
}

static struct rt_error *load_pem(const char *what, const char *path, char **ret)
{
	struct rt_error *err = rt_read_file_at(AT_FDCWD, path, PEM_SIZE_MAX, ret, NULL);

	return err ? rt_while(err, "reading the %s '%s'", what, path) : NULL;
}

/* libmicrohttpd says no more than that it failed: what is wrong with the files is found out here. */
static struct rt_error *check_pems(const struct rt_http_server_options *options, const char *certificate, const char *key, const char *client_ca)
{
	gnutls_datum_t cert_pem = { (unsigned char *)certificate, (unsigned)strlen(certificate) };
	gnutls_datum_t key_pem = { (unsigned char *)key, (unsigned)strlen(key) };
	gnutls_certificate_credentials_t credentials;
	struct rt_error *err = NULL;
	int result;

	if (gnutls_certificate_allocate_credentials(&credentials) < 0)
		return rt_error_oom();
	result = gnutls_certificate_set_x509_key_mem(credentials, &cert_pem, &key_pem, GNUTLS_X509_FMT_PEM);
	if (result < 0)
		err = rt_fail(RT_CONFIG, "the certificate '%s' and the key '%s' cannot be used: %s", options->cert_file, options->key_file,
			      gnutls_strerror(result));
	if (!err && client_ca) {
		gnutls_datum_t pem = { (unsigned char *)client_ca, (unsigned)strlen(client_ca) };

		result = gnutls_certificate_set_x509_trust_mem(credentials, &pem, GNUTLS_X509_FMT_PEM);
		if (result <= 0)
			err = rt_fail(RT_CONFIG, "the CA for client certificates '%s' cannot be used: %s", options->client_ca_file,
				      result < 0 ? gnutls_strerror(result) : "no certificate in it");
	}
	gnutls_certificate_free_credentials(credentials);
	return err;
}

static struct rt_error *start_daemon(struct rt_http_server *server, int listen_fd, const char *certificate, const char *key)
{
	unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ERROR_LOG;
	unsigned per_address = server->max_connections / 2 > 8 ? server->max_connections / 2 : 8;
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)certificate },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" },
		{ server->client_ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, server->client_ca },
		{ MHD_OPTION_END, 0, NULL },
	};

	if (certificate)
		flags |= MHD_USE_TLS;
	server->daemon = MHD_start_daemon(flags, 0, NULL, NULL, rt_http_handle, server,
					  MHD_OPTION_EXTERNAL_LOGGER, log_daemon, NULL,
					  MHD_OPTION_LISTEN_SOCKET, listen_fd,
					  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
					  MHD_OPTION_CONNECTION_LIMIT, server->max_connections + EXCESS_CONNECTIONS,
					  MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address,
					  MHD_OPTION_CONNECTION_TIMEOUT, 0u,
					  MHD_OPTION_STRICT_FOR_CLIENT, 1,
					  MHD_OPTION_NOTIFY_COMPLETED, rt_http_completed, server,
					  MHD_OPTION_NOTIFY_CONNECTION, notify, server,
					  MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL,
					  MHD_OPTION_ARRAY, certificate ? tls : &tls[RT_ARRAY_SIZE(tls) - 1],
					  MHD_OPTION_END);
	return server->daemon ? NULL : rt_fail(RT_SYSTEM, "cannot start the HTTP server");
}

static void free_server(struct rt_http_server *server)
{
	if (!server)
		return;
	rt_secret_free(server->token);
	free(server->client_ca);
	pthread_cond_destroy(&server->wake);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

static struct rt_error *new_server(const struct rt_http_server_options *options, const struct rt_http_route *routes, void *userdata,
				   struct rt_http_server **ret)
{
	struct rt_http_server *server = calloc(1, sizeof(*server));
	pthread_condattr_t monotonic;

	if (!server)
		return rt_error_oom();
	server->routes = routes;
	server->userdata = userdata;
	server->max_connections = options->max_connections ? options->max_connections : DEFAULT_CONNECTIONS;
	server->idle_ms = 1000 * (int64_t)(options->idle_timeout_s ? options->idle_timeout_s : DEFAULT_IDLE_S);
	pthread_mutex_init(&server->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&server->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*ret = server;
	return NULL;
}

/* From here on rt_http_server_stop() is what ends it. */
static struct rt_error *run_server(struct rt_http_server *server, int listen_fd, const char *certificate, const char *key)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	struct rt_error *err;
	int result;

	if (getsockname(listen_fd, (struct sockaddr *)&address, &size) < 0)
		return rt_fail_errno("cannot read the address that is listened on");
	name_address((struct sockaddr *)&address, server->address, sizeof(server->address));
	result = pthread_create(&server->watch, NULL, watch, server);
	if (result != 0)
		return rt_fail_with(result, "cannot start the thread that watches connections");
	err = start_daemon(server, listen_fd, certificate, key);
	if (err)
		stop_watch(server);
	return err;
}

struct rt_error *rt_http_server_start(const struct rt_http_server_options *options, const struct rt_http_route *routes, void *userdata,
				      struct rt_http_server **ret)
{
	_cleanup_(rt_secret_freep) char *key = NULL;
	_cleanup_free_ char *certificate = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_http_server *server = NULL;
	struct rt_error *err = check_options(options);

	if (!err)
		err = new_server(options, routes, userdata, &server);
	if (err)
		return err;
	if (options->token_file)
		err = rt_secret_load_token(options->token_file, &server->token);
	if (!err && options->client_ca_file)
		err = load_pem("CA for client certificates", options->client_ca_file, &server->client_ca);
	if (!err && options->cert_file)
		err = load_pem("certificate", options->cert_file, &certificate);
	if (!err && options->key_file)
		err = rt_secret_load_key(options->key_file, &key);
	if (!err && certificate)
		err = check_pems(options, certificate, key, server->client_ca);
	if (!err)
		err = listen_on(options, &fd);
	if (!err)
		err = run_server(server, fd, certificate, key);
	if (err) {
		free_server(server);
		return err;
	}
	rt_take_fd(fd); /* libmicrohttpd's */
	*ret = server;
	return NULL;
}

const char *rt_http_server_address(const struct rt_http_server *server)
{
	return server->address;
}

void rt_http_server_stop(struct rt_http_server *server)
{
	if (!server)
		return;
	stop_watch(server);
	MHD_stop_daemon(server->daemon);
	free_server(server);
}
