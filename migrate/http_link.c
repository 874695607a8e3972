#include "migrate/http_request.h"

#include <linux/sockios.h>
/* Not <netinet/tcp.h>, whose struct tcp_info ends before what is of use here. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* An older kernel knows less, the rest is 0. */
static bool ask_socket(const struct rt_http_connection *connection, size_t number, struct tcp_info *ret)
{
	socklen_t size = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return connection->sockets[number] >= 0 && getsockopt(connection->sockets[number], IPPROTO_TCP, TCP_INFO, ret, &size) == 0;
}

/* 0: nothing waits for it at the moment, or the kernel has seen no more than what there was to send. */
static uint64_t rate_now(const struct rt_http_connection *connection)
{
	struct tcp_info info;

	for (size_t i = 0; i < RT_HTTP_SOCKETS_MAX; i++)
		if (ask_socket(connection, i, &info) && info.tcpi_notsent_bytes > 0 && !info.tcpi_delivery_rate_app_limited)
			return info.tcpi_delivery_rate;
	return 0;
}

uint64_t rt_http_queue(const struct rt_http_connection *connection, uint64_t rate)
{
	struct tcp_info info;
	uint64_t us = 0;

	for (size_t i = 0; i < RT_HTTP_SOCKETS_MAX && rate > 0; i++) {
		int bytes = 0;

		if (ask_socket(connection, i, &info) && ioctl(connection->sockets[i], SIOCOUTQ, &bytes) == 0) {
			uint64_t busy = (uint64_t)bytes * 1000000 / rate;

			us += busy > info.tcpi_min_rtt ? busy - info.tcpi_min_rtt : 0;
		}
	}
	return us;
}

uint64_t rt_http_round_trip(const struct rt_http_connection *connection)
{
	struct tcp_info info;

	for (size_t i = 0; i < RT_HTTP_SOCKETS_MAX; i++)
		if (ask_socket(connection, i, &info))
			return info.tcpi_rtt;
	return 0;
}

uint64_t rt_http_link_rate(const struct rt_http_connection *connection, _Atomic uint64_t *shared)
{
	uint64_t rate = rate_now(connection);

	if (rate == 0)
		return atomic_load(shared);
	atomic_store(shared, rate);
	return rate;
}
