// UDP: sendto, recvfrom, connected sockets and their filter, errors from a closed port, sizes, unbound ports.
// variants: dynamic static-pie musl
#include "report.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
}

int main(void)
{
	static char large[70000], text[70000];
	struct sockaddr_in one_name = loopback(6001), two_name = loopback(6002), closed = loopback(6009), from;
	socklen_t length = sizeof(from);
	int one = NEED(socket(AF_INET, SOCK_DGRAM, 0)), two = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(bind(one, (struct sockaddr *)&one_name, sizeof(one_name)));
	NEED(bind(two, (struct sockaddr *)&two_name, sizeof(two_name)));
	VAL(sendto(one, "hello", 5, 0, (struct sockaddr *)&two_name, sizeof(two_name)));
	VAL(recvfrom(two, text, 100, 0, (struct sockaddr *)&from, &length));
	SAY("%.5s from port %d length %u", text, ntohs(from.sin_port), length);
	ERR(send(one, "x", 1, 0));
	CASE("sizes");
	for (unsigned i = 0; i < sizeof(large); i++)
		large[i] = i % 253;
	VAL(sendto(one, large, 65507, 0, (struct sockaddr *)&two_name, sizeof(two_name)));
	VAL(recv(two, text, sizeof(text), 0));
	CHECK(memcmp(large, text, 65507) == 0);
	ERR(sendto(one, large, 65508, 0, (struct sockaddr *)&two_name, sizeof(two_name)));
	CASE("connected");
	int third = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	ERR(connect(one, (struct sockaddr *)&two_name, sizeof(two_name)));
	VAL(send(one, "abc", 3, 0));
	VAL(recv(two, text, 100, 0));
	VAL(sendto(third, "stranger", 8, 0, (struct sockaddr *)&one_name, sizeof(one_name)));
	VAL(sendto(two, "friend", 6, 0, (struct sockaddr *)&one_name, sizeof(one_name)));
	VAL(recv(one, text, 100, 0));
	SAY("%.6s", text);
	ERR(recv(one, text, 100, MSG_DONTWAIT));
	NEED(getpeername(one, (struct sockaddr *)&from, &length));
	VAL(ntohs(from.sin_port));
	from.sin_family = AF_UNSPEC;
	ERR(connect(one, (struct sockaddr *)&from, sizeof(from)));
	ERR(getpeername(one, (struct sockaddr *)&from, &length));
	CASE("nobody there");
	NEED(connect(third, (struct sockaddr *)&closed, sizeof(closed)));
	VAL(send(third, "x", 1, 0));
	struct pollfd entry = { third, POLLIN, 0 };
	VAL(poll(&entry, 1, 2000));
	SAY("ERR %d", !!(entry.revents & POLLERR));
	ERR(recv(third, text, 100, 0));
	ERR(recv(third, text, 100, MSG_DONTWAIT));
	CASE("its own port");
	int fourth = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(getsockname(fourth, (struct sockaddr *)&from, &length));
	VAL(from.sin_port);
	VAL(sendto(fourth, "x", 1, 0, (struct sockaddr *)&two_name, sizeof(two_name)));
	NEED(getsockname(fourth, (struct sockaddr *)&from, &length));
	CHECK(from.sin_port != 0);
	ERR(shutdown(fourth, SHUT_RD));
	ERR(listen(fourth, 1));
	DONE();
}
