// AF_UNIX datagrams and sequenced packets keep message borders; names, sizes, a full queue.
#include "report.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	char text[64];
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/tmp/in" }, own = { .sun_family = AF_UNIX, .sun_path = "/tmp/out" };
	struct sockaddr_un from;
	socklen_t length = sizeof(from);
	int in = NEED(socket(AF_UNIX, SOCK_DGRAM, 0)), out = NEED(socket(AF_UNIX, SOCK_DGRAM, 0));
	ERR(sendto(out, "x", 1, 0, (struct sockaddr *)&name, sizeof(name)));
	NEED(bind(in, (struct sockaddr *)&name, sizeof(name)));
	VAL(sendto(out, "first", 5, 0, (struct sockaddr *)&name, sizeof(name)));
	VAL(recvfrom(in, text, 64, 0, (struct sockaddr *)&from, &length));
	VAL(length);
	NEED(bind(out, (struct sockaddr *)&own, sizeof(own)));
	VAL(sendto(out, "second", 6, 0, (struct sockaddr *)&name, sizeof(name)));
	VAL(sendto(out, "third", 5, 0, (struct sockaddr *)&name, sizeof(name)));
	length = sizeof(from);
	VAL(recvfrom(in, text, 3, 0, (struct sockaddr *)&from, &length));
	SAY("%.3s from %s", text, from.sun_path);
	VAL(recv(in, text, 64, 0));
	SAY("%.5s", text);
	ERR(recv(in, text, 64, MSG_DONTWAIT));
	ERR(connect(out, (struct sockaddr *)&name, sizeof(name)));
	VAL(send(out, "", 0, 0));
	VAL(recv(in, text, 64, 0));
	close(in);
	ERR(send(out, "x", 1, 0));
	CASE("sequenced packets");
	int pair[2];
	NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	VAL(send(pair[0], "one", 3, 0));
	VAL(send(pair[0], "twotwo", 6, 0));
	VAL(recv(pair[1], text, 64, 0));
	struct iovec vector = { text, 2 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
	VAL(recvmsg(pair[1], &message, 0));
	SAY("truncated %d", !!(message.msg_flags & MSG_TRUNC));
	close(pair[0]);
	VAL(recv(pair[1], text, 64, 0));
	CASE("datagram pair");
	NEED(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair));
	VAL(write(pair[0], "abc", 3));
	VAL(write(pair[0], "defg", 4));
	VAL(read(pair[1], text, 64));
	VAL(read(pair[1], text, 64));
	ERR(read(pair[1], text, 64));
	ERR(socketpair(AF_INET, SOCK_STREAM, 0, pair));
	DONE();
}
