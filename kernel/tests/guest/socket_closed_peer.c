// Sending to a peer that has gone: SIGPIPE, EPIPE, ECONNRESET, and what poll says meanwhile.
// variants: dynamic static-pie musl
#include "report.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static volatile int seen;

static void on_pipe(int number)
{
	seen = number;
}

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

int main(void)
{
	int pair[2];
	char text[16];
	signal(SIGPIPE, on_pipe);
	CASE("unix");
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	close(pair[1]);
	ERR(write(pair[0], "x", 1));
	SAY("%s", signal_name(seen));
	seen = 0;
	ERR(send(pair[0], "x", 1, MSG_NOSIGNAL));
	SAY("%s", signal_name(seen));
	CASE("tcp, closed in order");
	tcp_pair(pair);
	close(pair[1]);
	struct pollfd entry = { pair[0], POLLIN | POLLRDHUP, 0 };
	VAL(poll(&entry, 1, 2000));
	SAY("IN %d RDHUP %d HUP %d", !!(entry.revents & POLLIN), !!(entry.revents & POLLRDHUP), !!(entry.revents & POLLHUP));
	VAL(read(pair[0], text, 16));
	VAL(write(pair[0], "first goes out", 14));
	usleep(20000);
	ERR(write(pair[0], "x", 1));
	SAY("%s", signal_name(seen));
	CASE("tcp, closed with unread data is a reset");
	tcp_pair(pair);
	NEED(write(pair[0], "unread", 6));
	usleep(20000);
	close(pair[1]);
	usleep(20000);
	ERR(read(pair[0], text, 16));
	VAL(read(pair[0], text, 16));
	CASE("tcp, reset by linger");
	tcp_pair(pair);
	struct linger linger = { 1, 0 };
	NEED(setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	close(pair[1]);
	entry = (struct pollfd){ pair[0], POLLIN, 0 };
	VAL(poll(&entry, 1, 2000));
	SAY("ERR %d HUP %d", !!(entry.revents & POLLERR), !!(entry.revents & POLLHUP));
	ERR(read(pair[0], text, 16));
	DONE();
}
