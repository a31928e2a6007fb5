// connect(2) with AF_UNSPEC takes a datagram socket's peer away, and what connecting had given it.
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void show(int fd, struct sockaddr_in peer)
{
	struct sockaddr_in own;
	socklen_t length = sizeof(own);
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	ERR(connect(fd, (struct sockaddr *)&peer, sizeof(peer)));
	NEED(getsockname(fd, (struct sockaddr *)&own, &length));
	CHECK(own.sin_port != 0 && own.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	ERR(connect(fd, &none, sizeof(none)));
	NEED(getsockname(fd, (struct sockaddr *)&own, &length));
	SAY("address %x, port %s", ntohl(own.sin_addr.s_addr), own.sin_port ? "kept" : "gone");
	ERR(getpeername(fd, (struct sockaddr *)&own, &length));
	ERR(send(fd, "x", 1, 0));
	VAL(sendto(fd, "x", 1, 0, (struct sockaddr *)&peer, sizeof(peer)));
}

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(7231) };
	struct sockaddr_in own = { .sin_family = AF_INET };
	int sink = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(bind(sink, (struct sockaddr *)&address, sizeof(address)));
	CASE("not bound");
	show(NEED(socket(AF_INET, SOCK_DGRAM, 0)), address);
	CASE("bound to a port");
	int fd = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	own.sin_port = htons(7232);
	NEED(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	show(fd, address);
	CASE("bound to an address");
	fd = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	own = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	NEED(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	show(fd, address);
	DONE();
}
