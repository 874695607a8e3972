#include "runtime/netns/inside.h"

#include "runtime/netns/link.h"

struct rt_error *rt_inside_is_free(int namespace_fd, const char *ifname)
{
	_cleanup_link_ struct rt_link link = RT_LINK_NULL;
	struct rt_link_device device;
	bool found = false;
	struct rt_error *err = rt_link_open_in(namespace_fd, &link);

	if (!err)
		err = rt_link_find(&link, ifname, &device, &found);
	if (!err && found)
		err = rt_fail(RT_EXISTS, "the container has a device '%s'", ifname);
	return err;
}

static struct rt_error *bring_up(struct rt_link *link, const char *name, int *ret_index)
{
	struct rt_link_device device;
	bool found = false;
	struct rt_error *err = rt_link_find(link, name, &device, &found);

	if (!err && !found)
		err = rt_fail(RT_NOT_FOUND, "there is no device '%s'", name);
	if (!err && !device.up)
		err = rt_link_up(link, device.index);
	if (err)
		return rt_while(err, "bringing '%s' up", name);
	*ret_index = device.index;
	return NULL;
}

static struct rt_error *add_leg(struct rt_link *link, int index, const struct rt_leg *leg)
{
	struct rt_error *err;

	if (leg->address.address.family == AF_UNSPEC)
		return NULL;
	err = rt_link_add_address(link, index, &leg->address);
	if (!err && leg->gateway.family != AF_UNSPEC)
		err = rt_link_add_route(link, index, NULL, &leg->gateway);
	return err;
}

struct rt_error *rt_inside_configure(int namespace_fd, const struct rt_network *network)
{
	_cleanup_link_ struct rt_link link = RT_LINK_NULL;
	struct rt_error *err = rt_link_open_in(namespace_fd, &link);
	int index = 0;

	if (!err)
		err = bring_up(&link, "lo", &index);
	if (!err)
		err = bring_up(&link, network->ifname, &index);
	for (int family = 0; family < RT_FAMILIES && !err; family++)
		err = add_leg(&link, index, &network->legs[family]);
	for (size_t i = 0; i < network->route_count && !err; i++)
		err = rt_link_add_route(&link, index, &network->routes[i].destination, &network->routes[i].gateway);
	return err ? rt_while(err, "configuring '%s' in the container", network->ifname) : NULL;
}
