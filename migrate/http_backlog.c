#include "migrate/http_request.h"

/* Not <netinet/tcp.h>, whose struct tcp_info ends before what is of use here. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

void rt_http_backlog(const struct rt_http_connection *connection, uint64_t *ret_waiting, uint64_t *ret_rate)
{
	*ret_waiting = *ret_rate = 0;
	for (size_t i = 0; i < RT_HTTP_SOCKETS_MAX; i++) {
		struct tcp_info info;
		socklen_t size = sizeof(info);

		memset(&info, 0, sizeof(info));
		if (connection->sockets[i] < 0 || getsockopt(connection->sockets[i], IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || info.tcpi_notsent_bytes <= *ret_waiting)
			continue;
		*ret_waiting = info.tcpi_notsent_bytes;
		*ret_rate = info.tcpi_delivery_rate_app_limited ? 0 : info.tcpi_delivery_rate;
	}
}
