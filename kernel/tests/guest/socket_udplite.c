// UDP-Lite: ports of its own, checksum coverage of senders and receivers (udplite(7)).
// variants: dynamic static-pie
#include "report.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#define UDPLITE 136
#define SEND_COVERAGE 10
#define RECEIVE_COVERAGE 11

static int option(int fd, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);
	if (getsockopt(fd, UDPLITE, name, &value, &length) < 0)
		return -errno;
	return value;
}

static int set(int fd, int name, int value)
{
	return setsockopt(fd, UDPLITE, name, &value, sizeof(value));
}

static int arrives(int fd)
{
	char buffer[64];
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	return poll(&wait, 1, 200) == 1 ? (int)recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) : 0;
}

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
	socklen_t length = sizeof(address);
	int server = socket(AF_INET, SOCK_DGRAM, UDPLITE);
	if (server < 0 && errno == EPROTONOSUPPORT)
		_exit(77); // A kernel without it (CONFIG_IP_UDPLITE went in 2026).
	NEED(server);
	int value = -1;
	socklen_t size = sizeof(value);
	NEED(getsockopt(server, SOL_SOCKET, SO_PROTOCOL, &value, &size));
	VAL(value);
	NEED(bind(server, (struct sockaddr *)&address, sizeof(address)));
	NEED(getsockname(server, (struct sockaddr *)&address, &length));
	CASE("ports are not shared with UDP");
	int udp = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	ERR(bind(udp, (struct sockaddr *)&address, sizeof(address)));
	int second = NEED(socket(AF_INET, SOCK_DGRAM, UDPLITE));
	ERR(bind(second, (struct sockaddr *)&address, sizeof(address)));

	CASE("a datagram");
	int client = NEED(socket(AF_INET, SOCK_DGRAM, UDPLITE));
	char buffer[64];
	VAL(sendto(client, "hello", 5, 0, (struct sockaddr *)&address, sizeof(address)));
	length = sizeof(from);
	VAL(recvfrom(server, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length));
	VAL(memcmp(buffer, "hello", 5));
	VAL(sendto(server, "back", 4, 0, (struct sockaddr *)&from, sizeof(from)));
	VAL(recv(client, buffer, sizeof(buffer), 0));

	CASE("coverage");
	VAL(option(client, SEND_COVERAGE));
	VAL(option(client, RECEIVE_COVERAGE));
	VAL(set(client, SEND_COVERAGE, 3));
	VAL(option(client, SEND_COVERAGE));
	VAL(set(client, SEND_COVERAGE, 12));
	VAL(option(client, SEND_COVERAGE));
	ERR(set(client, 99, 1));
	ERR(set(udp, SEND_COVERAGE, 8));
	NEED(connect(client, (struct sockaddr *)&address, sizeof(address)));
	VAL(send(client, "partly covered", 14, 0));
	VAL(arrives(server));
	VAL(set(server, RECEIVE_COVERAGE, 20));
	VAL(send(client, "too little covered", 18, 0));
	VAL(arrives(server));
	VAL(set(client, SEND_COVERAGE, 20));
	VAL(send(client, "enough of it covered", 20, 0));
	VAL(arrives(server));
	VAL(set(client, SEND_COVERAGE, 0));
	VAL(send(client, "x", 1, 0));
	VAL(arrives(server));
	DONE();
}
