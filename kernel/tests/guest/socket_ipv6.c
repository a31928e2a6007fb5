// IPv6 over loopback; a dual-stack listener sees IPv4 peers as mapped addresses, IPV6_V6ONLY does not.
// variants: dynamic static-pie musl
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

int main(void)
{
	char text[64];
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any, .sin6_port = htons(7001) };
	struct sockaddr_in6 loopback = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = htons(7001) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(7001) };
	struct sockaddr_in6 peer;
	socklen_t length = sizeof(peer);
	int on = 1;
	int listener = NEED(socket(AF_INET6, SOCK_STREAM, 0));
	ERR(bind(listener, (struct sockaddr *)&any, sizeof(any)));
	ERR(listen(listener, 5));
	CASE("IPv6 to IPv6");
	int six = NEED(socket(AF_INET6, SOCK_STREAM, 0));
	ERR(connect(six, (struct sockaddr *)&loopback, sizeof(loopback)));
	int server = NEED(accept(listener, (struct sockaddr *)&peer, &length));
	SAY("%s %u", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof(text)), length);
	NEED(write(six, "six", 3));
	VAL(read(server, text, 10));
	CASE("IPv4 to IPv6");
	int client = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(connect(client, (struct sockaddr *)&four, sizeof(four)));
	server = NEED(accept(listener, (struct sockaddr *)&peer, &length));
	SAY("%s", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof(text)));
	NEED(getsockname(server, (struct sockaddr *)&peer, &length));
	SAY("%s", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof(text)));
	NEED(write(client, "four", 4));
	VAL(read(server, text, 10));
	CASE("mapped address to IPv4");
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(7002) };
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
	int plain = NEED(socket(AF_INET, SOCK_STREAM, 0));
	four.sin_port = htons(7002);
	NEED(bind(plain, (struct sockaddr *)&four, sizeof(four)));
	NEED(listen(plain, 1));
	six = NEED(socket(AF_INET6, SOCK_STREAM, 0));
	ERR(connect(six, (struct sockaddr *)&mapped, sizeof(mapped)));
	CASE("version 6 only");
	int only = NEED(socket(AF_INET6, SOCK_STREAM, 0));
	NEED(setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
	any.sin6_port = htons(7003);
	NEED(bind(only, (struct sockaddr *)&any, sizeof(any)));
	NEED(listen(only, 1));
	four.sin_port = htons(7003);
	ERR(connect(NEED(socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr *)&four, sizeof(four)));
	CASE("datagrams");
	int in = NEED(socket(AF_INET6, SOCK_DGRAM, 0)), out = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	any.sin6_port = four.sin_port = htons(7004);
	NEED(bind(in, (struct sockaddr *)&any, sizeof(any)));
	VAL(sendto(out, "mapped", 6, 0, (struct sockaddr *)&four, sizeof(four)));
	VAL(recvfrom(in, text, 64, 0, (struct sockaddr *)&peer, &length));
	SAY("%s", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof(text)));
	ERR(bind(NEED(socket(AF_INET6, SOCK_STREAM, 0)), (struct sockaddr *)&any, 16));
	DONE();
}
