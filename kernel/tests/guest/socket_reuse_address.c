// Binding a port again: in use, after its listener closed, with SO_REUSEADDR and SO_REUSEPORT, wildcard and specific.
#include "report.h"
#include <netinet/in.h>
#include <sys/socket.h>

static int made(int type, int option)
{
	int fd = NEED(socket(AF_INET, type, 0)), on = 1;
	if (option)
		NEED(setsockopt(fd, SOL_SOCKET, option, &on, sizeof(on)));
	return fd;
}

static int bound(int fd, unsigned address, int port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address), .sin_port = htons(port) };
	return bind(fd, (struct sockaddr *)&name, sizeof(name));
}

int main(void)
{
	int one = made(SOCK_STREAM, 0), two = made(SOCK_STREAM, 0);
	ERR(bound(one, INADDR_LOOPBACK, 5001));
	ERR(bound(two, INADDR_LOOPBACK, 5001));
	ERR(bound(two, INADDR_ANY, 5001));
	ERR(bound(two, INADDR_LOOPBACK + 1, 5001));
	close(one);
	one = made(SOCK_STREAM, 0);
	ERR(bound(one, INADDR_LOOPBACK, 5001));
	CASE("both reuse");
	one = made(SOCK_STREAM, SO_REUSEADDR), two = made(SOCK_STREAM, SO_REUSEADDR);
	ERR(bound(one, INADDR_LOOPBACK, 5002));
	ERR(bound(two, INADDR_LOOPBACK, 5002));
	ERR(listen(one, 1));
	ERR(listen(two, 1));
	CASE("a closed connection");
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(5002) };
	int client = made(SOCK_STREAM, 0);
	NEED(connect(client, (struct sockaddr *)&name, sizeof(name)));
	int server = NEED(accept(one, NULL, NULL));
	close(server);
	close(client);
	close(one);
	close(two);
	one = made(SOCK_STREAM, SO_REUSEADDR);
	ERR(bound(one, INADDR_LOOPBACK, 5002));
	ERR(listen(one, 1));
	CASE("reuse of ports");
	one = made(SOCK_DGRAM, SO_REUSEPORT), two = made(SOCK_DGRAM, SO_REUSEPORT);
	ERR(bound(one, INADDR_LOOPBACK, 5003));
	ERR(bound(two, INADDR_LOOPBACK, 5003));
	int three = made(SOCK_DGRAM, 0);
	ERR(bound(three, INADDR_LOOPBACK, 5003));
	CASE("TCP and UDP ports are apart");
	ERR(bound(made(SOCK_STREAM, 0), INADDR_LOOPBACK, 5003));
	CASE("addresses that are not ours");
	ERR(bound(made(SOCK_STREAM, 0), 0xc0000201, 5004));
	ERR(bound(made(SOCK_DGRAM, 0), 0xc0000201, 5004));
	DONE();
}
