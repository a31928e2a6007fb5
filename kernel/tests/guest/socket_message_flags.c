// MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_TRUNC, MSG_NOSIGNAL on streams and datagrams; FIONREAD.
// variants: dynamic static-pie musl
#include "report.h"
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static void tcp_pair(int pair[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(bind(listener, (struct sockaddr *)&address, length));
	NEED(listen(listener, 1));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	pair[0] = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(connect(pair[0], (struct sockaddr *)&address, length));
	pair[1] = NEED(accept(listener, NULL, NULL));
	close(listener);
}

static void stream(const char *name, int pair[2])
{
	char text[32];
	int waiting;
	CASE(name);
	ERR(recv(pair[1], text, 32, MSG_DONTWAIT));
	NEED(send(pair[0], "hello", 5, 0));
	VAL(recv(pair[1], text, 3, MSG_PEEK));
	VAL(recv(pair[1], text, 32, MSG_PEEK));
	SAY("%.5s", text);
	NEED(ioctl(pair[1], FIONREAD, &waiting));
	VAL(waiting);
	NEED(send(pair[0], " world", 6, 0));
	VAL(recv(pair[1], text, 11, MSG_WAITALL));
	SAY("%.11s", text);
	ERR(recv(pair[1], text, 32, MSG_DONTWAIT));
	NEED(send(pair[0], "abc", 3, MSG_MORE));
	NEED(send(pair[0], "def", 3, 0));
	VAL(recv(pair[1], text, 6, MSG_WAITALL));
	SAY("%.6s", text);
	NEED(send(pair[0], "rest", 4, 0));
	NEED(shutdown(pair[0], SHUT_WR));
	VAL(recv(pair[1], text, 32, MSG_WAITALL));
	VAL(recv(pair[1], text, 32, 0));
	VAL(recv(pair[1], text, 32, MSG_PEEK));
}

int main(void)
{
	int pair[2], waiting;
	char text[32];
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	stream("unix stream", pair);
	tcp_pair(pair);
	stream("tcp", pair);
	CASE("datagrams");
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int in = NEED(socket(AF_INET, SOCK_DGRAM, 0)), out = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(bind(in, (struct sockaddr *)&address, length));
	NEED(getsockname(in, (struct sockaddr *)&address, &length));
	NEED(connect(out, (struct sockaddr *)&address, length));
	ERR(recv(in, text, 32, MSG_DONTWAIT));
	for (int i = 0; i < 4; i++)
		NEED(send(out, "0123456789", 10, 0));
	VAL(recv(in, text, 4, MSG_PEEK));
	VAL(recv(in, text, 4, MSG_TRUNC));
	VAL(recv(in, text, 4, 0));
	VAL(recv(in, text, 32, 0));
	NEED(ioctl(in, FIONREAD, &waiting));
	VAL(waiting);
	VAL(recv(in, text, 0, 0));
	ERR(recv(in, text, 32, MSG_DONTWAIT));
	NEED(send(out, "", 0, 0));
	VAL(recv(in, text, 32, 0));
	DONE();
}
