// Options of IPv6 multicasts: their values and limits, apart from those of IPv4 and of unicasts.
#include "report.h"
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int fd;

static int set(int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value);
}

static int get(int level, int option)
{
	int value = -99;
	socklen_t length = sizeof value;
	return getsockopt(fd, level, option, &value, &length) == 0 ? value : -errno;
}

int main(void)
{
	fd = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
	SAY("hops %d, interface %d, loop %d", get(IPPROTO_IPV6, IPV6_MULTICAST_HOPS), get(IPPROTO_IPV6, IPV6_MULTICAST_IF),
	    get(IPPROTO_IPV6, IPV6_MULTICAST_LOOP));
	for (int hops = -2; hops <= 256; hops += 43)
		SAY("hops %d: %d", hops, set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops));
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255));
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 256));
	SAY("hops %d, unicasts %d, IPv4 %d", get(IPPROTO_IPV6, IPV6_MULTICAST_HOPS),
	    get(IPPROTO_IPV6, IPV6_UNICAST_HOPS), get(IPPROTO_IP, IP_MULTICAST_TTL));
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, -1));
	SAY("hops %d", get(IPPROTO_IPV6, IPV6_MULTICAST_HOPS));

	int lo = if_nametoindex("lo");
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_IF, lo));
	CHECK(get(IPPROTO_IPV6, IPV6_MULTICAST_IF) == lo);
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_IF, 99999));
	CHECK(get(IPPROTO_IPV6, IPV6_MULTICAST_IF) == lo);
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_IF, 0));
	SAY("interface %d", get(IPPROTO_IPV6, IPV6_MULTICAST_IF));

	close(fd);
	fd = NEED(socket(AF_INET6, SOCK_STREAM, 0));
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 3));
	ERR(set(IPPROTO_IPV6, IPV6_MULTICAST_IF, lo));
	DONE();
}
