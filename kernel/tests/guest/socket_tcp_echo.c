// A TCP connection over loopback: listen, connect, accept, echo, names of both ends, end of file, half close.
// variants: dynamic static-pie musl
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

static int listener;

static void *server(void *unused)
{
	char text[256];
	long got;
	int fd = NEED(accept(listener, NULL, NULL));
	while ((got = read(fd, text, sizeof(text))) > 0)
		NEED(write(fd, text, got));
	NEED(write(fd, "bye", 3));
	close(fd);
	return unused;
}

int main(void)
{
	pthread_t thread;
	char text[256];
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, peer, own;
	socklen_t length = sizeof(address);
	listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(bind(listener, (struct sockaddr *)&address, sizeof(address)));
	ERR(listen(listener, 5));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	CHECK(address.sin_port != 0 && length == 16);
	pthread_create(&thread, NULL, server, NULL);
	int fd = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(getpeername(fd, (struct sockaddr *)&peer, &length));
	ERR(connect(fd, (struct sockaddr *)&address, sizeof(address)));
	NEED(getpeername(fd, (struct sockaddr *)&peer, &length));
	NEED(getsockname(fd, (struct sockaddr *)&own, &length));
	CHECK(peer.sin_port == address.sin_port && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	SAY("own %s", inet_ntoa(own.sin_addr));
	CHECK(own.sin_port != 0 && own.sin_port != address.sin_port);
	for (int i = 0; i < 100; i++) {
		int size = 1 + i * 2;
		memset(text, i, size);
		NEED(write(fd, text, size));
		memset(text, 0, size);
		long got = recv(fd, text, size, MSG_WAITALL);
		if (got != size || text[0] != i || text[size - 1] != i)
			SAY("round %d wrong", i);
	}
	CASE("half close");
	ERR(shutdown(fd, SHUT_WR));
	ERR(send(fd, "x", 1, MSG_NOSIGNAL));
	VAL(recv(fd, text, sizeof(text), MSG_WAITALL));
	SAY("%.3s", text);
	VAL(read(fd, text, 1));
	pthread_join(thread, NULL);
	CASE("errors");
	ERR(connect(fd, (struct sockaddr *)&address, sizeof(address)));
	ERR(accept(fd, NULL, NULL));
	ERR(bind(listener, (struct sockaddr *)&address, sizeof(address)));
	ERR(socket(AF_INET, 77, 0));
	ERR(socket(12345, SOCK_STREAM, 0));
	ERR(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	ERR(listen(0, 1));
	ERR(send(listener, "x", 1, MSG_NOSIGNAL));
	DONE();
}
