// accept4's flags, a non-blocking listener, the backlog, and a listener closed with connections in its queue.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, peer, own;
	socklen_t length = sizeof(address);
	int listener = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	VAL(fcntl(listener, F_GETFD));
	NEED(bind(listener, (struct sockaddr *)&address, length));
	NEED(listen(listener, 8));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	ERR(accept(listener, NULL, NULL));
	int clients[5];
	for (int i = 0; i < 5; i++) {
		clients[i] = NEED(socket(AF_INET, SOCK_STREAM, 0));
		NEED(connect(clients[i], (struct sockaddr *)&address, length));
	}
	struct pollfd entry = { listener, POLLIN, 0 };
	VAL(poll(&entry, 1, 2000));
	int server = NEED(accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
	VAL(length);
	NEED(getsockname(clients[0], (struct sockaddr *)&own, &length));
	CHECK(peer.sin_port == own.sin_port);
	SAY("nonblock %d cloexec %d", !!(fcntl(server, F_GETFL) & O_NONBLOCK), fcntl(server, F_GETFD));
	server = NEED(accept4(listener, NULL, NULL, 0));
	SAY("nonblock %d cloexec %d", !!(fcntl(server, F_GETFL) & O_NONBLOCK), fcntl(server, F_GETFD));
	ERR(accept4(listener, NULL, NULL, 0x1));
	length = 4;
	memset(&peer, 0, sizeof(peer));
	server = NEED(accept(listener, (struct sockaddr *)&peer, &length));
	SAY("length %d family %d address %x", length, peer.sin_family, peer.sin_addr.s_addr);
	CASE("closed with a queue");
	char byte;
	NEED(write(clients[4], "x", 1));
	close(listener);
	long got = read(clients[4], &byte, 1);
	SAY("%s", got < 0 ? errno_name(errno) : "end of file");
	int other = NEED(socket(AF_INET, SOCK_STREAM, 0));
	length = sizeof(address);
	ERR(connect(other, (struct sockaddr *)&address, length));
	DONE();
}
