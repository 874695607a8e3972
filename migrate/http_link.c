#include "migrate/http_request.h"

/* Not <netinet/tcp.h>, whose struct tcp_info ends before what is of use here. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* 0: nothing waits for it at the moment. */
static uint64_t rate_now(const struct rt_http_connection *connection)
{
	for (size_t i = 0; i < RT_HTTP_SOCKETS_MAX; i++) {
		struct tcp_info info;
		socklen_t size = sizeof(info);

		memset(&info, 0, sizeof(info));
		if (connection->sockets[i] >= 0 && getsockopt(connection->sockets[i], IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_notsent_bytes > 0)
			return info.tcpi_delivery_rate;
	}
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
