// ::1 is an address of its own: apart from 127.0.0.1, heard by IPv6 sockets only.
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct sockaddr_in6 six(const char *host, int port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	inet_pton(AF_INET6, host, &address.sin6_addr);
	return address;
}

static struct sockaddr_in four(const char *host, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	inet_pton(AF_INET, host, &address.sin_addr);
	return address;
}

static int bound(int type, const void *address, socklen_t length)
{
	int fd = NEED(socket(((const struct sockaddr *)address)->sa_family, type, 0));
	if (ERR(bind(fd, address, length)) == 0 && type == SOCK_STREAM)
		ERR(listen(fd, 4));
	return fd;
}

static int reach(int type, const void *address, socklen_t length)
{
	int fd = NEED(socket(((const struct sockaddr *)address)->sa_family, type, 0));
	ERR(connect(fd, address, length));
	return fd;
}

static void show(const char *what, int (*name)(int, struct sockaddr *, socklen_t *), int fd)
{
	char text[64];
	struct sockaddr_in6 address = { 0 };
	socklen_t length = sizeof(address);
	NEED(name(fd, (struct sockaddr *)&address, &length));
	SAY("%s %s, %u bytes", what, inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text)), length);
}

int main(void)
{
	char text[64];
	struct sockaddr_in6 one = six("::1", 7301), any = six("::", 7302), from = { 0 };
	struct sockaddr_in plain = four("127.0.0.1", 7301), wild = four("0.0.0.0", 7303);
	socklen_t length = sizeof(from);

	CASE("streams: a port for each version");
	int both[] = { bound(SOCK_STREAM, &one, sizeof(one)), bound(SOCK_STREAM, &plain, sizeof(plain)) };
	int client = reach(SOCK_STREAM, &one, sizeof(one));
	show("own", getsockname, client);
	show("peer", getpeername, client);
	int server = NEED(accept(both[0], (struct sockaddr *)&from, &length));
	SAY("from %s", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)));
	show("server", getsockname, server);
	VAL(write(client, "over six", 8));
	VAL(read(server, text, sizeof(text)));
	VAL(write(server, "back", 4));
	VAL(read(client, text, sizeof(text)));
	reach(SOCK_STREAM, &plain, sizeof(plain));
	CHECK(accept(both[1], NULL, NULL) >= 0);
	CASE("the wildcard of one hears nothing of the other");
	bound(SOCK_STREAM, &wild, sizeof(wild));
	struct sockaddr_in6 missed = six("::1", 7303);
	reach(SOCK_STREAM, &missed, sizeof(missed));
	struct sockaddr_in6 only = six("::1", 7304);
	struct sockaddr_in other = four("127.0.0.1", 7304);
	bound(SOCK_STREAM, &only, sizeof(only));
	reach(SOCK_STREAM, &other, sizeof(other));
	CASE("conflicts");
	bound(SOCK_STREAM, &any, sizeof(any));
	struct sockaddr_in6 same = six("::1", 7302);
	struct sockaddr_in same_four = four("127.0.0.1", 7302);
	bound(SOCK_STREAM, &same, sizeof(same));
	bound(SOCK_STREAM, &same_four, sizeof(same_four));
	CASE("version 6 only");
	int on = 1, narrow = NEED(socket(AF_INET6, SOCK_STREAM, 0));
	ERR(setsockopt(narrow, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
	struct sockaddr_in6 any_only = six("::", 7305), reached = six("::1", 7305);
	struct sockaddr_in wild_too = four("0.0.0.0", 7305), reached_four = four("127.0.0.1", 7305);
	ERR(bind(narrow, (struct sockaddr *)&any_only, sizeof(any_only)));
	ERR(listen(narrow, 4));
	int wide = bound(SOCK_STREAM, &wild_too, sizeof(wild_too));
	reach(SOCK_STREAM, &reached, sizeof(reached));
	CHECK(accept(narrow, NULL, NULL) >= 0);
	reach(SOCK_STREAM, &reached_four, sizeof(reached_four));
	CHECK(accept(wide, NULL, NULL) >= 0);
	CASE("any address is ourselves");
	struct sockaddr_in6 nobody = six("::", 7301);
	show("peer", getpeername, reach(SOCK_STREAM, &nobody, sizeof(nobody)));
	CASE("datagrams");
	struct sockaddr_in6 inbox = six("::1", 7306);
	int in = bound(SOCK_DGRAM, &inbox, sizeof(inbox)), out = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
	ERR(setsockopt(in, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)));
	VAL(sendto(out, "letter", 6, 0, (struct sockaddr *)&inbox, sizeof(inbox)));
	char control[128];
	struct iovec part = { text, sizeof(text) };
	struct msghdr message = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control) };
	VAL(recvmsg(in, &message, 0));
	SAY("from %s", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)));
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	CHECK(header && header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO);
	if (header)
		SAY("to %s", inet_ntop(AF_INET6, CMSG_DATA(header), text, sizeof(text)));
	CASE("nobody there");
	struct sockaddr_in6 closed = six("::1", 7307);
	ERR(connect(out, (struct sockaddr *)&closed, sizeof(closed)));
	VAL(send(out, "x", 1, 0));
	ERR(recv(out, text, sizeof(text), 0));
	CASE("an address in disguise");
	struct sockaddr_in hidden = four("0.0.0.1", 7301);
	CHECK(bind(NEED(socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr *)&hidden, sizeof(hidden)) == -1);
	DONE();
}
