#include "migrate/http_peer.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>

/* How long the peer gets to take the refusal, and to stop sending. */
#define REFUSAL_MS 10000

void rt_http_refuse(struct rt_http_exchange *exchange, unsigned status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(exchange->sentence, sizeof(exchange->sentence), format, args);
	va_end(args);
	exchange->refused = status;
	exchange->failed = true;
	rt_debug("http: %s: refused with %u: %s", exchange->peer->name, status, exchange->sentence);
}

const char *rt_http_reason(unsigned status)
{
	switch (status) {
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 409: return "Conflict";
	case 413: return "Content Too Large";
	case 422: return "Unprocessable Content";
	case 431: return "Request Header Fields Too Large";
	case 503: return "Service Unavailable";
	default: return "Internal Server Error";
	}
}

/* Whether the socket can be used before `until`. A socket that is shut down can, and then fails. */
static bool ready(int fd, short events, int64_t until)
{
	struct pollfd entry = { .fd = fd, .events = events };
	int64_t left;

	while ((left = until - rt_http_now_ms()) > 0) {
		int n = poll(&entry, 1, (int)left);

		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
	return false;
}

static bool send_plain(int fd, const char *bytes, size_t size, int64_t until)
{
	while (size > 0) {
		ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			bytes += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			if (!ready(fd, POLLOUT, until))
				return false;
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

static bool send_tls(gnutls_session_t session, int fd, const char *bytes, size_t size, int64_t until)
{
	while (size > 0) {
		ssize_t n = gnutls_record_send(session, bytes, size);

		if (n > 0) {
			bytes += n;
			size -= (size_t)n;
		} else if (n == GNUTLS_E_AGAIN) {
			if (!ready(fd, POLLOUT, until))
				return false;
		} else if (n != GNUTLS_E_INTERRUPTED) {
			return false;
		}
	}
	gnutls_bye(session, GNUTLS_SHUT_WR);
	return true;
}

/* Closing a socket with unread bytes in it resets the connection, and the reset may overtake the answer: so what comes is thrown away
 * until the peer has seen the answer and closes. */
static void linger(int fd, int64_t until)
{
	char nowhere[16384];

	shutdown(fd, SHUT_WR);
	while (ready(fd, POLLIN, until)) {
		ssize_t n = recv(fd, nowhere, sizeof(nowhere), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return;
	}
}

void rt_http_refuse_now(struct rt_http_exchange *exchange)
{
	const union MHD_ConnectionInfo *tls = MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	_cleanup_error_ struct rt_error *err = NULL;
	int64_t until = rt_http_now_ms() + REFUSAL_MS;
	_cleanup_free_ char *answer = NULL;
	int fd = exchange->peer->fd;
	bool sent;

	err = rt_format(&answer, "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n%s\n",
			exchange->refused, rt_http_reason(exchange->refused), strlen(exchange->sentence) + 1,
			exchange->refused == 401 ? "WWW-Authenticate: Bearer\r\n" : "", exchange->sentence);
	if (err)
		return;
	if (tls && tls->tls_session)
		sent = send_tls((gnutls_session_t)tls->tls_session, fd, answer, strlen(answer), until);
	else
		sent = send_plain(fd, answer, strlen(answer), until);
	if (sent)
		linger(fd, until);
}
