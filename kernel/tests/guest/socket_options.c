// Socket options: what they are at first, what is read back, types and protocols, errors.
#include "report.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

static int get(int fd, int level, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);
	return getsockopt(fd, level, name, &value, &length) == 0 ? value : -errno;
}

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

int main(void)
{
	int tcp = NEED(socket(AF_INET, SOCK_STREAM, 0)), udp = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	VAL(get(tcp, SOL_SOCKET, SO_TYPE));
	VAL(get(udp, SOL_SOCKET, SO_TYPE));
	VAL(get(tcp, SOL_SOCKET, SO_PROTOCOL));
	VAL(get(udp, SOL_SOCKET, SO_PROTOCOL));
	VAL(get(tcp, SOL_SOCKET, SO_DOMAIN));
	VAL(get(tcp, SOL_SOCKET, SO_ACCEPTCONN));
	NEED(listen(tcp, 1));
	VAL(get(tcp, SOL_SOCKET, SO_ACCEPTCONN));
	tcp = NEED(socket(AF_INET, SOCK_STREAM, 0));
	static const struct {
		int level, name;
		const char *text;
	} switches[] = { { SOL_SOCKET, SO_REUSEADDR, "REUSEADDR" }, { SOL_SOCKET, SO_REUSEPORT, "REUSEPORT" },
			 { SOL_SOCKET, SO_KEEPALIVE, "KEEPALIVE" }, { SOL_SOCKET, SO_BROADCAST, "BROADCAST" },
			 { IPPROTO_TCP, TCP_NODELAY, "NODELAY" }, { IPPROTO_TCP, TCP_CORK, "CORK" },
			 { SOL_SOCKET, SO_OOBINLINE, "OOBINLINE" } };
	for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		int before = get(tcp, switches[i].level, switches[i].name);
		int result = set(tcp, switches[i].level, switches[i].name, 5);
		SAY("%s: %d, set %d, %d", switches[i].text, before, result, get(tcp, switches[i].level, switches[i].name));
	}
	CASE("buffers are doubled");
	ERR(set(udp, SOL_SOCKET, SO_RCVBUF, 20000));
	VAL(get(udp, SOL_SOCKET, SO_RCVBUF));
	ERR(set(udp, SOL_SOCKET, SO_SNDBUF, 30000));
	VAL(get(udp, SOL_SOCKET, SO_SNDBUF));
	CHECK(get(tcp, SOL_SOCKET, SO_RCVBUF) > 0 && get(tcp, SOL_SOCKET, SO_SNDBUF) > 0);
	CASE("structures");
	struct linger linger = { 1, 5 };
	ERR(setsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	socklen_t length = sizeof(linger);
	memset(&linger, 0, sizeof(linger));
	NEED(getsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, &length));
	SAY("%d %d %u", linger.l_onoff, linger.l_linger, length);
	struct timeval limit = { 3, 0 };
	ERR(setsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	limit.tv_sec = 0;
	length = sizeof(limit);
	NEED(getsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, &limit, &length));
	SAY("%ld %ld", limit.tv_sec, limit.tv_usec);
	CASE("keep-alive numbers");
	ERR(set(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 60));
	VAL(get(tcp, IPPROTO_TCP, TCP_KEEPIDLE));
	ERR(set(tcp, IPPROTO_TCP, TCP_KEEPINTVL, 7));
	VAL(get(tcp, IPPROTO_TCP, TCP_KEEPINTVL));
	ERR(set(tcp, IPPROTO_TCP, TCP_KEEPCNT, 3));
	VAL(get(tcp, IPPROTO_TCP, TCP_KEEPCNT));
	CASE("errors");
	ERR(setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &linger, 1));
	ERR(set(tcp, SOL_SOCKET, 9999, 1));
	ERR(set(tcp, SOL_SOCKET, SO_TYPE, 1));
	ERR(set(tcp, IPPROTO_TCP, 9999, 1));
	ERR(set(udp, IPPROTO_TCP, TCP_NODELAY, 1));
	ERR(set(tcp, 9999, 1, 1));
	ERR(set(0, SOL_SOCKET, SO_REUSEADDR, 1));
	ERR(set(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 0));
	DONE();
}
