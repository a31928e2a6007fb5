// SO_RCVTIMEO and SO_SNDTIMEO end receives, accepts and sends with EAGAIN after their time.
// variants: dynamic static-pie musl
#include "report.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

static long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void)
{
	static char text[1 << 20];
	int pair[2];
	struct timeval limit = { 0, 40000 };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	int udp = NEED(socket(AF_INET, SOCK_DGRAM, 0)), listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(bind(udp, (struct sockaddr *)&address, sizeof(address)));
	NEED(bind(listener, (struct sockaddr *)&address, sizeof(address)));
	NEED(listen(listener, 1));
	for (int i = 0; i < 3; i++)
		NEED(setsockopt((int[]){ pair[0], udp, listener }[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	long start = milliseconds();
	ERR(recv(pair[0], text, 10, 0));
	CHECK(milliseconds() - start >= 38 && milliseconds() - start < 1500);
	start = milliseconds();
	ERR(recv(udp, text, 10, 0));
	CHECK(milliseconds() - start >= 38 && milliseconds() - start < 1500);
	start = milliseconds();
	ERR(accept(listener, NULL, NULL));
	CHECK(milliseconds() - start >= 38 && milliseconds() - start < 1500);
	CASE("part of it comes");
	NEED(write(pair[1], "abc", 3));
	VAL(recv(pair[0], text, 10, MSG_WAITALL));
	CASE("sending");
	NEED(setsockopt(pair[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	long sent = send(pair[1], text, sizeof(text), 0);
	CHECK(sent > 0 && sent < (long)sizeof(text));
	ERR(send(pair[1], text, sizeof(text), 0));
	limit = (struct timeval){ 0, 1000000 };
	ERR(setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	DONE();
}
